# SPDX-License-Identifier: GPL-2.0-or-later
"""Any raster in, a mask on the same grid out, with all that a reader of the mask needs."""

from __future__ import annotations

import json
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from numpy.typing import NDArray

from tests.toy_jobs import WatchingProgress, count_windows, segment
from tests.toy_models import write_brightness_model, write_toy_unet
from tests.toy_rasters import TRANSFORM, UTM, read_raster, texture, write_raster
from unet_segmenter.engine.errors import InputError, JobError, OutputError
from unet_segmenter.engine.geometry import PixelWindow
from unet_segmenter.engine.rasters.source import RasterSource

ROTATED = rasterio.Affine.translation(500_000, 5_300_000) @ rasterio.Affine.rotation(30)
ROTATED = ROTATED @ rasterio.Affine.scale(0.3, -0.4)
GRIDS: dict[str, dict[str, Any]] = {
    "rotated": {"transform": ROTATED},
    "south-up": {"transform": rasterio.Affine(0.25, 0, 500_000, 0, 0.25, 5_300_000)},
    "sheared": {"transform": rasterio.Affine(0.25, 0.05, 500_000, 0.02, -0.25, 5_300_000)},
    "geographic": {
        "crs": "EPSG:4326",
        "transform": rasterio.Affine(1e-5 / 3, 0, 13.1234567, 0, -1e-5 / 3, 47.7654321),
    },
    "geographic, latitude first by its authority": {
        "crs": "EPSG:4258",
        "transform": rasterio.Affine(2e-6, 0, 9, 0, -2e-6, 50),
    },
    "feet": {"crs": "EPSG:2263"},
    "a CRS of its own": {"crs": "+proj=laea +lat_0=52 +lon_0=10 +x_0=1 +y_0=2 +ellps=GRS80"},
}


def bright_at(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """The mask of the brightness model, by hand."""
    return (pixels.astype(np.float64).mean(axis=-1) > 126.9).astype(np.uint8)


def check_same_grid(source: Path | str, made: Path) -> None:
    with rasterio.open(source) as expected, rasterio.open(made) as found:
        assert found.transform == expected.transform
        assert found.crs == expected.crs
        assert found.shape == expected.shape


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["drone_alpha_utm50s.tif", "naip_4band_utm14n.tif", "landsat_rgb_nodata0_utm18n.tif"]
)
def test_a_real_rasters_grid_is_kept_and_its_nodata(
    name: str, bright: Path, tmp_path: Path, shared_data: Path
) -> None:
    source = shared_data / "georef" / name
    segment(
        source,
        tmp_path / "m.tif",
        bright,
        block_size=300,
        probability=tmp_path / "p.tif",
        confidence=tmp_path / "c.tif",
    )
    for made in ("m.tif", "p.tif", "c.tif"):
        check_same_grid(source, tmp_path / made)
    with rasterio.open(source) as raster:
        if name.startswith("drone"):
            no_data = raster.read(4) == 0
        else:
            no_data = (raster.read([1, 2, 3]) == 0).all(axis=0)
    mask = read_raster(tmp_path / "m.tif")[0]
    assert np.array_equal(mask == 255, no_data)
    assert 0 < (mask == 1).sum() < mask.size


@pytest.mark.parametrize("grid", GRIDS)
def test_every_kind_of_grid_is_kept(grid: str, bright: Path, tmp_path: Path) -> None:
    pixels = texture(70, 90)
    source = write_raster(tmp_path / "in.tif", pixels, **GRIDS[grid])
    segment(source, tmp_path / "m.tif", bright, block_size=32)
    check_same_grid(source, tmp_path / "m.tif")
    assert np.array_equal(read_raster(tmp_path / "m.tif")[0], bright_at(pixels))


