# SPDX-License-Identifier: GPL-2.0-or-later
"""One block from pixels to results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from unet_segmenter.engine.errors import ModelError
from unet_segmenter.engine.geometry import PixelWindow
from unet_segmenter.engine.model_card import Calibration, ModelClass, ModelInput
from unet_segmenter.engine.segment_block import BlockPixels, SegmentBlock

INPUT = ModelInput(("a",), ("uint8",), (0.0, 255.0), (0.0,), (1.0,))
TREE = ModelClass(3, "tree", "#00ff00", 0, 0.5)
ROOF = ModelClass(7, "roof", "#ff0000", 1, 0.5)


def network(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Channel 0 is value / 255, channel 1 the rest of 1."""
    return np.concatenate([images / 255, 1 - images / 255], axis=-1)


def block(values: list[list[int]], wanted: list[list[bool]] | None = None) -> BlockPixels:
    pixels = np.array(values, np.uint8)[..., np.newaxis]
    shape = pixels.shape[:2]
    return BlockPixels(
        pixels,
        np.ones(shape, bool),
        np.ones(shape, bool) if wanted is None else np.array(wanted),
        PixelWindow(0, 0, *shape),
    )


def segment(*classes: ModelClass, **options: Any) -> SegmentBlock:
    return SegmentBlock(run=network, model_input=INPUT, classes=classes, **options)


def test_one_class_gives_a_binary_mask_and_several_their_values() -> None:
    values = block([[0, 255]])
    assert segment(TREE)([values])[0].mask.tolist() == [[[0, 1]]]
    assert segment(ROOF)([values])[0].mask.tolist() == [[[1, 0]]]
    assert segment(TREE, ROOF)([values])[0].mask.tolist() == [[[7, 3]]]


def test_the_jobs_threshold_wins_over_the_cards() -> None:
    values = block([[100, 150, 200]])
    assert segment(TREE)([values])[0].mask.tolist() == [[[0, 1, 1]]]
    assert segment(TREE, threshold=0.7)([values])[0].mask.tolist() == [[[0, 0, 1]]]
    assert segment(TREE, threshold=0.0)([values])[0].mask.tolist() == [[[1, 1, 1]]]


def test_calibration_comes_before_the_threshold() -> None:
    cautious = ModelClass(3, "tree", "#00ff00", 0, 0.5, Calibration(1.0, -2.0))
    result = segment(cautious, with_probability=True, probability_type="float32")(
        [block([[128, 240]])]
    )[0]
    assert result.mask.tolist() == [[[0, 1]]]
    odds = 240 / 15 * np.exp(-2)
    assert result.probability is not None
    np.testing.assert_allclose(result.probability[0, 0, 1], odds / (1 + odds), rtol=1e-5)


def test_only_the_written_window_comes_back() -> None:
    pixels = block([[0, 1, 2], [100, 200, 250]])
    cropped = BlockPixels(
        pixels.pixels, pixels.valid, np.ones((1, 2), bool), PixelWindow(1, 1, 1, 2)
    )
    result = segment(TREE, with_probability=True)([cropped])[0]
    assert result.probability is not None
    assert result.probability.tolist() == [[[round(200 / 255 * 254), round(250 / 255 * 254)]]]


def test_unwanted_pixels_are_nodata_in_every_layer() -> None:
    for kind, nodata in (("uint8", 255), ("float32", np.nan)):
        result = segment(
            TREE, ROOF, with_probability=True, with_confidence=True, probability_type=kind
        )([block([[0, 255]], wanted=[[False, True]])])[0]
        assert result.mask[0].tolist() == [[255, 3]]
        for layer in (result.probability, result.confidence):
            assert layer is not None
            assert layer.dtype == kind
            np.testing.assert_equal(layer[:, 0, 0], np.full(len(layer), nodata, kind))
            assert (layer[:, 0, 1] <= 254).all()


def test_probability_steps_are_254ths_and_certainty_is_not_nodata() -> None:
    result = segment(TREE, with_probability=True)([block([[0, 51, 255]])])[0]
    assert result.probability is not None
    assert result.probability.tolist() == [[[0, 51, 254]]]


def test_layers_that_were_not_asked_for_are_not_made() -> None:
    result = segment(TREE)([block([[0]])])[0]
    assert (result.probability, result.confidence) == (None, None)


def test_an_unread_block_is_all_nodata() -> None:
    unread = BlockPixels(
        np.zeros((0, 0, 0)), np.zeros((2, 3), bool), np.zeros((2, 3), bool), PixelWindow(0, 0, 2, 3)
    )
    result = segment(TREE, ROOF, with_probability=True, with_confidence=True).empty(unread)
    assert result.probability is not None
    assert result.confidence is not None
    assert (result.mask.shape, result.probability.shape) == ((1, 2, 3), (2, 2, 3))
    assert (result.mask == 255).all()
    assert (result.probability == 255).all()
    assert (result.confidence == 255).all()


def test_blocks_of_a_batch_keep_their_order() -> None:
    results = segment(TREE)([block([[255]]), block([[0]]), block([[255]])])
    assert [int(r.mask[0, 0, 0]) for r in results] == [1, 0, 1]


@pytest.mark.parametrize(
    ("what", "run"),
    [
        ("too few channels", lambda x: x / 255),
        ("half the size", lambda x: network(x)[:, ::2, ::2]),
        ("logits", lambda x: network(x) * 8 - 4),
        ("not a number", lambda x: network(x) * np.nan),
    ],
)
def test_a_network_that_does_not_give_what_its_card_says_is_refused(what: str, run: Any) -> None:
    """A map of scores taken for probabilities would be silently wrong."""
    broken = SegmentBlock(run=run, model_input=INPUT, classes=(TREE, ROOF))
    with pytest.raises(ModelError, match="model"):
        broken([block([[0, 255], [3, 4]])])
