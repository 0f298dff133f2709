# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from training.augment import Augmentation
from training.batches import ahead, epoch_batches, site_weights
from training.datasets.aeroscapes import AeroScapes
from training.fit import FitPlan, fit, read_history

CROPS = Augmentation(size=64, scale=(0.9, 1.1), turn=0.0)
PLAN = FitPlan(epochs=3, steps=4, batch=2, rate=5e-3, averaging=0.5, augmentation=CROPS)


def _model():
    """A network far smaller than the shipped one: what is tested here is the fitting."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(16, 3, 2, padding="same", name="encoder_conv")(image)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
    return keras.Model(image, layers.UpSampling2D(2)(layers.Conv2D(6, 1, name="head")(x)))


@pytest.fixture
def data(small_set):
    dataset = AeroScapes(small_set)
    stems = dataset.stems("trn")
    samples = [dataset.sample(stem) for stem in stems]
    return (stems, samples), [dataset.sample(stem) for stem in dataset.stems("val")]


class KilledError(Exception):
    pass


def _kill_after(epoch):
    def report(line):
        if line.startswith(f"epoch {epoch}/"):
            raise KilledError

    return report


def test_a_short_fit_lowers_its_loss_and_a_killed_one_resumes_to_the_same_curve(data, tmp_path):
    train, validation = data
    best = fit(_model(), train, validation, PLAN, tmp_path / "whole", lambda _line: None)
    history = read_history(tmp_path / "whole")
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"]
    assert best.is_file()

    with pytest.raises(KilledError):
        fit(_model(), train, validation, PLAN, tmp_path / "cut", _kill_after(2))
    fit(_model(), train, validation, PLAN, tmp_path / "cut", lambda _line: None)
    resumed = read_history(tmp_path / "cut")
    for key in ("epoch", "loss", "mean_iou", "rate"):
        assert [row[key] for row in resumed] == pytest.approx(
            [row[key] for row in history], rel=2e-3, abs=2e-3
        ), key


def test_no_epoch_begins_when_time_is_up(data, tmp_path):
    lines = []
    fit(_model(), *data, PLAN, tmp_path, lines.append, until=0.0)
    assert lines == ["stopped before epoch 1: out of time"]


def test_the_same_seed_gives_the_same_batches(data):
    (stems, samples), _validation = data
    weights = site_weights(stems)
    first, second = (
        list(ahead(epoch_batches(samples, weights, 2, 3, CROPS, (1, 2)))) for _ in range(2)
    )
    assert first[0][0].shape == (3, 64, 64, 3)
    assert first[0][0].dtype == np.float32
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1], other[1])


def test_an_error_in_the_thread_that_makes_batches_is_raised():
    def broken():
        yield 1
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(ahead(broken()))


def test_sites_are_drawn_by_the_root_of_their_size():
    weights = site_weights(["000001_001"] * 9 + ["001001_001"] * 4)
    assert weights.sum() == pytest.approx(1)
    assert weights[:9].sum() / weights[9:].sum() == pytest.approx(3 / 2)
