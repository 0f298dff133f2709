# SPDX-License-Identifier: GPL-2.0-or-later
"""What to do where a package is missing, in words that fit how the plugin is installed."""

from __future__ import annotations

from pathlib import Path

_PARENT = Path(__file__).resolve().parents[2]


def build_reference_solver(python: str) -> str:
    """What to do for pydensecrf, which its own build file keeps from Python 3.13 and newer."""
    return (
        "install a C++ compiler and Python's headers, and run: "
        f'{python} -m pip install "cython>=3.1" setuptools wheel, then {python} -m pip install '
        "--no-build-isolation pydensecrf2"
    )


def set_up(*, training: bool = False, parent: Path = _PARENT) -> str:
    """The sentence that says how the engine's environment is made.

    Parameters
    ----------
    training : bool
        With the packages for training.
    parent : Path
        Folder of the plugin's package: a checkout, or QGIS's folder of plugins.
    """
    choice = " with WITH_TRAINING" if training else ""
    flag = " --with-training" if training else ""
    if (parent / "Makefile").is_file():
        command = "`make setup` in the checkout"
    else:
        command = f"`python3 -m unet_segmenter setupenvironment{flag}` in {parent}"
    return (
        "Run the algorithm 'Set up the environment' (unet_segmenter:setupenvironment) in "
        f"QGIS{choice}, or {command}."
    )
