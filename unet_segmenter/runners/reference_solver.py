# SPDX-License-Identifier: GPL-2.0-or-later
"""pydensecrf, the reference solver of the dense CRF: optional, as it is built from source.

`refine` has a solver of its own that gives the same maps, so nothing needs this one. A set-up of a
checkout tries once to build it, for the tests that compare both.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ..engine.errors import RuntimeMissingError
from ..engine.progress import Progress
from ..engine.remedies import build_reference_solver
from . import environment_setup
from .child_environment import scrubbed_environment
from .environment_check import PROBE_SECONDS, engine_lock, environment_python

_TRIED = "pydensecrf.tried"


def optional_lock() -> Path:
    """Path of the lock of optional packages: in the plugin, or beside it in a checkout."""
    return engine_lock().with_name("optional.txt")


def build_lock() -> Path:
    """Path of the lock of what builds them."""
    return engine_lock().with_name("build.txt")


def has_reference_solver(python: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether that Python imports pydensecrf; starts it."""
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", "import pydensecrf.densecrf"],
            env=scrubbed_environment(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def reference_message(python: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Whether that Python has the reference solver, in a sentence with the remedy if any."""
    if has_reference_solver(python, environ):
        return f"{python} has the optional package pydensecrf2."
    return (
        f"{python} has no pydensecrf2. It is optional: refine works without. To have its SOLVER "
        f"pydensecrf, {build_reference_solver(str(python))}"
    )


def try_reference_solver(
    folder: Path, progress: Progress, environ: Mapping[str, str] = os.environ
) -> str:
    """Build pydensecrf for the environment in `folder`, unless that was tried before.

    Takes a minute. Returns what came of it in a sentence; a failure is none of the set-up.
    """
    python, tried = environment_python(folder), folder / _TRIED
    if tried.exists():
        return ""
    if not has_reference_solver(python, environ):
        try:
            # Its own file asks for a Cython that builds nothing for Python 3.13.
            environment_setup.install(python, build_lock(), environ, progress)
            environment_setup.install(python, optional_lock(), environ, progress, from_source=True)
        except RuntimeMissingError as error:
            progress.log("info", str(error))
    tried.touch()
    return reference_message(python, environ)
