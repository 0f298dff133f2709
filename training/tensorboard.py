# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs for TensorBoard: scalars of every epoch, written on request."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from unet_segmenter.engine.errors import RuntimeMissingError

from .fit import FitState
from .recipe import Recipe
from .validation import Verdict

FOLDER = "tensorboard"


class TensorBoardLog:
    """Writes into the folder "tensorboard" of a run; a watcher of `fit`.

    Raises
    ------
    RuntimeMissingError
        If TensorFlow, which writes such logs, is not installed.
    """

    frames: Collection[int] = ()

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        try:
            import tensorflow as tf
        except ImportError as error:
            raise RuntimeMissingError(
                "TensorBoard's logs are written by TensorFlow, which is not installed; leave "
                "tensorboard away"
            ) from error
        # The scalars' own format: `tf.summary.scalar` needs the package tensorboard to write them.
        told = tf.compat.v1.SummaryMetadata
        self.metadata = told(plugin_data=told.PluginData(plugin_name="scalars"), data_class=1)
        self.write = tf.summary.write
        self.float = lambda value: tf.constant(value, tf.float32)
        self.names = {f"iou_{cls.value}": f"iou/{cls.name}" for cls in recipe.dataset.classes}
        self.writer: Any = tf.summary.create_file_writer(str(folder / FOLDER))

    def epoch(self, state: FitState, _verdict: Verdict) -> None:
        """Write the epoch's scalars."""
        row = state.history[-1]
        with self.writer.as_default(step=int(row["epoch"])):
            for key in ("loss", "val_loss", "mean_iou", "rate", "skipped"):
                self.write(key, self.float(row[key]), metadata=self.metadata)
            for key, name in self.names.items():
                self.write(name, self.float(row[key]), metadata=self.metadata)
        self.writer.flush()

    def end(self, _state: FitState) -> None:
        """Close the file."""
        self.writer.close()
