# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine's Python environment: finds it, checks it, makes it.

QGIS's own Python never imports the engine's packages. They live in a virtual environment of
their own, and the worker process runs there. The interpreter is, in this order,

1. the one that the user named in the options,
2. the one that the variable UNET_SEGMENTER_PYTHON names,
3. that of the environment in the user's data folder, made by `create_environment`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..engine.errors import RuntimeMissingError
from .base_interpreter import find_base_interpreter
from .child_environment import scrubbed_environment
from .environment_check import (
    ENGINE_MODULES,
    REMEDY,
    EnvironmentReport,
    PackageReport,
    State,
    engine_lock,
    environment_python,
    is_complete,
    lock_hash,
    verify_environment,
)
from .environment_setup import create_environment

__all__ = [
    "ENGINE_MODULES",
    "PYTHON_VARIABLE",
    "Environment",
    "EnvironmentReport",
    "PackageReport",
    "State",
    "create_environment",
    "default_location",
    "engine_lock",
    "environment_python",
    "find_base_interpreter",
    "find_environment",
    "lock_hash",
    "scrubbed_environment",
    "verify_environment",
]

PYTHON_VARIABLE = "UNET_SEGMENTER_PYTHON"


@dataclass(frozen=True)
class Environment:
    """Where the engine's interpreter is, as far as can be told without starting it.

    Parameters
    ----------
    python : Path
        The interpreter, whether it exists or not.
    origin : str
        Who named it: "the options", "UNET_SEGMENTER_PYTHON" or "the default location".
    state : State
        READY, UNCHECKED (named by the user; only `verify_environment` can tell more),
        INCOMPLETE or ABSENT.
    message : str
        One sentence, with the remedy where something is missing.
    """

    python: Path
    origin: str
    state: State
    message: str

    @property
    def usable(self) -> bool:
        """Whether a worker can be started with it."""
        return self.state in (State.READY, State.UNCHECKED)

    def require(self) -> Path:
        """Path of the interpreter.

        Raises
        ------
        RuntimeMissingError
            If it is absent or half installed; the message says how to mend it.
        """
        if not self.usable:
            raise RuntimeMissingError(self.message)
        return self.python


def find_environment(
    setting: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ
) -> Environment:
    """Find the engine's environment without starting anything (milliseconds).

    Parameters
    ----------
    setting : path, optional
        The interpreter, or the folder of the environment, from the options. A wrong one is
        reported, never passed over.
    environ : mapping
        Environment variables.
    """
    if setting:
        return _named(Path(setting), "the options")
    if environ.get(PYTHON_VARIABLE):
        return _named(Path(environ[PYTHON_VARIABLE]), PYTHON_VARIABLE)
    origin = "the default location"
    try:
        folder = default_location(environ)
    except RuntimeMissingError as error:
        return Environment(Path("python"), origin, State.ABSENT, str(error))
    python = environment_python(folder)
    if is_complete(folder, engine_lock()):
        return Environment(python, origin, State.READY, f"The engine's environment is {folder}.")
    if folder.is_dir():
        message = f"The engine's environment in {folder} is half installed. {REMEDY}"
        return Environment(python, origin, State.INCOMPLETE, message)
    message = f"The engine's environment is not there yet (looked in {folder}). {REMEDY}"
    return Environment(python, origin, State.ABSENT, message)


def default_location(
    environ: Mapping[str, str] = os.environ, *, platform: str = sys.platform
) -> Path:
    """Folder of the environment that `create_environment` makes for this user.

    Its name holds the lock's hash, so a new version of the plugin with other packages gets an
    environment of its own, and the old one stays usable by the old plugin.

    Raises
    ------
    RuntimeMissingError
        If the user has no home.
    """
    try:
        home = Path(environ.get("HOME") or Path.home())
    except RuntimeError as error:
        raise RuntimeMissingError(
            "This user has no home folder in which the engine's environment could be. Name the "
            f"Python of one in {PYTHON_VARIABLE}, or a folder in HOME."
        ) from error
    if platform == "win32":
        data = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return data / "unet_segmenter" / f"engine-{lock_hash(engine_lock())[:10]}"


def _named(path: Path, origin: str) -> Environment:
    """The interpreter that the user named, directly or by its environment's folder."""
    python = environment_python(path) if path.is_dir() else path
    if python.is_file():
        return Environment(
            python, origin, State.UNCHECKED, f"The engine runs in {python}, named in {origin}."
        )
    message = (
        f"There is no Python at {python}, the one named in {origin}. Correct or remove it, and "
        f"use the plugin's own environment. {REMEDY}"
    )
    return Environment(python, origin, State.ABSENT, message)
