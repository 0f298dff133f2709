# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("keras", reason="training needs keras")

from tests.training.tiny_fit import PLAN, Listener, batches, frames, network, scale
from training.budget import Budget
from training.checkpoint import read_history
from training.errors import TrainingError
from training.fit import OUT_OF_TIME, FitPlan, fit, in_words
from training.framing import Framing
from training.optimizers import to_numpy
from training.validation import Frames, decide, probabilities, validate
from unet_segmenter.engine.errors import Cancelled, JobError


class Eye:
    """A watcher that keeps what it is shown."""

    def __init__(self, numbers=()):
        self.frames, self.epochs, self.over = numbers, [], []

    def epoch(self, state, verdict):
        self.epochs.append((state, verdict))

    def end(self, state):
        self.over.append(state)


def test_a_short_fit_lowers_its_loss_and_keeps_the_best_weights(tmp_path):
    model, listener, eye = network(), Listener(), Eye({1})
    state = fit(model, batches, frames(), PLAN, tmp_path, listener, [eye])
    history = read_history(tmp_path)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert state.status == "finished"
    assert state.best["mean_iou"] == max(row["mean_iou"] for row in history) > 0.5
    model.load_weights(tmp_path / "best.weights.h5")
    counts = validate(model, frames(), "sigmoid").counts
    assert counts.mean_iou() == pytest.approx(state.best["mean_iou"], abs=1e-6)
    assert listener.steps[-1][:2] == (18, 18)
    assert "left" in listener.steps[3][2]
    assert "epoch 3/3" in listener.text()
    assert len(eye.epochs) == 3
    shown = eye.epochs[0][1].shown
    assert shown.keys() == {1}
    assert shown[1].shape == (16, 16, 2)
    assert 0 <= shown[1].min() <= shown[1].max() <= 1
    assert [one.status for one in eye.over] == ["finished"]


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd", "schedule": "ramp", "averaging": 0.0},
        {"optimizer": "rmsprop", "schedule": "constant", "loss": "course-dice", "clip_norm": 0.0},
        {"optimizer": "adam", "schedule": "plateau", "loss": "focal", "encoder_rate": 0.3},
        {"loss": "dice+cross-entropy", "class_weights": (1.0, 2.0), "keep": "val_loss"},
        {"loss": "tversky", "precision": "bfloat16", "keep": "last"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_every_optimiser_schedule_and_head_learns(tmp_path, changes):
    from training.stepping import in_precision

    plan = replace(PLAN, epochs=2, **changes)
    with in_precision(plan.precision):
        model = network(3 if plan.head == "softmax" else 2)
    state = fit(model, batches, frames(), plan, tmp_path, Listener())
    first, last = state.history
    assert last["loss"] < first["loss"]
    assert sum(row["skipped"] for row in state.history) == 0
    expected = {"val_loss": -last["val_loss"], "last": 1.0}
    assert last["score"] == expected.get(plan.keep, last["mean_iou"])


def test_cancelling_stops_at_the_next_step_and_keeps_the_best_checkpoint(tmp_path):
    listener, eye = Listener(lambda one: len(one.steps) >= 8), Eye()
    with pytest.raises(Cancelled) as told:
        fit(network(), batches, frames(), PLAN, tmp_path, listener, [eye])
    assert len(listener.steps) == 8  # of 6 steps an epoch
    assert (tmp_path / "best.weights.h5").is_file()
    assert len(read_history(tmp_path)) == 1
    message = str(told.value)
    assert "epoch 2" in message
    assert "best.weights.h5" in message
    assert "goes on" in message
    assert eye.over[0].status == message


def test_cancelling_before_the_first_epoch_is_told_as_such(tmp_path):
    with pytest.raises(Cancelled, match="before its first epoch"):
        fit(network(), batches, frames(), PLAN, tmp_path, Listener(lambda _one: True))


def test_no_time_at_all_is_enough_for_one_step_without_which_there_is_nothing_to_keep(tmp_path):
    listener = Listener()
    state = fit(network(), batches, frames(), PLAN, tmp_path, listener, budget=Budget(1e-9))
    assert state.status == OUT_OF_TIME
    assert len(listener.steps) == len(read_history(tmp_path)) == 1


def test_an_epoch_without_one_good_step_is_an_error(tmp_path):
    def broken(epoch):
        return ((np.full_like(images, np.nan), labels) for images, labels in batches(epoch))

    with pytest.raises(TrainingError, match="no step of epoch 1 had a loss"):
        fit(network(), broken, frames(), PLAN, tmp_path, Listener())


def test_training_ends_early_when_the_score_gets_no_better(tmp_path):
    plan = replace(PLAN, epochs=9, rate=1e-12, patience=2, averaging=0.0)
    model = network()
    model.get_layer("encoder_stage1_norm").trainable = False  # so that nothing changes
    state = fit(model, batches, frames(), plan, tmp_path, Listener())
    assert len(state.history) == 3  # the first is the best, then two in vain
    assert "early" in state.status


def test_a_broken_image_is_left_out_counted_and_leaves_no_trace_in_the_statistics(tmp_path):
    def with_nan(epoch):
        for number, (images, labels) in enumerate(batches(epoch)):
            yield (np.full_like(images, np.nan) if number == 2 else images), labels

    model, listener = network(), Listener()
    state = fit(model, with_nan, frames(), replace(PLAN, epochs=2), tmp_path, listener)
    assert [row["skipped"] for row in state.history] == [1, 1]
    assert np.isfinite([row["loss"] for row in state.history]).all()
    assert state.history[1]["loss"] < state.history[0]["loss"]
    assert all(np.isfinite(to_numpy(weight)).all() for weight in model.weights)
    warnings = [message for level, message in listener.messages if level == "warning"]
    told = "1 steps of epoch {} were left out: their loss or gradient was no number"
    assert warnings == [told.format(1), told.format(2)]


def test_steps_that_all_go_wrong_are_one_clear_error(tmp_path):
    from training.errors import TrainingError

    def all_nan(epoch):
        for images, labels in batches(epoch, steps=40):
            yield images * np.nan, labels

    eye = Eye()
    with pytest.raises(TrainingError, match=r"20 steps in a row .* lower the learning rate"):
        fit(network(), all_nan, frames(), PLAN, tmp_path, Listener(), [eye])
    assert "failed" in eye.over[0].status


def test_a_step_left_out_changes_no_weight_and_an_overflow_in_float16_halves_the_scale():
    from training.fit import compile_for_fit
    from training.stepping import Stepper

    model = network()
    optimizer = compile_for_fit(model, replace(PLAN, precision="float16"))
    step = Stepper(model)
    images, labels = next(iter(batches(0)))
    first = step(images, labels)
    assert np.isfinite(first)
    kept = [to_numpy(weight) for weight in model.weights]
    assert np.isnan(step(images * np.inf, labels))
    assert step.skipped == 1
    for weight, before in zip(model.weights, kept, strict=True):
        assert np.array_equal(to_numpy(weight), before)
    assert float(to_numpy(optimizer.dynamic_scale)) == 2.0**14
    step(images, labels)
    assert any(
        not np.array_equal(to_numpy(weight), before)
        for weight, before in zip(model.weights, kept, strict=True)
    )


def test_the_validation_loss_is_that_of_batches_as_in_training():
    from training.losses import keras_loss

    model, some, loss = network(), frames(4), keras_loss("course-dice")
    logits = [np.asarray(model.predict_on_batch(image[None]))[0] for image, _mask in some]
    masks = [mask for _image, mask in some]
    by_hand = float(loss(np.stack(masks), np.stack(logits)))
    assert validate(model, some, "sigmoid", loss, batch=4).loss == pytest.approx(by_hand, rel=1e-5)
    halves = [float(loss(np.stack(masks[n : n + 2]), np.stack(logits[n : n + 2]))) for n in (0, 2)]
    found = validate(model, some, "sigmoid", loss, batch=2).loss
    assert found == pytest.approx(np.mean(halves), rel=1e-5)
    assert abs(by_hand - np.mean(halves)) > 1e-5


def test_a_softmax_decides_for_none_of_them_where_channel_0_wins():
    logits = np.log(np.float32([[0.5, 0.3, 0.2], [0.3, 0.3, 0.4], [0.1, 0.8, 0.1]]))
    assert decide(logits, "softmax").tolist() == [[False, False], [False, True], [True, False]]
    assert probabilities(logits, "softmax")[0] == pytest.approx([0.3, 0.2], abs=1e-6)


def test_frames_are_padded_to_the_divisor_with_zero_and_ignore():
    image, mask = np.full((5, 9, 3), 255, np.uint8), np.ones((5, 9), np.uint8)
    seen, labels = Frames([(image, mask)], Framing(), scale, 4)[0]
    assert seen.shape == (8, 12, 3)
    assert labels.shape == (8, 12)
    assert (labels[:5, :9] == 1).all()
    assert (labels[5:] == 255).all()
    assert not seen[5:].any()
    assert seen[:5, :9].all()


def test_half_framing_is_what_a_network_with_its_own_reduction_sees():
    import keras

    rng = np.random.default_rng(3)
    image, mask = rng.integers(0, 255, (9, 12, 2)).astype(np.uint8), np.zeros((9, 12), np.uint8)
    seen, labels = Framing("half").see(image, mask)
    pooled = keras.layers.AveragePooling2D(2)(image[None, :8].astype(np.float32))
    assert np.allclose(seen, np.asarray(pooled)[0])
    assert labels.shape == seen.shape[:2] == (4, 6)


def test_squashing_takes_masks_by_nearest_and_keeps_the_image_s_type():
    rng = np.random.default_rng(4)
    image, mask = rng.integers(0, 255, (40, 60, 3)).astype(np.uint8), np.zeros((40, 60), np.uint8)
    mask[:, 30:] = 7
    seen, labels = Framing("squash", 32).see(image, mask)
    assert seen.shape == (32, 32, 3)
    assert seen.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 7}
    back = Framing("squash", 32).restore(np.ones((32, 32, 2), np.float32), (40, 60))
    assert back.shape == (40, 60, 2)
    assert np.allclose(back, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "hinge"}, "loss 'hinge' is unknown; there are dice"),
        ({"optimizer": "lion"}, "optimizer 'lion'"),
        ({"schedule": "steps"}, "schedule 'steps'"),
        ({"precision": "float8"}, "precision 'float8'"),
        ({"keep": "first"}, "keep 'first'"),
        ({"epochs": 0}, "epochs must be above 0"),
        ({"averaging": 1.0}, "averaging"),
        ({"class_weights": (1.0, 0.0)}, "class weights"),
        ({"class_weights": (1.0, np.inf)}, "class weights must be above 0 and finite"),
        ({"class_weights": (2.0,)}, "'dice\\+bce' weighs classes against each other"),
        ({"class_weights": (2.0, 1.0), "loss": "course-dice"}, "does not support class weights"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(JobError, match=message):
        FitPlan(**changes)


def test_class_weights_must_be_as_many_as_the_classes(tmp_path):
    plan = replace(PLAN, class_weights=(1.0,) * 3)
    with pytest.raises(JobError, match="3 class weights were given for 2 classes"):
        fit(network(), batches, frames(), plan, tmp_path, Listener())


def test_times_are_told_in_words():
    assert [in_words(s) for s in (8, 125, 7500)] == ["8 s", "2 min", "2 h 05 min"]
