"""What frozen layers make of samples, in numpy: the formulas of `docs/model-format.md`, one after another.

Samples are float32 and stand channels last, (samples, height, width, channels). Statistics are in double precision, as
in the programs; products are in single precision and add up in another order, so results agree to about 1e-5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .spec import BiRnn, Conv, Dense, LayerSpec, MapShape, Pool

Floats = npt.NDArray[np.float32]
Tensors = dict[str, Floats]

EPSILON = 1e-10


def standardize(values: Floats, axis: int | tuple[int, ...]) -> Floats:
    """Less the mean, divided by 1e-10 + the unbiased deviation, over `axis`; what is constant becomes zero."""
    doubles = values.astype(np.float64)
    centred = doubles - doubles.mean(axis=axis, keepdims=True)
    count = values.size // max(1, doubles.mean(axis=axis).size)
    variance = (centred**2).sum(axis=axis, keepdims=True) / max(count - 1, 1)
    # The mean of equal numbers may differ from them by a rounding error, which a division would blow up.
    same = values.max(axis=axis, keepdims=True) == values.min(axis=axis, keepdims=True)
    return np.where(same, 0.0, centred / (EPSILON + np.sqrt(variance))).astype(np.float32)


def map_samples(spec: LayerSpec, tensors: Tensors, samples: Floats) -> Floats:
    """z of a dense layer or a convolution: (samples, height, width, channels) of its map."""
    return map_pairs(spec, tensors, samples, samples) if spec.makes_pairs else map_taken(spec, tensors, samples)


def map_taken(spec: LayerSpec, tensors: Tensors, pairs: Floats) -> Floats:
    """z of what a layer takes as it comes: samples, or pairs that the layer below has made."""
    layer = _fixed(spec)
    padded = standardize(_padded(layer, _maps(layer, pairs)), axis=(1, 2, 3))
    z: Floats = _linear(layer, tensors["weight"], padded) + tensors["bias"]
    return z


def map_pairs(spec: LayerSpec, tensors: Tensors, first: Floats, second: Floats) -> Floats:
    """z of the pairs that a layer makes of two halves, (samples, ...) each; one half may be a single sample."""
    layer = _fixed(spec)
    halves = [_padded(layer, standardize(_maps(layer, half), axis=(1, 2, 3))) for half in (first, second)]
    # The statistics of both halves together.
    doubles = [half.astype(np.float64) for half in halves]
    count = doubles[0][0].size
    mean = sum(half.sum(axis=(1, 2, 3), keepdims=True) for half in doubles) / (2 * count)
    squares = sum((half**2).sum(axis=(1, 2, 3), keepdims=True) for half in doubles)
    variance = np.maximum(squares - 2 * count * mean**2, 0.0) / (2 * count - 1)
    scale = 1.0 / (EPSILON + np.sqrt(variance))
    mapped = [_linear(layer, tensors["weight"], half) for half in (halves[:1] if first is second else halves)]
    sums = tensors["weight"].astype(np.float64).sum(axis=1).astype(np.float32)
    offset = (2.0 * mean * scale).astype(np.float32)
    z: Floats = scale.astype(np.float32) * (mapped[0] + mapped[-1]) - offset * sums + 2.0 * tensors["bias"]
    return z


def pass_on(spec: LayerSpec, z: Floats) -> Floats:
    """What a layer passes on of its map: activated and pooled."""
    if spec.transmit == "triangle":
        z = z - z.mean(axis=-1, keepdims=True)
    activated = np.maximum(z, np.float32(0.0))
    return activated if spec.pool is None else pooled(spec.pool, activated)


def features(spec: LayerSpec, passed_on: Floats) -> Floats:
    """What the readout reads of what a dense layer or a convolution passes on: (samples, features)."""
    if spec.readout_pool is not None:
        passed_on = pooled(spec.readout_pool, passed_on)
    return standardize(passed_on.reshape(len(passed_on), -1), axis=1)


def pooled(pool: Pool, maps: Floats) -> Floats:
    """Maps, (samples, height, width, channels), after pooling in ceil mode."""
    samples, height, width, channels = maps.shape
    shape = pool.output(MapShape(height, width, channels))
    out = np.empty((samples, shape.height, shape.width, channels), np.float32)
    for row in range(shape.height):
        rows, high = _span(pool, row, height)
        for column in range(shape.width):
            columns, wide = _span(pool, column, width)
            window = maps[:, rows, columns]
            if pool.kind == "max":
                out[:, row, column] = window.max(axis=(1, 2))
            else:
                out[:, row, column] = window.sum(axis=(1, 2)) * np.float32(1.0 / (high * wide))
    return out


def walk(spec: LayerSpec, tensors: Tensors, sequence: Floats) -> Floats:
    """The standardised states of a recurrent layer over one sequence, (frames, 2 * hidden)."""
    assert isinstance(spec.map, BiRnn), "only recurrent layers read sequences"
    hidden = spec.map.hidden
    frames = sequence.reshape(len(sequence), spec.map.features)
    mapped = frames @ tensors["weight_ih"].T * np.float32(2.0 if spec.makes_pairs else 1.0)
    mapped += tensors["bias_ih"] + tensors["bias_hh"]
    states = np.empty((len(frames), 2 * hidden), np.float32)
    for direction, order in enumerate([range(len(frames)), range(len(frames) - 1, -1, -1)]):
        units = slice(direction * hidden, (direction + 1) * hidden)
        weight = tensors["weight_hh"][units]
        state = np.zeros(hidden, np.float32)
        for frame in order:
            fresh = np.maximum(mapped[frame, units] + weight @ state, np.float32(0.0))
            state = standardize(fresh, axis=0)
            states[frame, units] = state
    return states


def summarize(spec: LayerSpec, states: Floats) -> Floats:
    """What the readout reads of the states of one sequence."""
    assert isinstance(spec.map, BiRnn), "only recurrent layers have states"
    hidden, frames = spec.map.hidden, len(states)
    if spec.map.summary == "last":
        return np.concatenate([states[-1, :hidden], states[0, hidden:]])
    parts = 1 if spec.map.summary == "mean" else 3
    means = []
    for part in range(parts):
        start = part * frames // parts
        end = max((part + 1) * frames // parts, start + 1)
        mean = states[start:end].mean(axis=0, dtype=np.float32).reshape(2, hidden)
        means.append(standardize(mean, axis=1).reshape(-1))
    return np.concatenate(means)


def _fixed(spec: LayerSpec) -> Dense | Conv:
    assert not isinstance(spec.map, BiRnn), "recurrent layers read sequences"
    return spec.map


def _maps(layer: Dense | Conv, samples: Floats) -> Floats:
    shape = layer.input if isinstance(layer, Conv) else MapShape(1, 1, layer.inputs)
    return samples.reshape(len(samples), shape.height, shape.width, shape.channels)


def _padded(layer: Dense | Conv, maps: Floats) -> Floats:
    if isinstance(layer, Dense) or layer.padding == 0:
        return maps
    side = (layer.padding, layer.padding)
    return np.pad(maps, ((0, 0), side, side, (0, 0)), mode="reflect")


def _linear(layer: Dense | Conv, weight: Floats, padded: Floats) -> Floats:
    if isinstance(layer, Dense):
        # In double precision, since single sums of some BLAS kernels depend on which rows stand beside a row.
        rows = padded.reshape(len(padded), -1).astype(np.float64)
        return (rows @ weight.T.astype(np.float64)).astype(np.float32).reshape(len(padded), 1, 1, -1)
    kernel, shape = layer.kernel, layer.output
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    # (samples, height, width, channels, row, column) to patches of (row, column, channel).
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, weight.shape[1])
    return (patches @ weight.T).reshape(len(padded), shape.height, shape.width, shape.channels)


def _span(pool: Pool, window: int, side: int) -> tuple[slice, int]:
    """The cells of a map that a window covers, and how many an average divides by."""
    start = window * pool.stride
    end = min(start + pool.size, side + 2 * pool.padding)
    inside = slice(max(start - pool.padding, 0), min(max(start + pool.size - pool.padding, 0), side))
    return inside, end - start
