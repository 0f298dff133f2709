# SPDX-License-Identifier: GPL-2.0-or-later
"""Invariant 2: blocks give what one pass over the whole raster gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from tests.toy_jobs import segment
from tests.toy_models import write_toy_unet
from tests.toy_rasters import read_raster, texture, write_raster
from unet_segmenter.engine.fuse import class_mask
from unet_segmenter.engine.geometry import Shape2D
from unet_segmenter.engine.model_card import ModelCard
from unet_segmenter.engine.predict import scale
from unet_segmenter.engine.predictor import PredictorOptions, open_predictor
from unet_segmenter.engine.tiling import BlockGrid

FloatArray = NDArray[np.float32]
RUNTIMES = ("openvino", "onnxruntime")
STEP = 1 / 254


def predicted(
    card: ModelCard, image: FloatArray, runtime: str = "openvino", precision: str = "f32"
) -> FloatArray:
    """Probabilities (H, W, K) of a scaled image whose sides are multiples of the divisor."""
    options = PredictorOptions(precision, Shape2D(*image.shape[:2]), 1, 2)
    return open_predictor(card, runtime, options).predict(image[np.newaxis])[0]


def scaled(pixels: NDArray[Any], card: ModelCard) -> FloatArray:
    """Scaled pixels, with zeros up to the next multiple of the divisor."""
    height, width = Shape2D(*pixels.shape[:2]).ceil_to(card.divisor)
    image = np.zeros((height, width, pixels.shape[2]), np.float32)
    valid = np.ones(pixels.shape[:2], bool)
    image[: pixels.shape[0], : pixels.shape[1]] = scale(pixels, valid, card.input)
    return image


def whole(card: ModelCard, pixels: NDArray[Any], **options: str) -> FloatArray:
    """Probabilities of one pass over the whole raster, shape (H, W, K)."""
    return predicted(card, scaled(pixels, card), **options)[: pixels.shape[0], : pixels.shape[1]]


def tiled(
    card: ModelCard, pixels: NDArray[Any], core: int, halo: int, **options: str
) -> FloatArray:
    """Probabilities put together from blocks, shape (H, W, K)."""
    shape = Shape2D(*pixels.shape[:2])
    grid = BlockGrid.cover(shape, core, halo, card.divisor)
    image = scaled(pixels, card)
    result = np.full((*shape, len(card.classes)), np.nan, np.float32)
    window = PredictorOptions(options.get("precision", "f32"), grid.read_shape, 1, 2)
    predictor = open_predictor(card, options.get("runtime", "openvino"), window)
    for block in grid:
        probabilities = predictor.predict(np.ascontiguousarray(image[block.read.slices])[None])[0]
        result[block.write.slices] = probabilities[block.crop.slices]
    return result


def random_cases(count: int, largest: int, seed: int) -> list[tuple[int, int, int]]:
    """Height, width and block size."""
    random = np.random.default_rng(seed)
    return [tuple(int(v) for v in random.integers(2, largest, 3)) for _ in range(count)]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("height", "width", "core"), random_cases(6, 150, seed=11))
def test_blocks_with_the_theoretical_halo_equal_one_pass(
    toy_unet: Path, height: int, width: int, core: int, runtime: str
) -> None:
    card = ModelCard.load(toy_unet)
    pixels = texture(height, width)
    core = max(core // 2, 8)
    parts = tiled(card, pixels, core, card.theoretical_halo, runtime=runtime)
    np.testing.assert_allclose(parts, whole(card, pixels, runtime=runtime), atol=1e-5)


def test_a_halo_too_small_is_noticed(toy_unet: Path) -> None:
    """The comparison above can fail: without halo, blocks do differ from one pass."""
    card = ModelCard.load(toy_unet)
    pixels = texture(120, 120)
    difference = np.abs(tiled(card, pixels, 40, 0) - whole(card, pixels)).max()
    assert difference > 0.01


def test_windows_off_the_divisors_grid_would_be_noticed(toy_unet: Path) -> None:
    card = ModelCard.load(toy_unet)
    image = scaled(texture(96, 96), card)
    aligned = predicted(card, image)[40:50, 40:50]
    shifted = predicted(card, np.ascontiguousarray(image[2:82, 2:82]))[38:48, 38:48]
    assert np.abs(aligned - shifted).max() > 0.01


@pytest.mark.parametrize(("height", "width", "core"), random_cases(5, 150, seed=5))
def test_a_run_equals_one_pass(
    toy_unet: Path, tmp_path: Path, height: int, width: int, core: int
) -> None:
    card = ModelCard.load(toy_unet)
    pixels = texture(height, width, seed=core)
    source = write_raster(tmp_path / "in.tif", pixels)
    segment(
        source,
        tmp_path / "mask.tif",
        toy_unet,
        block_size=max(core // 2, 8),
        precision="f32",
        probability=tmp_path / "p.tif",
        probability_type="float32",
    )
    expected = whole(card, pixels)
    found = np.moveaxis(read_raster(tmp_path / "p.tif"), 0, -1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    decided = class_mask(found, [1, 2, 3], [0.5] * 3)
    assert np.array_equal(read_raster(tmp_path / "mask.tif")[0], decided)


def test_a_run_with_flips_equals_the_mean_of_four_whole_passes(
    toy_unet: Path, tmp_path: Path
) -> None:
    card = ModelCard.load(toy_unet)
    pixels = texture(64, 96)  # multiples of the divisor: the flipped raster lies on its grid
    source = write_raster(tmp_path / "in.tif", pixels)
    segment(
        source,
        tmp_path / "mask.tif",
        toy_unet,
        block_size=24,
        precision="f32",
        tta=True,
        probability=tmp_path / "p.tif",
        probability_type="float32",
    )
    image = scaled(pixels, card)
    expected = np.zeros((64, 96, 3), np.float32)
    for rows in (1, -1):
        for cols in (1, -1):
            turned = np.ascontiguousarray(image[::rows, ::cols])
            expected += predicted(card, turned)[::rows, ::cols] / 4
    found = np.moveaxis(read_raster(tmp_path / "p.tif"), 0, -1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_extent_gives_the_crop_of_the_whole_run(toy_unet: Path, tmp_path: Path) -> None:
    source = write_raster(tmp_path / "in.tif", texture(130, 170))
    options = {"block_size": 32, "precision": "f32", "probability_type": "float32"}
    segment(source, tmp_path / "a.tif", toy_unet, probability=tmp_path / "pa.tif", **options)
    with rasterio.open(source) as raster:
        window = rasterio.windows.Window(37, 21, 90, 61)
        left, bottom, right, top = raster.window_bounds(window)
    # A little inside of the outer pixels: snapped outwards to them.
    extent = (left + 0.1, bottom + 0.1, right - 0.1, top - 0.1)
    segment(
        source,
        tmp_path / "b.tif",
        toy_unet,
        probability=tmp_path / "pb.tif",
        extent=extent,
        **options,
    )
    part = (slice(None), slice(21, 82), slice(37, 127))
    cropped = read_raster(tmp_path / "pa.tif")[part]
    np.testing.assert_allclose(read_raster(tmp_path / "pb.tif"), cropped, atol=1e-5)
    assert np.array_equal(read_raster(tmp_path / "b.tif"), read_raster(tmp_path / "a.tif")[part])
    with rasterio.open(tmp_path / "b.tif") as raster:
        assert raster.transform == rasterio.windows.transform(
            window, rasterio.open(source).transform
        )


@pytest.mark.parametrize("core", [16, 40, 1024])
def test_a_constant_field_is_constant_but_for_the_rasters_rim(
    toy_unet: Path, tmp_path: Path, core: int
) -> None:
    """Overlap weights that turn a constant field non-constant: geo-inference #299."""
    source = write_raster(tmp_path / "in.tif", np.full((112, 120, 3), 90, np.uint8))
    segment(
        source,
        tmp_path / "m.tif",
        toy_unet,
        block_size=core,
        precision="f32",
        probability=tmp_path / "p.tif",
        probability_type="float32",
    )
    interior = read_raster(tmp_path / "p.tif")[:, 16:-16, 16:-16]
    # Upsampled cells of 4 x 4 px may differ among themselves; no block edge may show.
    cells = interior.reshape(3, 20, 4, 22, 4)
    np.testing.assert_allclose(cells, np.broadcast_to(cells[:, :1, :, :1], cells.shape), atol=1e-6)
    assert (read_raster(tmp_path / "m.tif") != 255).all()


