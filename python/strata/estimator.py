"""A scikit-learn estimator that has the programs train a network, and transforms with what it has learned."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from .layers import Floats
from .programs import find_program
from .run import load

# Numbers of these types are written as they are; others become single precision.
_KEPT = [np.float32, np.float64, np.uint8]


class RunFailed(RuntimeError):
    """The coordinator could not train; the message is its own."""


class SCFF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Features by Self-Contrastive Forward-Forward learning (arXiv 2409.11593), without labels and without back-propagation.

    `fit` writes X to a file and has the coordinator train on it, with workers of its own on this machine or with those
    named; `transform` computes features in numpy, equal to the programs' within 1e-4. What has been fitted needs the
    programs no more: it can be pickled and used elsewhere.

    Parameters
    ----------
    config : path, optional
        A configuration whose `[data]` has a `path`, in whose place X is put. By default `coordinator init` makes one that
        suits X.
    set : mapping, optional
        Keys of the configuration with other values, such as `{"layers.0.units": 500, "seed": 2}`.
    local : int
        How many worker processes to start on this machine, where no `workers` are named.
    workers : str, optional
        Addresses of running workers, as `coordinator run --workers` has them.
    run_dir : path, optional
        Where to keep the run directory, with X beside it. By default both are temporary. A run of the same X and configuration
        that is there already is gone on from, or used as it is.
    verbose : bool
        Whether the programs' messages are shown.

    Attributes
    ----------
    network_ : strata.Network
        The trained layers.
    input_ : strata.Input or None
        How samples are scaled before the first layer reads them.
    metrics_ : list of dict
        The reports of training, oldest first.
    summary_ : dict
        What came out of the run, its `weights_sha256` among it.
    n_features_in_ : int
        Features of X, or the height of its images.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(strata.SCFF(), LogisticRegression())      # doctest: +SKIP
    >>> model.fit(X, y).score(X_test, y_test)                           # doctest: +SKIP
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        set: Mapping[str, Any] | None = None,
        local: int = 1,
        workers: str | None = None,
        run_dir: str | os.PathLike[str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.config = config
        self.set = set
        self.local = local
        self.workers = workers
        self.run_dir = run_dir
        self.verbose = verbose

    def fit(self, X: npt.ArrayLike, y: object = None) -> SCFF:
        """Trains on X: rows (samples, features), or images (samples, height, width) or (samples, height, width, channels),
        of bytes or of numbers. Labels are not looked at."""
        checked = self._checked(X, first=True)
        with tempfile.TemporaryDirectory(prefix="strata-") as folder:
            run = load(self._train(checked, Path(folder)))
            self.network_ = run.network
            self.input_ = run.input
            self.metrics_ = run.metrics
            self.summary_ = run.summary
        self._n_features_out = self.transform(checked[:1]).shape[1]
        return self

    def transform(self, X: npt.ArrayLike) -> Floats:
        """The features of samples like those of `fit`: (samples, features)."""
        check_is_fitted(self)
        X = self._checked(X, first=False)
        return self.network_.transform(X if self.input_ is None else self.input_.scale(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Features are in single precision, whatever X is.
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _checked(self, X: npt.ArrayLike, first: bool) -> npt.NDArray[Any]:
        """X as an array of finite numbers of a type that is kept in files."""
        least = 2 if first else 1
        checked: npt.NDArray[Any] = validate_data(
            self, X, reset=first, dtype=_KEPT, allow_nd=True, ensure_min_samples=least
        )
        if checked.dtype == np.float64 and np.abs(checked).max() > np.finfo(np.float32).max:
            raise ValueError("X: found a number that is infinity or too large in single precision")
        return checked

    def _train(self, X: npt.NDArray[Any], folder: Path) -> Path:
        """Has the coordinator train; returns the run directory."""
        program = find_program()
        out = folder / "run" if self.run_dir is None else Path(self.run_dir).absolute()
        out.parent.mkdir(parents=True, exist_ok=True)
        # Beside the run, which remembers what it was trained on.
        data, config = out.with_name(out.name + ".X.npy"), folder / "config.toml"
        np.save(data, np.ascontiguousarray(X))
        if self.config is None:
            self._call([program, "init", data, "--out", config])
        else:
            config = Path(self.config)
        command: list[str | Path] = [program, "run", config, "--out", out]
        command += ["--local", str(self.local)] if self.workers is None else ["--workers", self.workers]
        for key, value in {"data.path": str(data), "data.test": 0.0, **(self.set or {})}.items():
            command += ["--set", f"{key}={_toml(value)}"]
        self._call(command)
        return out

    def _call(self, command: list[str | Path]) -> None:
        shown = None if self.verbose else subprocess.PIPE
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=shown, stderr=shown, text=True)
        if done.returncode != 0:
            last = (done.stderr or "").strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
            raise RunFailed(f"{' '.join(map(str, command))}: {last[0]}")


def _toml(value: object) -> str:
    """A value as `--set` reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
