# SPDX-License-Identifier: GPL-2.0-or-later
"""A network run part by part equals one pass, in any order of blocks, and keeps little."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.toy_rasters import texture
from unet_segmenter.engine import stage_tiles
from unet_segmenter.engine.errors import ModelError
from unet_segmenter.engine.geometry import PixelWindow, Shape2D
from unet_segmenter.engine.model_card import ModelCard
from unet_segmenter.engine.predict import scale
from unet_segmenter.engine.predictor import PredictorOptions, open_predictor, open_staged
from unet_segmenter.engine.staged_network import StagedNetwork, averaged
from unet_segmenter.engine.tiling import BlockGrid

pytest.importorskip("openvino")
STEP = 1 / 254


class Image:
    """An image that is read like a raster, and remembers what was read."""

    def __init__(self, pixels: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> None:
        self.pixels = pixels
        self.valid = np.ones(pixels.shape[:2], bool) if valid is None else valid
        self.windows: list[PixelWindow] = []

    @property
    def shape(self) -> Shape2D:
        return Shape2D(*self.pixels.shape[:2])

    @property
    def whole(self) -> PixelWindow:
        return PixelWindow.of_shape(self.shape)

    def __call__(self, window: PixelWindow) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        self.windows.append(window)
        pixels = np.zeros((*window.shape, self.pixels.shape[2]), self.pixels.dtype)
        valid = np.zeros(window.shape, bool)
        inside = window.intersect(PixelWindow.of_shape(self.shape))
        if inside:
            there = inside.relative_to(window).slices
            pixels[there], valid[there] = self.pixels[inside.slices], self.valid[inside.slices]
        return pixels, valid


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_tiles, "SMALLEST_SIDE", 32)
    monkeypatch.setattr(stage_tiles, "SIDE_BY_HALO", 1)


def whole(card: ModelCard, image: Image, precision: str = "f32") -> NDArray[np.float32]:
    """Probabilities (K, H, W) of one pass; the toy's classes have no calibration."""
    shape = image.shape.ceil_to(card.divisor)
    scaled = scale(*image(PixelWindow.of_shape(shape)), card.input)
    predictor = open_predictor(card, "openvino", PredictorOptions(precision, shape, 1, 2))
    found = predictor.predict(np.ascontiguousarray(scaled)[np.newaxis])[0]
    return np.moveaxis(found[: image.shape.height, : image.shape.width], -1, 0)


def opened(
    card: ModelCard, image: Image, region: PixelWindow | None = None, precision: str = "f32"
) -> StagedNetwork:
    region = region or PixelWindow.of_shape(image.shape)
    return open_staged(card, precision, image.shape, region, image)


def mapped(network: StagedNetwork, card: ModelCard, windows: list[PixelWindow]) -> Iterator[Any]:
    for window in windows:
        network.read_ahead(window)
        yield window, network.probabilities(window, card.classes)


def blocks_of(region: PixelWindow, side: int) -> list[PixelWindow]:
    grid = BlockGrid.cover(region.shape, side, 0, 1)
    return [block.write.shift(region.row, region.col) for block in grid]


def random_cases(count: int) -> list[tuple[int, ...]]:
    random = np.random.default_rng(5)
    rows = zip(random.integers(1, 260, (count, 2)), random.integers(9, 99, count), strict=True)
    return [(int(height), int(width), int(side)) for (height, width), side in rows]


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(("height", "width", "side"), random_cases(8))
def test_parts_over_blocks_of_any_size_equal_one_pass(
    cut_unet: Path, height: int, width: int, side: int
) -> None:
    card, image = ModelCard.load(cut_unet), Image(texture(height, width))
    expected = whole(card, image)
    found = np.full_like(expected, np.nan)
    with opened(card, image) as network:
        for window, planes in mapped(network, card, blocks_of(image.whole, side)):
            found[(slice(None), *window.slices)] = planes
    assert np.abs(found - expected).max() < 1e-5
    assert expected.std() > 0.02


@pytest.mark.usefixtures("small_tiles")
def test_a_region_equals_the_same_pixels_of_one_pass(cut_unet: Path) -> None:
    card, image = ModelCard.load(cut_unet), Image(texture(300, 280))
    region = PixelWindow(77, 101, 93, 85)
    expected = whole(card, image)
    with opened(card, image, region) as network:
        for window, planes in mapped(network, card, blocks_of(region, 40)):
            assert np.abs(planes - expected[(slice(None), *window.slices)]).max() < 1e-5
    assert all(window.row >= 77 - 64 for window in image.windows[1:])


