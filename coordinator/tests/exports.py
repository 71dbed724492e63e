"""Computes the features, logits and probabilities of input.f32 by an exported model and compares them: within 1e-4.

    exports.py onnx|torch SIDES-OF-THE-INPUT
"""

import sys

import numpy as np


def read(name):
    return np.fromfile(name, "<f4")


def by_onnxruntime(samples):
    import onnxruntime

    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    assert any(output.name == "layers.0" for output in session.get_outputs()), "an output for each layer"
    return session.run(["features", "logits", "probabilities"], {"input": samples})


def by_torch(samples):
    import torch

    sys.path.insert(0, "module")
    from model import Strata

    model = Strata.load("module/model.safetensors")
    samples = torch.from_numpy(samples)
    return [output.numpy() for output in (model(samples), model.logits(samples), model.probabilities(samples))]


way, sides = sys.argv[1:]
samples = read("input.f32").reshape([int(side) for side in sides.split(",")])
features, logits, probabilities = {"onnx": by_onnxruntime, "torch": by_torch}[way](samples)
for found, name in [(features, "features.f32"), (logits, "logits.f32")]:
    expected = read(name).reshape(found.shape)
    error = (np.abs(found - expected) / np.maximum(1, np.abs(expected))).max()
    assert error < 1e-4, f"{name}: {error}"
    print(f"{name}: {found.shape} agree within {error:.2e}")
assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
