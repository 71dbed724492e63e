"""Networks trained by Strata, opened in Python.

>>> run = strata.load("runs/mnist-seed1")          # doctest: +SKIP
>>> features = run.transform(X)                     # doctest: +SKIP
"""

from .network import Network
from .programs import ProgramNotFound, find_program
from .run import Run, load
from .spec import FormatError

__all__ = ["FormatError", "Network", "ProgramNotFound", "Run", "find_program", "load"]
__version__ = "0.1.0"
