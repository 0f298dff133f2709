# SPDX-License-Identifier: GPL-2.0-or-later
"""Rasters of probabilities become one class raster: classes, grids, nodata, outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.toy_jobs import WatchingProgress
from tests.toy_rasters import TRANSFORM, read_raster, write_raster
from unet_segmenter.engine.errors import Cancelled, InputError, JobError, OutputError
from unet_segmenter.engine.fuse_job import METHODS, FuseJob, FuseResult
from unet_segmenter.engine.fuse_methods import (
    FUSION_METHODS,
    FusionRules,
    confidence,
    conflict,
    entropy,
    fuse,
    renormalised,
)
from unet_segmenter.engine.run_fuse import run_fuse

HEIGHT, WIDTH = 50, 70
NAMES = ("vegetation", "road", "sky")
VALUES = (1, 5, 6)


def steps(seed: int = 3, bands: int = 3) -> np.ndarray:
    """Probabilities in steps of 1/254 (H, W, K), with a corner of nodata."""
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, bands)).astype(np.uint8)
    pixels[:7, :9] = 255
    return pixels


def write_shares(path: Path, pixels: np.ndarray, names: tuple[str, ...], **changes: Any) -> str:
    """Write probabilities as `segment` does, with values of the classes in the metadata."""
    tags = changes.pop("tags", {})
    scale = changes.pop("scale", 1 / 254)
    write_raster(path, pixels, **{"nodata": 255, **changes})
    with rasterio.open(path, "r+") as raster:
        raster.scales = [scale] * raster.count
        for band, name in enumerate(names, 1):
            raster.set_band_description(band, name)
        raster.update_tags(**tags)
    return str(path)


def segment_tags(values: tuple[int, ...] = VALUES) -> dict[str, str]:
    pairs = list(zip(values, NAMES, strict=False))
    return {
        "UNET_SEGMENTER_CLASSES": ",".join(f"{v}={n}" for v, n in pairs),
        "UNET_SEGMENTER_COLORS": ",".join(f"{n}=#10203{k}" for k, (_, n) in enumerate(pairs)),
        "UNET_SEGMENTER_THRESHOLDS": ",".join(f"{n}=0.{k + 4}" for k, (_, n) in enumerate(pairs)),
    }


@pytest.fixture
def stack(tmp_path: Path) -> str:
    return write_shares(tmp_path / "p.tif", steps(), NAMES, tags=segment_tags())


def run(inputs: Any, output: Path, progress: Any = None, **options: Any) -> FuseResult:
    inputs = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    options = {"unknown_threshold": 0.0, **options}
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
    job = FuseJob(inputs=inputs, output=str(output), **settings)
    return run_fuse(job, progress or WatchingProgress())


def shares_of(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    valid = (pixels != 255).all(axis=-1)
    return np.where(valid[..., None], pixels, 0).astype(np.float32) / np.float32(254), valid


def test_the_help_names_the_methods_that_there_are() -> None:
    assert list(METHODS) == list(FUSION_METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_all_outputs_are_those_of_the_pure_functions_in_blocks_too(method, stack, tmp_path) -> None:
    names = ("probability", "confidence", "conflict", "entropy")
    files = {name: tmp_path / f"{name}.tif" for name in names}
    result = run(
        stack, tmp_path / "c.tif", method=method, unknown_threshold=0.3, block_size=16,
        priority=("road",), probability_type="float32", **files,
    )  # fmt: skip
    p, valid = shares_of(steps())
    limits = (0.5,) * 3 if method == "course_sum" else (0.4, 0.5, 0.6)
    rules = FusionRules(method, VALUES, limits, (1,), 0.3)
    classes = fuse(p, rules, valid)
    assert len(np.unique(classes)) > 3
    np.testing.assert_array_equal(read_raster(tmp_path / "c.tif")[0], classes)
    claims = np.where(valid, conflict(p, rules), 255)
    np.testing.assert_array_equal(read_raster(files["conflict"])[0], claims)
    for name, expected in {
        "probability": np.moveaxis(renormalised(p, 0.3), -1, 0),
        "confidence": confidence(p, rules)[None],
        "entropy": entropy(p)[None],
    }.items():
        np.testing.assert_array_equal(
            read_raster(files[name]), np.where(valid, expected, np.float32(np.nan)), name
        )
    assert result.blocks == 4 * 5
    assert result.nodata_pixels == 63
    assert result.unknown_share == pytest.approx(np.mean(classes[valid] == 0))
    assert result.conflict_share == pytest.approx(np.mean(claims[valid] > 1))
    counted = {area.value: area.pixels for area in result.areas}
    assert sum(counted.values()) == valid.sum()
    assert counted[5] == (classes == 5).sum()


def test_shares_are_written_in_steps_with_their_scale_and_names(stack, tmp_path) -> None:
    run(stack, tmp_path / "c.tif", probability=tmp_path / "p2.tif", entropy=tmp_path / "e.tif")
    p, valid = shares_of(steps())
    expected = np.rint(np.moveaxis(renormalised(p), -1, 0) * np.float32(254))
    with rasterio.open(tmp_path / "p2.tif") as raster:
        assert raster.descriptions == NAMES
        assert raster.scales == pytest.approx([1 / 254] * 3)
        assert raster.nodata == 255
        np.testing.assert_array_equal(raster.read()[:, valid], expected[:, valid])
        assert (raster.read()[:, ~valid] == 255).all()
    with rasterio.open(tmp_path / "e.tif") as raster:
        assert raster.descriptions == ("entropy",)


def test_values_colours_and_thresholds_come_from_what_segment_wrote(stack, tmp_path) -> None:
    result = run(stack, tmp_path / "c.tif")
    told = {area.value: (area.name, area.color) for area in result.areas}
    assert told[1] == ("vegetation", "#102030")
    assert told[6] == ("sky", "#102032")
    assert told[0][0] == "unknown"
    with rasterio.open(tmp_path / "c.tif") as raster:
        tags = raster.tags()
        assert raster.colormap(1)[5][:3] == (0x10, 0x20, 0x31)
        assert raster.nodata == 255
        assert (raster.transform, raster.crs.to_epsg()) == (TRANSFORM, 32633)
    assert tags["UNET_SEGMENTER_THRESHOLDS"] == "vegetation=0.4,road=0.5,sky=0.6"
    assert tags["UNET_SEGMENTER_METHOD"] == "argmax"
    assert (tmp_path / "c.qml").is_file()
    assert "<Category>road</Category>" in (tmp_path / "c.tif.aux.xml").read_text()


def test_the_unknown_has_a_band_where_it_has_a_threshold_and_is_no_class_of_a_next_fusion(
    stack, tmp_path
) -> None:
    first = run(stack, tmp_path / "c.tif", unknown_threshold=0.4, probability=tmp_path / "p2.tif")
    with rasterio.open(tmp_path / "p2.tif") as raster:
        assert raster.descriptions == (*NAMES, "unknown")
        likeliest = np.array([*VALUES, 0])[raster.read().argmax(axis=0)]
        ranked = np.sort(raster.read(), axis=0).astype(int)
    clear = (ranked[-1] - ranked[-2] > 1) & (ranked[0] < 255)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(likeliest[clear], read_raster(tmp_path / "c.tif")[0][clear])
    again = run(str(tmp_path / "p2.tif"), tmp_path / "c2.tif")
    assert [area.name for area in again.areas] == [area.name for area in first.areas]


def test_several_rasters_of_one_band_are_classes_by_name(tmp_path) -> None:
    pixels = steps(bands=2)
    a = write_shares(tmp_path / "tree.tif", pixels[..., :1], ())
    b = write_shares(tmp_path / "b.tif", pixels[..., 1:], ("grass",))
    result = run([a, b], tmp_path / "c.tif")
    p, valid = shares_of(pixels)
    expected = fuse(p, FusionRules("argmax", (1, 2), (0.5, 0.5)), valid)
    np.testing.assert_array_equal(read_raster(tmp_path / "c.tif")[0], expected)
    assert [(a.value, a.name) for a in result.areas] == [(0, "unknown"), (1, "tree"), (2, "grass")]


def test_bands_of_one_name_are_one_class_by_the_highest(tmp_path) -> None:
    pixels = steps()
    a = write_shares(tmp_path / "a.tif", pixels[..., :2], ("tree", "road"))
    b = write_shares(tmp_path / "b.tif", pixels[..., 2:], ("tree",))
    result = run([a, b], tmp_path / "c.tif")
    p, valid = shares_of(pixels)
    two = np.stack([np.maximum(p[..., 0], p[..., 2]), p[..., 1]], axis=-1)
    expected = fuse(two, FusionRules("argmax", (1, 2), (0.5, 0.5)), valid)
    np.testing.assert_array_equal(read_raster(tmp_path / "c.tif")[0], expected)
    assert "Several inputs have tree; the highest" in result.warnings[0]


def test_two_classes_of_one_value_are_numbered_anew_and_it_is_told(tmp_path) -> None:
    tags = {"UNET_SEGMENTER_CLASSES": "1=grass"}
    pixels = steps(bands=2)
    a = write_shares(tmp_path / "a.tif", pixels[..., :1], ("grass",), tags=tags)
    b = write_shares(
        tmp_path / "b.tif", pixels[..., 1:], ("tree",), tags={"UNET_SEGMENTER_CLASSES": "1=tree"}
    )
    result = run([a, b], tmp_path / "c.tif")
    assert [a.value for a in result.areas] == [0, 1, 2]
    assert "1=grass, 2=tree" in result.warnings[0]


def test_names_and_values_may_be_given(stack, tmp_path) -> None:
    result = run(
        stack, tmp_path / "c.tif", class_names=("7=a", "b", "c"), method="threshold",
        thresholds=("0.9", "b=0.1"),
    )  # fmt: skip
    assert [(area.value, area.name) for area in result.areas][1:] == [(1, "b"), (2, "c"), (7, "a")]
    p, valid = shares_of(steps())
    expected = fuse(p, FusionRules("threshold", (7, 1, 2), (0.9, 0.1, 0.9)), valid)
    np.testing.assert_array_equal(read_raster(tmp_path / "c.tif")[0], expected)


def test_what_is_unknown_is_no_class_and_is_told_as_such(tmp_path) -> None:
    pixels = np.full((HEIGHT, WIDTH, 2), 50, np.uint8)
    path = write_shares(tmp_path / "p.tif", pixels, ("a", "b"))
    result = run(path, tmp_path / "c.tif", unknown_threshold=0.5)
    assert (read_raster(tmp_path / "c.tif") == 0).all()
    assert result.unknown_share == 1
    assert result.areas[0].name == "unknown"


@pytest.mark.parametrize(
    ("dtype", "factor", "changes"),
    [
        ("float32", 1.0, {"nodata": float("nan"), "scale": 1.0}),
        ("float64", 1.0, {"nodata": -9999.0, "scale": 1.0}),
        ("uint16", 10_000, {"nodata": 65535, "scale": 1 / 10_000}),
    ],
)
def test_other_types_count_with_their_scale(dtype, factor, changes, tmp_path) -> None:
    p = np.random.default_rng(1).random((HEIGHT, WIDTH, 2))
    p[p == 0.5] = 0.6
    pixels = np.rint(p * factor).astype(dtype) if factor > 1 else p.astype(dtype)
    pixels[:3, :3, 1] = changes["nodata"]
    path = write_shares(tmp_path / "p.tif", pixels, ("a", "b"), **changes)
    run(path, tmp_path / "c.tif")
    expected = np.argmax(p, axis=-1) + 1
    expected[:3, :3] = 255
    near = np.abs(p[..., 0] - p[..., 1]) < 2e-4
    found = read_raster(tmp_path / "c.tif")[0]
    assert near.mean() < 0.01
    np.testing.assert_array_equal(found[~near], expected[~near])


def test_masks_of_zero_and_one_are_sure_probabilities(tmp_path) -> None:
    mask = (steps(bands=1) > 127).astype(np.uint8)
    path = write_shares(tmp_path / "mask.tif", mask, ("tree",), scale=1.0)
    run(path, tmp_path / "c.tif", unknown_threshold=0.5)
    np.testing.assert_array_equal(read_raster(tmp_path / "c.tif")[0], mask[..., 0])


@pytest.mark.parametrize("scale", [1.0, 1 / 100])
def test_values_that_are_no_probabilities_are_refused(scale, tmp_path) -> None:
    path = write_shares(tmp_path / "image.tif", steps(), ("a", "b", "c"), scale=scale)
    with pytest.raises(InputError, match=r"image\.tif \(uint8\) holds values .* gdal_translate"):
        run(path, tmp_path / "c.tif")
    assert not list(tmp_path.glob("c.*"))


def test_rasters_on_other_grids_are_refused_with_the_command_that_warps_them(tmp_path) -> None:
    pixels = steps(bands=1)
    a = write_shares(tmp_path / "a.tif", pixels, ("a",))
    shifted = TRANSFORM @ rasterio.Affine.translation(3, 0)
    b = write_shares(tmp_path / "b.tif", pixels, ("b",), transform=shifted)
    c = write_shares(tmp_path / "c.tif", pixels[:40], ("c",))
    with pytest.raises(InputError) as refused:
        run([a, b, c], tmp_path / "out.tif")
    message = str(refused.value)
    assert f"{b} in origin (500000, 5300000 and 500000.75, 5300000) or rotation" in message
    assert f"{c} in size (70 x 50 and 70 x 40 px)" in message
    assert "Choose ALIGN (--align)" in message
    assert (
        "gdalwarp -r bilinear -t_srs EPSG:32633 -te 500000.0 5299987.5 500017.5 5300000.0 -ts 70 50"
    ) in message


def test_aligned_rasters_are_interpolated_and_nodata_where_they_have_nothing(tmp_path) -> None:
    ramp = np.broadcast_to(np.arange(WIDTH, dtype=np.uint8) * 2, (HEIGHT, WIDTH))[..., None].copy()
    a = write_shares(tmp_path / "a.tif", np.full((HEIGHT, WIDTH, 1), 67, np.uint8), ("a",))
    half = TRANSFORM @ rasterio.Affine.translation(10.5, 0)
    b = write_shares(tmp_path / "b.tif", ramp, ("b",), transform=half)
    files = {"probability": tmp_path / "p.tif", "probability_type": "float32"}
    run([a, b], tmp_path / "out.tif", align=True, block_size=32, **files)
    classes, p = read_raster(tmp_path / "out.tif")[0], read_raster(tmp_path / "p.tif")
    assert (classes[:, :10] == 255).all()
    assert (classes[:, 11:] != 255).all()
    cols = np.arange(20, 60)
    b_there = 2 * (cols - 10.5)  # between two pixels of the ramp
    np.testing.assert_allclose(p[1][:, 20:60], np.tile(b_there / (b_there + 67), (HEIGHT, 1)), 0.02)
    np.testing.assert_array_equal(classes[:, 20:60], np.tile(1 + (b_there > 67), (HEIGHT, 1)))


def test_a_hole_in_one_band_stays_a_hole_when_it_is_aligned(tmp_path) -> None:
    pixels = np.full((HEIGHT, WIDTH, 2), 100, np.uint8)
    pixels[20:30, 30:40, 1] = 255
    shifted = TRANSFORM @ rasterio.Affine.translation(0.5, 0.5)
    a = write_shares(tmp_path / "a.tif", pixels[..., :1], ("a",))
    b = write_shares(tmp_path / "b.tif", pixels, ("b", "c"), transform=shifted)
    run([a, b], tmp_path / "out.tif", align=True)
    classes = read_raster(tmp_path / "out.tif")[0]
    assert (classes[22:29, 32:39] == 255).all()
    assert (classes[5:15, 5:60] != 255).all()
    floats = pixels.astype(np.float32) / 254
    floats[pixels == 255] = -9999
    write_shares(tmp_path / "b.tif", floats, ("b", "c"), transform=shifted, nodata=-9999, scale=1)
    run([a, b], tmp_path / "other.tif", align=True)
    np.testing.assert_array_equal(read_raster(tmp_path / "other.tif")[0] == 255, classes == 255)


def test_rasters_that_do_not_overlap_are_not_aligned(tmp_path) -> None:
    pixels = np.full((HEIGHT, WIDTH, 1), 100, np.uint8)
    a = write_shares(tmp_path / "a.tif", pixels, ("a",))
    far = TRANSFORM @ rasterio.Affine.translation(5000, 0)
    b = write_shares(tmp_path / "b.tif", pixels, ("b",), transform=far)
    with pytest.raises(InputError, match=r"b\.tif cannot be aligned: it does not overlap"):
        run([a, b], tmp_path / "out.tif", align=True)
    assert not (tmp_path / "out.tif").exists()


def test_signs_in_the_names_of_classes_go_from_step_to_step(tmp_path) -> None:
    pixels = steps(bands=2)
    path = write_shares(tmp_path / "p.tif", pixels, ("grass, dry", "tall=100 %"))
    thresholds = {"method": "threshold", "thresholds": ("0.9",)}
    first = run(path, tmp_path / "c.tif", probability=tmp_path / "q.tif", **thresholds)
    again = run(str(tmp_path / "q.tif"), tmp_path / "d.tif", method="threshold")
    names = [area.name for area in again.areas]
    assert names == [area.name for area in first.areas] == ["unknown", "grass, dry", "tall=100 %"]
    with rasterio.open(tmp_path / "d.tif") as raster:
        told = raster.tags()["UNET_SEGMENTER_THRESHOLDS"]
    assert told == "grass%2C dry=0.9,tall%3D100 %25=0.9"


def test_a_fourth_band_of_bytes_with_a_scale_is_a_class_and_no_alpha(tmp_path) -> None:
    pixels = np.full((HEIGHT, WIDTH, 4), 20, np.uint8)
    pixels[:10, :, 3], pixels[10:20, :, 3] = 200, 0
    names = ("a", "b", "c", "d")
    plain = {"photometric": "rgb", "alpha": "yes", "nodata": None}  # as GDAL writes many a file
    path = write_shares(tmp_path / "p.tif", pixels, names, **plain)
    with rasterio.open(path) as raster:
        assert raster.colorinterp[3] == rasterio.enums.ColorInterp.alpha
    run(path, tmp_path / "c.tif")
    classes = read_raster(tmp_path / "c.tif")[0]
    assert (classes[:10] == 4).all()
    assert (classes[10:] == 1).all()


def test_no_class_is_called_unknown_but_the_unknown(tmp_path) -> None:
    pixels = steps(bands=2)
    path = write_shares(tmp_path / "p.tif", pixels, ("a", "b"))
    with pytest.raises(JobError, match=r"'unknown' is what pixels without a class are called"):
        run(path, tmp_path / "c.tif", class_names=("a", "3=unknown"))
    path = write_shares(tmp_path / "u.tif", pixels, ("a", "unknown"))
    result = run(path, tmp_path / "c.tif")
    assert [area.name for area in result.areas] == ["unknown", "a"]


def test_areas_in_degrees_shrink_towards_the_poles(tmp_path) -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 2), np.uint8)
    pixels[: HEIGHT // 2, :, 0] = pixels[HEIGHT // 2 :, :, 1] = 200
    degrees = rasterio.Affine(0.1, 0, 10, 0, -0.2, 60)  # 60 to 50 degrees north
    path = write_shares(
        tmp_path / "p.tif", pixels, ("north", "south"), crs="EPSG:4326", transform=degrees
    )
    result = run(path, tmp_path / "c.tif")
    area = {one.name: one.area for one in result.areas}
    sine = np.sin(np.radians([60, 55, 50]))
    minor = 6356752.314245  # WGS 84
    e = 0.0818191908426
    # Snyder, "Map Projections - A Working Manual", 1987: area from the equator to a parallel.
    zone = minor**2 / 2 * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e)
    expected = np.radians(7) * -np.diff(zone)
    np.testing.assert_allclose([area["north"], area["south"]], expected, rtol=1e-6)


def test_areas_of_a_sheared_grid_are_those_of_its_parallelograms(tmp_path) -> None:
    pixels = np.full((HEIGHT, WIDTH, 2), 100, np.uint8)
    pixels[..., 0] = 200
    sheared = rasterio.Affine(5, 3, 500000, 0, -5, 5300000)
    path = write_shares(tmp_path / "p.tif", pixels, ("a", "b"), transform=sheared)
    area = {one.name: one.area for one in run(path, tmp_path / "c.tif").areas}
    assert area["a"] == pytest.approx(HEIGHT * WIDTH * 25 / 0.9996**2, rel=1e-5)


def test_the_course_s_sums_warn_and_name_what_is_no_class(tmp_path) -> None:
    pixels = np.full((HEIGHT, WIDTH, 2), 200, np.uint8)
    tags = {"UNET_SEGMENTER_CLASSES": "1=vegetation,2=background"}
    path = write_shares(tmp_path / "p.tif", pixels, ("vegetation", "background"), tags=tags)
    progress = WatchingProgress()
    result = run(path, tmp_path / "c.tif", progress, method="course_sum")
    assert (read_raster(tmp_path / "c.tif") == 3).all()
    (warning,) = progress.warnings()
    assert "vegetation + background reads as no class" in warning
    assert [area.name for area in result.areas if area.pixels] == ["sum 3, no class"]
    assert result.conflict_share == 1


def test_the_summary_tells_areas_shares_and_shows_a_picture(stack, tmp_path) -> None:
    summary = tmp_path / "s.html"
    result = run(stack, tmp_path / "c.tif", summary=summary, unknown_threshold=0.6)
    page = summary.read_text(encoding="utf-8")
    for area in result.areas:
        assert area.area == pytest.approx(area.pixels * 0.0625 / 0.9996**2, rel=1e-5)
        assert f"{area.area:,.1f}</td>" in page, "in square metres"
        assert f"{area.area / 10_000:,.4f}</td>" in page, "in hectares"
    assert "Area (metre²)" in page
    assert f"<b>{result.unknown_share:.1%}</b>" in page
    assert f"<b>{result.conflict_share:.1%}</b>" in page
    assert "data:image/png;base64," in page
    assert Path(result.outputs["QUICKLOOK"]).read_bytes()[:4] == b"\x89PNG"


def test_a_run_that_was_cancelled_goes_on_and_gives_the_same_bytes(stack, tmp_path) -> None:
    run(stack, tmp_path / "whole.tif", block_size=16)
    with pytest.raises(Cancelled):
        run(stack, tmp_path / "c.tif", WatchingProgress(stop_at=3), block_size=16)
    assert not (tmp_path / "c.tif").exists()
    result = run(stack, tmp_path / "c.tif", block_size=16)
    assert 3 <= result.resumed_blocks < result.blocks
    assert (tmp_path / "c.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_run_of_other_rules_does_not_take_up_the_blocks(stack, tmp_path) -> None:
    with pytest.raises(Cancelled):
        run(stack, tmp_path / "c.tif", WatchingProgress(stop_at=3), block_size=16)
    result = run(stack, tmp_path / "c.tif", block_size=16, unknown_threshold=0.9)
    assert result.resumed_blocks == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "median"}, "argmax, priority, threshold, course_sum"),
        ({"priority": ("tree",)}, "PRIORITY names 'tree', which no input has"),
        ({"priority": ("road", "road")}, "twice"),
        ({"thresholds": ("tree=0.2",)}, "THRESHOLDS names 'tree'"),
        ({"thresholds": ("high",)}, "'high' is malformed"),
        ({"thresholds": ("0.2", "0.3")}, "two for all classes"),
        ({"unknown_threshold": 2.0}, "from 0 to 1"),
        ({"class_names": ("a",)}, "CLASS_NAMES has 1 names, but the inputs have 3 bands"),
        ({"class_names": ("0=a", "b", "c")}, "values are 1 to 254"),
        ({"probability_type": "int8"}, "probability type"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(stack, tmp_path, options, words) -> None:
    with pytest.raises(JobError, match=words):
        run(stack, tmp_path / "c.tif", **options)


def test_inputs_and_outputs_must_be_different_files(stack, tmp_path) -> None:
    with pytest.raises(JobError, match="is an input"):
        FuseJob((stack,), stack)
    with pytest.raises(JobError, match="same path"):
        FuseJob((stack,), "c.tif", confidence="c.tif")
    with pytest.raises(JobError, match="named twice"):
        FuseJob((stack, stack), "c.tif")
    with pytest.raises(OutputError, match="no folder"):
        run(stack, tmp_path / "gone" / "c.tif")
    with pytest.raises(InputError, match=r"gone\.tif"):
        run(str(tmp_path / "gone.tif"), tmp_path / "c.tif")


def test_a_job_and_its_result_survive_json(stack, tmp_path) -> None:
    job = FuseJob((stack,), str(tmp_path / "c.tif"), thresholds=("road=0.3",), method="threshold")
    assert FuseJob.from_json(job.to_json()) == job
    result = run_fuse(job, WatchingProgress())
    assert FuseResult.from_json(result.to_json()) == result


def test_by_default_a_pixel_that_no_class_claims_is_unknown(tmp_path) -> None:
    """The thresholds are those of the raster's classes."""
    steps = np.array([[[160, 100], [150, 160], [150, 100], [120, 130]]], np.uint8)
    tags = {
        "UNET_SEGMENTER_CLASSES": "1=field,2=building",
        "UNET_SEGMENTER_THRESHOLDS": "field=0.6,building=0.4",
    }
    path = write_shares(tmp_path / "p.tif", steps, ("field", "building"), tags=tags)
    result = run(
        path, tmp_path / "c.tif", unknown_threshold=None, probability=tmp_path / "shares.tif"
    )
    # 160/254 = .63 and 150/254 = .59 of the field, 100/254 = .39 of the building.
    assert read_raster(tmp_path / "c.tif")[0].tolist() == [[1, 2, 0, 2]]
    assert result.unknown_share == 0.25
    with rasterio.open(tmp_path / "shares.tif") as raster:
        assert raster.descriptions == ("field", "building", "unknown")
        assert raster.read().argmax(axis=0).tolist() == [[0, 1, 2, 1]]
        assert raster.tags()["UNET_SEGMENTER_UNKNOWN_THRESHOLD"] == "those of the classes"
    run(path, tmp_path / "named.tif", unknown_threshold=0.0)
    assert read_raster(tmp_path / "named.tif")[0].tolist() == [[1, 2, 1, 2]]


