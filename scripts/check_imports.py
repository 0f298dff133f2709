# SPDX-License-Identifier: GPL-2.0-or-later
"""Check the imports that import-linter cannot: one importer a library, no widgets in Processing.

    python scripts/check_imports.py [FOLDER]

FOLDER is the plugin's package (default: unet_segmenter). Imports inside functions count too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Library -> the only file, or package (with "/"), that may import it.
SOLE_IMPORTERS = {
    "dask": "runners/dask_cluster.py",
    "distributed": "runners/dask_cluster.py",
    "keras": "engine/predictor_keras.py",
    "numba": "engine/crf_kernels.py",
    "onnxruntime": "engine/predictor_onnx.py",
    "openvino": "engine/predictor_openvino.py",
    "pydensecrf": "engine/crf_pydensecrf.py",
    "pyogrio": "engine/vector.py",
    "rasterio": "engine/rasters/",
    "shapely": "engine/vector.py",
    "skimage": "engine/components.py",
    "tensorflow": "engine/predictor_keras.py",
}

# Part of the package -> modules that it may not import, and why. QGIS's own Python runs all of
# these but the engine, and has no NumPy that suits the engine's libraries.
FORBIDDEN = {
    "engine/": ("qgis", "osgeo", "PyQt5", "PyQt6"),
    "runners/": ("qgis", "osgeo", "PyQt5", "PyQt6"),
    "cli.py": ("qgis", "osgeo", "PyQt5", "PyQt6"),
    "commands/": ("qgis", "osgeo", "PyQt5", "PyQt6"),
    "processing/": ("qgis.PyQt.QtWidgets", "qgis.gui", "PyQt5", "PyQt6", "numpy"),
    "gui/": ("PyQt5", "PyQt6", "numpy"),
    "plugin.py": ("PyQt5", "PyQt6", "numpy"),
}


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of each absolute import in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def _is_in(file: str, owner: str) -> bool:
    """Whether a file is the owner, or lies in it."""
    return file.startswith(owner) if owner.endswith("/") else file == owner


def problems(package: Path) -> Iterator[str]:
    """One sentence for each import that breaks a rule."""
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package).as_posix()
        banned = [
            module
            for part, modules in FORBIDDEN.items()
            if inside.startswith(part)
            for module in modules
        ]
        for line, name in imported_modules(path):
            owner = SOLE_IMPORTERS.get(name.partition(".")[0])
            if owner is not None and not _is_in(inside, owner):
                yield f"{path}:{line}: {name} may be imported in {owner} alone"
            for module in banned:
                if f"{name}.".startswith(f"{module}."):
                    yield f"{path}:{line}: {name} may not be imported here"


def main(arguments: list[str]) -> int:
    """Print the problems; return 1 if there are any."""
    package = Path(arguments[0]) if arguments else ROOT / "unet_segmenter"
    found = list(problems(package))
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
