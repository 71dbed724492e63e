"""Run directories: those of the real program, and those that are not what they should be."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strata
from safetensors.numpy import save_file

from runs import WORKSPACE, dense, program, spec, trained, write_run


def iris() -> tuple[Any, Any, Any]:
    """Measures, species, and whether a row is one of the program's test rows."""
    rows = np.loadtxt(WORKSPACE / "source" / "src" / "iris.csv", delimiter=",", comments="#", skiprows=4)
    species = rows[:, 4].astype(int)
    place = np.concatenate([np.arange((species == kind).sum()) for kind in range(3)])
    return rows[:, :4], species, place % 5 == 4


def test_a_run_of_the_program_opens_and_predicts_what_its_readout_did(tmp_path: Path) -> None:
    run = strata.load(trained("iris.toml", tmp_path / "run"))
    X, species, test = iris()
    assert run.summary is not None
    readout = run.summary["readout"]
    assert (run.predict(X[test]) == species[test]).mean() == pytest.approx(readout["test_accuracy"])
    assert (run.predict(X[~test]) == species[~test]).mean() == pytest.approx(readout["train_accuracy"])
    assert run.transform(X).shape == (150, readout["features"])
    probabilities = run.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (probabilities.argmax(axis=1) == run.predict(X)).all()


def test_what_the_run_says_of_itself_is_there(tmp_path: Path) -> None:
    run = strata.load(trained("iris.toml", tmp_path / "run"))
    assert run.config["data"]["name"] == "iris"
    # The last goodness of training is that of the samples as the layer was then: near that of the frozen layer.
    last = [line for line in run.metrics if line["layer"] == 0][-1]
    assert last["step"] == run.summary["layers"][0]["steps"]  # type: ignore[index]
    X, _, test = iris()
    assert run.network.goodness(X[~test])[:, 0].mean() == pytest.approx(last["goodness_pos"], rel=0.05)
    assert {name: tensor.shape for name, tensor in run.weights.items()} == {
        "layers.0.weight": (64, 4),
        "layers.0.bias": (64,),
        "layers.1.weight": (64, 64),
        "layers.1.bias": (64,),
        "readout.weight": (3, 128),
        "readout.bias": (3,),
    }