def test_a_raster_whose_only_band_is_the_unknown_is_refused(tmp_path) -> None:
    path = write_shares(tmp_path / "p.tif", np.full((4, 5, 1), 100, np.uint8), ("unknown",))
    with pytest.raises(InputError, match=r"p\.tif holds no probability of a class: its only band"):
        run(path, tmp_path / "c.tif")
    with pytest.raises(InputError, match="call the band by the name of its class"):
        run(path, tmp_path / "c.tif", class_names=("tree",))


def test_malformed_items_of_metadata_are_left_aside(tmp_path) -> None:
    tags = {
        "UNET_SEGMENTER_CLASSES": "999=tree,2=road",
        "UNET_SEGMENTER_COLORS": "tree=green,road=#12345",
        "UNET_SEGMENTER_THRESHOLDS": "tree=high,road=0.3",
    }
    steps = np.array([[[200, 10], [10, 200]]], np.uint8)
    path = write_shares(tmp_path / "p.tif", steps, ("tree", "road"), tags=tags)
    result = run(path, tmp_path / "c.tif", summary=tmp_path / "s.html")
    assert read_raster(tmp_path / "c.tif")[0].tolist() == [[1, 2]]
    assert [(a.value, a.name) for a in result.areas if a.pixels] == [(1, "tree"), (2, "road")]
    assert all(re.fullmatch("#[0-9a-f]{6}", area.color) for area in result.areas)
