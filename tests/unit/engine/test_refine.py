# SPDX-License-Identifier: GPL-2.0-or-later
"""Refinement on arrays: what the dense CRF does, and that it equals the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_segmenter.engine import crf_inference, crf_kernels
from unet_segmenter.engine.crf_settings import CrfSettings
from unet_segmenter.engine.errors import JobError, RuntimeMissingError
from unet_segmenter.engine.geometry import PixelWindow
from unet_segmenter.engine.refine import (
    refine,
    refine_block,
    unary_from_labels,
    unary_from_probabilities,
)

SMALL = CrfSettings(sxy=4, srgb=10, compat=10, iterations=5)


def scene(seed: int = 0, side: int = 72, classes: int = 4, bands: int = 3):
    """An image of flat stripes with noise, and blurred, noisy probabilities of the stripes."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:side, :side]
    truth = (rows // 18 + cols // 30) % classes
    image = truth[..., np.newaxis] * 50 + rng.normal(20, 6, (side, side, bands))
    shifted = (np.roll(truth, 3, 0)[..., np.newaxis] == np.arange(classes)) * 0.6
    probabilities = shifted + rng.uniform(0, 0.4, (side, side, classes))
    return np.clip(image, 0, 255).astype(np.uint8), probabilities.astype(np.float32), truth


def everywhere(image):
    return np.ones(image.shape[:2], bool)


def test_boundaries_move_to_where_the_image_has_them():
    image, probabilities, truth = scene()
    before = probabilities.argmax(-1) == truth
    after = refine_block(image, probabilities, everywhere(image), SMALL) == truth + 1
    assert before.mean() < 0.87
    assert after.mean() > 0.97


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_labels_are_those_of_the_reference_implementation(bands):
    pytest.importorskip("pydensecrf", reason="the reference needs a C++ compiler to install")
    image, probabilities, _ = scene(seed=bands, bands=bands)
    unary, valid = unary_from_probabilities(probabilities), everywhere(image)
    valid[:5] = False
    found = refine(image, unary, valid, SMALL)
    expected = refine(image, unary, valid, replace(SMALL, solver="pydensecrf"))
    assert (expected.argmax(-1) != unary.argmax(-1)).mean() > 0.05, "the reference changes much"
    assert (found.argmax(-1) == expected.argmax(-1)).mean() >= 0.999
    assert np.abs(found - expected).mean() < 0.01


@pytest.mark.parametrize(("compat", "most"), [(3, 1), (10, 0.7), (40, 0.8)])
def test_settled_pixels_are_left_out_and_the_labels_stay(monkeypatch, compat, most):
    image, probabilities, _ = scene(seed=4, side=160)
    unary, valid = unary_from_probabilities(probabilities), everywhere(image)
    long = CrfSettings(sxy=12, srgb=8, compat=compat, iterations=20)
    inferred = []
    update = crf_kernels.update

    def counted(*arguments):
        inferred.append(len(arguments[6]))
        return update(*arguments)

    monkeypatch.setattr(crf_kernels, "update", counted)
    found = refine(image, unary, valid, long).argmax(-1)
    pixels = sum(inferred)
    inferred.clear()
    monkeypatch.setattr(crf_inference, "_SETTLED", np.inf)
    expected = refine(image, unary, valid, long).argmax(-1)
    assert set(inferred) == {valid.size}, "nothing is settled then"
    assert pixels < most * sum(inferred)
    assert (expected != unary.argmax(-1)).mean() > 0.05
    assert (found == expected).mean() >= 0.9998


def test_a_speck_of_the_surrounding_colour_vanishes_and_one_of_its_own_colour_stays():
    image = np.full((40, 40, 3), 60, np.uint8)
    image[28:32, 28:32] = 200
    labels = np.ones((40, 40), np.uint8)
    labels[8:10, 8:10] = 2
    labels[28:32, 28:32] = 2
    unary = unary_from_labels(labels, (1, 2), 0.7)
    found = refine(image, unary, everywhere(image), SMALL).argmax(-1)
    assert (found[8:10, 8:10] == 0).all()
    assert (found[28:32, 28:32] == 1).all()


def test_unsure_pixels_take_the_class_of_their_colour():
    image = np.zeros((30, 30, 1), np.uint16)
    image[:, 15:] = 3000
    labels = np.where(image[..., 0] > 0, 7, 3).astype(np.uint8)
    labels[10:20, 5:25] = 0
    unary = unary_from_labels(labels, (3, 7), 0.6)
    assert (unary[15, 10] == 0.5).all(), "a label that is no class says nothing"
    found = refine(image, unary, everywhere(image), SMALL, value_range=(0, 4095)).argmax(-1)
    assert (found == (image[..., 0] > 0)).all()


def test_unsure_pixels_within_a_single_class_take_it():
    labels = np.full((40, 40), 9, np.uint8)
    labels[10:30, 10:30] = 0
    unary = unary_from_labels(labels, (4, 9), 0.6)
    image = np.full((40, 40, 1), 5, np.uint8)
    assert (refine(image, unary, everywhere(image), SMALL).argmax(-1) == 1).all()


def test_nodata_comes_out_and_has_no_influence():
    image, probabilities, _ = scene()
    valid = everywhere(image)
    valid[20:40, 20:40] = False
    mask = refine_block(image, probabilities, valid, SMALL)
    assert (mask[~valid] == 255).all()
    assert (mask[valid] != 255).all()
    other, more = image.copy(), probabilities.copy()
    other[~valid] = 255
    more[~valid] = (0, 1, 0, 0)
    assert np.array_equal(refine_block(other, more, valid, SMALL), mask)


def test_values_of_the_image_are_scaled_by_the_range():
    image, probabilities, _ = scene()
    valid = everywhere(image)
    expected = refine_block(image, probabilities, valid, SMALL)
    reflectance = image.astype(np.float64) / 255 * 0.4 + 0.1
    found = refine_block(reflectance, probabilities, valid, SMALL, value_range=(0.1, 0.5))
    assert (found == expected).mean() > 0.999
    assert not np.array_equal(refine_block(reflectance, probabilities, valid, SMALL), expected)


def test_a_map_of_one_class_in_reach_is_passed_through(monkeypatch):
    image, probabilities, _ = scene()
    probabilities[..., 2] = 2.0

    def fail(*_):
        raise AssertionError("nothing is to be inferred")

    monkeypatch.setattr("unet_segmenter.engine.refine._solver", fail)
    assert (refine_block(image, probabilities, everywhere(image), SMALL) == 3).all()


def test_leaving_out_what_cannot_change_gives_the_labels_of_inferring_everything():
    from unet_segmenter.engine.crf_inference import mean_field

    rng = np.random.default_rng(4)
    image = rng.integers(0, 90, (160, 300, 3)).astype(np.uint8)
    probabilities = rng.uniform(0.3, 0.5, (160, 300, 3)).astype(np.float32)
    probabilities[:, :40, 0] += 0.4
    probabilities[:, 40:, 1] += 0.4
    unary, valid = unary_from_probabilities(probabilities), everywhere(image)
    whole = mean_field(image.astype(np.float32), unary, valid, valid, SMALL)
    found = refine(image, unary, valid, SMALL)
    untouched = (found == unary).all(-1)
    assert untouched.mean() > 0.5
    assert np.array_equal(found.argmax(-1), whole.argmax(-1))


def test_a_block_with_its_halo_has_the_labels_of_the_whole():
    image, probabilities, _ = scene(side=160)
    valid = everywhere(image)
    whole = refine_block(image, probabilities, valid, SMALL)
    tiled = np.zeros_like(whole)
    for row in range(0, 160, 40):
        for col in range(0, 160, 40):
            write = PixelWindow(row, col, 40, 40)
            read = write.pad(SMALL.halo).intersect(PixelWindow(0, 0, 160, 160))
            part = (image[read.slices], probabilities[read.slices], valid[read.slices])
            tiled[write.slices] = refine_block(*part, SMALL, core=write.relative_to(read))
    assert (tiled == whole).mean() >= 0.999


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_any_shape_gives_a_class_or_nodata(seed, height, width, classes):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 255, (height, width, 2)).astype(np.uint8)
    probabilities = rng.uniform(0, 1, (height, width, classes)).astype(np.float32)
    valid = rng.uniform(size=(height, width)) > 0.2
    mask = refine_block(image, probabilities, valid, SMALL)
    lowest = 0 if classes == 1 else 1  # of a single class, 0 is the rest
    assert ((mask == 255) == ~valid).all()
    assert ((mask[valid] >= lowest) & (mask[valid] <= classes)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.floats(0.1, 0.9))
