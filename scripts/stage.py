# SPDX-License-Identifier: GPL-2.0-or-later
"""Lay the plugin out as QGIS wants it: one folder `unet_segmenter`, linked or zipped.

    python3 scripts/stage.py package              dist/unet_segmenter-VERSION.zip

The zip is the same, byte for byte, for the same files.
"""

from __future__ import annotations

import configparser
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "unet_segmenter"
LARGEST_ZIP = 25_000_000  # bytes: what plugins.qgis.org takes, at most

# Source in the checkout -> place in the plugin's folder.
_FILES = {"metadata.txt": "metadata.txt", "LICENSE": "LICENSE", "CHANGELOG.md": "CHANGELOG.md"}
_FOLDERS = {"unet_segmenter": "", "resources": "resources", "training": "training"}
# Mapping needs the ONNX file alone, and training the network as it was trained.
_LEFT_OUT_FILES = {"model.keras"}
_LEFT_OUT_SUFFIXES = {".h5", ".pyc", ".pyo"}
# Goes into the zip while it has room: models to start a training from.
TRAINABLE = "trainable.keras"
_BASELINE = "course-vegetation"  # a model to compare with: nobody starts from it but in the course
_LEFT_OUT_FOLDERS = {"__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache"}
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)


class StageError(Exception):
    """The plugin cannot be packaged; the message says why."""


def version() -> str:
    """The plugin's version, from metadata.txt, its only place."""
    return metadata()["version"]


def metadata() -> dict[str, str]:
    """Entries of metadata.txt."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "metadata.txt", encoding="utf-8")
    return dict(parser["general"])


def files(*, trainable: bool = True) -> Iterator[tuple[str, Path]]:
    """Place in the plugin's folder and source of each file, sorted by place."""
    found = {place: ROOT / source for source, place in _FILES.items()}
    for source, place in _FOLDERS.items():
        for path in (ROOT / source).rglob("*"):
            inside = path.relative_to(ROOT / source)
            if path.is_file() and _belongs(inside) and (trainable or inside.name != TRAINABLE):
                found[(Path(place) / inside).as_posix()] = path
    yield from sorted(found.items())


def link(folder: Path) -> None:
    """Fill `folder` with links to the checkout, so that edits are live in QGIS."""
    wanted = dict(_FILES)
    for source, place in _FOLDERS.items():
        if place:
            wanted[source] = place
        else:
            wanted |= {
                f"{source}/{path.name}": path.name
                for path in (ROOT / source).iterdir()
                if path.name not in _LEFT_OUT_FOLDERS
            }
    folder.mkdir(parents=True, exist_ok=True)
    for source, place in wanted.items():
        _link(folder / place, ROOT / source)
    for path in folder.iterdir():
        if path.is_symlink() and path.name not in wanted.values():
            path.unlink()


def copy(folder: Path) -> None:
    """Fill `folder` with what the zip holds: the installed form of the plugin."""
    for place, source in files():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def package(target: Path | None = None, largest: int = LARGEST_ZIP) -> Path:
    """Write the plugin's zip and return its path.

    Where the weights to train further do not fit, they are left out.

    Raises
    ------
    StageError
        If it is larger than `largest` bytes without them; the zip is removed.
    """
    target = target or ROOT / "dist" / f"{FOLDER}-{version()}.zip"
    target.parent.mkdir(parents=True, exist_ok=True)
    for trainable in (True, False):
        _zip(target, trainable=trainable)
        size = target.stat().st_size
        if size <= largest:
            return target
        if trainable and any(place.endswith(TRAINABLE) for place, _ in files()):
            print(
                f"package: with {TRAINABLE} the zip has {size / 1e6:.1f} MB: left out",
                file=sys.stderr,
            )
    target.unlink()
    big = sorted(((p.stat().st_size, place) for place, p in files(trainable=False)), reverse=True)
    names = ", ".join(f"{place} ({count / 1e6:.1f} MB)" for count, place in big[:3])
    raise StageError(
        f"The zip has {size / 1e6:.1f} MB and may have {largest / 1e6:.0f}. Largest: {names}."
    )


def _zip(target: Path, *, trainable: bool) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for place, source in files(trainable=trainable):
            entry = zipfile.ZipInfo(f"{FOLDER}/{place}", _TIMESTAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, source.read_bytes())


def _belongs(inside: Path) -> bool:
    if inside.name in _LEFT_OUT_FILES or inside.suffix in _LEFT_OUT_SUFFIXES:
        return False
    if inside.parts[-2:] == (_BASELINE, TRAINABLE):
        return False
    return not _LEFT_OUT_FOLDERS & set(inside.parts)


def _link(place: Path, source: Path) -> None:
    if place.is_symlink() and place.readlink() == source:
        return
    place.unlink(missing_ok=True)
    place.symlink_to(source)


def main(arguments: list[str]) -> int:
    """Package the plugin, or copy it to the folder named."""
    try:
        if arguments[:1] == ["copy"]:
            copy(Path(arguments[1]))
        else:
            path = package()
            print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    except StageError as error:
        print(f"package: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
