"""Frozen layers as a PyTorch module, for those who have PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .network import Network
from .spec import BiRnn, Conv, LayerSpec, MapShape, Pool


def module(network: Network) -> nn.Module:
    """A module from samples, (samples, ...) as `Network.transform` reads them, to features, (samples, features).

    Its weights are parameters, so it can be trained further.
    """
    if network.recurrent:
        raise ValueError("to_torch: recurrent networks are not supported; use transform")
    return _Features(network)


class _Features(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, network: Network) -> None:
        super().__init__()
        pairs = list(zip(network.specs, network.weights))[: network.read[-1] + 1]
        self.layers = nn.ModuleList([_Layer(spec, tensors) for spec, tensors in pairs])
        self.read = network.read
        first = network.specs[0].map
        assert not isinstance(first, BiRnn)
        self.shape = first.input if isinstance(first, Conv) else MapShape(1, 1, first.inputs)

    def forward(self, samples: Any) -> Any:
        maps = samples.reshape(-1, self.shape.height, self.shape.width, self.shape.channels).permute(0, 3, 1, 2)
        found = []
        for index, layer in enumerate(self.layers):
            maps = layer(maps)
            if index in self.read:
                found.append(layer.features(maps))
        return torch.cat(found, dim=1)


class _Layer(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, spec: LayerSpec, tensors: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        weight = torch.from_numpy(tensors["weight"].copy())
        if isinstance(spec.map, Conv):
            kernel, channels = spec.map.kernel, spec.map.input.channels
            weight = weight.reshape(-1, kernel, kernel, channels).permute(0, 3, 1, 2).contiguous()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.from_numpy(tensors["bias"].copy()))

    def forward(self, maps: Any) -> Any:
        """Maps, (samples, channels, height, width), to the same of what the layer passes on."""
        spec, layer = self.spec, self.spec.map
        halves = 2.0 if spec.makes_pairs else 1.0
        if spec.makes_pairs:
            maps = _standardized(maps, 1.0)
        if isinstance(layer, Conv):
            padded = functional.pad(maps, (layer.padding,) * 4, mode="reflect") if layer.padding else maps
            z = functional.conv2d(_standardized(padded, halves), self.weight)
        else:
            flat = _standardized(maps, halves).permute(0, 2, 3, 1).flatten(1)
            z = functional.linear(flat, self.weight)[:, :, None, None]
        z = halves * (z + self.bias[None, :, None, None])
        if spec.transmit == "triangle":
            z = z - z.mean(dim=1, keepdim=True)
        return _pooled(spec.pool, functional.relu(z))

    def features(self, passed_on: Any) -> Any:
        maps = _pooled(self.spec.readout_pool, passed_on)
        return _standardized(maps, 1.0).permute(0, 2, 3, 1).flatten(1)


def _standardized(maps: Any, copies: float) -> Any:
    """By the mean and the unbiased deviation of so many copies of each sample's numbers."""
    flat = maps.flatten(1).double()
    centred = flat - flat.mean(dim=1, keepdim=True)
    count = copies * flat.shape[1]
    deviation = (copies * (centred**2).sum(dim=1, keepdim=True) / max(count - 1, 1)).sqrt()
    same = flat.amax(dim=1, keepdim=True) == flat.amin(dim=1, keepdim=True)
    standardized = torch.where(same, torch.zeros_like(centred), centred / (1e-10 + deviation))
    return standardized.to(maps.dtype).reshape(maps.shape)


def _pooled(pool: Pool | None, maps: Any) -> Any:
    if pool is None:
        return maps
    apply = functional.max_pool2d if pool.kind == "max" else functional.avg_pool2d
    return apply(maps, pool.size, pool.stride, pool.padding, ceil_mode=True)