def test_features_of_the_program_are_equal(tmp_path: Path) -> None:
    found = subprocess.run([program(), "features", "--help"], capture_output=True, timeout=30)
    if found.returncode != 0:
        pytest.skip("this build of the program has no command `features`")
    run = trained("iris.toml", tmp_path / "run")
    X, species, test = iris()
    expected = strata.load(run).transform(X[test])

    def written(name: str) -> Path:
        command = [program(), "features", run, "iris:test", "--out", tmp_path / name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return tmp_path / name

    np.testing.assert_allclose(np.load(written("features.npy")), expected, atol=1e-4)
    with np.load(written("features.npz")) as arrays:
        np.testing.assert_allclose(arrays["features"], expected, atol=1e-4)
        assert arrays["names"].tolist() == [str(number) for number in range(30)]
        assert arrays["classes"][arrays["labels"]][0] == "setosa"
        np.testing.assert_array_equal(arrays["labels"], species[test])


@pytest.mark.parametrize("config, data", [("iris.toml", "iris:test"), ("images", "images.npy")])
@pytest.mark.parametrize("method", ["mahalanobis", "neighbours", "goodness", "partners"])
def test_scores_of_the_program_are_equal(config: str, data: str, method: Any, tmp_path: Path) -> None:
    if config == "images":
        X = np.random.default_rng(0).integers(0, 255, size=(120, 10, 10), dtype=np.uint8)
        np.save(tmp_path / "images.npy", X)
        run = trained(images(tmp_path / "images.npy"), tmp_path / "run")
        data = str(tmp_path / "images.npy")
    else:
        rows, _, test = iris()
        X, run = rows[test], trained(config, tmp_path / "run")
    with pytest.raises(FileNotFoundError, match=f"coordinator score .* --method {method}"):
        strata.load(run).score(X, method)
    command = [program(), "score", run, data, "--method", method, "--out", tmp_path / "scores.csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    expected = np.loadtxt(tmp_path / "scores.csv", delimiter=",", skiprows=1, usecols=1)
    found = strata.load(run).score(X, method)
    # What is compared with itself has a distance of about zero, which differences of squares do not tell.
    if method == "neighbours":
        assert found.shape == expected.shape
        # Each of its three sums of squares is off by a few roundings, and of the five nearest one is itself.
        largest = (strata.load(run).transform(X).astype(np.float64) ** 2).sum(axis=1).max()
        coarse = np.sqrt(16 * np.finfo(np.float32).eps * largest) / 5
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=coarse)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def images(array: Path) -> Path:
    """The configuration of a small network of convolutions, one of which takes pairs and one makes them."""
    layer = """
[[layers]]
name = "conv{index}"
kind = "conv"
units = 8
kernel = 3
padding = 1
pairs = "{pairs}"
transmit = "triangle"
pool = {{ kind = "max", size = 2 }}
epochs = 1
lr = 0.01
weight_decay = 1e-4
gamma = 1.0
period = 50
theta_pos = 1.0
theta_neg = 2.0
lambda = 0.0
"""
    text = f'seed = 1\n[data]\npath = "{array}"\n[training]\nbatch = 20\nreport_every = 2\ncheckpoint_every = 2\n'
    file = array.with_suffix(".toml")
    file.write_text(text + "".join(layer.format(index=i, pairs=p) for i, p in enumerate(["makes", "takes", "makes"])))
    return file


def test_weights_are_exported_as_arrays(tmp_path: Path) -> None:
    run = trained("iris.toml", tmp_path / "run")
    command = [program(), "export", run, "--npz", tmp_path / "weights.npz", "--readout"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    weights = strata.load(run).weights
    with np.load(tmp_path / "weights.npz") as arrays:
        assert sorted(arrays) == sorted(weights)
        for name, weight in weights.items():
            np.testing.assert_array_equal(arrays[name], weight)


def test_an_unfinished_run_opens_with_the_layers_that_are_frozen(tmp_path: Path) -> None:
    place = trained("iris.toml", tmp_path / "run")
    whole = strata.load(place)
    X, _, _ = iris()
    for name in ["model.safetensors", "readout.safetensors", "summary.json", "layers/01.safetensors"]:
        (place / name).unlink()
    half = strata.load(place)
    assert half.summary is None
    np.testing.assert_array_equal(half.transform(X), whole.transform(X)[:, :64])
    with pytest.raises(ValueError, match="no readout"):
        half.predict(X)


def small(path: Path, header: dict[str, str] | None = None, **changes: Any) -> Path:
    layer = {"weight": np.eye(3, 2, dtype=np.float32), "bias": np.zeros(3, np.float32)}
    return write_run(path, [(spec(dense(2, 3), **changes), layer)], header)


def test_files_that_are_wrong_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(strata.FormatError, match="model.safetensors: found format 2, expected 1 or less"):
        strata.load(small(tmp_path / "later", {"format": "2"}))
    with pytest.raises(strata.FormatError, match="layer 0: pairs: found 'guesses', expected one of makes, takes"):
        strata.load(small(tmp_path / "pairs", pairs="guesses"))
    place = small(tmp_path / "shape")
    save_file(
        {"layers.0.weight": np.zeros((2, 2), np.float32)},
        place / "model.safetensors",
        {"layers": json.dumps([spec(dense(2, 3))])},
    )
    with pytest.raises(strata.FormatError, match=r"layers.0.weight: found shape \(2, 2\), expected shape \(3, 2\)"):
        strata.load(place)
    (place / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(strata.FormatError, match="model.safetensors"):
        strata.load(place)
    (place / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no layer is frozen yet"):
        strata.load(place)


def test_samples_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    run = strata.load(small(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"found an array of shape \(4, 3\), expected \(samples, 2\)"):
        run.transform(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="found no sample"):
        run.transform(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="not finite"):
        run.transform([[np.nan, 1.0]])


def test_a_sample_s_features_do_not_depend_on_its_company(tmp_path: Path) -> None:
    run = strata.load(small(tmp_path / "run"))
    X = np.random.default_rng(0).normal(size=(9, 2))
    alone = np.concatenate([run.transform(X[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(run.transform(X), alone, atol=1e-6)


def test_programs_are_found_where_they_are_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_BIN", str(tmp_path))
    with pytest.raises(strata.ProgramNotFound, match="STRATA_BIN"):
        strata.find_program()
    (tmp_path / "coordinator").touch(mode=0o755)
    assert strata.find_program() == tmp_path / "coordinator"
    monkeypatch.delenv("STRATA_BIN")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert strata.find_program() == tmp_path / "coordinator"


@pytest.mark.parametrize("kind", ["dense", "conv", "birnn"])
def test_models_of_the_program_give_the_features_that_it_recorded(kind: str) -> None:
    place = WORKSPACE / "coordinator" / "tests" / "models" / "v1" / kind
    run = strata.load(place)

    def numbers(rows: int, columns: int) -> Any:
        """The samples of which `coordinator/src/model.rs` recorded the features."""
        row, column = np.ogrid[:rows, :columns]
        return (((row * 7919 + column * 104_729) % 2003).astype(np.float32) / np.float32(2003)).astype(np.float32)

    if run.network.recurrent:
        frames = numbers(20, run.network.specs[0].map.features)  # type: ignore[union-attr]
        samples = np.split(frames, np.cumsum([3, 1, 7, 4]))
    else:
        samples = numbers(5, run.network.specs[0].map.inputs)  # type: ignore[union-attr]
    recorded = np.array(json.loads((place / "features.json").read_text()))
    np.testing.assert_allclose(run.transform(samples), recorded, rtol=0, atol=1e-4)
    assert run.predict(samples).shape == (5,)
