# SPDX-License-Identifier: GPL-2.0-or-later
"""Environment variables for a child Python that is not QGIS's own.

QGIS sets variables for its embedded interpreter, and a child that inherits them fails in ways
that are hard to trace: PYTHONHOME ends in "No module named encodings", PYTHONEXECUTABLE makes
a virtual environment install its packages beside itself, PROJ_LIB and GDAL_DATA hand one
library the data files of another release.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath

_DROPPED_PREFIXES = (
    "PYTHON",
    "PROJ_",
    "GDAL_",
    "GRASS_",
    "GISBASE",
    "OSGEO4W_",
    "CONDA_",
    "DYLD_",
    "LD_",
    "PIP_",
    "QGIS_",
    "QT_",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
)
# Variables of Python that change what it prints or writes, never where it finds its modules.
_KEPT = frozenset(
    {
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONFAULTHANDLER",
        "PYTHONHASHSEED",
        "PYTHONIOENCODING",
        "PYTHONUNBUFFERED",
        "PYTHONUTF8",
    }
)
# A site sets these to say where packages come from and whom to trust. The lock's hashes decide
# what is installed, so they cannot change that. Variables that change what pip does, or where
# it installs (PIP_TARGET, PIP_USER, PIP_PREFIX, PIP_REQUIREMENT ...), are dropped.
_KEPT_FOR_PIP = frozenset(
    {
        "PIP_CACHE_DIR",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_CONFIG_FILE",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "PIP_KEYRING_PROVIDER",
        "PIP_NO_CACHE_DIR",
        "PIP_NO_INDEX",
        "PIP_PROXY",
        "PIP_RETRIES",
        "PIP_TIMEOUT",
        "PIP_TRUSTED_HOST",
    }
)
_SYSTEM_FOLDERS = frozenset({"/", "/usr", "/usr/local", "/app", "/opt"})


def scrubbed_environment(
    environ: Mapping[str, str], *, for_pip: bool = False, windows: bool = os.name == "nt"
) -> dict[str, str]:
    """Copy of `environ` in which a child Python finds its own libraries and nothing of QGIS's.

    Parameters
    ----------
    environ : mapping
        The parent's environment; it is left as it is.
    for_pip : bool
        Keep the variables that tell pip where to fetch and whom to trust. pip's configuration
        files are read in any case, and proxies (HTTPS_PROXY ...) are always kept.
    windows : bool
        Whether `PATH` is in the form of Windows.

    Returns
    -------
    dict
        Without the variables of Python, Qt, QGIS, PROJ, GDAL, conda and the dynamic linker,
        and with QGIS's own folders and those of an active environment taken off `PATH`.
    """
    kept = _KEPT | _KEPT_FOR_PIP if for_pip else _KEPT
    clean = {
        name: value
        for name, value in environ.items()
        if name.upper() in kept or not name.upper().startswith(_DROPPED_PREFIXES)
    }
    for name in [name for name in clean if name.upper() == "PATH"]:
        clean[name] = _path_without_qgis(clean[name], _foreign_roots(environ, windows), windows)
    clean["PYTHONNOUSERSITE"] = "1"
    return clean


def _foreign_roots(environ: Mapping[str, str], windows: bool) -> list[PurePath]:
    """Folders below which programs and libraries are QGIS's, or another environment's."""
    flavour = PureWindowsPath if windows else PurePosixPath
    roots = [
        flavour(environ[name])
        for name in ("OSGEO4W_ROOT", "QGIS_PREFIX_PATH", "VIRTUAL_ENV", "CONDA_PREFIX")
        if environ.get(name)
    ]
    return [root for root in roots if root.as_posix() not in _SYSTEM_FOLDERS]


def _path_without_qgis(path: str, roots: list[PurePath], windows: bool) -> str:
    flavour = PureWindowsPath if windows else PurePosixPath
    separator = ";" if windows else ":"

    def is_foreign(folder: str) -> bool:
        place = flavour(folder)
        if any(root == place or root in place.parents for root in roots):
            return True
        parts = [part.lower() for part in place.parts if part.lower().startswith("qgis")]
        return any(windows or part.endswith(".app") for part in parts)

    return separator.join(folder for folder in path.split(separator) if not is_foreign(folder))
