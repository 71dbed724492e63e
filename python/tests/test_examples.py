"""The examples run, and print what they say."""

import os
import subprocess
import sys

import pytest

from runs import WORKSPACE, program


@pytest.mark.parametrize("name, said", [("table", "on features:"), ("pictures", "50 labels of each digit:")])
def test_examples_run(name: str, said: str) -> None:
    example = WORKSPACE / "python" / "examples" / f"{name}.py"
    environment = {**os.environ, "STRATA_BIN": str(program().parent)}
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
