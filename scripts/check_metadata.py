# SPDX-License-Identifier: GPL-2.0-or-later
"""Check that metadata.txt is what plugins.qgis.org and the Processing framework ask for."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import stage  # noqa: E402

REQUIRED = (
    "name",
    "qgisMinimumVersion",
    "description",
    "about",
    "version",
    "author",
    "email",
    "repository",
    "tracker",
    "homepage",
    "tags",
    "icon",
    "license",
    "category",
    "changelog",
)


def problems(entries: Mapping[str, str], root: Path = ROOT) -> Iterator[str]:
    """One sentence for each entry that is missing or wrong."""
    for key in REQUIRED:
        if not entries.get(key, "").strip():
            yield f"{key} is missing"
    version = entries.get("version", "")
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        yield f"version={version} is not of the form 1.2.3"
    if version not in entries.get("changelog", ""):
        yield f"changelog has no entry for {version}"
    if entries.get("hasProcessingProvider") != "yes":
        yield "hasProcessingProvider must be yes, or qgis_process does not see the algorithms"
    if len(entries.get("description", "")) > 150:
        yield "description must be one short sentence; the rest belongs to about"
    icon = entries.get("icon", "")
    if icon and not (root / icon).is_file():
        yield f"icon={icon} does not exist"


def main() -> int:
    """Print the problems; return 1 if there are any."""
    found = list(problems(stage.metadata()))
    for sentence in found:
        print(f"metadata.txt: {sentence}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
