"""A network that Strata has trained, as a module of PyTorch.

    model = Strata.load("model.safetensors")
    features = model(samples)              # (samples, features)
    probabilities = model.probabilities(samples)   # where it was exported with its readout

Samples are scaled as those of the run's data set, channels last: (samples, height, width, channels); (samples, elements) for a
dense first layer; (samples, frames, numbers) for sequences of one length.
"""

import json
import math

import torch
import torch.nn.functional as F
from safetensors import safe_open

EPSILON = 1e-10


def standardize(x, dims, copies=1):
    """x minus its mean, divided by its unbiased deviation, as if all of x stood there `copies` times."""
    double = x.double()
    difference = double - double.mean(dims, keepdim=True)
    count = copies * math.prod(x.shape[dim] for dim in dims)
    variance = copies * (difference * difference).sum(dims, keepdim=True) / max(count - 1, 1)
    return (difference / (variance.sqrt() + EPSILON)).float()


def pool(x, spec):
    """x: (samples, channels, height, width)."""
    if spec is None:
        return x
    size, stride, padding = spec["size"], spec["stride"], spec["padding"]
    if spec["kind"] == "max":
        return F.max_pool2d(x, size, stride, padding, ceil_mode=True)
    return F.avg_pool2d(x, size, stride, padding, ceil_mode=True, count_include_pad=True)


class Layer(torch.nn.Module):
    def __init__(self, spec, tensors):
        super().__init__()
        (self.kind, self.map), = spec["map"].items()
        self.spec = spec
        self.copies = 2 if spec["pairs"] == "makes" else 1
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def forward(self, x):
        return {"dense": self.dense, "conv": self.conv, "birnn": self.birnn}[self.kind](x)

    def dense(self, x):
        x = x.reshape(len(x), -1)
        if self.copies == 2:
            x = standardize(x, (1,))
        x = standardize(x, (1,), self.copies)
        return self.transmit(self.copies * F.linear(x, self.weight, self.bias))

    def conv(self, x):
        shape, kernel, padding = self.map["input"], self.map["kernel"], self.map["padding"]
        x = x.reshape(len(x), shape["height"], shape["width"], shape["channels"]).permute(0, 3, 1, 2)
        if self.copies == 2:
            x = standardize(x, (1, 2, 3))
        if padding:
            x = F.pad(x, [padding] * 4, mode="reflect")
        x = standardize(x, (1, 2, 3), self.copies)
        weight = self.weight.reshape(-1, kernel, kernel, shape["channels"]).permute(0, 3, 1, 2)
        z = self.transmit(self.copies * F.conv2d(x, weight, self.bias))
        return pool(z, self.spec["pool"]).permute(0, 2, 3, 1)

    def transmit(self, z):
        return F.relu(z - z.mean(1, keepdim=True) if self.spec["transmit"] == "triangle" else z)

    def birnn(self, x):
        hidden = self.map["hidden"]
        mapped = self.copies * (x @ self.weight_ih.T) + self.bias_ih + self.bias_hh
        states = []
        for direction, flip in [(0, lambda x: x), (1, lambda x: x.flip(1))]:
            units = slice(direction * hidden, (direction + 1) * hidden)
            state, passed_on = torch.zeros(len(x), hidden), []
            for frame in flip(mapped[:, :, units]).unbind(1):
                state = standardize(F.relu(frame + state @ self.weight_hh[units].T), (1,))
                passed_on.append(state)
            states.append(flip(torch.stack(passed_on, 1)))
        return torch.cat(states, 2)

    def read(self, x):
        """What the readout reads of what the layer passes on: (samples, features)."""
        if self.kind == "birnn":
            return self.summary(x)
        if self.kind == "conv":
            x = pool(x.permute(0, 3, 1, 2), self.spec["readout_pool"]).permute(0, 2, 3, 1)
        return standardize(x.reshape(len(x), -1), (1,))

    def summary(self, states):
        hidden, frames = self.map["hidden"], states.shape[1]
        if self.map["summary"] == "last":
            return torch.cat([states[:, -1, :hidden], states[:, 0, hidden:]], 1)
        thirds = 3 if self.map["summary"] == "thirds" else 1
        parts = []
        for third in range(thirds):
            start = third * frames // thirds
            end = max((third + 1) * frames // thirds, start + 1)
            mean = states[:, start:end].mean(1).reshape(-1, 2, hidden)
            parts.append(standardize(mean, (2,)).reshape(-1, 2 * hidden))
        return torch.cat(parts, 1)


class Strata(torch.nn.Module):
    def __init__(self, specs, read, tensors):
        super().__init__()
        def of(prefix):
            start = prefix + "."
            return {name[len(start):]: tensor for name, tensor in tensors.items() if name.startswith(start)}
        self.layers = torch.nn.ModuleList(Layer(spec, of(f"layers.{index}")) for index, spec in enumerate(specs))
        self.read = read
        for name, tensor in of("readout").items():
            self.register_buffer("readout_" + name, tensor)

    @classmethod
    def load(cls, path):
        with safe_open(path, "pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        return cls(json.loads(header["layers"]), json.loads(header["readout_layers"]), tensors)

    def forward(self, x):
        features = []
        for index, layer in enumerate(self.layers[: max(self.read) + 1]):
            x = layer(x)
            if index in self.read:
                features.append(layer.read(x))
        return torch.cat(features, 1)

    def logits(self, x):
        return F.linear(self(x), self.readout_weight, self.readout_bias)

    def probabilities(self, x):
        return self.logits(x).softmax(1)
