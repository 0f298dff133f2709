# SPDX-License-Identifier: GPL-2.0-or-later
"""What training needs beyond the engine: TensorFlow and its train, added on request.

The packages are laid over the engine's environment, in whose lock none of them is, so the engine
stays as it was tested. `training.json`, written last, says that they came whole.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..engine.errors import RuntimeMissingError
from ..engine.progress import Progress, SilentProgress
from ..engine.remedies import set_up
from . import environment_setup
from .encoder_download import add_encoder
from .environment import Environment
from .environment_check import (
    EnvironmentReport,
    engine_lock,
    environment_python,
    is_complete,
    verify_environment,
    write_stamp,
)

TRAINING_STAMP = "training.json"

# The packages of requirements/training.in, and their modules.
TRAINING_MODULES: Mapping[str, str] = {
    "keras": "keras",
    "matplotlib": "matplotlib",
    "onnx": "onnx",
    "tensorflow": "tensorflow",
}

TRAINING_REMEDY = set_up(training=True)


def training_lock() -> Path:
    """Path of the lock of what training needs: in the plugin, or beside it in a checkout."""
    return engine_lock().with_name("training.txt")


def has_training(folder: Path, lock: Path | None = None) -> bool:
    """Whether the packages of training were added to the environment in `folder`, to the end.

    Starts nothing.
    """
    return is_complete(folder, lock or training_lock(), TRAINING_STAMP)


def training_problem(environment: Environment) -> str:
    """Why the environment cannot train, in a sentence with the remedy; or nothing.

    Starts nothing. Of an environment that the plugin did not make only a run can tell.
    """
    if not environment.usable:
        return environment.message
    folder = environment.python.parent.parent
    if is_complete(folder, engine_lock()) and not has_training(folder):
        return f"The engine's environment {folder} has no packages for training. {TRAINING_REMEDY}"
    return ""


def verify_training(
    python: str | os.PathLike[str],
    *,
    lock: Path | None = None,
    modules: Mapping[str, str] = TRAINING_MODULES,
    environ: Mapping[str, str] = os.environ,
) -> EnvironmentReport:
    """Start `python` and see whether it can train; see `verify_environment`.

    Takes some ten seconds, most of them for TensorFlow.
    """
    return verify_environment(
        python,
        lock=lock or training_lock(),
        modules=modules,
        environ=environ,
        remedy=TRAINING_REMEDY,
        what="training",
    )


def add_training(
    target: Path,
    progress: Progress | None = None,
    *,
    lock: Path | None = None,
    encoder: Path | None = None,
    modules: Mapping[str, str] = TRAINING_MODULES,
    environ: Mapping[str, str] = os.environ,
) -> EnvironmentReport:
    """Add what training needs to the environment in `target`, or find it there.

    Downloads about 670 MB. Called only when the user asks for it.

    Parameters
    ----------
    target : Path
        Folder of an environment that `create_environment` made.
    progress : Progress, optional
        Gets pip's lines, one step a package, and may cancel.
    lock : Path, optional
        Requirements with hashes; None takes the plugin's.
    encoder : Path, optional
        The same of the encoder's weights, without which training works, too.
    modules : mapping
        Package to module, for those that must be importable at the end.
    environ : mapping
        The parent's environment.

    Returns
    -------
    EnvironmentReport
        Always of an environment that can train.

    Raises
    ------
    RuntimeMissingError
        If there is no environment, or the packages cannot be fetched.
    Cancelled
        If the user stopped it; the engine's part of the environment stays usable.
    """
    progress = progress or SilentProgress()
    lock = lock or training_lock()
    python = environment_python(target)
    if not python.exists():
        raise RuntimeMissingError(f"There is no environment in {target} to add training to.")
    with environment_setup.exclusive(target):
        report = _add_packages(target, progress, lock, modules, environ)
        add_encoder(target, progress, lock=encoder, environ=environ)
    progress.log("info", report.message)
    return report


def _add_packages(
    target: Path,
    progress: Progress,
    lock: Path,
    modules: Mapping[str, str],
    environ: Mapping[str, str],
) -> EnvironmentReport:
    python = environment_python(target)
    if has_training(target, lock):
        progress.log("info", f"{target} has the packages for training; checking them.")
        report = verify_training(python, lock=lock, modules=modules, environ=environ)
        if report.ready:
            return report
        progress.log("warning", f"{report.message} They are installed anew.")
    (target / TRAINING_STAMP).unlink(missing_ok=True)
    progress.log("info", f"Installing what training needs into {target}.")
    environment_setup.install(python, lock, environ, progress)
    report = verify_training(python, lock=lock, modules=modules, environ=environ)
    report.require()
    write_stamp(target, lock, report, TRAINING_STAMP)
    return report
