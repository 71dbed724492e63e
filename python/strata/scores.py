"""How unlike its training data a run finds samples: what `coordinator score` computes, of what it has kept in the run
directory as `scores/METHOD.safetensors`.

The formulas are those of the programs (`docs/your-data.md`, "Anomaly scores"); sums of products are added up in another
order, so scores agree to about 1e-5 of their size. Distances to neighbours are differences of squares in single precision:
of samples that are hardly unlike they are coarse, here as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from .layers import Floats, Tensors
from .network import Network

Method = Literal["mahalanobis", "neighbours", "goodness", "partners"]
Scores = npt.NDArray[np.float64]

ARRAYS: dict[Method, tuple[str, ...]] = {
    "mahalanobis": ("mean", "whitening"),
    "neighbours": ("features",),
    "goodness": ("means", "deviations"),
    "partners": ("means", "deviations", "partners"),
}
"""What is kept of each method."""

# Nearest training samples that are looked at.
_NEAREST = 5
# Samples whose distances are computed at a time.
_TOGETHER = 256


def score(
    method: Method, kept: Tensors, network: Network, X: npt.ArrayLike | Sequence[npt.ArrayLike]
) -> Scores:
    """The score of each of some samples, scaled as the first layer reads them; the higher, the more unlike.

    `network` reads the layers that what is kept was made of.
    """
    if method == "mahalanobis":
        return _distances(network.transform(X), kept)
    if method == "neighbours":
        return _nearest(network.transform(X), kept["features"])
    partners = kept["partners"] if method == "partners" else None
    return _deviations(network.goodness(np.asarray(X), partners), kept)


def _distances(features: Floats, kept: Tensors) -> Scores:
    """Along each principal direction in units of its deviation, from the mean."""
    whitened = (features - kept["mean"]) @ kept["whitening"].T
    distances: Scores = np.sqrt((whitened.astype(np.float64) ** 2).sum(axis=1))
    return distances


def _nearest(features: Floats, others: Floats) -> Scores:
    """The mean distance to the nearest of other samples."""
    count = min(_NEAREST, len(others))
    lengths = (others.astype(np.float64) ** 2).sum(axis=1)
    found = []
    for start in range(0, len(features), _TOGETHER):
        part = features[start : start + _TOGETHER]
        own = (part.astype(np.float64) ** 2).sum(axis=1, keepdims=True)
        squares = np.maximum(own + lengths - 2.0 * (part @ others.T), 0.0)
        near = np.partition(squares, count - 1, axis=1)[:, :count]
        found.append(np.sqrt(near).mean(axis=1))
    return np.concatenate(found)


def _deviations(goodness: npt.NDArray[np.float64], kept: Tensors) -> Scores:
    """The root mean square, over layers, of how many deviations goodness lies from its mean."""
    smallest = np.finfo(np.float32).tiny
    deviations = np.maximum(kept["deviations"], smallest).astype(np.float64)
    squares = ((goodness - kept["means"]) / deviations) ** 2
    scores: Scores = np.sqrt(squares.mean(axis=1))
    return scores