@pytest.mark.usefixtures("small_tiles")
def test_blocks_in_any_order_and_several_at_once_give_the_very_same(cut_unet: Path) -> None:
    card, image = ModelCard.load(cut_unet), Image(texture(200, 260))
    windows = blocks_of(image.whole, 50)
    with opened(card, image) as network:
        ordered = dict(mapped(network, card, windows))
    shuffled = [windows[k] for k in np.random.default_rng(3).permutation(len(windows))]
    found: dict[PixelWindow, NDArray[np.float32]] = {}
    with opened(card, image) as network:

        def work(mine: list[PixelWindow]) -> None:
            for window in mine:  # nothing was read ahead
                found[window] = network.probabilities(window, card.classes)

        threads = [threading.Thread(target=work, args=(shuffled[k::4],)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found.keys() == ordered.keys()
    assert all((found[window] == planes).all() for window, planes in ordered.items())


@pytest.mark.usefixtures("small_tiles")
def test_each_pixel_is_read_once_but_for_the_halo_of_the_first_part(cut_unet: Path) -> None:
    card, image = ModelCard.load(cut_unet), Image(texture(256, 256))
    with opened(card, image) as network:
        for _ in mapped(network, card, blocks_of(image.whole, 64)):
            pass
    tiles = len(set(image.windows))
    assert len(image.windows) == tiles
    assert sum(window.pixels for window in image.windows) <= tiles * (32 + 4 + 2 * 4) ** 2


@pytest.mark.usefixtures("small_tiles")
def test_features_that_no_later_block_needs_are_dropped(cut_unet: Path) -> None:
    card = ModelCard.load(cut_unet)
    most = {}
    for height in (800, 2400):
        image = Image(texture(height, 100))
        with opened(card, image) as network:
            steps = mapped(network, card, blocks_of(image.whole, 50))
            most[height] = max(network.kept_bytes for _ in steps)
    assert most[2400] <= most[800] * 1.05


@pytest.mark.usefixtures("small_tiles")
def test_features_of_a_finished_strip_are_dropped(cut_unet: Path) -> None:
    card, image = ModelCard.load(cut_unet), Image(texture(400, 1200))
    grid = BlockGrid.cover(image.shape, 50, 0, 1)
    expected = whole(card, image)
    kept = []
    with opened(card, image) as network:
        for window, planes in mapped(network, card, [block.write for block in grid.walk(4)]):
            assert np.abs(planes - expected[(slice(None), *window.slices)]).max() < 1e-5
            kept.append(network.kept_bytes)
    strip = 4 * 8
    assert max(kept[3 * strip :]) <= 1.5 * max(kept[: 2 * strip])


def test_strips_are_so_narrow_that_their_features_can_be_kept(
    cut_unet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, image = ModelCard.load(cut_unet), Image(texture(64, 4096))
    grid = BlockGrid.cover(image.shape, 256, 0, 1)
    with opened(card, image) as network:
        assert network.columns(grid) == len(grid.cols)
    monkeypatch.setattr("unet_segmenter.engine.staged_network.FEATURE_BYTES", 1 << 20)
    with opened(card, image) as network:
        assert 1 <= network.columns(grid) < len(grid.cols)


@pytest.mark.usefixtures("small_tiles")
def test_in_bf16_parts_lie_within_a_step_of_one_pass(cut_unet: Path) -> None:
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor does not compute in bf16")
    card, image = ModelCard.load(cut_unet), Image(texture(200, 180))
    expected = whole(card, image, "bf16")
    with opened(card, image, precision="bf16") as network:
        for window, planes in mapped(network, card, blocks_of(image.whole, 64)):
            assert np.abs(planes - expected[(slice(None), *window.slices)]).max() <= 2 * STEP


def test_what_cannot_be_read_is_told_to_each_block_that_needs_it(cut_unet: Path) -> None:
    card, image = ModelCard.load(cut_unet), Image(texture(100, 100))

    def broken(window: PixelWindow) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        raise OSError("damaged")

    region = PixelWindow.of_shape(image.shape)
    with open_staged(card, "f32", image.shape, region, broken) as network:
        for _ in range(2):
            with pytest.raises(OSError, match="damaged"):
                network.probabilities(region, card.classes)


def test_a_network_that_gives_no_numbers_is_refused(cut_unet: Path) -> None:
    card, image = ModelCard.load(cut_unet), Image(texture(64, 64))
    card = replace(card, input=replace(card.input, stddev=(1e-36,) * 3))
    with opened(card, image) as network, pytest.raises(ModelError, match="no numbers at f32"):
        network.probabilities(PixelWindow.of_shape(image.shape), card.classes)


def test_after_a_stop_nothing_more_is_read_ahead(cut_unet: Path) -> None:
    card, image = ModelCard.load(cut_unet), Image(texture(100, 100))
    with opened(card, image) as network:
        network.stop()
        network.read_ahead(PixelWindow.of_shape(image.shape))
    assert image.windows == []


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("holes", [False, True])
def test_pixels_are_scaled_and_averaged_as_the_network_does(
    cut_unet: Path, stride: int, dtype: str, holes: bool
) -> None:
    card = ModelCard.load(cut_unet)
    pixels = texture(24, 32).astype(dtype)
    valid = np.ones((24, 32), bool)
    if holes:
        valid[3:9, 5:20] = False
    scaled = np.moveaxis(scale(pixels, valid, card.input), -1, 0)
    expected = np.zeros((3, 24 // stride, 32 // stride))
    for row in range(stride):
        for col in range(stride):
            expected += scaled[:, row::stride, col::stride] / stride**2
    found = averaged(pixels, valid, card, stride)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-6
