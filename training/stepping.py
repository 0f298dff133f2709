# SPDX-License-Identifier: GPL-2.0-or-later
"""One training step: in any precision, on all GPUs, and undone where it went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_segmenter.engine.errors import JobError

from .errors import TrainingError
from .optimizers import steps_taken

if TYPE_CHECKING:
    import keras

PRECISIONS = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}
"""Keras's policy of each precision: weights, losses and heads are float32 in all."""

MOST_SKIPPED_IN_A_ROW = 20
"""In float16 the loss scale halves with each: from 2**15, twenty bring it to nothing."""


@contextmanager
def in_precision(name: str):
    """Build networks in the precision of that name, for the time of a with block."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(PRECISIONS[name])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def strategy_over(devices: Sequence[str] | None = None) -> Any:
    """Return a `MirroredStrategy` where there are several GPUs, else None.

    Parameters
    ----------
    devices : sequence of str, optional
        TensorFlow's names of the devices to use, instead of all GPUs.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return None  # JAX and torch train on one device
    import tensorflow as tf

    if devices is None:
        found = tf.config.list_physical_devices("GPU")
        devices = [f"GPU:{number}" for number in range(len(found))]
    return tf.distribute.MirroredStrategy(list(devices)) if len(devices) > 1 else None


def scope_of(strategy: Any) -> AbstractContextManager:
    """Return the scope in which a network for the strategy is built and compiled."""
    return strategy.scope() if strategy is not None else nullcontext()


def compiles_steps() -> bool:
    """Return whether Keras is to compile each step into one program (``jit_compile``).

    On JAX the alternative runs one operation at a time. TensorFlow runs a graph without it, which
    on processors is faster than XLA, and PyTorch trains without it.
    """
    import keras

    return keras.backend.backend() == "jax"


class Stepper:
    """Takes training steps of a compiled model; leaves out and counts those gone wrong.

    A step goes wrong where the loss or a gradient is no finite number. The guarded optimiser then
    leaves the weights alone, and the moving statistics of the normalisation keep their values: on
    JAX within the compiled step, elsewhere from copies made before it.

    Parameters
    ----------
    model : keras.Model
        Compiled with an optimiser of `make_optimizer`.
    strategy : tf.distribute.Strategy, optional
        Each device gets an equal part of the batch, and its own loss over that part.

    Attributes
    ----------
    skipped : int
        Steps left out so far.
    """

    def __init__(self, model: keras.Model, strategy: Any = None) -> None:
        self.model, self.strategy = model, strategy
        self.skipped = self._in_a_row = 0
        self._statistics = [] if compiles_steps() else model.non_trainable_variables
        if compiles_steps():
            _keep_statistics_of_wrong_steps(model)

    def __call__(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Take one step; return its loss, NaN if it was left out.

        Raises
        ------
        TrainingError
            If many steps in a row went wrong.
        """
        from keras import ops

        kept = [ops.copy(variable) for variable in self._statistics]
        before = steps_taken(self.model.optimizer)
        loss = self._take(images, labels)
        if np.isfinite(loss) and steps_taken(self.model.optimizer) > before:
            self._in_a_row = 0
            return loss
        for variable, value in zip(self._statistics, kept, strict=True):
            variable.assign(value)
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row >= MOST_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"{self._in_a_row} steps in a row had a loss or gradient that is no number: lower "
                "the learning rate, use precision float32, or look for NaN in the images"
            )
        return float("nan")

    def _take(self, images: np.ndarray, labels: np.ndarray) -> float:
        if self.strategy is None:
            return float(self.model.train_on_batch(images, labels))
        count = self.strategy.num_replicas_in_sync
        if len(images) % count:
            raise JobError(
                f"a batch of {len(images)} cannot be shared evenly by {count} devices; "
                f"use a multiple of {count}"
            )
        share = len(images) // count

        def part(array: np.ndarray) -> Any:
            def of_replica(context: Any) -> np.ndarray:
                first = context.replica_id_in_sync_group * share
                return array[first : first + share]

            return self.strategy.experimental_distribute_values_from_function(of_replica)

        with self.strategy.scope():
            self.model.make_train_function()
            self.model.reset_metrics()
            logs = self.model.train_function(iter([(part(images), part(labels))]))
        return float(logs["loss"])


def _keep_statistics_of_wrong_steps(model: keras.Model) -> None:
    """Let the training step of Keras on JAX return the statistics it was given if it goes wrong.

    The compiled step owns its arguments and may overwrite them, so that statistics put aside
    before it would have to be copied for every step.
    """
    from keras import ops

    take, optimizer = model.train_step, model.optimizer
    place = [variable is optimizer.iterations for variable in optimizer.variables].index(True)

    def train_step(state: Any, data: Any) -> Any:
        _weights, before, optimizer_before, _metrics = state
        logs, (weights, after, optimizer_after, metrics) = take(state, data)
        taken = optimizer_after[place] > optimizer_before[place]
        good = ops.logical_and(ops.isfinite(logs["loss"]), taken)
        after = [ops.where(good, new, old) for new, old in zip(after, before, strict=True)]
        return logs, (weights, after, optimizer_after, metrics)

    model.train_step = train_step
