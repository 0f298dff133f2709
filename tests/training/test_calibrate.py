# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from training.calibrate import (
    METHODS,
    THRESHOLDS,
    CalibrationPlan,
    calibrate,
    histogram_of_logits,
    histograms,
    into_card,
    table,
)
from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.metrics import BinaryCounts
from unet_segmenter.engine.model_card import Calibration
from unet_segmenter.engine.predict import calibrate as apply_calibration
from unet_segmenter.engine.reliability import ScoreHistogram

SCALE, OFFSET = 0.4, -1.2
NAMES = ["tree", "road"]


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _site(seed, count=40_000):
    """Logits (N, 2) that are too sure and biased in channel 0, right in channel 1, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, 2))
    true = _sigmoid(SCALE * logits[:, 0] + OFFSET)
    labels = (rng.random(count) < true).astype(np.uint8)
    second = (labels == 0) & (rng.random(count) < _sigmoid(logits[:, 1]))
    labels[second] = 2
    return logits, labels


@pytest.fixture(scope="module")
def groups():
    return {f"site {seed}": histogram_of_logits(*_site(seed)) for seed in range(3)}


def test_platt_scaling_finds_the_curve_that_was_drawn(groups):
    fitted = calibrate(groups, NAMES).classes[0].calibration
    assert fitted.scale == pytest.approx(SCALE, abs=0.02)
    assert fitted.offset == pytest.approx(OFFSET, abs=0.03)


def test_calibration_lowers_the_error_on_groups_that_the_fit_did_not_see(groups):
    report = calibrate(groups, NAMES).report
    row = report["per_class"]["tree"]
    assert row["ece_before"] > 0.15
    assert row["ece_after"] < 0.01
    assert report["judged_on"] == "each group by a fit on the others"
    assert report["groups"] == ["site 0", "site 1", "site 2"]
    assert report["pixels"] == 120_000
    assert "| tree | 0." in table(report)


def test_one_group_is_judged_by_itself_and_the_report_says_so(groups):
    report = calibrate({"only": groups["site 0"]}, NAMES).report
    assert "one group only" in report["judged_on"]


def test_what_makes_unseen_groups_worse_is_left_out_class_by_class():
    """Sites that err in opposite ways: a fit on one is worse than none on the other."""
    rng = np.random.default_rng(0)

    def site(offset):
        logits = rng.normal(0, 2, (20_000, 2))
        labels = (rng.random(20_000) < _sigmoid(logits[:, 0] + offset)).astype(np.uint8)
        labels[(labels == 0) & (rng.random(20_000) < _sigmoid(0.3 * logits[:, 1] - 1))] = 2
        return histogram_of_logits(logits, labels)

    found = calibrate({"dry": site(3.0), "wet": site(-3.0)}, NAMES)
    tree, road = found.classes
    assert tree.calibration.is_identity
    assert tree.threshold == 0.5
    assert not road.calibration.is_identity
    rows = found.report["per_class"]
    assert (rows["tree"]["method"], rows["road"]["method"]) == ("none", "platt")
    assert rows["tree"]["ece_after"] == rows["tree"]["ece_before"]
    assert rows["road"]["ece_after"] < 0.6 * rows["road"]["ece_before"]


def test_an_unchanged_threshold_leaves_every_decision_as_it_was(groups):
    fitted = calibrate(groups, NAMES, CalibrationPlan("platt", "unchanged")).classes[0]
    assert not fitted.calibration.is_identity
    raw = np.linspace(0.001, 0.999, 500, dtype=np.float32)
    raw = raw[np.abs(raw - 0.5) > 1e-3]
    calibrated = apply_calibration(raw[:, None], [fitted.calibration])[:, 0]
    assert ((calibrated >= fitted.threshold) == (raw >= 0.5)).all()


def test_no_threshold_is_chosen_that_makes_unseen_groups_worse_than_none():
    """The best threshold of one site is a bad one on the other, and 0.5 fits both halfway."""
    rng = np.random.default_rng(0)

    def site(cut):
        logits = rng.normal(0, 2, (20_000, 1))
        labels = (logits[:, 0] + rng.normal(0, 0.5, 20_000) > cut).astype(np.uint8)
        return histogram_of_logits(logits, labels)

    found = calibrate({"low": site(-1.5), "high": site(1.5)}, ["tree"])
    row = found.report["per_class"]["tree"]
    assert row["threshold"] == "unchanged"
    assert row["iou_at_threshold_after"] >= row["iou_at_half_before"] - 0.003


def test_a_temperature_has_no_offset_and_none_changes_nothing(groups):
    fitted = calibrate(groups, NAMES, CalibrationPlan("temperature")).classes[0].calibration
    assert fitted.offset == 0
    assert 0 < fitted.scale < 1
    plain = calibrate(groups, NAMES, CalibrationPlan("none", "fixed"))
    assert all(one.calibration.is_identity and one.threshold == 0.5 for one in plain.classes)
    assert plain.report["mean_ece_before"] == plain.report["mean_ece_after"]


def test_the_best_threshold_beats_all_others_on_the_pixels_it_was_fitted_on():
    logits, labels = _site(7)
    groups = {"a": histogram_of_logits(logits, labels)}
    fitted = calibrate(groups, NAMES, CalibrationPlan("platt", "best")).classes
    raw = _sigmoid(logits).astype(np.float32)
    calibrated = apply_calibration(raw, [one.calibration for one in fitted])

    def iou(threshold):
        return BinaryCounts.of(calibrated >= threshold, labels).scores()["iou"][0]

    best = max(iou(threshold) for threshold in np.linspace(0.01, 0.99, 99))
    assert iou(fitted[0].threshold) >= best - 0.002
    assert iou(0.5) < best - 0.01


def test_otsu_parts_two_heaps_between_them():
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.2, 0.03, 5000), rng.normal(0.7, 0.03, 5000)
    scores = np.concatenate([low, high]).astype(np.float32)[:, None]
    labels = np.repeat([0, 1], 5000).astype(np.uint8)
    group = {"a": ScoreHistogram.of(scores, labels)}
    fitted = calibrate(group, ["tree"], CalibrationPlan("none", "otsu")).classes[0]
    assert 0.25 < fitted.threshold < 0.65


def test_a_class_that_validation_does_not_show_keeps_what_it_has():
    logits, labels = _site(1, 5000)
    labels[labels == 2] = 0
    found = calibrate({"a": histogram_of_logits(logits, labels)}, NAMES)
    assert found.classes[1].calibration.is_identity
    assert found.classes[1].threshold == 0.5
    assert found.report["per_class"]["road"]["iou_at_half_before"] == 0


def test_classes_that_a_threshold_parts_stay_finite():
    logits = np.array([[-3.0], [-2.0], [2.0], [3.0]] * 50)
    labels = np.array([0, 0, 1, 1] * 50, np.uint8)
    found = calibrate({"a": histogram_of_logits(logits, labels)}, ["tree"]).classes[0]
    assert 1 <= found.calibration.scale <= 20
    assert abs(found.calibration.offset) < 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_every_method_gives_what_a_card_can_hold(groups, method, threshold):
    found = calibrate(groups, NAMES, CalibrationPlan(method, threshold))
    assert len(found.classes) == 2
    for one in found.classes:
        assert 0 < one.threshold < 1
        assert one.calibration.scale > 0


def test_a_card_takes_the_result_by_channel(groups):
    found = calibrate(groups, NAMES)
    classes = [{"name": "road", "channel": 1}, {"name": "tree", "channel": 0}]
    content = into_card({"output": {"activation": "sigmoid", "classes": classes}}, found)
    first = content["output"]["classes"][0]
    assert first["name"] == "tree"
    assert Calibration(**first["calibration"]) == found.classes[0].calibration
    assert first["threshold"] == found.classes[0].threshold
    assert content["calibration"]["method"] == "platt"


def test_histograms_are_gathered_by_group_with_all_pixels():
    image, mask = np.zeros((4, 5, 3), np.uint8), np.ones((4, 5), np.uint8)
    mask[0] = 255
    samples = [("a", image, mask), ("b", image, mask), ("a", image, mask)]
    found = histograms(lambda image: np.full((*image.shape[:2], 2), 0.25, np.float32), samples)
    assert {name: int(one.counts[0].sum()) for name, one in found.items()} == {"a": 30, "b": 15}
    assert found["a"].positives.sum(axis=1).tolist() == [30, 0]


@pytest.mark.parametrize(
    "fields", [{"method": "magic"}, {"threshold": "magic"}, {"fixed": 0.0}], ids=str
)
def test_a_plan_that_cannot_be_followed_is_refused(fields):
    with pytest.raises(JobError):
        CalibrationPlan(**fields)


def test_nothing_to_calibrate_on_is_told():
    with pytest.raises(JobError, match="no image"):
        calibrate({}, NAMES)
