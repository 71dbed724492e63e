"""Run directories for tests, made of golden tensors or by the real program."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strata
from safetensors.numpy import load_file, save_file

WORKSPACE = Path(__file__).parents[2]
GOLDEN = WORKSPACE / "scff" / "tests" / "fixtures"


def golden(name: str) -> dict[str, Any]:
    """Tensors that PyTorch computed, to which the programs' own tests hold them too."""
    return load_file(GOLDEN / f"{name}.safetensors")


def dense(inputs: int, outputs: int) -> dict[str, Any]:
    return {"dense": {"inputs": inputs, "outputs": outputs}}


def conv(side: int, inputs: int, channels: int, kernel: int, padding: int) -> dict[str, Any]:
    shape = {"height": side, "width": side, "channels": inputs}
    return {"conv": {"input": shape, "channels": channels, "kernel": kernel, "padding": padding}}


def pool(kind: str, size: int, stride: int, padding: int = 0) -> dict[str, Any]:
    return {"kind": kind, "size": size, "stride": stride, "padding": padding}


def spec(map_: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What a header says of a layer."""
    plain = {"name": "layer", "map": map_, "pairs": "makes", "transmit": "triangle"}
    return plain | {"pool": None, "readout_pool": None, "block": 4} | changes


def rows_of(weight: Any) -> Any:
    """Weights (channels, input channels, row, column) as model files have them: (channels, row * column * input)."""
    return np.ascontiguousarray(weight.transpose(0, 2, 3, 1).reshape(len(weight), -1))


def write_run(
    path: Path, layers: list[tuple[dict[str, Any], dict[str, Any]]], header: dict[str, str] | None = None
) -> Path:
    """A run directory that holds these layers."""
    path.mkdir(exist_ok=True)
    tensors = {f"layers.{i}.{name}": t for i, (_, named) in enumerate(layers) for name, t in named.items()}
    said = {"layers": json.dumps([spec for spec, _ in layers])} | (header or {})
    save_file(tensors, path / "model.safetensors", said)
    (path / "config.toml").write_text("".join("[[layers]]\nreadout = true\n" for _ in layers))
    return path


def program() -> Path:
    """The coordinator of STRATA_BIN, of a build of this workspace, or on the PATH; without any the test is skipped."""
    built = [path for path in (WORKSPACE / "target").glob("*/coordinator") if (path.parent / "worker").exists()]
    if built and not os.environ.get("STRATA_BIN"):
        return max(built, key=lambda path: path.stat().st_mtime)
    try:
        return strata.find_program()
    except strata.ProgramNotFound as missing:
        pytest.skip(f"no program to compare with: {missing}")


def trained(config: str, out: Path, *changes: str) -> Path:
    """A run of a configuration of this workspace, by the real program."""
    settings = [part for change in changes for part in ("--set", change)]
    command = [program(), "run", WORKSPACE / "configs" / config, "--local", "1", "--out", out, *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return out
