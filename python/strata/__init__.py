"""Networks trained by Strata, opened in Python.

>>> run = strata.load("runs/mnist-seed1")          # doctest: +SKIP
>>> features = run.transform(X)                     # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from .input import Input
from .network import Network
from .programs import ProgramNotFound, find_program
from .run import Run, load
from .spec import FormatError

if TYPE_CHECKING:
    from .estimator import SCFF, RunFailed

__all__ = ["SCFF", "FormatError", "Input", "Network", "ProgramNotFound", "Run", "RunFailed", "find_program", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The estimator needs scikit-learn, which nothing else does.
    if name in {"SCFF", "RunFailed"}:
        from . import estimator

        return getattr(estimator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
