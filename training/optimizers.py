# SPDX-License-Identifier: GPL-2.0-or-later
"""Optimisers, learning rates over time, and the guard that leaves out steps gone wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    from .fit_plan import FitPlan

NEVER = 2**31 - 1
LOSS_SCALE = 2.0**15
"""First loss scale in float16; it halves when a gradient overflows, and grows back."""


@dataclass(frozen=True)
class Schedule:
    """A learning rate over time, and what it is in words.

    Attributes
    ----------
    of_step : callable or None
        Plan to a Keras schedule over steps; None where the rate is set once an epoch.
    of_history : callable or None
        Plan and the rows of history.csv to the rate of the next epoch.
    of_share : callable or None
        Plan and the share of the training that is done, 0 to 1, to the rate: the same curve as
        that of ``of_step``, for a training whose end is a time.
    """

    title: str
    of_step: Callable[[FitPlan], Any] | None = None
    of_history: Callable[[FitPlan, Sequence[Mapping[str, float]]], float] | None = None
    of_share: Callable[[FitPlan, float], float] | None = None


def _cosine(plan: FitPlan) -> Any:
    import keras

    total, warm_up = _steps(plan)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total - warm_up, alpha=0.01, warmup_target=plan.rate, warmup_steps=warm_up
    )


def _cosine_of_share(plan: FitPlan, share: float) -> float:
    if share < plan.warm_up:
        return plan.rate * share / plan.warm_up
    fallen = (share - plan.warm_up) / (1 - plan.warm_up)
    return plan.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fallen)))


def _ramp(plan: FitPlan) -> Any:
    """Linear from zero to the rate, then exponential decay to a hundredth of it."""
    import keras
    from keras import ops

    total, warm_up = _steps(plan)

    class RampAndDecay(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            step = ops.cast(step, "float32")
            up = step / max(warm_up, 1)
            decayed = 0.01 ** ops.maximum((step - warm_up) / max(total - warm_up, 1), 0.0)
            return plan.rate * ops.minimum(up, decayed) if warm_up else plan.rate * decayed

        def get_config(self) -> dict[str, Any]:
            return {}

    return RampAndDecay()


def _ramp_of_share(plan: FitPlan, share: float) -> float:
    up = share / plan.warm_up if plan.warm_up else 1.0
    fallen = max((share - plan.warm_up) / (1 - plan.warm_up), 0.0)
    return plan.rate * min(up, 0.01**fallen)


def _plateau(plan: FitPlan, history: Sequence[Mapping[str, float]]) -> float:
    """Halve the rate after each ``plateau`` epochs in which the score did not get better."""
    rate, best, waited = plan.rate, -np.inf, 0
    for row in history:
        if row["score"] > best:
            best, waited = row["score"], 0
            continue
        waited += 1
        if waited >= plan.plateau:
            rate, waited = rate / 2, 0
    return rate


def _constant(plan: FitPlan, _history: Sequence[Mapping[str, float]]) -> float:
    return plan.rate


SCHEDULES = {
    "cosine": Schedule(
        "warm-up, then half a cosine down to a hundredth", _cosine, of_share=_cosine_of_share
    ),
    "ramp": Schedule(
        "ramp up, then exponential decay to a hundredth", _ramp, of_share=_ramp_of_share
    ),
    "plateau": Schedule("halved where validation gets no better", of_history=_plateau),
    "constant": Schedule("always the same", of_history=_constant),
}
"""What ``--schedule`` offers, by name."""

OPTIMIZERS = {"adamw": "AdamW", "adam": "Adam", "rmsprop": "RMSprop", "sgd": "SGD"}
"""Keras's class of each optimiser; ``sgd`` has momentum 0.9 (Nesterov)."""


