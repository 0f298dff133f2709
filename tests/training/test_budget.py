# SPDX-License-Identifier: GPL-2.0-or-later
"""A time budget ends the training; a clock that counts steps stands for the real one."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from dataclasses import replace

from tests.training.tiny_fit import PLAN, Listener, batches, frames, network
from training import budget as budgets
from training.budget import Budget
from training.fit import OUT_OF_TIME, fit
from training.optimizers import SCHEDULES

OPEN = replace(PLAN, epochs=1000, steps=1000, open_end=True, schedule="cosine", warm_up=0.1)


class Steps(Listener):
    """A clock of which each step of the training takes a second."""

    def __call__(self) -> float:
        return float(len(self.steps))


@pytest.fixture(autouse=True)
def _short_export(monkeypatch):
    monkeypatch.setattr(budgets, "EXPORT_SECONDS", 16.0)


def _many(epoch):
    return batches(epoch, steps=1000)


def test_the_budget_ends_the_training_within_an_epoch_and_leaves_the_export_its_time(tmp_path):
    clock = Steps()
    state = fit(network(), _many, frames(), OPEN, tmp_path, clock, budget=Budget(2, clock, clock))
    assert len(clock.steps) == 120 - 20
    assert state.status == OUT_OF_TIME
    assert state.share == 1.0
    # The first epoch is short, so that something is to be seen; the others share the time.
    assert [row["train_s"] for row in state.history] == [6, *[10] * 9, 4]


def test_the_learning_rate_follows_the_share_of_the_time_that_is_used(tmp_path):
    clock = Steps()
    state = fit(network(), _many, frames(), OPEN, tmp_path, clock, budget=Budget(2, clock, clock))
    for row, steps in zip(state.history, (5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 99), strict=True):
        share = steps / (100 if steps > 5 else 104)  # as long as the export's time is a guess
        fallen = (share - 0.1) / 0.9
        cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fallen))
        expected = share / 0.1 if share < 0.1 else cosine
        assert row["rate"] == pytest.approx(OPEN.rate * expected, rel=1e-5), steps


def test_time_and_epochs_may_both_be_limited_and_what_comes_first_counts(tmp_path):
    clock = Steps()
    plan = replace(PLAN, schedule="cosine")
    state = fit(
        network(), batches, frames(), plan, tmp_path, clock, budget=Budget(60, clock, clock)
    )
    assert len(clock.steps) == 18
    assert state.status == "finished"
    assert state.of_epochs == "3 of 3"
    assert state.history[-1]["rate"] < 0.1 * PLAN.rate, "the curve is that of the steps"


def test_an_interrupted_run_goes_on_with_the_time_that_is_left(tmp_path):
    clock = Steps(lambda one: len(one.steps) >= 40)
    with pytest.raises(Exception, match="cancelled in epoch"):
        fit(network(), _many, frames(), OPEN, tmp_path, clock, budget=Budget(2, clock, clock))
    again = Steps()
    state = fit(network(), _many, frames(), OPEN, tmp_path, again, budget=Budget(2, again, again))
    assert "resumed after epoch 4" in again.text()
    assert len(again.steps) == 120 - 20 - 36, "36 s were spent in four whole epochs"
    assert state.status == OUT_OF_TIME


def test_a_validation_that_takes_long_is_done_less_often_and_its_time_is_kept_for_the_export():
    budget = Budget(10, lambda: 0.0, lambda: 0.0)
    assert budget.reserved == 16, "of a computer that has nothing else to do"
    budget.validation, budget.exported = 30.0, 2.0
    assert budget.reserved == 16 + (1 + 3 * 2) * 30
    budget.validation = 1000.0
    assert budget.reserved == 300, "half of the budget is for training"
    now = 0.0
    budget = Budget(10, lambda: now, lambda: 4 * now)
    budget.validation = 15.0
    now = 59.0
    assert not budget.epoch_is_over(0.0, first=False)
    now = 61.0
    assert budget.epoch_is_over(0.0, first=False)


def test_on_a_busy_computer_more_time_is_kept_for_the_export():
    now = 0.0
    budget = Budget(10, lambda: now, lambda: 0.25 * now)
    now = 20.0
    assert budget.reserved == 16 * 1.25 * 4, "four elapsed seconds for one of work"


@pytest.mark.parametrize("name", ["cosine", "ramp"])
def test_a_schedule_of_the_time_has_the_curve_of_that_of_the_steps(name):
    plan = replace(PLAN, epochs=10, steps=10, warm_up=0.2, schedule=name)
    by_step, by_share = SCHEDULES[name].of_step(plan), SCHEDULES[name].of_share
    for step in (0, 5, 19, 20, 50, 99):
        found = float(by_step(step))
        assert by_share(plan, step / 100) == pytest.approx(found, rel=1e-4, abs=1e-9), step
