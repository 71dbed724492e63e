"""Frozen layers, one upon another, and which of them are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import layers
from .layers import Floats, Tensors
from .spec import BiRnn, Conv, LayerSpec

# Numbers of the widest array that a part of the samples may take on its way.
_WIDEST = 1 << 24


class Network:
    """Frozen layers from the input up.

    `specs` and `weights` have an entry for each; `read` holds the indices of those whose outputs are features.
    """

    def __init__(self, specs: Sequence[LayerSpec], weights: Sequence[Tensors], read: Sequence[int]) -> None:
        self.specs = list(specs)
        self.weights = list(weights)
        self.read = sorted(read)
        if not self.specs or not self.read:
            raise ValueError("a network has a layer, and reads one at least")
        if any(not 0 <= layer < len(self.specs) for layer in self.read):
            raise ValueError(f"found layers {self.read} to read, expected indices below {len(self.specs)}")

    @property
    def recurrent(self) -> bool:
        """Whether samples are sequences of any number of frames."""
        return isinstance(self.specs[0].map, BiRnn)

    def transform(self, X: npt.ArrayLike | Sequence[npt.ArrayLike]) -> Floats:
        """The features of samples: (samples, features), in the order of X.

        X: (samples, ...) as the first layer reads them, channels last where samples are maps; of a recurrent network a
        list of sequences, each (frames, numbers of a frame). Memory beyond the features does not grow with X.
        """
        if self.recurrent:
            return np.concatenate([self._of_sequence(sequence) for sequence in self._sequences(X)])
        return np.concatenate([self._of_rows(part) for part in self._parts(X)])

    def activations(self, X: npt.ArrayLike, layer: int) -> Floats:
        """What layer `layer` passes on of samples: (samples, height, width, channels). Not of recurrent networks."""
        if self.recurrent:
            raise ValueError("a recurrent network's states are as long as its samples; see `transform`")
        if not 0 <= layer < len(self.specs):
            raise ValueError(f"found layer {layer}, expected an index below {len(self.specs)}")
        parts = []
        for part in self._parts(X):
            for spec, tensors in zip(self.specs[: layer + 1], self.weights):
                part = layers.pass_on(spec, layers.map_samples(spec, tensors, part))
            parts.append(part)
        return np.concatenate(parts)

    def goodness(self, X: npt.ArrayLike, partners: npt.ArrayLike | None = None) -> npt.NDArray[np.float64]:
        """The goodness of (x, x) in each layer, a mean over positions: (samples, layers). Not of recurrent networks.

        With `partners`, samples like those of X, that of (x, y): a mean over all partners y.
        """
        if self.recurrent:
            raise ValueError("goodness is computed of dense and convolutional networks")
        if partners is None:
            return np.concatenate([self._goodness(part, part) for part in self._parts(X)])
        seconds = np.concatenate(list(self._parts(partners)))
        of_part = [
            np.mean([self._goodness(part, second[np.newaxis]) for second in seconds], axis=0) for part in self._parts(X)
        ]
        return np.concatenate(of_part)

    def _goodness(self, first: Floats, second: Floats) -> npt.NDArray[np.float64]:
        """Of pairs of two halves, one of which may be a single sample: (pairs, layers)."""
        pairs: Floats | None = None
        columns = []
        for spec, tensors in zip(self.specs, self.weights):
            if pairs is None or spec.makes_pairs:
                z = layers.map_pairs(spec, tensors, first, second)
            else:
                z = layers.map_taken(spec, tensors, pairs)
            squares = np.maximum(z, np.float32(0.0)).astype(np.float64) ** 2
            columns.append(squares.mean(axis=(1, 2, 3)))
            pairs = layers.pass_on(spec, z)
            alone = layers.pass_on(spec, layers.map_samples(spec, tensors, first))
            second = alone if first is second else layers.pass_on(spec, layers.map_samples(spec, tensors, second))
            first = alone
        return np.stack(columns, axis=1)

    def _of_rows(self, part: Floats) -> Floats:
        found = []
        for index, (spec, tensors) in enumerate(zip(self.specs, self.weights)):
            if index > self.read[-1]:
                break
            part = layers.pass_on(spec, layers.map_samples(spec, tensors, part))
            if index in self.read:
                found.append(layers.features(spec, part))
        return np.concatenate(found, axis=1)

    def _of_sequence(self, sequence: Floats) -> Floats:
        found = []
        for index, (spec, tensors) in enumerate(zip(self.specs, self.weights)):
            if index > self.read[-1]:
                break
            sequence = layers.walk(spec, tensors, sequence)
            if index in self.read:
                found.append(layers.summarize(spec, sequence))
        return np.concatenate(found)[np.newaxis]

    def _parts(self, X: Any) -> Iterator[Floats]:
        """X, checked, a few samples at a time."""
        first = self.specs[0].map
        assert not isinstance(first, BiRnn)
        X = X.to_numpy() if hasattr(X, "to_numpy") else X
        X = X if isinstance(X, np.ndarray) else np.asarray(X)
        found = int(np.prod(X.shape[1:]))
        if X.ndim < 2 or found != first.inputs:
            expected = f"(samples, {first.inputs})"
            if isinstance(first, Conv):
                shape = first.input
                expected += f" or (samples, {shape.height}, {shape.width}, {shape.channels})"
            raise ValueError(f"X: found an array of shape {tuple(X.shape)}, expected {expected}")
        if len(X) == 0:
            raise ValueError("X: found no sample, expected one at least")
        together = max(1, _WIDEST // max(_widest(spec) for spec in self.specs))
        for start in range(0, len(X), together):
            yield _finite(np.asarray(X[start : start + together], dtype=np.float32).reshape(-1, first.inputs))

    def _sequences(self, X: Any) -> Iterator[Floats]:
        first = self.specs[0].map
        assert isinstance(first, BiRnn)
        count = 0
        for count, given in enumerate(X, start=1):
            sequence = np.asarray(given, dtype=np.float32)
            if sequence.ndim != 2 or sequence.shape[1] != first.features or len(sequence) == 0:
                raise ValueError(
                    f"X: found a sequence of shape {sequence.shape} at {count - 1}, expected (frames, {first.features})"
                )
            yield _finite(sequence)
        if count == 0:
            raise ValueError("X: found no sequence, expected one at least")


def _widest(spec: LayerSpec) -> int:
    assert not isinstance(spec.map, BiRnn)
    patches = 0
    if isinstance(spec.map, Conv):
        shape = spec.map.output
        patches = shape.height * shape.width * spec.map.tensors["weight"][1]
    return max(spec.map.inputs, spec.map.output.size, patches)


def _finite(values: Floats) -> Floats:
    if not np.isfinite(values).all():
        raise ValueError("X: found a number that is not finite in single precision")
    return values