def test_a_constant_field_stays_constant_to_its_very_edge(bright: Path, tmp_path: Path) -> None:
    source = write_raster(tmp_path / "in.tif", np.full((75, 50, 3), 200, np.uint8))
    segment(source, tmp_path / "m.tif", bright, block_size=16, probability=tmp_path / "p.tif")
    step = round(254 / (1 + np.exp(-(200 - 126.9) / 64)))
    assert (read_raster(tmp_path / "p.tif") == step).all()
    assert (read_raster(tmp_path / "m.tif") == 1).all()


# The bundled model on real images.

MODELS = Path(__file__).resolve().parents[2] / "resources" / "models"


@pytest.fixture(scope="module")
def aeroscapes() -> ModelCard:
    if not (MODELS / "aeroscapes" / "card.json").is_file():
        pytest.skip("the bundled model aeroscapes is not there (resources/models/aeroscapes)")
    return ModelCard.load(MODELS / "aeroscapes")


def real_images(shared_data: Path, card: ModelCard) -> list[NDArray[np.uint8]]:
    """Drone frames of two sites, and parts of two orthophotos, shape (H, W, 3)."""
    frames = sorted((shared_data / "aeroscapes" / "JPEGImages").glob("*.jpg"))
    chosen = [
        frames[len(frames) // 7],
        frames[-len(frames) // 3],
        shared_data / "georef" / "drone_alpha_utm50s.tif",
        shared_data / "georef" / "naip_4band_utm14n.tif",
    ]
    images = []
    for path in chosen:
        with rasterio.open(path) as raster:
            images.append(np.moveaxis(raster.read([1, 2, 3]), 0, -1))
    return images


def compared(
    card: ModelCard, image: NDArray[np.uint8], cores: list[int], halo: int, precision: str
) -> tuple[float, float]:
    """Largest difference of probability, and share of equal mask pixels, tiled against whole."""
    options = {"precision": precision}
    expected = whole(card, image, **options)
    values = [c.value for c in card.classes]
    thresholds = [c.threshold for c in card.classes]
    mask = class_mask(expected, values, thresholds)
    worst, equal = 0.0, 1.0
    for core in cores:
        parts = tiled(card, image, core, halo, **options)
        worst = max(worst, float(np.abs(parts - expected).max()))
        equal = min(equal, float((class_mask(parts, values, thresholds) == mask).mean()))
    return worst, equal


def random_cores(count: int, seed: int) -> list[int]:
    return [int(v) for v in np.random.default_rng(seed).integers(64, 512, count)]


def check_shipped_halo(card: ModelCard, shared_data: Path, cores: list[int]) -> None:
    for index, image in enumerate(real_images(shared_data, card)):
        worst, equal = compared(card, image, cores[index::4], card.halo, "f32")
        assert worst <= STEP, f"image {index}: probabilities differ by {worst}"
        assert equal >= 0.9999, f"image {index}: only {equal:.4%} of the mask are equal"


@pytest.mark.shared
def test_the_bundled_model_in_blocks_equals_one_pass(
    aeroscapes: ModelCard, shared_data: Path
) -> None:
    check_shipped_halo(aeroscapes, shared_data, random_cores(4, seed=1))


@pytest.mark.slow
@pytest.mark.shared
def test_the_bundled_model_in_blocks_of_20_sizes_equals_one_pass(
    aeroscapes: ModelCard, shared_data: Path
) -> None:
    check_shipped_halo(aeroscapes, shared_data, random_cores(20, seed=2))


@pytest.mark.shared
def test_the_bundled_model_with_its_theoretical_halo_is_one_pass_to_float_tolerance(
    aeroscapes: ModelCard, shared_data: Path
) -> None:
    image = real_images(shared_data, aeroscapes)[0]
    worst, _ = compared(aeroscapes, image, [320], aeroscapes.theoretical_halo, "f32")
    assert worst <= 1e-4


@pytest.mark.slow
@pytest.mark.shared
def test_the_bundled_model_in_its_default_arithmetic_equals_one_pass_in_it(
    aeroscapes: ModelCard, shared_data: Path
) -> None:
    """In bf16 blocks equal one pass as in f32; f32 itself differs in up to 1 % of the mask."""
    values = [c.value for c in aeroscapes.classes]
    thresholds = [c.threshold for c in aeroscapes.classes]
    for image in real_images(shared_data, aeroscapes):
        worst, equal = compared(aeroscapes, image, [448], aeroscapes.halo, "auto")
        assert worst <= STEP
        assert equal >= 0.9999
        masks = [
            class_mask(whole(aeroscapes, image, precision=p), values, thresholds)
            for p in ("auto", "f32")
        ]
        assert (masks[0] == masks[1]).mean() >= 0.98


def test_the_toy_models_halo_is_the_one_it_needs(tmp_path: Path) -> None:
    """An impulse reaches as far as the halo covers, and farther than half of it."""
    card = ModelCard.load(write_toy_unet(tmp_path / "toy", seed=3))
    quiet = np.zeros((128, 128, 3), np.float32)
    impulse = quiet.copy()
    centre = 67  # the last pixel of a cell of the divisor's grid reaches farthest
    impulse[centre, centre] = 50
    reach = np.argwhere(np.abs(predicted(card, impulse) - predicted(card, quiet)).max(-1) > 0)
    assert 8 < np.abs(reach - centre).max() <= card.theoretical_halo
