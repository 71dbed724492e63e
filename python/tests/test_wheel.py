"""A wheel that carries the programs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runs import WORKSPACE, program

TRAINS = """
import numpy as np, strata
assert strata.find_program().parent == strata.find_program("worker").parent
assert str(strata.find_program()).startswith({folder!r}), strata.find_program()
X = np.random.default_rng(0).normal(size=(60, 5))
print(strata.SCFF().fit(X).transform(X).shape[0], "samples")
"""


def wheel(out: Path, programs: Path | None) -> Path:
    """The wheel of the package as it is here."""
    pytest.importorskip("setuptools", minversion="70.1")
    environment = {name: value for name, value in os.environ.items() if name != "STRATA_PROGRAMS"}
    if programs:
        environment["STRATA_PROGRAMS"] = str(programs)
    source = out / "source"
    source.mkdir(parents=True)
    for name in ["pyproject.toml", "setup.py", "README.md", "strata"]:
        os.symlink(WORKSPACE / "python" / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_an_installed_wheel_trains_with_the_programs_that_it_carries(tmp_path: Path) -> None:
    built = wheel(tmp_path / "built", program().parent)
    assert "-py3-none-" in built.name and "any" not in built.name
    folder = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", folder, built]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    hidden = {"STRATA_BIN", "PYTHONPATH", "PATH"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", TRAINS.format(folder=str(folder))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "60 samples"


def test_a_wheel_without_programs_is_pure_python(tmp_path: Path) -> None:
    built = wheel(tmp_path / "built", None)
    assert built.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(built).namelist()
    assert "strata/py.typed" in names and not any("bin/" in name for name in names)
