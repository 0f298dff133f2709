# SPDX-License-Identifier: GPL-2.0-or-later
"""What a reader sees of a comparison: the parts of its page, and the map of errors."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from unet_segmenter.engine.compare import Agreement, BlockPair, count_block
from unet_segmenter.engine.evaluation_report import error_map
from unet_segmenter.engine.geometry import PixelWindow, Shape2D
from unet_segmenter.engine.reliability import ReliabilityCurve
from unet_segmenter.engine.report_page import (
    bar,
    confusion_table,
    page,
    reliability_plot,
    score,
    section,
    swatch,
    table,
    tiles,
    warnings,
)

HOSTILE = '<script>"&'


def test_what_is_undefined_is_a_dash_and_never_zero() -> None:
    assert (score(None), score(0.0), score(0.12345)) == ("-", "0.000", "0.123")
    assert "width:0.0%" in bar(None, "#123456")
    assert bar(None, "#123456").endswith("-")


def test_a_bar_is_as_long_as_its_score_and_never_longer_than_its_track() -> None:
    assert "width:25.0%" in bar(0.25, "#123456")
    assert "width:100.0%" in bar(1.7, "#123456")


def test_a_confusion_matrix_tells_shares_of_the_truth_and_counts() -> None:
    text = confusion_table(["tree", "road"], [[3, 1], [0, 0]])
    cells = re.findall(r'<td title="([\d,]+) px" style="[^"]*">([\d.·]+)</td>', text)
    assert cells == [("3", "75.0"), ("1", "25.0"), ("0", "·"), ("0", "·")]
    assert "46,125,50,0.750" in text
    assert "198,40,40,0.250" in text


def test_texts_are_escaped_wherever_they_come_in() -> None:
    parts = [
        section(HOSTILE, "", HOSTILE), warnings([HOSTILE]), tiles({HOSTILE: HOSTILE}),
        swatch(HOSTILE, "#123456"), confusion_table([HOSTILE], [[1]]),
        reliability_plot([ReliabilityCurve(*np.ones((3, 1)))], [HOSTILE], ["#123456"]),
    ]  # fmt: skip
    assert "<script" not in page(HOSTILE, HOSTILE, parts)


def test_a_table_sets_numbers_to_the_right() -> None:
    text = table(("Class", "IoU"), [("tree", "0.5")])
    assert '<th>Class</th><th class="number">IoU</th>'.replace('"', "") in text.replace('"', "")
    assert "<td class=number>0.5</td>" in text.replace('"', "")


def test_a_curve_of_right_probabilities_lies_on_the_diagonal() -> None:
    values = np.array([0.1, 0.5, 0.9])
    text = reliability_plot([ReliabilityCurve(values, values, np.ones(3))], ["tree"], ["#123456"])
    points = re.search(r'<polyline points="([^"]+)"', text)
    assert points is not None
    pairs = [tuple(map(float, point.split(","))) for point in points[1].split()]
    assert [x - 44 for x, _ in pairs] == pytest.approx([30, 150, 270])
    assert [312 - y for _, y in pairs] == pytest.approx([30, 150, 270])


def _agreement(wrong: np.ndarray) -> Agreement:
    """Of a map that is all 0, of which these pixels are wrong, added in two blocks."""
    agreement = Agreement(Shape2D(*wrong.shape))
    everywhere = np.ones(wrong.shape, bool)
    half = wrong.shape[1] // 2
    for start, stop in ((0, half), (half, wrong.shape[1])):
        part = (slice(None), slice(start, stop))
        window = PixelWindow(0, start, wrong.shape[0], stop - start)
        pair = BlockPair(
            np.zeros(wrong.shape, np.uint8), wrong.astype(np.uint8), everywhere, everywhere,
            window, part,
        )  # fmt: skip
        agreement.add(count_block(pair, 2))
    return agreement


def _pixels(agreement: Agreement) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(error_map(agreement))))


def test_the_map_of_errors_is_red_where_the_map_is_wrong() -> None:
    wrong = np.zeros((20, 30), bool)
    wrong[5:9, 20:25] = True
    picture = _pixels(_agreement(wrong))
    factor = picture.shape[0] // 20
    red = (picture[..., 0] > 180) & (picture[..., 1] < 40)
    assert red.tolist() == np.kron(wrong, np.ones((factor, factor), bool)).astype(bool).tolist()


def test_a_large_map_of_errors_shows_single_pixels_in_its_cells() -> None:
    wrong = np.zeros((30, 2000), bool)
    wrong[10, 1003] = True
    agreement = _agreement(wrong)
    assert agreement.cell == 3
    assert agreement.wrong.sum() == 1
    assert agreement.wrong[3, 334] == 1
    assert agreement.compared.sum() == wrong.size
    picture = _pixels(agreement)
    assert picture[3, 334, 1] < picture[3, 335, 1] - 40
