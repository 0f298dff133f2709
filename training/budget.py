# SPDX-License-Identifier: GPL-2.0-or-later
"""A time budget: how long to train so that the export, too, is done when the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

Clock = Callable[[], float]
"""Seconds since some fixed moment."""

FIRST_SECONDS = 6.0
"""The first epoch is this short, so that a score and pictures are there soon."""
EPOCHS = 12
"""About so many epochs fill a budget ..."""
LONGEST_EPOCH, SHORTEST_EPOCH = 180.0, 10.0
"""... none of them longer or shorter than this, in s."""
VALIDATIONS = 4.0
"""An epoch trains at least so many times as long as it is validated."""
EXPORT_SECONDS = 20.0
"""Processor time of an export of lite0 without its passes over images; 18 s were measured with
three images, 16 of them besides these passes."""
EXPORT_SLOWER = 1.25
"""An export keeps fewer cores busy than training: it takes so many times the ratio of elapsed to
processor time that training has, and one at least. Between 0.6 and 2.2 were measured on two cores
that other work kept busy."""
PASSES = 3.0
"""An export runs its network over the held-out images so many times."""
MOST_RESERVED = 0.5
"""Share of the budget that is kept for the export at most."""


class Budget:
    """The time that a run may take from its first moment to the exported model.

    Parameters
    ----------
    minutes : float
        All that there is.
    clock : callable
        Tells the time, s.
    effort : callable
        Tells the processor time, s: on a busy computer the export takes longer.

    Attributes
    ----------
    validation : float
        Seconds of the last validation.
    exported : float
        How many times as many images the export looks at as a validation does.
    """

    def __init__(
        self, minutes: float, clock: Clock = time.monotonic, effort: Clock = time.process_time
    ) -> None:
        self.seconds, self.clock, self.effort = 60.0 * minutes, clock, effort
        self.began = self.trains_since = self.session = clock()
        self.worked = effort()
        self.validation, self.exported = 0.0, 2.0

    def take_up(self, history: Sequence[Mapping[str, float]]) -> None:
        """Count the epochs of an interrupted run, and let training begin now."""
        spent = sum(row["train_s"] + row["validation_s"] for row in history)
        self.began -= spent
        self.trains_since = self.clock() - spent
        self.session, self.worked = self.clock(), self.effort()

    @property
    def reserved(self) -> float:
        """Seconds that the last validation and the export need, as far as is known."""
        needed = EXPORT_SECONDS * self._slowness
        needed += (1 + PASSES * self.exported) * self.validation
        return min(needed, MOST_RESERVED * self.seconds)

    @property
    def _slowness(self) -> float:
        """Elapsed seconds of an export for one of processor time."""
        elapsed, worked = self.clock() - self.session, self.effort() - self.worked
        if elapsed < FIRST_SECONDS or worked <= 0:
            return 1.0  # nothing is known yet
        return max(EXPORT_SLOWER * elapsed / worked, 1.0)

    @property
    def share(self) -> float:
        """The share, 0 to 1, of the time for training that is used."""
        until = self.began + self.seconds - self.reserved
        whole = max(until - self.trains_since, 1e-9)
        return min(max((self.clock() - self.trains_since) / whole, 0.0), 1.0)

    @property
    def used_up(self) -> bool:
        """Whether no further step should be taken."""
        return self.share >= 1.0

    @property
    def seconds_left(self) -> float:
        """Until the model is exported."""
        return max(self.began + self.seconds - self.clock(), 0.0)

    def epoch_is_over(self, began: float, first: bool) -> bool:
        """Whether an epoch that began at that time of the clock has trained for long enough."""
        length = min(max(self.seconds / EPOCHS, SHORTEST_EPOCH), LONGEST_EPOCH)
        length = FIRST_SECONDS if first else max(length, VALIDATIONS * self.validation)
        return self.used_up or self.clock() - began >= length
