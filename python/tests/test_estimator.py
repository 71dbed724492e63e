"""The estimator, trained by the real program."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strata
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from runs import program


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of this workspace; without any the tests are skipped."""
    monkeypatch.setenv("STRATA_BIN", str(program().parent))


def blobs(samples: int = 60, features: int = 6, seed: int = 0) -> tuple[Any, Any]:
    """Three heaps of points, and which one each is of."""
    random = np.random.default_rng(seed)
    kinds = np.arange(samples) % 3
    centres = 3.0 * np.random.default_rng(7).normal(size=(3, features))
    return centres[kinds] + random.normal(size=(samples, features)), kinds


@parametrize_with_checks([strata.SCFF()])
def test_the_estimator_keeps_the_conventions_of_scikit_learn(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_features_serve_a_classifier_in_a_pipeline() -> None:
    X, kinds = blobs(150)
    model = make_pipeline(strata.SCFF(), StandardScaler(), LogisticRegression(max_iter=200))
    assert model.fit(X[:90], kinds[:90]).score(X[90:], kinds[90:]) > 0.9


def test_what_was_fitted_is_the_same_to_the_bit_and_outlives_the_programs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    X, _ = blobs()
    first, second = (strata.SCFF(local=local).fit(X) for local in (1, 2))
    assert first.summary_["weights_sha256"] == second.summary_["weights_sha256"]
    monkeypatch.setenv("STRATA_BIN", str(tmp_path))
    copy = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(copy.transform(X), first.transform(X))
    with pytest.raises(strata.ProgramNotFound):
        first.fit(X)


def test_images_of_bytes_train_convolutions() -> None:
    X = np.random.default_rng(0).integers(0, 256, size=(40, 12, 12, 3)).astype(np.uint8)
    model = strata.SCFF().fit(X)
    features = model.transform(X)
    assert features.shape == (40, len(model.get_feature_names_out()))
    np.testing.assert_allclose(features[:3], model.transform(X[:3]), atol=1e-5)


def test_keys_are_set_and_the_run_is_kept_where_it_is_said(tmp_path: Path) -> None:
    X, _ = blobs()
    model = strata.SCFF(set={"seed": 5}, run_dir=tmp_path / "runs" / "blobs").fit(X)
    run = strata.load(tmp_path / "runs" / "blobs")
    assert run.config["seed"] == 5
    np.testing.assert_array_equal(run.transform(X), model.transform(X))
    again = strata.SCFF(set={"seed": 5}, run_dir=tmp_path / "runs" / "blobs").fit(X)
    assert again.summary_["weights_sha256"] == model.summary_["weights_sha256"]


def test_the_coordinator_s_refusal_is_what_is_raised(tmp_path: Path) -> None:
    X, _ = blobs()
    with pytest.raises(strata.RunFailed, match="nothing.of.this"):
        strata.SCFF(set={"nothing.of.this": 1}).fit(X)
