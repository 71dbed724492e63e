"""A run directory, opened."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from .input import Input, read_input
from .layers import Floats, Tensors
from .network import Network
from .scores import ARRAYS, Method, Scores, score
from .spec import FormatError, LayerSpec, layer_spec

# The latest version of the format of model files that this package reads; files of earlier builds say none.
FORMAT = 1


class Run:
    """What a run has learned, and how it was trained. Made by `load`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """The run directory."""
        self.config: dict[str, Any] = tomllib.loads(_text(path / "config.toml"))
        """The configuration as resolved."""
        summary = path / "summary.json"
        self.summary: dict[str, Any] | None = json.loads(_text(summary)) if summary.exists() else None
        """What came out; None of a run that is not finished."""
        self.input: Input | None = read_input(path / "input.json")
        """How samples are scaled before the first layer reads them; None of runs of early builds."""
        self.network = _network(path, self.config)
        """The layers that are frozen so far."""
        self._readout = _readout(path)
        if self._readout is not None and self.network.read != self._read_by_readout():
            raise FormatError(f"{path}: the readout reads other layers than the model says")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The reports of training, oldest first; `pandas.DataFrame(run.metrics)` is a table of them."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        # The last line of a run that is at work may be half written.
        lines = _text(path).split("\n")[:-1]
        return [json.loads(line) for line in lines if line]

    @property
    def weights(self) -> dict[str, Floats]:
        """All trained tensors: `layers.0.weight` and so on, and `readout.weight`, `readout.bias` where there is one."""
        named = {
            f"layers.{index}.{name}": tensor
            for index, tensors in enumerate(self.network.weights)
            for name, tensor in tensors.items()
        }
        if self._readout is not None:
            named |= {f"readout.{name}": tensor for name, tensor in self._readout.items()}
        return named

    def transform(self, X: npt.ArrayLike | Sequence[npt.ArrayLike]) -> Floats:
        """The features of samples, (samples, features).

        Samples are scaled as those that the run was trained on (`Input.scale`): images of bytes and rows of numbers are
        given as files have them. What else a network reads is given as its first layer reads it: `Network.transform`.
        """
        if self.input is None or self.network.recurrent:
            return self.network.transform(X)
        return self.network.transform(self.input.scale(X))

    @property
    def classes(self) -> list[str]:
        """What the classes are called, in the order of their numbers; empty where nothing is known of them."""
        return [] if self.input is None else self.input.classes

    def predict(self, X: npt.ArrayLike | Sequence[npt.ArrayLike]) -> npt.NDArray[np.int64]:
        """The class of each sample, by the run's readout."""
        classes: npt.NDArray[np.int64] = self._logits(X).argmax(axis=1)
        return classes

    def predict_proba(self, X: npt.ArrayLike | Sequence[npt.ArrayLike]) -> npt.NDArray[np.float64]:
        """The probability of each class, (samples, classes)."""
        logits = self._logits(X).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def score(self, X: npt.ArrayLike | Sequence[npt.ArrayLike], method: Method = "mahalanobis") -> Scores:
        """How unlike the training data each sample is, (samples): the higher, the more unlike.

        What samples are compared with is what `coordinator score RUN INPUT --method METHOD` has kept in the run directory
        as `scores/METHOD.safetensors`, of the layers that it was told to read.
        """
        if method not in ARRAYS:
            raise ValueError(f"method: found {method!r}, expected one of {', '.join(ARRAYS)}")
        place = self.path / "scores" / f"{method}.safetensors"
        if not place.exists():
            raise FileNotFoundError(f"{place}: `coordinator score {self.path} INPUT --method {method}` makes it of the data")
        header, kept = _header(place), _tensors(place)
        if lacking := [name for name in (*ARRAYS[method],) if name not in kept]:
            raise FormatError(f"{place}: found no {', '.join(lacking)}")
        read = _indices(header.get("read_layers", "[]"), place)
        if not read or read[-1] >= len(self.network.specs):
            raise FormatError(f"{place}: read_layers: found {read}, expected indices of the {len(self.network.specs)} layers")
        upto = read[-1] + 1
        network = Network(self.network.specs[:upto], self.network.weights[:upto], read)
        if header.get("layers_sha256") != _weights_sha256(network):
            raise FormatError(f"{place}: it was made with other layers; remove it, and score with the program anew")
        given = X if self.input is None or self.network.recurrent else self.input.scale(X)
        return score(method, kept, network, given)

    def to_torch(self) -> Any:
        """The network as a `torch.nn.Module` from samples to features. Not of recurrent networks."""
        from .torch_module import module

        return module(self.network)

    def _logits(self, X: npt.ArrayLike | Sequence[npt.ArrayLike]) -> Floats:
        if self._readout is None:
            raise ValueError(f"{self.path}: the run has no readout (readout.safetensors), so it predicts nothing")
        logits: Floats = self.transform(X) @ self._readout["weight"].T + self._readout["bias"]
        return logits

    def _read_by_readout(self) -> list[int]:
        place = self.path / "readout.safetensors"
        said = _header(place).get("readout_layers")
        return self.network.read if said is None else _indices(said, place)