def make_optimizer(plan: FitPlan, timed: bool = False) -> Any:
    """Return the plan's optimiser, guarded: a step with a gradient that is no number is left out.

    The guard is Keras's loss scaling, which also keeps small gradients alive in float16. Elsewhere
    the scale is 1, and halves with each step left out, which is exact in binary numbers.

    Parameters
    ----------
    timed : bool
        Whether `set_rate` sets the rate before each step, by the time.
    """
    import keras

    schedule = SCHEDULES[plan.schedule]
    rate = schedule.of_step(plan) if schedule.of_step and not timed else plan.rate
    more: dict[str, Any] = {}
    if plan.averaging:
        more |= {"use_ema": True, "ema_momentum": plan.averaging}
    if plan.clip_norm:
        more["global_clipnorm"] = plan.clip_norm
    if plan.optimizer == "sgd":
        more |= {"momentum": 0.9, "nesterov": True}
    if plan.optimizer == "adamw":
        more["weight_decay"] = plan.weight_decay
    inner = _two_rates(getattr(keras.optimizers, OPTIMIZERS[plan.optimizer]), plan)(rate, **more)
    if "weight_decay" in more:
        inner.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    half = plan.precision == "float16"
    return keras.optimizers.LossScaleOptimizer(
        inner,
        initial_scale=LOSS_SCALE if half else 1.0,
        dynamic_growth_steps=2000 if half else NEVER,
    )


def _two_rates(kind: type, plan: FitPlan) -> type:
    if plan.encoder_rate == 1.0:
        return kind

    class TwoRates(kind):
        """An optimiser whose encoder variables learn at a share of the rate."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            # TensorFlow hands over its own variable, which does not know Keras's path.
            kept = self._trainable_variables[self._get_variable_index(variable)]
            slow = kept.path.startswith("encoder_")
            rate = learning_rate * (plan.encoder_rate if slow else 1.0)
            super().update_step(gradient, variable, rate)

    return TwoRates


def set_epoch_rate(
    optimizer: Any, plan: FitPlan, history: Sequence[Mapping[str, float]]
) -> None:  # fmt: skip
    """Set the rate of the next epoch, for the schedules that decide by the epochs before."""
    if of_history := SCHEDULES[plan.schedule].of_history:
        optimizer.learning_rate = of_history(plan, history)


def set_rate(optimizer: Any, plan: FitPlan, share: float) -> None:
    """Set the rate of the next step, for the schedules that go by the share of the training."""
    if of_share := SCHEDULES[plan.schedule].of_share:
        optimizer.learning_rate = of_share(plan, share)


def rate_now(optimizer: Any) -> float:
    """Return the learning rate of the next step."""
    return float(to_numpy(optimizer.learning_rate))


def steps_taken(optimizer: Any) -> int:
    """Return how many steps have changed the weights."""
    return int(to_numpy(optimizer.iterations))


def to_numpy(variable: Any) -> np.ndarray:
    """Return a copy of a variable's value, of any backend."""
    from keras import ops

    return np.array(ops.convert_to_numpy(ops.copy(variable)))


class averaged_weights:  # noqa: N801 - reads as a function in a with statement
    """Put the moving average in place of the weights, for the time of a with block."""

    def __init__(self, model: keras.Model, optimizer: Any) -> None:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        self.variables = model.trainable_variables if inner.use_ema else []
        self.averages = inner._model_variables_moving_average if inner.use_ema else []

    def __enter__(self) -> None:
        from keras import ops

        self.kept = [to_numpy(variable) for variable in self.variables]
        for variable, average in zip(self.variables, self.averages, strict=True):
            # A copy: on JAX the weights would share the average's memory, and a compiled
            # prediction, which may overwrite the weights it is given, would take both.
            variable.assign(ops.copy(average))

    def __exit__(self, *_error: object) -> None:
        for variable, kept in zip(self.variables, self.kept, strict=True):
            variable.assign(kept)


def _steps(plan: FitPlan) -> tuple[int, int]:
    """Return all steps of the plan, and those of the warm-up."""
    total = plan.epochs * plan.steps
    return total, int(total * plan.warm_up)