def test_a_raster_without_crs_is_segmented_with_a_warning(bright: Path, tmp_path: Path) -> None:
    pixels = texture(40, 30)
    source = write_raster(tmp_path / "in.png", pixels, driver="PNG", crs=None, transform=None)
    for sidecar in tmp_path.glob("*.aux.xml"):
        sidecar.unlink()
    progress = WatchingProgress()
    result = segment(source, tmp_path / "m.tif", bright, progress)
    assert any("no coordinate reference system" in text for text in progress.warnings())
    assert list(result.warnings) == progress.warnings()
    check_same_grid(source, tmp_path / "m.tif")
    assert np.array_equal(read_raster(tmp_path / "m.tif")[0], bright_at(pixels))
    assert all(area.area is None for area in result.areas)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 77), (93, 1), (3, 2), (17, 64), (65, 129)]
)
@pytest.mark.parametrize("model", ["bright", "toy_unet"])
def test_rasters_of_any_size_are_segmented_whole(
    height: int, width: int, model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pixels = texture(height, width)
    source = write_raster(tmp_path / "in.tif", pixels)
    result = segment(source, tmp_path / "m.tif", request.getfixturevalue(model), block_size=64)
    mask = read_raster(tmp_path / "m.tif")[0]
    assert mask.shape == (height, width)
    assert result.pixels == height * width
    assert (mask != 255).all()
    if model == "bright":
        assert np.array_equal(mask, bright_at(pixels))


def test_a_raster_of_100000_px_width_is_segmented(bright: Path, tmp_path: Path) -> None:
    row = (np.arange(100_000) // 10 % 256).astype(np.uint8)
    pixels = np.broadcast_to(row[np.newaxis, :, np.newaxis], (5, 100_000, 3))
    source = write_raster(tmp_path / "in.tif", pixels)
    result = segment(source, tmp_path / "m.tif", bright, block_size=4096)
    assert np.array_equal(read_raster(tmp_path / "m.tif")[0], bright_at(pixels))
    assert result.blocks == 25


def test_a_sparse_bigtiff_is_segmented_where_it_has_data(bright: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.tif"
    with rasterio.open(
        source,
        "w",
        driver="GTiff",
        width=1500,
        height=1200,
        count=3,
        dtype="uint8",
        crs=UTM,
        transform=TRANSFORM,
        nodata=0,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        SPARSE_OK=True,
        BIGTIFF="YES",
    ) as raster:
        raster.write(
            np.full((3, 100, 90), 200, np.uint8),
            window=rasterio.windows.Window(1000, 700, 90, 100),
        )
    segment(source, tmp_path / "m.tif", bright, block_size=512)
    expected = np.full((1200, 1500), 255, np.uint8)
    expected[700:800, 1000:1090] = 1
    assert np.array_equal(read_raster(tmp_path / "m.tif")[0], expected)


def write_mosaic(folder: Path, pixels: NDArray[np.uint8]) -> Path:
    """A virtual raster of four files, side by side and one below the other."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    sources = []
    for row in (0, height):
        for col in (0, width):
            part = folder / f"part_{row}_{col}.tif"
            write_raster(part, pixels[row : row + height, col : col + width])
            sources.append((part, row, col))
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}">'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{part.name}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
            f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>'
            f'<DstRect xOff="{col}" yOff="{row}" xSize="{width}" ySize="{height}"/>'
            "</SimpleSource>"
            for part, row, col in sources
        )
        + "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    mosaic = folder / "mosaic.vrt"
    mosaic.write_text(
        f'<VRTDataset rasterXSize="{2 * width}" rasterYSize="{2 * height}"><SRS>{UTM}</SRS>'
        f"<GeoTransform>{', '.join(map(str, TRANSFORM.to_gdal()))}</GeoTransform>{bands}"
        "</VRTDataset>"
    )
    return mosaic


def test_a_mosaic_of_several_files_equals_the_one_file(toy_unet: Path, tmp_path: Path) -> None:
    pixels = texture(120, 160)
    single = write_raster(tmp_path / "in.tif", pixels)
    mosaic = write_mosaic(tmp_path, pixels)
    for source, name in ((single, "a.tif"), (mosaic, "b.tif")):
        segment(source, tmp_path / name, toy_unet, block_size=48)
    assert np.array_equal(read_raster(tmp_path / "a.tif"), read_raster(tmp_path / "b.tif"))
    check_same_grid(mosaic, tmp_path / "b.tif")


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_every_number_of_bands_and_every_type_is_segmented(
    bands: int, dtype: str, tmp_path: Path
) -> None:
    model = write_toy_unet(tmp_path / "toy", bands=bands)
    pixels = texture(50, 60, bands)
    plain = write_raster(tmp_path / "plain.tif", pixels)
    typed = write_raster(tmp_path / "typed.tif", pixels.astype(dtype))
    segment(plain, tmp_path / "a.tif", model, block_size=32)
    progress = WatchingProgress()
    segment(typed, tmp_path / "b.tif", model, progress, block_size=32)
    assert np.array_equal(read_raster(tmp_path / "a.tif"), read_raster(tmp_path / "b.tif"))
    told = [text for text in progress.warnings() if f"is {dtype}" in text]
    assert len(told) == (dtype != "uint8")


def test_named_bands_are_fed_in_the_models_order(toy_unet: Path, tmp_path: Path) -> None:
    pixels = texture(50, 60, 4)
    mixed = write_raster(tmp_path / "mixed.tif", pixels)
    sorted_out = write_raster(tmp_path / "sorted.tif", pixels[..., [3, 0, 2]])
    segment(mixed, tmp_path / "a.tif", toy_unet, bands=(4, 1, 3))
    segment(sorted_out, tmp_path / "b.tif", toy_unet)
    segment(mixed, tmp_path / "c.tif", toy_unet)
    masks = [read_raster(tmp_path / name) for name in ("a.tif", "b.tif", "c.tif")]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


def test_bands_of_different_types_are_read_by_their_own(bright: Path, tmp_path: Path) -> None:
    """A virtual raster may join an 8-bit index with bands of 16 bits."""
    pixels = texture(30, 40)
    byte = write_raster(tmp_path / "byte.tif", np.zeros((30, 40), np.uint8))
    write_raster(tmp_path / "words.tif", pixels.astype(np.uint16))
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>{band}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for number, (kind, name, band) in enumerate(
            [("Byte", byte.name, 1), *[("UInt16", "words.tif", b) for b in (1, 2, 3)]], 1
        )
    )
    source = tmp_path / "joined.vrt"
    source.write_text(
        f'<VRTDataset rasterXSize="40" rasterYSize="30"><SRS>{UTM}</SRS>'
        f"<GeoTransform>{', '.join(map(str, TRANSFORM.to_gdal()))}</GeoTransform>{bands}"
        "</VRTDataset>"
    )
    segment(source, tmp_path / "m.tif", bright, bands=(2, 3, 4))
    assert np.array_equal(read_raster(tmp_path / "m.tif")[0], bright_at(pixels))
    mixed = np.concatenate([np.zeros((30, 40, 1)), pixels[..., :2]], axis=-1)
    segment(source, tmp_path / "m.tif", bright, bands=(1, 2, 3))
    assert np.array_equal(read_raster(tmp_path / "m.tif")[0], bright_at(mixed))


def test_complex_numbers_are_refused(bright: Path, tmp_path: Path) -> None:
    source = write_raster(tmp_path / "in.tif", texture(9, 9).astype(np.complex64))
    with pytest.raises(InputError, match="complex"):
        segment(source, tmp_path / "m.tif", bright)


def polygon_layer(path: Path, *rings: list[tuple[float, float]], crs: str = UTM) -> Path:
    """A polygon layer (GeoJSON knows one CRS only, hence its old member)."""
    features = [
        {
            "type": "Feature",
            "properties": {},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for ring in rings
    ]
    code = crs.split(":")[1]
    named = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}"}}
    content = {"type": "FeatureCollection", "crs": named, "features": features}
    path.write_text(json.dumps(content))
    return path


def rectangle(row: float, col: float, height: float, width: float) -> list[tuple[float, float]]:
    corners = [(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)]
    return [TRANSFORM @ (col + x * width, row + y * height) for y, x in corners]


def test_an_area_of_interest_cuts_the_result_and_the_work(
    bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = texture(160, 200)
    source = write_raster(tmp_path / "in.tif", pixels)
    aoi = polygon_layer(
        tmp_path / "aoi.geojson", rectangle(10, 20, 30, 25), rectangle(140, 190, 20, 10)
    )
    shapes = count_windows(monkeypatch)
    read = RasterSource.read
    windows = []

    def watched(self: RasterSource, window: PixelWindow, *arguments: Any) -> Any:
        windows.append(window)
        return read(self, window, *arguments)

    monkeypatch.setattr(RasterSource, "read", watched)
    segment(source, tmp_path / "m.tif", bright, aoi=aoi, block_size=40)
    expected = np.full((160, 200), 255, np.uint8)
    for part in (np.s_[10:40, 20:45], np.s_[140:160, 190:200]):
        expected[part] = bright_at(pixels)[part]
    assert np.array_equal(read_raster(tmp_path / "m.tif")[0], expected)
    assert len(shapes) == 3, "of 20 blocks, three hold pixels of the area"
    assert len([w for w in windows if w.shape == (40, 40)]) == 3


def test_an_area_of_interest_in_another_crs_is_transformed(bright: Path, tmp_path: Path) -> None:
    source = write_raster(tmp_path / "in.tif", texture(160, 200))
    ring = rectangle(40, 50, 60, 70)
    xs, ys = rasterio.warp.transform(UTM, "EPSG:4326", *zip(*ring, strict=True))
    near = polygon_layer(tmp_path / "near.geojson", ring)
    far = polygon_layer(tmp_path / "far.geojson", list(zip(xs, ys, strict=True)), crs="EPSG:4326")
    for name, aoi in (("a.tif", near), ("b.tif", far)):
        segment(source, tmp_path / name, bright, aoi=aoi, block_size=64)
    first, second = read_raster(tmp_path / "a.tif"), read_raster(tmp_path / "b.tif")
    assert (first != 255).sum() == 60 * 70
    assert np.count_nonzero((first == 255) != (second == 255)) <= 4


def test_an_extent_cuts_the_work(
    bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = texture(160, 200)
    source = write_raster(tmp_path / "in.tif", pixels)
    shapes = count_windows(monkeypatch)
    left, top = TRANSFORM @ (64, 32)
    right, bottom = TRANSFORM @ (96, 64)
    result = segment(
        source, tmp_path / "m.tif", bright, extent=(left, bottom, right, top), block_size=32
    )
    assert (len(shapes), result.pixels) == (1, 32 * 32)
    assert shapes[0][1:3] == (32, 32)
    assert np.array_equal(read_raster(tmp_path / "m.tif")[0], bright_at(pixels)[32:64, 64:96])


def test_an_extent_of_a_rotated_raster_is_the_window_around_it(
    bright: Path, tmp_path: Path
) -> None:
    pixels = texture(160, 200)
    source = write_raster(tmp_path / "in.tif", pixels, transform=ROTATED)
    x, y = ROTATED @ (100.5, 80.5)
    segment(source, tmp_path / "m.tif", bright, extent=(x - 1e-3, y - 1e-3, x + 1e-3, y + 1e-3))
    with rasterio.open(tmp_path / "m.tif") as raster:
        assert raster.shape == (1, 1)
        np.testing.assert_allclose(raster.transform @ (0, 0), ROTATED @ (100, 80), atol=1e-6)
        assert raster.read(1)[0, 0] == bright_at(pixels)[80, 100]


# What lies in the files and beside them.


@pytest.fixture(scope="module")
def finished(toy_unet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with all outputs, on 600 x 700 px of which a corner is nodata."""
    folder = tmp_path_factory.mktemp("finished")
    pixels = texture(600, 700)
    pixels[:50, :60] = 0
    source = write_raster(folder / "in.tif", pixels, nodata=0)
    segment(
        source,
        folder / "m.tif",
        toy_unet,
        block_size=400,
        probability=folder / "p.tif",
        confidence=folder / "c.tif",
        summary=folder / "s.html",
    )
    return folder


def test_a_run_leaves_its_outputs_and_nothing_else(finished: Path) -> None:
    assert sorted(p.name for p in finished.iterdir()) == [
        "c.tif",
        "in.tif",
        "m.qml",
        "m.tif",
        "m.tif.aux.xml",
        "p.tif",
        "s.html",
        "s_quicklook.png",
    ]


@pytest.mark.parametrize("name", ["m.tif", "p.tif", "c.tif"])
def test_outputs_are_cloud_optimised_and_compressed(finished: Path, name: str) -> None:
    with rasterio.open(finished / name) as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.compression.name == "deflate"
        assert raster.is_tiled
        assert raster.overviews(1) == [2]
        assert raster.nodata == 255
        assert raster.dtypes[0] == "uint8"


def test_a_small_raster_needs_no_overviews(bright: Path, tmp_path: Path) -> None:
    source = write_raster(tmp_path / "in.tif", texture(60, 60))
    segment(source, tmp_path / "m.tif", bright)
    with rasterio.open(tmp_path / "m.tif") as raster:
        assert raster.overviews(1) == []


def test_overviews_of_a_mask_hold_classes_only(finished: Path) -> None:
    with rasterio.open(finished / "m.tif", overview_level=0) as overview:
        assert set(np.unique(overview.read(1))) <= {0, 1, 2, 3, 255}


def test_a_masks_colours_are_those_of_the_card(finished: Path) -> None:
    with rasterio.open(finished / "m.tif") as raster:
        colors = raster.colormap(1)
        assert colors[1] == (0x22, 0x8B, 0x22, 255)
        assert colors[2] == (0x80, 0x80, 0x80, 255)
        assert colors[3] == (0x87, 0xCE, 0xEB, 255)
        assert raster.descriptions == ("class",)


def test_bands_are_named_by_class_and_scaled_to_shares(finished: Path) -> None:
    with rasterio.open(finished / "p.tif") as raster:
        assert raster.descriptions == ("vegetation", "road", "sky")
        np.testing.assert_allclose(raster.scales, [1 / 254] * 3)
        assert raster.offsets == (0, 0, 0)
    with rasterio.open(finished / "c.tif") as raster:
        assert raster.descriptions == ("confidence",)
        np.testing.assert_allclose(raster.scales, [1 / 254])


@pytest.mark.parametrize("name", ["m.tif", "p.tif", "c.tif"])
def test_statistics_are_those_of_the_pixels(finished: Path, name: str) -> None:
    with rasterio.open(finished / name) as raster:
        for band in range(1, raster.count + 1):
            values = raster.read(band)
            valid = values[values != 255].astype(np.float64)
            told = {k: float(v) for k, v in raster.tags(band).items() if k.startswith("STATIS")}
            assert told["STATISTICS_MINIMUM"] == valid.min()
            assert told["STATISTICS_MAXIMUM"] == valid.max()
            assert told["STATISTICS_MEAN"] == pytest.approx(valid.mean())
            assert told["STATISTICS_STDDEV"] == pytest.approx(valid.std())
            share = 100 * valid.size / values.size
            assert told["STATISTICS_VALID_PERCENT"] == pytest.approx(share, abs=0.01)


def test_the_tags_tell_how_the_map_was_made(finished: Path, toy_unet: Path) -> None:
    card = json.loads((toy_unet / "card.json").read_text())
    with rasterio.open(finished / "m.tif") as raster:
        tags = raster.tags()
    assert tags["TIFFTAG_SOFTWARE"].startswith("U-Net Segmenter")
    assert tags["UNET_SEGMENTER_MODEL"] == "toy_unet"
    assert tags["UNET_SEGMENTER_MODEL_SHA256"] == card["files"][0]["sha256"]
    assert tags["UNET_SEGMENTER_CLASSES"] == "1=vegetation,2=road,3=sky"
    assert tags["UNET_SEGMENTER_THRESHOLDS"] == "vegetation=0.5,road=0.5,sky=0.5"
    assert tags["UNET_SEGMENTER_INPUT"] == "in.tif"


def test_the_style_and_the_attribute_table_name_every_class(finished: Path) -> None:
    style = ET.parse(finished / "m.qml").getroot()
    entries = {e.get("value"): e.get("label") for e in style.iter("paletteEntry")}
    assert entries == {"0": "unknown", "1": "vegetation", "2": "road", "3": "sky"}
    table = ET.parse(finished / "m.tif.aux.xml").getroot()
    assert [c.text for c in table.iter("Category")] == ["unknown", "vegetation", "road", "sky"]
    rows = [[f.text for f in row.iter("F")] for row in table.iter("Row")]
    assert [row[:2] for row in rows] == [[v, name] for v, name in entries.items()]


def test_names_that_are_no_xml_are_escaped(tmp_path: Path) -> None:
    strange = 'grass & <herbs> "tall"'
    classes = [{"value": 1, "name": strange, "color": "#00ff00", "channel": 0}]
    model = write_brightness_model(
        tmp_path / "strange", output={"activation": "sigmoid", "classes": classes}
    )
    source = write_raster(tmp_path / "in.tif", texture(20, 20))
    segment(
        source,
        tmp_path / "m.tif",
        model,
        probability=tmp_path / "p.tif",
        summary=tmp_path / "s.html",
    )
    style = ET.parse(tmp_path / "m.qml").getroot()
    assert strange in [e.get("label") for e in style.iter("paletteEntry")]
    table = ET.parse(tmp_path / "m.tif.aux.xml").getroot()
    assert strange in [c.text for c in table.iter("Category")]
    with rasterio.open(tmp_path / "p.tif") as raster:
        assert raster.descriptions == (strange,)
    assert "<herbs>" not in (tmp_path / "s.html").read_text(encoding="utf-8")


def test_areas_are_the_masks_pixel_counts(finished: Path, toy_unet: Path) -> None:
    result = segment(finished / "in.tif", finished / "again.tif", toy_unet, block_size=400)
    mask = read_raster(finished / "again.tif")[0]
    for path in finished.glob("again*"):
        path.unlink()
    assert result.nodata_pixels == (mask == 255).sum() == 3000
    for area in result.areas:
        assert area.pixels == (mask == area.value).sum()
        assert area.area == pytest.approx(area.pixels * 0.25 * 0.25 / 0.9996**2, rel=1e-5)
    assert sum(area.pixels for area in result.areas) + result.nodata_pixels == result.pixels


def test_areas_in_web_mercator_are_those_of_the_ground(toy_unet: Path, tmp_path: Path) -> None:
    """At 60 degrees north the map draws them four times as large."""
    mercator = rasterio.Affine(0.4, 0, 1669792, 0, -0.4, 8399737)
    source = write_raster(
        tmp_path / "in.tif", texture(128, 128), crs="EPSG:3857", transform=mercator
    )
    result = segment(source, tmp_path / "m.tif", toy_unet, summary=tmp_path / "s.html")
    assert sum(area.area or 0 for area in result.areas) == pytest.approx(657.56, rel=1e-3)
    page = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert "px of 0.201 x 0.2 m" in page


def test_float_probabilities_are_nan_at_nodata(toy_unet: Path, tmp_path: Path) -> None:
    pixels = texture(40, 40)
    pixels[:5] = 0
    source = write_raster(tmp_path / "in.tif", pixels, nodata=0)
    segment(
        source,
        tmp_path / "m.tif",
        toy_unet,
        probability=tmp_path / "p.tif",
        probability_type="float32",
    )
    with rasterio.open(tmp_path / "p.tif") as raster:
        values = raster.read()
        assert np.isnan(raster.nodata)
    assert np.isnan(values[:, :5]).all()
    assert ((values[:, 5:] >= 0) & (values[:, 5:] <= 1)).all()


@pytest.mark.parametrize("suffix", [".img", ".TIFF"])
@pytest.mark.parametrize("grid", ["rotated", "geographic"])
def test_another_suffix_gives_a_readable_raster_of_that_format(
    suffix: str, grid: str, bright: Path, tmp_path: Path
) -> None:
    pixels = texture(70, 90)
    source = write_raster(tmp_path / "in.tif", pixels, **GRIDS[grid])
    target = tmp_path / f"m{suffix}"
    segment(source, target, bright, block_size=32)
    assert np.array_equal(read_raster(target)[0], bright_at(pixels))
    with rasterio.open(target) as found, rasterio.open(source) as expected:
        assert found.crs.to_epsg() == expected.crs.to_epsg()
        assert found.nodata == 255
        np.testing.assert_allclose(found.transform, expected.transform)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", ["", ".xyz123", ".vrt", ".jpg", ".bil", ".txt"])
def test_a_suffix_that_cannot_hold_a_mask_is_refused_before_the_work(
    suffix: str, bright: Path, tmp_path: Path
) -> None:
    source = write_raster(tmp_path / "in.tif", texture(20, 20))
    progress = WatchingProgress()
    with pytest.raises(OutputError, match=r"use \.tif"):
        segment(source, tmp_path / f"m{suffix}", bright, progress)
    assert progress.steps == []
    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]


def test_a_halo_that_a_fixed_window_cannot_have_is_refused(tmp_path: Path) -> None:
    model = write_brightness_model(tmp_path / "fixed", fixed_size=64)
    source = write_raster(tmp_path / "in.tif", texture(20, 20))
    with pytest.raises(JobError, match="halo"):
        segment(source, tmp_path / "m.tif", model, halo=32)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fixed", "in.tif"]


def test_names_with_blanks_and_signs_are_kept(bright: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Wälder & <Wiesen> 'alt' 100%"
    folder.mkdir()
    pixels = texture(30, 40)
    source = write_raster(folder / "süd west.tif", pixels)
    result = segment(
        source, folder / 'Maske "1" ü.tif', bright, summary=folder / "Bericht & mehr.html"
    )
    assert np.array_equal(read_raster(result.outputs["OUTPUT"])[0], bright_at(pixels))
    assert all(Path(path).is_file() for path in result.outputs.values())


def test_outputs_may_lie_on_different_disks(bright: Path, tmp_path: Path) -> None:
    other = Path("/dev/shm")  # on Linux a file system of its own
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    source = write_raster(tmp_path / "in.tif", texture(30, 40))
    with tempfile.TemporaryDirectory(dir=other) as folder:
        far = Path(folder)
        segment(
            source, far / "m.tif", bright, probability=tmp_path / "p.tif", summary=far / "s.html"
        )
        assert read_raster(far / "m.tif").shape == (1, 30, 40)
        assert read_raster(tmp_path / "p.tif").shape == (1, 30, 40)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "p.tif"]
