# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds a Python that can make the engine's environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..engine.errors import RuntimeMissingError
from .child_environment import scrubbed_environment

MINIMUM_PYTHON = (3, 11)

_BASE_PROBE = (
    "import sys, json; v = sys.version_info[:2]\n"
    "try:\n import venv, ensurepip; ok = True\n"
    "except ImportError: ok = False\n"
    "print(json.dumps([list(v), ok]))"
)


def find_base_interpreter(
    environ: Mapping[str, str] = os.environ, candidates: Sequence[Path] | None = None
) -> Path:
    """Path of a Python that can make the environment: 3.11 or newer, with venv and ensurepip.

    `sys.executable` is never trusted: inside QGIS it is QGIS itself. Each candidate is
    started with a scrubbed environment and asked.

    Raises
    ------
    RuntimeMissingError
        If there is none; the message says what is missing.
    """
    problems: list[str] = []
    for python in base_candidates() if candidates is None else candidates:
        if not python.exists():
            continue
        problem = _base_problem(python, environ)
        if problem is None:
            return python
        problems.append(f"{python} {problem}")
    seen = "; ".join(problems) or "no Python was found"
    newest = ".".join(map(str, MINIMUM_PYTHON))
    raise RuntimeMissingError(
        f"No Python can make the engine's environment ({seen}). Install Python {newest} or newer "
        "with venv: on Debian or Ubuntu `sudo apt-get install python3-venv`, on Windows or macOS "
        "the installer of python.org."
    )


def base_candidates(
    *,
    platform: str = sys.platform,
    prefix: str = sys.base_prefix,
    executable: str = sys.executable or "",
    environ: Mapping[str, str] = os.environ,
) -> list[Path]:
    """Interpreters to try, best first: the system's, QGIS's own, those on PATH."""
    names = ["python3.13", "python3.12", "python3.11", "python3", "python"]
    on_path = [shutil.which(name, path=environ.get("PATH", "")) for name in names]
    home = Path(prefix)
    beside = Path(executable).parent
    if platform == "win32":
        # apps\Python312\python.exe stands on its own; bin\python3.exe may want PYTHONHOME.
        own = [home / "python.exe", beside / "python3.exe", beside / "python.exe"]
    elif platform == "darwin":
        own = [home / "bin" / "python3", beside / "bin" / "python3", beside / "python3"]
    else:
        own = [Path("/usr/bin/python3"), home / "bin" / "python3"]
    found = [Path(path) for path in on_path if path]
    if platform == "win32":
        # The Microsoft Store's python.exe is a stub that opens the shop.
        found = [path for path in found if "WindowsApps" not in path.parts]
    return list(dict.fromkeys(own + found))


def _base_problem(python: Path, environ: Mapping[str, str]) -> str | None:
    """Why `python` cannot make the environment, in words that follow its path; or None."""
    try:
        answer = subprocess.run(
            [str(python), "-I", "-c", _BASE_PROBE],
            env=scrubbed_environment(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        version, has_venv = json.loads(answer)
    except (OSError, subprocess.SubprocessError, ValueError):
        return "does not start"
    if tuple(version) < MINIMUM_PYTHON:
        return f"is Python {'.'.join(map(str, version))}, too old"
    return None if has_venv else "has no venv (package python3-venv)"
