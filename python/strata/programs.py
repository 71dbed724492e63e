"""Where Strata's programs are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class ProgramNotFound(FileNotFoundError):
    """None of the places where a program may be has it; the message names them."""


def find_program(name: str = "coordinator") -> Path:
    """The path of a program of Strata: in the folder that STRATA_BIN names, beside this package (`strata/bin`, where
    a wheel may carry it), or on the PATH.

    A STRATA_BIN that is set and lacks the program is an error, not passed over.
    """
    folder = os.environ.get("STRATA_BIN")
    if folder:
        if found := _runnable(Path(folder) / name):
            return found
        raise ProgramNotFound(f"STRATA_BIN={folder}: found no program `{name}` in it")
    if found := _runnable(Path(__file__).parent / "bin" / name):
        return found
    if on_path := shutil.which(name):
        return Path(on_path)
    raise ProgramNotFound(
        f"the program `{name}` is neither beside the package nor on the PATH; build it (`cargo build --release`) and set "
        "STRATA_BIN to the folder that holds it, or install a wheel that carries it (`cargo xtask dist --wheel`)"
    )


def _runnable(path: Path) -> Path | None:
    return path if path.is_file() and os.access(path, os.X_OK) else None