def test_the_unary_is_a_distribution_that_decides_as_the_probabilities(seed, classes, threshold):
    rng = np.random.default_rng(seed)
    probabilities = rng.uniform(0, 1, (6, 6, classes)).astype(np.float32)
    unary = unary_from_probabilities(probabilities, threshold)
    assert unary.shape == (6, 6, classes + 1)
    assert np.allclose(unary.sum(-1), 1, atol=1e-5)
    sure = probabilities.max(-1) > threshold + 1e-4
    assert (unary.argmax(-1)[sure] == probabilities.argmax(-1)[sure]).all()
    unsure = probabilities.max(-1) < threshold - 1e-4
    assert (unary.argmax(-1)[unsure] == classes).all()


def test_a_single_class_is_told_from_the_rest_at_its_threshold():
    probabilities = np.array([[[0.1], [0.29], [0.31], [0.9]]], np.float32)
    assert unary_from_probabilities(probabilities, 0.3).argmax(-1).tolist() == [[1, 1, 0, 0]]
    assert unary_from_probabilities(probabilities).argmax(-1).tolist() == [[1, 1, 1, 0]]


def test_where_no_class_has_any_probability_all_have_the_same():
    unary = unary_from_probabilities(np.zeros((1, 1, 4), np.float32))
    assert unary.ravel().tolist() == [0.25] * 4


