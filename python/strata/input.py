"""How samples are scaled for a network: `input.json` of its run directory (`docs/model-format.md`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .spec import FormatError


@dataclass(frozen=True)
class Input:
    """What becomes of samples before the first layer reads them."""

    kind: str
    """`images`, `numbers` or `recordings`."""
    mean: npt.NDArray[np.float64] | None
    """Of each channel; None where numbers are taken as they are."""
    deviation: npt.NDArray[np.float64] | None
    """Of each channel."""
    classes: list[str]
    """What the classes are called, in the order of their numbers; empty where samples have no labels."""

    def scale(self, X: Any) -> npt.NDArray[Any]:
        """Samples (samples, ..., channels) as the first layer reads them.

        Images of bytes become (byte / 255 - mean) / deviation; images of other numbers are taken as scaled already.
        Rows of numbers become (number - mean) / deviation.
        """
        given: npt.NDArray[Any] = np.asarray(X.to_numpy() if hasattr(X, "to_numpy") else X)
        if self.mean is None or self.deviation is None:
            return given
        channels_last = (len(given), -1, len(self.mean))
        scaled: npt.NDArray[Any]
        if self.kind == "images":
            if given.dtype != np.uint8:
                return given
            # In single precision, as the programs do.
            pixels = given.reshape(channels_last).astype(np.float32) / np.float32(255.0)
            scaled = (pixels - self.mean.astype(np.float32)) / self.deviation.astype(np.float32)
        else:
            numbers = given.reshape(channels_last).astype(np.float32).astype(np.float64)
            scaled = ((numbers - self.mean) / self.deviation).astype(np.float32)
        return scaled.reshape(given.shape)


def read_input(path: Path) -> Input | None:
    """What `input.json` at `path` says; None where there is none, as in runs of early builds."""
    if not path.exists():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        ((kind, facts),) = said["kind"].items()
        scales = facts["scales"] if kind == "images" else facts.get("moments")
        mean, deviation = (None, None) if scales is None else (_column(scales, "mean"), _column(scales, "deviation"))
        return Input(kind, mean, deviation, list(said.get("classes", [])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: not what says how samples are scaled: {error!r}") from error


def _column(scales: list[Mapping[str, float]], name: str) -> npt.NDArray[np.float64]:
    return np.array([scale[name] for scale in scales], dtype=np.float64)
