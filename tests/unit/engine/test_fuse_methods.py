# SPDX-License-Identifier: GPL-2.0-or-later
"""Several probabilities of a pixel become one class, by four rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.fuse_methods import (
    FUSION_METHODS,
    FusionRules,
    confidence,
    conflict,
    entropy,
    exclusive,
    fuse,
    merged,
    renormalised,
    unknown_probability,
)

SHAPE = (3, 4, 3)
ALL_VALID = np.ones(SHAPE[:2], bool)
METHODS = list(FUSION_METHODS)
NOTHING = float(np.finfo(np.float32).tiny)

shares = st.floats(0, 1, width=32)
images = arrays(np.float32, SHAPE, elements=shares)
limits = st.tuples(shares, shares, shares)
masks = arrays(np.bool_, SHAPE[:2])
orders = st.permutations([0, 1, 2]).flatmap(
    lambda order: st.integers(0, 3).map(lambda count: tuple(order[:count]))
)


def pixel(*probabilities: float) -> np.ndarray:
    return np.array([[probabilities]], np.float32)


def decided(probabilities: np.ndarray, **rules: object) -> int:
    """The class of one pixel whose classes have the values 1, 2 ... and the threshold 0.5."""
    count = probabilities.shape[-1]
    settings = {"method": "argmax", "thresholds": (0.5,) * count, **rules}
    given_rules = FusionRules(values=tuple(range(1, count + 1)), **settings)  # type: ignore[arg-type]
    return int(fuse(probabilities, given_rules, np.ones((1, 1), bool))[0, 0])


def test_argmax_takes_the_most_probable_class_whatever_its_threshold() -> None:
    assert decided(pixel(0.2, 0.4, 0.3)) == 2
    assert decided(pixel(0.7, 0.6), thresholds=(0.9, 0.1)) == 1


def test_argmax_below_the_unknown_threshold_is_unknown() -> None:
    assert decided(pixel(0.2, 0.4, 0.3), unknown_threshold=0.41) == 0
    assert decided(pixel(0.2, 0.4, 0.3), unknown_threshold=0.4) == 2


def test_priority_takes_the_first_class_that_claims_the_pixel() -> None:
    p = pixel(0.9, 0.6, 0.4)
    assert decided(p, method="priority") == 1
    assert decided(p, method="priority", priority=(2, 1, 0)) == 2
    assert decided(p, method="priority", priority=(2,)) == 1
    assert decided(p, method="priority", priority=(2, 1), thresholds=(0.5, 0.5, 0.4)) == 3
    assert decided(p, method="priority", priority=(1,), unknown_threshold=0.7) == 1


def test_threshold_takes_the_highest_of_those_over_their_own() -> None:
    assert decided(pixel(0.7, 0.6), method="threshold", thresholds=(0.8, 0.5)) == 2
    assert decided(pixel(0.7, 0.6), method="threshold", thresholds=(0.8, 0.65)) == 0


def test_the_course_s_sums_alias_and_vanish_over_eight() -> None:
    six = (0.5,) * 6
    assert decided(pixel(0.6, 0.6, 0, 0, 0, 0), method="course_sum", thresholds=six) == 3
    assert decided(pixel(0, 0.6, 0, 0, 0, 0.6), method="course_sum", thresholds=six) == 8
    assert decided(pixel(0, 0, 0.6, 0, 0, 0.6), method="course_sum", thresholds=six) == 0
    assert decided(pixel(0.5, 0, 0, 0, 0, 0), method="course_sum", thresholds=six) == 0
    assert decided(pixel(1, 1, 1, 1, 1, 1), method="course_sum", thresholds=six) == 0


@pytest.mark.parametrize("method", METHODS)
def test_what_is_certainly_no_class_is_unknown_even_without_thresholds(method: str) -> None:
    assert decided(pixel(0, 0, 0), method=method, thresholds=(0, 0, 0)) == 0


@pytest.mark.parametrize("method", METHODS)
@given(p=images, valid=masks, thresholds=limits, unknown=shares, order=orders)
def test_a_pixel_has_a_class_unknown_or_nodata_and_nodata_is_where_it_was(
    method, p, valid, thresholds, unknown, order
) -> None:
    values = (1, 2, 4)  # no sum of some is another: each decision can be told
    rules = FusionRules(method, values, thresholds, order, unknown)
    before = p.copy()
    classes = fuse(p, rules, valid)
    np.testing.assert_array_equal(p, before)
    np.testing.assert_array_equal(classes == 255, ~valid)
    allowed = {0, 1, 2, 4} | ({3, 5, 6, 7} if method == "course_sum" else set())
    assert set(np.unique(classes[valid])) <= allowed
    if method == "course_sum":
        return
    for channel, value in enumerate(values):
        assert (p[..., channel][classes == value] >= np.float32(unknown)).all()
        if method != "argmax":
            assert (p[..., channel][classes == value] >= np.float32(thresholds[channel])).all()


@given(p=images, thresholds=limits, unknown=shares, order=orders)
def test_only_pixels_that_no_class_may_have_are_unknown(p, thresholds, unknown, order) -> None:
    rules = FusionRules("threshold", (1, 2, 4), thresholds, order, unknown)
    nobody = conflict(p, rules) == 0
    for method in ("threshold", "priority"):
        same = FusionRules(method, (1, 2, 4), thresholds, order, unknown)
        np.testing.assert_array_equal(fuse(p, same, ALL_VALID) == 0, nobody)
    best = p.max(axis=-1)
    by_best = fuse(p, FusionRules("argmax", (1, 2, 4), thresholds, (), unknown), ALL_VALID)
    np.testing.assert_array_equal(by_best == 0, best < np.float32(max(unknown, NOTHING)))


@given(p=images)
def test_where_at_most_one_class_claims_a_pixel_the_methods_agree(p) -> None:
    rules = [FusionRules(method, (1, 2, 4), (0.5,) * 3, (), 0.5) for method in METHODS]
    alone = (conflict(p, rules[0]) <= 1) & (p != np.float32(0.5)).all(axis=-1)
    first, *others = (fuse(p, rule, ALL_VALID) for rule in rules)
    for other in others:
        np.testing.assert_array_equal(other[alone], first[alone])


def test_conflict_counts_the_classes_that_claim_a_pixel() -> None:
    rules = FusionRules("argmax", (1, 2, 3), (0.5, 0.5, 0.2))
    p = np.array([[[0.6, 0.5, 0.1], [0.9, 0.9, 0.9], [0.4, 0.4, 0.1]]], np.float32)
    counts = conflict(p, rules)
    assert counts.dtype == np.uint8
    assert counts.tolist() == [[2, 3, 0]]


@given(p=images)
def test_renormalised_probabilities_sum_to_one_and_keep_their_order(p) -> None:
    shares = renormalised(p)
    something = p.sum(axis=-1, dtype=np.float32) >= np.finfo(np.float32).tiny
    np.testing.assert_allclose(shares.sum(axis=-1), something, atol=1e-5)
    assert ((shares >= 0) & (shares <= 1 + 1e-6)).all()
    order = np.argsort(p, axis=-1, kind="stable")
    assert (np.diff(np.take_along_axis(shares, order, -1), axis=-1) >= 0).all()


def test_nothing_speaks_for_a_class_where_all_probabilities_are_none() -> None:
    assert renormalised(pixel(0, 0, 0)).tolist() == [[[0, 0, 0]]]
    assert renormalised(pixel(0, 0), 0.3).tolist() == [[[0, 0, 1]]]


@pytest.mark.parametrize(("unknown", "limit"), [(0.0, 0.7), (0.8, 0.8)])
def test_a_single_class_is_claimed_from_its_threshold_on_and_keeps_its_probability(
    unknown, limit
) -> None:
    p = np.array([[[0.1], [0.69], [0.71], [0.81]]], np.float32)
    rules = FusionRules("argmax", (4,), (0.7,), (), unknown)
    expected = np.where(p[..., 0] >= limit, 4, 0)
    np.testing.assert_array_equal(fuse(p, rules, np.ones((1, 4), bool)), expected)
    np.testing.assert_array_equal(renormalised(p, unknown), p)


@given(p=images, unknown=st.floats(2**-10, 1, width=32))
def test_the_likeliest_of_classes_and_unknown_is_what_argmax_gives(p, unknown) -> None:
    shares = renormalised(p, unknown)
    np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-5)
    classes = fuse(p, FusionRules("argmax", (1, 2, 3), (0.5,) * 3, (), unknown), ALL_VALID)
    ranked = np.sort(shares, axis=-1)
    clear = ranked[..., -1] - ranked[..., -2] > 1e-6
    likeliest = np.array([1, 2, 3, 0])[shares.argmax(axis=-1)]
    np.testing.assert_array_equal(likeliest[clear], classes[clear])


@given(p=images)
def test_entropy_is_none_for_a_sure_pixel_and_full_for_an_undecided_one(p) -> None:
    assert ((entropy(p) >= 0) & (entropy(p) <= 1)).all()
    assert entropy(pixel(0, 1, 0))[0, 0] == 0
    np.testing.assert_allclose(entropy(pixel(0.2, 0.2, 0.2)), 1, atol=1e-6)
    np.testing.assert_allclose(entropy(pixel(0, 0, 0)), 1, atol=1e-6)
    np.testing.assert_allclose(entropy(pixel(0.5, 0.5, 0)), np.log(2) / np.log(3), rtol=1e-5)
    np.testing.assert_allclose(entropy(pixel(0.5)), 1, atol=1e-6)


@given(p=images)
def test_confidence_is_the_lead_of_the_best_over_the_second(p) -> None:
    rules = FusionRules("argmax", (1, 2, 3), (0.5,) * 3)
    ranked = np.sort(p, axis=-1)
    np.testing.assert_array_equal(confidence(p, rules), ranked[..., -1] - ranked[..., -2])


def test_confidence_in_a_single_class_is_the_distance_from_its_threshold() -> None:
    rules = FusionRules("threshold", (1,), (0.2,))
    np.testing.assert_allclose(confidence(pixel(0.6), rules), 0.5, atol=1e-6)


def test_channels_of_one_class_are_merged_to_the_highest() -> None:
    p = np.array([[[0.1, 0.8, 0.3, 0.2]]], np.float32)
    joined = merged(p, [(0, 2), (1,), (3,)])
    np.testing.assert_array_equal(joined, np.array([[[0.3, 0.8, 0.2]]], np.float32))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "median"}, "choose one of argmax, priority, threshold, course_sum"),
        ({"values": (1, 1)}, "values of their own"),
        ({"values": (0, 1)}, "0 is unknown"),
        ({"thresholds": (0.5,)}, "as many thresholds"),
        ({"thresholds": (0.5, 1.5)}, "from 0 to 1"),
        ({"unknown_threshold": -0.1}, "from 0 to 1"),
        ({"priority": (1, 1)}, "twice"),
        ({"priority": (2,)}, "not there"),
    ],
)
def test_rules_that_decide_nothing_are_refused(changes, words) -> None:
    fields = {"method": "argmax", "values": (1, 2), "thresholds": (0.5, 0.5), **changes}
    with pytest.raises(JobError, match=words):
        FusionRules(**fields)


# vegetation, tree and shrub (its parts), road
WHOLES = (None, 0, 0, None)
TINY = float(np.finfo(np.float32).tiny)


def rules_of_parts(method: str = "argmax", **changes: object) -> FusionRules:
    given = {"thresholds": (0.5, 0.4, 0.6, 0.5), "wholes": WHOLES, **changes}
    return FusionRules(method, (1, 2, 3, 4), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["argmax", "threshold"])
def test_a_part_takes_pixels_of_its_whole_alone(method: str) -> None:
    p = np.array(
        [[[0.9, 0.4, 0.1, 0.6], [0.9, 0.39, 0.1, 0.6], [0.9, 0.5, 0.6, 0.6], [0.6, 0.9, 0.9, 0.7]]],
        np.float32,
    )
    assert fuse(p, rules_of_parts(method), np.ones((1, 4), bool)).tolist() == [[2, 1, 3, 4]]


def test_with_priority_a_part_comes_before_its_whole_unless_it_is_named() -> None:
    assert rules_of_parts("priority").order == (1, 2, 0, 3)
    assert rules_of_parts("priority", priority=(3,)).order == (3, 1, 2, 0)
    assert rules_of_parts("priority", priority=(0, 2)).order == (1, 0, 2, 3)
    p = pixel(0.9, 0.7, 0.1, 0.6)
    everywhere = np.ones((1, 1), bool)
    assert fuse(p, rules_of_parts("priority"), everywhere).tolist() == [[2]]
    assert fuse(p, rules_of_parts("priority", priority=(0, 1)), everywhere).tolist() == [[1]]


def test_one_class_with_parts_has_its_own_threshold_as_a_class_alone_has() -> None:
    rules = FusionRules("argmax", (1, 2), (0.6, 0.3), wholes=(None, 0))
    p = np.array([[[0.59, 0.9], [0.6, 0.3], [0.6, 0.29]]], np.float32)
    assert fuse(p, rules, np.ones((1, 3), bool)).tolist() == [[0, 2, 1]]


def test_a_class_and_its_part_are_no_conflict_but_two_parts_are() -> None:
    p = np.array(
        [[[0.9, 0.9, 0, 0], [0.1, 0.9, 0, 0], [0.9, 0.9, 0.9, 0], [0.9, 0.9, 0, 0.9]]], np.float32
    )
    assert conflict(p, rules_of_parts()).tolist() == [[1, 1, 2, 2]]


@given(
    p=arrays(np.float32, (3, 4, 4), elements=st.integers(0, 254).map(lambda n: n / 254)),
    thresholds=st.tuples(shares, shares, shares, shares),
    unknown=shares,
)
def test_the_likeliest_of_classes_that_exclude_each_other_is_the_class_given(
    p, thresholds, unknown
) -> None:
    rules = rules_of_parts(thresholds=thresholds, unknown_threshold=unknown)
    before = p.copy()
    apart = exclusive(p, rules)
    np.testing.assert_array_equal(p, before)
    assert ((apart >= 0) & (apart <= 1)).all()
    classes = np.array([1, 2, 3, 4], np.uint8)[apart.argmax(axis=-1)]
    classes[apart.max(axis=-1) < max(unknown, TINY)] = 0
    np.testing.assert_array_equal(classes, fuse(p, rules, ALL_VALID))


def test_the_rest_of_a_class_and_its_part_stay_apart_when_rounded_to_steps() -> None:
    rules = rules_of_parts(thresholds=(0.5,) * 4)
    p = np.array([[[0.9, 127 / 254, 0, 0], [0.9, 126 / 254, 0, 0]]], np.float32)
    shares_of = np.rint(renormalised(exclusive(p, rules)) * 254)
    assert shares_of.argmax(axis=-1).tolist() == [[1, 0]]
    assert (np.abs(shares_of[..., 0] - shares_of[..., 1]) >= 2).all()


def test_a_class_is_no_part_of_a_part_or_of_one_that_is_not_there() -> None:
    for wholes in ((None, 0, 1, None), (None, 7, None, None), (0, None, None, None), (None, 0)):
        with pytest.raises(JobError, match=r"part|wholes"):
            rules_of_parts(wholes=wholes)


@given(p=images, thresholds=limits)
def test_without_an_unknown_threshold_unknown_is_what_no_class_claims(p, thresholds) -> None:
    rules = FusionRules("argmax", (1, 2, 3), thresholds, unknown_threshold=None)
    classes = fuse(p, rules, ALL_VALID)
    np.testing.assert_array_equal(classes == 0, conflict(p, rules) == 0)
    named = fuse(p, FusionRules("argmax", (1, 2, 3), thresholds), ALL_VALID)
    np.testing.assert_array_equal(classes[classes > 0], named[classes > 0])
    unknown = unknown_probability(p, rules)
    wins = unknown > p.max(axis=-1)
    np.testing.assert_array_equal(wins, classes == 0)


def test_the_unknown_of_one_class_alone_has_the_class_s_threshold() -> None:
    rules = FusionRules("argmax", (1, 2), (0.6, 0.9), unknown_threshold=None)
    found = unknown_probability(np.array([[[0.3, 0.1], [0.9, 0.1]]], np.float32), rules)
    np.testing.assert_allclose(found, [[0.6, 0.6]], atol=1e-6)