def test_labels_say_what_their_probability_says():
    unary = unary_from_labels(np.array([[5, 8, 1]], np.uint8), (5, 8, 9), 0.5)
    assert unary.tolist() == [[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], pytest.approx([1 / 3] * 3)]]


def test_the_input_is_left_as_it_was():
    image, probabilities, _ = scene(side=30)
    copies = image.copy(), probabilities.copy()
    refine_block(image, probabilities, everywhere(image), SMALL)
    assert np.array_equal(image, copies[0])
    assert np.array_equal(probabilities, copies[1])


def test_the_inference_stops_when_it_is_asked_to():
    image, probabilities, _ = scene()
    steps = []

    def stop():
        steps.append(1)
        if len(steps) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        refine_block(image, probabilities, everywhere(image), SMALL, stop=stop)
    assert len(steps) == 2


def test_an_absent_solver_says_how_to_get_it(monkeypatch):
    def absent(name, package):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("unet_segmenter.engine.refine.importlib.import_module", absent)
    image, probabilities, _ = scene()
    chosen = replace(SMALL, solver="pydensecrf")
    with pytest.raises(RuntimeMissingError, match="pip install --no-build-isolation pydensecrf2"):
        refine_block(image, probabilities, everywhere(image), chosen)


@pytest.mark.parametrize(
    ("field", "value"),
    [("sxy", 0), ("srgb", float("nan")), ("compat", -1), ("iterations", 0), ("gt_prob", 1.0),
     ("unknown_threshold", 1.5), ("solver", "magic"), ("sxy_gaussian", 50)],
)  # fmt: skip
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(JobError):
        CrfSettings(**{field: value})
