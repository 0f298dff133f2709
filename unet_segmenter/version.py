# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin's version, as metadata.txt tells it: the only place that holds it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


@cache
def plugin_version() -> str:
    """Version of this plugin, such as "0.1.0"; "unknown" where metadata.txt is lost.

    metadata.txt lies in the package when the plugin is installed, beside it in a checkout.
    """
    for folder in (_PACKAGE, _PACKAGE.parent):
        metadata = folder / "metadata.txt"
        if metadata.is_file():
            for line in metadata.read_text(encoding="utf-8").splitlines():
                key, _, value = line.partition("=")
                if key.strip() == "version":
                    return value.strip()
    return "unknown"
