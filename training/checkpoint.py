# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a fit after its last whole epoch, on the disk: a kill at any time loses no more."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from .errors import WeightsError
from .optimizers import to_numpy

if TYPE_CHECKING:
    import keras

HISTORY = "history.csv"
BEST = "best.weights.h5"
LAST = "last.npz"


class Checkpoint:
    """Weights, optimiser, best score and history.csv in a run's folder.

    Files are written under another name and renamed, and the state last: a kill in between
    repeats an epoch instead of losing its row.
    """

    def __init__(self, folder: Path, model: keras.Model, optimizer: Any) -> None:
        self.folder, self.model = folder, model
        # The rate is set anew before each epoch or step, and is no variable of all schedules.
        rate = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
        state = [variable for variable in optimizer.variables if variable is not rate]
        self.variables = [*model.variables, *state]

    def load(self) -> tuple[float, list[dict[str, float]]]:
        """Restore what was saved; return the best score and the history's rows.

        Raises
        ------
        WeightsError
            If the checkpoint cannot be read, or is that of another network.
        """
        path = self.folder / LAST
        if not path.is_file():
            return -np.inf, []
        try:
            with np.load(path, allow_pickle=False) as saved:
                names = [key for key in saved.files if key.startswith("v")]
                shapes = [saved[f"v{n}"].shape for n in range(len(names))]
                if shapes != [tuple(variable.shape) for variable in self.variables]:
                    raise WeightsError(
                        f"{path}: the checkpoint of another network or optimiser; take another "
                        "folder, or remove this one"
                    )
                for number, variable in enumerate(self.variables):
                    variable.assign(saved[f"v{number}"])
                best, epoch = float(saved["best"]), int(saved["epoch"])
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise WeightsError(
                f"{path}: damaged ({error}); remove the run's folder and begin again"
            ) from error
        return best, read_history(self.folder)[:epoch]

    def save(self, best: float, history: list[dict[str, float]]) -> None:
        """Write the state after the epoch of the last row."""
        write_history(self.folder, history)
        arrays = {f"v{n}": to_numpy(v) for n, v in enumerate(self.variables)}
        extra = {"best": best, "epoch": len(history)}
        replace_file(self.folder / LAST, lambda path: np.savez(path, **arrays, **extra))

    def save_best(self) -> None:
        """Write the model's weights as they are now."""
        replace_file(self.folder / BEST, self.model.save_weights)


def read_history(folder: Path) -> list[dict[str, float]]:
    """Return the rows of history.csv, one an epoch; none where there is no such file."""
    path = folder / HISTORY
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def write_history(folder: Path, rows: list[Mapping[str, float]]) -> None:
    """Write history.csv anew."""

    def write(path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    replace_file(folder / HISTORY, write)


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Call ``write`` with a name beside ``path`` and rename the file when it is whole."""
    temporary = path.with_name(f"tmp.{path.name}")
    write(temporary)
    temporary.replace(path)
