"""Layers against tensors that PyTorch computed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strata
from strata.layers import pooled
from strata.spec import Pool

from runs import conv, dense, golden, pool, rows_of, spec, write_run

TOLERANCE = 1e-5


def close(found: Any, expected: Any) -> None:
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * scale)


def channels_last(maps: Any) -> Any:
    return maps.transpose(0, 2, 3, 1)


def test_a_dense_layer_sees_a_sample_as_a_pair_and_constants_as_zero(tmp_path: Path) -> None:
    for name in ["dense_one_view", "dense_zero_variance"]:
        given = golden(name)
        layer = {"weight": given["in.W"], "bias": given["in.b"]}
        run = strata.load(write_run(tmp_path / name, [(spec(dense(20, 12)), layer)]))
        close(run.network.activations(given["in.x1"], 0).reshape(8, 12), given["f64.act_pos"])
        close(run.network.goodness(given["in.x1"])[:, 0], given["f64.g_pos"])


def test_algorithm_1_takes_pairs_and_features_stand_side_by_side(tmp_path: Path) -> None:
    given = golden("dense_alg1_layer2")
    layers = [
        (spec(dense(20, 12)), {"weight": given["in.W1"], "bias": given["in.b1"]}),
        (spec(dense(12, 10), pairs="takes"), {"weight": given["in.W2"], "bias": given["in.b2"]}),
    ]
    run = strata.load(write_run(tmp_path / "run", layers))
    close(run.transform(given["in.x1"]), given["f64.features"])
    close(run.network.goodness(given["in.x1"])[:, 1], given["f64.g_pos"])


def test_a_convolution_of_algorithm_1_standardises_its_padded_map(tmp_path: Path) -> None:
    given = golden("conv_alg1_layer2")
    layers = [
        (
            spec(conv(8, 3, 6, 5, 2), pool=pool("max", 4, 2, 1)),
            {"weight": rows_of(given["in.W1"]), "bias": given["in.b1"]},
        ),
        (spec(conv(4, 6, 8, 3, 1), pairs="takes"), {"weight": rows_of(given["in.W2"]), "bias": given["in.b2"]}),
    ]
    run = strata.load(write_run(tmp_path / "run", layers))
    samples = channels_last(given["in.x"])
    close(run.network.activations(samples, 0), channels_last(given["f64.l2_in_pos"]))
    close(run.network.goodness(samples)[:, 1], given["f64.g_pos"].mean(axis=(1, 2)))


def three_convolutions(path: Path) -> tuple[strata.Run, Any, Any]:
    """The network of the readout's golden tensors, its samples and their features, channels last."""
    given = golden("pipeline3_features")
    extra = pool("average", 2, 2)
    shapes = [
        spec(conv(16, 3, 6, 5, 2), pool=pool("max", 4, 2, 1), readout_pool=extra),
        spec(conv(8, 6, 8, 3, 1), pool=pool("max", 4, 2, 1), readout_pool=extra),
        spec(conv(4, 8, 10, 3, 1), transmit="relu", pool=pool("average", 2, 2), readout_pool=extra),
    ]
    layers = [
        (shape, {"weight": rows_of(given[f"in.W{layer}"]), "bias": given[f"in.b{layer}"]})
        for layer, shape in enumerate(shapes, start=1)
    ]
    parts = [channels_last(given[f"f64.feat{layer}"]).reshape(3, -1) for layer in (1, 2, 3)]
    run = strata.load(write_run(path, layers))
    return run, channels_last(given["in.x"]), np.concatenate(parts, axis=1)


def test_three_convolutions_give_the_readout_s_features(tmp_path: Path) -> None:
    run, samples, features = three_convolutions(tmp_path / "run")
    close(run.transform(samples), features)
    # Flat samples are the same.
    close(run.transform(samples.reshape(3, -1)), features)


def test_the_torch_module_is_equal(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    run, samples, features = three_convolutions(tmp_path / "conv")
    found = run.to_torch()(torch.from_numpy(np.ascontiguousarray(samples))).detach().numpy()
    close(found, features)
    given = golden("dense_alg1_layer2")
    layers = [
        (spec(dense(20, 12)), {"weight": given["in.W1"], "bias": given["in.b1"]}),
        (spec(dense(12, 10), pairs="takes"), {"weight": given["in.W2"], "bias": given["in.b2"]}),
    ]
    run = strata.load(write_run(tmp_path / "dense", layers))
    close(run.to_torch()(torch.from_numpy(given["in.x1"])).detach().numpy(), given["f64.features"])


def test_pooling_follows_pytorch_s_ceil_mode() -> None:
    given = golden("pooling")
    tried = 0
    for name, expected in given.items():
        kind, _, rest = name.removeprefix("f64.").partition(".k")
        if not name.startswith("f64.") or kind not in ("max", "avg"):
            continue
        numbers, side = rest.split(".n")
        size, stride, padding = (int(number) for number in numbers.replace("s", " ").replace("p", " ").split())
        kind = "max" if kind == "max" else "average"
        found = pooled(Pool(kind, size, stride, padding), channels_last(given[f"in.x{side}"]))
        close(found, channels_last(expected))
        tried += 1
    assert tried >= 10


@pytest.mark.parametrize("summary", ["last", "mean", "thirds"])
def test_a_recurrent_layer_walks_both_ways(tmp_path: Path, summary: str) -> None:
    given = golden("birnn")
    both = [
        np.concatenate([given[f"in.rnn_{way}.{name}_l0"] for way in "fb"])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    shape = {"height": 7, "width": 1, "channels": 5}
    map_ = {"birnn": {"input": shape, "hidden": 6, "padding": "masked", "summary": summary}}
    layer = dict(zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), both))
    run = strata.load(write_run(tmp_path / "run", [(spec(map_, transmit="standardized"), layer)]))
    features = run.transform(given["in.x"])
    if summary == "last":
        close(features, given["f64.last_pos"])
        return
    hidden = given["f64.hidden_pos"].reshape(4, 7, 2, 6)
    states = (hidden - hidden.mean(-1, keepdims=True)) / hidden.std(-1, ddof=1, keepdims=True)
    bounds = [(0, 7)] if summary == "mean" else [(0, 2), (2, 4), (4, 7)]
    means = np.stack([states[:, start:end].mean(axis=1) for start, end in bounds], axis=1)
    means = (means - means.mean(-1, keepdims=True)) / means.std(-1, ddof=1, keepdims=True)
    close(features, means.reshape(4, -1))