def load(run: str | os.PathLike[str]) -> Run:
    """Opens a run directory, finished or not.

    Raises `FileNotFoundError` where a file is missing and `FormatError` where one is not what it has to be.
    """
    return Run(Path(run))


def _network(path: Path, config: Mapping[str, Any]) -> Network:
    whole = path / "model.safetensors"
    specs, weights = _whole(whole) if whole.exists() else _one_by_one(path / "layers")
    if not specs:
        raise FileNotFoundError(f"{path}: no layer is frozen yet")
    said = _header(whole).get("readout_layers") if whole.exists() else None
    if said is not None:
        return Network(specs, weights, _indices(said, whole))
    tapped = [index for index, layer in enumerate(config["layers"][: len(specs)]) if layer.get("readout", True)]
    return Network(specs, weights, tapped or [len(specs) - 1])


def _whole(path: Path) -> tuple[list[LayerSpec], list[Tensors]]:
    header, tensors = _header(path), _tensors(path)
    if "layers" not in header:
        raise FormatError(f"{path}: the header lacks `layers`; the model is of a build that did not say what it is")
    specs = [layer_spec(said, f"{path}: layer {index}") for index, said in enumerate(json.loads(header["layers"]))]
    return specs, [_of_layer(spec, f"layers.{index}.", tensors, path) for index, spec in enumerate(specs)]


def _one_by_one(folder: Path) -> tuple[list[LayerSpec], list[Tensors]]:
    specs: list[LayerSpec] = []
    weights: list[Tensors] = []
    while (path := folder / f"{len(specs):02}.safetensors").exists():
        header = _header(path)
        if "spec" not in header:
            raise FormatError(f"{path}: the header lacks `spec`; the layer is of a build that did not say what it is")
        spec = layer_spec(json.loads(header["spec"]), str(path))
        specs.append(spec)
        weights.append(_of_layer(spec, "", _tensors(path), path))
    return specs, weights


def _of_layer(spec: LayerSpec, prefix: str, tensors: Tensors, path: Path) -> Tensors:
    found: Tensors = {}
    for name, shape in spec.map.tensors.items():
        tensor = tensors.get(prefix + name)
        if tensor is None or tensor.shape != shape:
            said = "nothing" if tensor is None else f"shape {tensor.shape}"
            raise FormatError(f"{path}: {prefix}{name}: found {said}, expected shape {shape}")
        found[name] = tensor
    return found


def _readout(path: Path) -> Tensors | None:
    place = path / "readout.safetensors"
    if not place.exists():
        return None
    _header(place)
    tensors = _tensors(place)
    if set(tensors) != {"weight", "bias"}:
        raise FormatError(f"{place}: found {', '.join(sorted(tensors))}, expected weight and bias")
    return tensors


def _header(path: Path) -> dict[str, str]:
    with _opened(path) as file:
        header: dict[str, str] = file.metadata() or {}
    found = header.get("format", "1")
    if not found.isdecimal() or not 1 <= int(found) <= FORMAT:
        raise FormatError(f"{path}: found format {found}, expected {FORMAT} or less; a later Strata wrote it")
    return header


def _tensors(path: Path) -> Tensors:
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise FormatError(f"{path}: {error}") from error


def _weights_sha256(network: Network) -> str:
    """As `run.json` and the programs say it: over the tensors of all layers in their order, as little-endian floats."""
    found = hashlib.sha256()
    for spec, tensors in zip(network.specs, network.weights):
        for name in spec.map.tensors:
            found.update(tensors[name].astype("<f4").tobytes())
    return found.hexdigest()


def _indices(said: str, path: Path) -> list[int]:
    found = json.loads(said)
    if not isinstance(found, list) or not all(isinstance(index, int) for index in found):
        raise FormatError(f"{path}: readout_layers: found {said}, expected a list of indices")
    return sorted(found)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
