"""What `pyproject.toml` cannot say: a wheel that carries the programs.

    STRATA_PROGRAMS=target/release pip wheel ./python --no-deps

Where STRATA_PROGRAMS names a folder that holds `coordinator` and `worker`, they become `strata/bin` in the wheel, a folder `licenses`
beside it becomes `strata/licenses`, and the wheel is one for this kind of machine alone; without it the package is pure Python.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

FOLDER = os.environ.get("STRATA_PROGRAMS")
PROGRAMS = ["coordinator", "worker"]


class WithPrograms(build_py):
    def run(self) -> None:
        super().run()
        for name in PROGRAMS if FOLDER else []:
            program = Path(FOLDER) / name
            if not os.access(program, os.X_OK):
                raise SystemExit(f"STRATA_PROGRAMS={FOLDER}: found no program `{name}` in it")
            target = Path(self.build_lib) / "strata" / "bin" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(program, target)
        # Of what is linked into programs that were packed.
        licenses = Path(FOLDER or "").parent / "licenses"
        if FOLDER and licenses.is_dir():
            shutil.copytree(licenses, Path(self.build_lib) / "strata" / "licenses", dirs_exist_ok=True)


class OfThisMachine(bdist_wheel):
    def finalize_options(self) -> None:
        super().finalize_options()
        if FOLDER:
            self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        python, abi, platform = super().get_tag()
        # Any Python: what is compiled is no part of it.
        return ("py3", "none", platform) if FOLDER else (python, abi, platform)


setup(cmdclass={"build_py": WithPrograms, "bdist_wheel": OfThisMachine})
