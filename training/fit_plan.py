# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that decides what a fit comes to, as one value."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from unet_segmenter.engine.errors import JobError

from .augment import Augmentation
from .losses import LOSSES
from .optimizers import OPTIMIZERS, SCHEDULES
from .stepping import PRECISIONS

KEPT = ("mean_iou", "val_loss", "last")
"""What decides which weights are the best: highest mean IoU, lowest loss, or the last ones."""


@dataclass(frozen=True)
class FitPlan:
    """Everything that decides what a fit comes to, given data and first weights.

    Attributes
    ----------
    warm_up : float
        Share of the steps over which the rate rises from zero.
    encoder_rate : float
        The encoder's learning rate, as a share of the decoder's.
    averaging : float
        Momentum of the exponential moving average of the weights, which is what is validated
        and kept; 0 for none.
    clip_norm : float
        Longest gradient, over all weights; 0 for any.
    class_weights : tuple of float
        One a class, or none; see `losses`.
    plateau : int
        Epochs without a better score after which the schedule "plateau" halves the rate.
    patience : int
        Epochs without a better score after which training ends; 0 for never.
    keep : str
        Of `KEPT`: which weights are the best.
    precision : str
        "float32", "bfloat16" or "float16" (mixed).
    augmentation : Augmentation or None
        None for images as they are.
    open_end : bool
        Whether a time budget alone ends the training: epochs and their steps are then as many as
        fit into it, and those of the plan a limit that is not reached.
    """

    epochs: int = 28
    steps: int = 100
    batch: int = 8
    rate: float = 1.5e-3
    encoder_rate: float = 0.3
    warm_up: float = 0.04
    weight_decay: float = 1e-3
    averaging: float = 0.99
    clip_norm: float = 5.0
    loss: str = "dice+bce"
    seed: int = 2026
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    optimizer: str = "adamw"
    schedule: str = "cosine"
    plateau: int = 3
    patience: int = 0
    class_weights: tuple[float, ...] = ()
    keep: str = "mean_iou"
    precision: str = "float32"
    open_end: bool = False

    def __post_init__(self) -> None:
        """Refuse names that no table has, and numbers that make no sense."""
        tables = {
            "loss": LOSSES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "keep": KEPT,
            "precision": PRECISIONS,
        }  # fmt: skip
        for name, table in tables.items():
            if getattr(self, name) not in table:
                raise JobError(
                    f"{name} {getattr(self, name)!r} is unknown; there are {', '.join(table)}"
                )
        for name in ("epochs", "steps", "batch", "rate", "plateau"):
            if not getattr(self, name) > 0:
                raise JobError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("averaging", "warm_up"):
            if not 0 <= getattr(self, name) < 1:
                raise JobError(f"{name} must be 0 or more and below 1, not {getattr(self, name)}")
        for name in ("encoder_rate", "weight_decay", "clip_norm", "patience"):
            if not 0 <= getattr(self, name) < math.inf:
                raise JobError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise JobError(f"seed must be in 0 to {2**32 - 1}, not {self.seed}")
        self._check_class_weights()

    def _check_class_weights(self) -> None:
        weights, loss = self.class_weights, LOSSES[self.loss]
        if any(not 0 < weight < math.inf for weight in weights):
            raise JobError(f"class weights must be above 0 and finite, not {list(weights)}")
        if weights and not loss.weighs:
            raise JobError(f"the loss {self.loss!r} does not support class weights: leave them out")
        if len(weights) == 1 and loss.weighs == "classes":
            raise JobError(
                f"the loss {self.loss!r} weighs classes against each other, and there is one: "
                "leave its weight out, or take weighted-bce, which weighs a class's own pixels"
            )

    def told(self) -> dict[str, Any]:
        """Return it as JSON values, without numbers of epochs and steps that only a time ends."""
        found = asdict(self)
        for name in ("epochs", "steps") if self.open_end else ():
            del found[name]
        return found

    @property
    def head(self) -> str:
        """The head that the loss is for: "sigmoid" or "softmax"."""
        return LOSSES[self.loss].head
