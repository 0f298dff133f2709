# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("keras", reason="training needs keras")

from tests.training.tiny_fit import PLAN, batches, network
from training.fit import compile_for_fit
from training.optimizers import (
    SCHEDULES,
    averaged_weights,
    rate_now,
    set_epoch_rate,
    steps_taken,
    to_numpy,
)

LONG = replace(PLAN, epochs=10, steps=10, rate=1.0, warm_up=0.1)


def _rate(name, step):
    return float(to_numpy(SCHEDULES[name].of_step(replace(LONG, schedule=name))(step)))


def test_cosine_rises_over_the_warm_up_and_falls_to_a_hundredth():
    assert _rate("cosine", 0) == 0
    assert _rate("cosine", 5) == pytest.approx(0.5)
    assert _rate("cosine", 10) == pytest.approx(1.0)
    assert _rate("cosine", 55) == pytest.approx(0.505, abs=1e-3)  # half of the way
    assert _rate("cosine", 100) == pytest.approx(0.01)


def test_ramp_rises_in_a_line_and_decays_by_the_same_share_each_step():
    assert _rate("ramp", 0) == 0
    assert _rate("ramp", 5) == pytest.approx(0.5)
    assert _rate("ramp", 10) == pytest.approx(1.0)
    assert _rate("ramp", 55) == pytest.approx(0.1, rel=1e-3)
    assert _rate("ramp", 100) == pytest.approx(0.01, rel=1e-3)
    assert _rate("ramp", 40) / _rate("ramp", 30) == pytest.approx(
        _rate("ramp", 80) / _rate("ramp", 70), rel=1e-4
    )


def test_plateau_halves_the_rate_after_epochs_in_vain_and_constant_does_not():
    plan = replace(LONG, schedule="plateau", plateau=2)
    scores = [0.1, 0.2, 0.15, 0.2, 0.19, 0.1, 0.3, 0.3]
    history = [{"score": score} for score in scores]
    of = SCHEDULES["plateau"].of_history
    rates = [of(plan, history[:n]) for n in range(len(history) + 1)]
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert SCHEDULES["constant"].of_history(plan, history) == 1


def test_the_rate_of_an_epoch_is_set_from_the_history():
    plan = replace(LONG, schedule="plateau", plateau=1)
    optimizer = compile_for_fit(network(), plan)
    set_epoch_rate(optimizer, plan, [{"score": 0.5}, {"score": 0.4}])
    assert rate_now(optimizer) == pytest.approx(0.5)


def _moves(plan):
    """How far the encoder's kernel and the head's move in the first step, on average."""
    model = network()
    optimizer = compile_for_fit(model, plan)
    layers = [model.get_layer(name) for name in ("encoder_stage1_conv", "head_conv")]
    before = [to_numpy(layer.kernel) for layer in layers]
    model.train_on_batch(*next(iter(batches(0))))
    assert steps_taken(optimizer) == 1
    return [
        np.abs(to_numpy(layer.kernel) - kernel).mean()
        for layer, kernel in zip(layers, before, strict=True)
    ]


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_the_encoder_learns_at_its_share_of_the_rate(name):
    plan = replace(
        PLAN, optimizer=name, schedule="constant", weight_decay=0.0, rate=1e-2, clip_norm=0.0
    )
    even, slow = _moves(plan), _moves(replace(plan, encoder_rate=0.1))
    assert slow[0] / even[0] == pytest.approx(0.1, rel=0.01)
    assert slow[1] / even[1] == pytest.approx(1.0, rel=0.01)


def test_averaged_weights_are_in_place_within_the_block_only():
    plan = replace(PLAN, averaging=0.9, schedule="constant")
    model = network()
    optimizer = compile_for_fit(model, plan)
    trail = []
    for images, labels in batches(0):
        model.train_on_batch(images, labels)
        trail.append(to_numpy(model.get_layer("head_conv").kernel))
    expected = trail[0]
    for kernel in trail[1:]:
        expected = 0.9 * expected + 0.1 * kernel
    with averaged_weights(model, optimizer):
        inside = to_numpy(model.get_layer("head_conv").kernel)
    assert np.abs(inside - expected).max() < 1e-5
    assert np.abs(expected - trail[-1]).max() > 1e-4
    assert np.array_equal(to_numpy(model.get_layer("head_conv").kernel), trail[-1])


def test_normalisation_and_biases_do_not_decay():
    plan = replace(PLAN, rate=1e-2, weight_decay=5.0, schedule="constant")
    model = network()
    optimizer = compile_for_fit(model, plan)
    names = {w.path: w for w in model.trainable_variables}
    spared = {p for p, w in names.items() if not optimizer.inner_optimizer._use_weight_decay(w)}
    assert {path.rsplit("/", 1)[1] for path in spared} == {"gamma", "beta", "bias"}
    assert {path.rsplit("/", 1)[1] for path in names.keys() - spared} == {"kernel"}


@pytest.mark.parametrize(("name", "decay"), [("adamw", 0.01), ("adam", None), ("sgd", None)])
def test_weight_decay_is_adamw_s(name, decay):
    plan = replace(PLAN, optimizer=name, weight_decay=0.01)
    assert compile_for_fit(network(), plan).inner_optimizer.weight_decay == decay
