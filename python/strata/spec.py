"""What layers are, as the headers of model files say it (`docs/model-format.md`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class FormatError(ValueError):
    """A file that does not say what it has to; the message names it, what was found and what was expected."""


@dataclass(frozen=True)
class MapShape:
    """The shape of a map, whose numbers stand as (height, width, channels)."""

    height: int
    width: int
    channels: int

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.height * self.width * self.channels


@dataclass(frozen=True)
class Dense:
    """Every output reads every input."""

    inputs: int
    outputs: int

    @property
    def output(self) -> MapShape:
        """The shape of z."""
        return MapShape(1, 1, self.outputs)

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of its tensors."""
        return {"weight": (self.outputs, self.inputs), "bias": (self.outputs,)}


@dataclass(frozen=True)
class Conv:
    """Every output reads a patch of the reflect-padded map, at stride 1."""

    input: MapShape
    channels: int
    kernel: int
    padding: int

    @property
    def inputs(self) -> int:
        """Numbers of a sample that it reads."""
        return self.input.size

    @property
    def output(self) -> MapShape:
        """The shape of z."""
        shrunk = 2 * self.padding + 1 - self.kernel
        return MapShape(self.input.height + shrunk, self.input.width + shrunk, self.channels)

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of its tensors; a channel's weights stand as (row, column, input channel)."""
        fan_in = self.kernel * self.kernel * self.input.channels
        return {"weight": (self.channels, fan_in), "bias": (self.channels,)}


@dataclass(frozen=True)
class BiRnn:
    """Every unit reads a frame and the states before it; `hidden` units in each of two directions."""

    input: MapShape
    hidden: int
    summary: str

    @property
    def features(self) -> int:
        """Numbers of a frame."""
        return self.input.width * self.input.channels

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of its tensors: the forward direction's units first."""
        units = 2 * self.hidden
        return {
            "weight_ih": (units, self.features),
            "weight_hh": (units, self.hidden),
            "bias_ih": (units,),
            "bias_hh": (units,),
        }


@dataclass(frozen=True)
class Pool:
    """Pooling of every channel in square windows, in ceil mode."""

    kind: str
    size: int
    stride: int
    padding: int

    def windows(self, side: int) -> int:
        """How many windows there are along a side."""
        count = -(-(side + 2 * self.padding - self.size) // self.stride) + 1
        return count - 1 if (count - 1) * self.stride >= side + self.padding else count

    def output(self, shape: MapShape) -> MapShape:
        """The shape of the pooled map."""
        return MapShape(self.windows(shape.height), self.windows(shape.width), shape.channels)


@dataclass(frozen=True)
class LayerSpec:
    """All that is fixed about a layer."""

    name: str
    map: Dense | Conv | BiRnn
    makes_pairs: bool
    transmit: str
    pool: Pool | None
    readout_pool: Pool | None

    @property
    def output(self) -> MapShape:
        """The shape of what it passes on; not of a recurrent layer, whose samples have their own lengths."""
        if isinstance(self.map, BiRnn):
            raise TypeError(f"{self.name}: what a recurrent layer passes on is as long as the sample")
        return self.map.output if self.pool is None else self.pool.output(self.map.output)


def layer_spec(said: Mapping[str, Any], where: str) -> LayerSpec:
    """A layer's specification as a header says it; `where` names file and layer in errors."""
    try:
        spec = LayerSpec(
            name=str(said["name"]),
            map=_map(said["map"], where),
            makes_pairs=_one_of(said, "pairs", ("makes", "takes"), where) == "makes",
            transmit=_one_of(said, "transmit", ("triangle", "relu", "standardized"), where),
            pool=_pool(said["pool"], where),
            readout_pool=_pool(said["readout_pool"], where),
        )
    except (KeyError, TypeError) as error:
        raise FormatError(f"{where}: the specification lacks {error}") from error
    recurrent = isinstance(spec.map, BiRnn)
    if recurrent != (spec.transmit == "standardized"):
        raise FormatError(f"{where}: transmit: found {spec.transmit}, which this kind of layer cannot pass on")
    return spec


def _map(said: Mapping[str, Any], where: str) -> Dense | Conv | BiRnn:
    if list(said) == ["dense"]:
        dense = said["dense"]
        return Dense(int(dense["inputs"]), int(dense["outputs"]))
    if list(said) == ["conv"]:
        conv = said["conv"]
        return Conv(_shape(conv["input"]), int(conv["channels"]), int(conv["kernel"]), int(conv["padding"]))
    if list(said) == ["birnn"]:
        birnn = said["birnn"]
        summary = _one_of(birnn, "summary", ("last", "mean", "thirds"), where)
        return BiRnn(_shape(birnn["input"]), int(birnn["hidden"]), summary)
    raise FormatError(f"{where}: map: found {', '.join(said)}, expected dense, conv or birnn")


def _shape(said: Mapping[str, Any]) -> MapShape:
    return MapShape(int(said["height"]), int(said["width"]), int(said["channels"]))


def _pool(said: Mapping[str, Any] | None, where: str) -> Pool | None:
    if said is None:
        return None
    kind = _one_of(said, "kind", ("max", "average"), where)
    return Pool(kind, int(said["size"]), int(said["stride"]), int(said["padding"]))


def _one_of(said: Mapping[str, Any], key: str, known: tuple[str, ...], where: str) -> str:
    if said[key] not in known:
        raise FormatError(f"{where}: {key}: found {said[key]!r}, expected one of {', '.join(known)}")
    return str(said[key])
