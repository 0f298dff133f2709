# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.tiny_fit import Listener
from training.chips import block_of, chip_windows, split_by_blocks, without_neighbours
from training.dataset import IGNORE
from training.datasets.geo import ChipSource, GeoChips
from training.errors import DatasetError
from training.prepare import prepare
from training.prepare_spec import PrepareSpec
from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.geometry import PixelWindow, Shape2D
from unet_segmenter.engine.progress import SilentProgress
from unet_segmenter.engine.rasters.grid import RasterGrid
from unet_segmenter.engine.rasters.source import RasterSource
from unet_segmenter.engine.rasters.writer import write_geotiff

HEIGHT, WIDTH, SIDE = 120, 160, 40
LEFT, TOP, PIXEL = 500_000.0, 4_000_000.0, 0.5
UTM_SCALE = 0.9996
"""On the middle meridian of its zone UTM draws the ground by so much smaller."""


def crs() -> str:
    rasterio = pytest.importorskip("rasterio")
    return rasterio.CRS.from_epsg(32617).to_wkt()


def grid_of(shape: tuple[int, int]) -> RasterGrid:
    return RasterGrid(Shape2D(*shape), (PIXEL, 0.0, LEFT, 0.0, -PIXEL, TOP), crs())


def box(row: int, col: int, height: int, width: int) -> dict:
    """The polygon that covers these pixels exactly."""
    x, y = LEFT + col * PIXEL, TOP - row * PIXEL
    right, bottom = x + width * PIXEL, y - height * PIXEL
    ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
    return {"type": "Polygon", "coordinates": [ring]}


def write_polygons(path: Path, rows: list[tuple[dict, dict]], epsg: int = 32617) -> str:
    name = f"urn:ogc:def:crs:EPSG::{epsg}"
    features = [{"type": "Feature", "geometry": g, "properties": p} for g, p in rows]
    crs_name = {"type": "name", "properties": {"name": name}}
    collection = {"type": "FeatureCollection", "crs": crs_name, "features": features}
    path.write_text(json.dumps(collection))
    return str(path)


@pytest.fixture
def raster(tmp_path: Path) -> str:
    """Four bands of uint16 whose values tell the place: row * 200 + column, plus the band."""
    rows, cols = np.indices((HEIGHT, WIDTH))
    values = np.stack([rows * 200 + cols + band for band in range(4)], axis=-1).astype(np.uint16)
    write_geotiff(tmp_path / "field.tif", values, grid_of((HEIGHT, WIDTH)), ("r", "g", "b", "nir"))
    return str(tmp_path / "field.tif")


@pytest.fixture
def polygons(tmp_path: Path) -> str:
    return write_polygons(
        tmp_path / "classes.geojson",
        [
            (box(0, 0, 120, 80), {"kind": "meadow", "code": 4}),
            (box(10, 100, 100, 40), {"kind": "wood", "code": 7}),
            (box(20, 20, 10, 10), {"kind": "wood", "code": 7}),
        ],
    )


def truth(elsewhere: int = -1) -> np.ndarray:
    """1 meadow, 2 wood, which was drawn over the meadow, and what is known of the rest."""
    labels = np.full((HEIGHT, WIDTH), elsewhere, np.int32)
    labels[:, :80] = 1
    labels[10:110, 100:140] = 2
    labels[20:30, 20:30] = 2
    return labels


@settings(deadline=None)
@given(st.integers(1, 120), st.integers(1, 120), st.integers(2, 90), st.data())
def test_chips_cover_each_pixel_and_stay_inside(height, width, side, data):
    overlap = data.draw(st.integers(0, min(side - 1, 15)))
    seen = np.zeros((height, width), int)
    windows = chip_windows(Shape2D(height, width), side, overlap)
    for window in windows:
        assert window.shape == (min(side, height), min(side, width))
        seen[window.slices] += 1
    assert seen.min() >= 1
    assert len(set(windows)) == len(windows)
    if not overlap and height % side == width % side == 0:
        assert seen.max() == 1


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 60), st.integers(0, 40), st.integers(0, 2**16))
def test_chips_of_two_sides_are_apart_by_the_gap(gap, overlap, seed):
    windows = {str(n): w for n, w in enumerate(chip_windows(Shape2D(300, 260), 50, overlap))}
    rng = np.random.default_rng(seed)
    side_of_block: dict[str, str] = {}
    side_of = {}
    for name, window in windows.items():
        block = block_of(window, 120)
        drawn = str(rng.choice(["train", "validation", "test"]))
        side_of[name] = side_of_block.setdefault(block, drawn)
    kept = without_neighbours(side_of, windows, gap)
    assert all(name in kept for name, side in side_of.items() if side == "test")
    for one, side in kept.items():
        for other, its_side in kept.items():
            if side != its_side:
                a, b = windows[one], windows[other]
                apart = max(a.row - b.row_stop, b.row - a.row_stop, a.col - b.col_stop,
                            b.col - a.col_stop)  # fmt: skip
                assert apart >= gap


def test_a_split_by_blocks_keeps_most_chips_in_spite_of_a_gap():
    windows = {str(n): w for n, w in enumerate(chip_windows(Shape2D(1200, 1200), 50))}
    group_of = {name: block_of(window, 200) for name, window in windows.items()}
    kept = split_by_blocks(windows, group_of, (0.75, 0.25), 0, gap=50)
    assert len(kept) >= 0.85 * len(windows)
    assert abs(list(kept.values()).count("validation") / len(kept) - 0.25) < 0.06
    assert without_neighbours(kept, windows, 50) == kept
    assert kept == split_by_blocks(windows, group_of, (0.75, 0.25), 0, gap=50)


def test_polygons_label_the_pixels_whose_centre_they_hold_and_the_later_one_counts(
    raster, polygons
):
    reader = GeoChips(ChipSource(raster, polygons, "kind", side=SIDE))
    assert [(c.id, c.name) for c in reader.classes] == [
        (0, "unlabelled"), (1, "meadow"), (2, "wood"),
    ]  # fmt: skip
    assert len(reader.names()) == 12
    for name in reader.names():
        window = reader.window(name)
        assert np.array_equal(reader.labels(name), truth()[window.slices])
        assert reader.image(name)[0, 0].tolist() == [
            window.row * 200 + window.col + band for band in range(4)
        ]
    assert reader.gsd == pytest.approx(PIXEL / UTM_SCALE, rel=1e-4)
    assert reader.bands == ("r", "g", "b", "nir")


def test_codes_of_whole_numbers_name_classes_too(raster, polygons):
    reader = GeoChips(ChipSource(raster, polygons, "code", side=SIDE))
    assert [c.name for c in reader.classes] == ["unlabelled", "4", "7"]


def test_polygons_in_another_crs_are_brought_to_the_rasters(raster, tmp_path):
    warp = pytest.importorskip("rasterio.warp")
    shape = warp.transform_geom("EPSG:32617", "EPSG:4326", box(0, 0, 120, 80))
    layer = write_polygons(tmp_path / "degrees.geojson", [(shape, {"kind": "x"})], 4326)
    reader = GeoChips(ChipSource(raster, layer, "kind", side=SIDE))
    found = np.zeros((HEIGHT, WIDTH), np.int32)
    for name in reader.names():
        found[reader.window(name).slices] = reader.labels(name)
    expected = np.where(np.arange(WIDTH) < 80, 1, -1)
    assert (found != expected).mean() < 0.002


def test_beyond_the_areas_all_is_ignored_and_inside_what_has_no_polygon_is_unlabelled(
    raster, polygons, tmp_path
):
    areas = write_polygons(tmp_path / "areas.geojson", [(box(0, 0, 120, 100), {})])
    reader = GeoChips(ChipSource(raster, polygons, "kind", areas, side=SIDE))
    expected = truth(elsewhere=0)
    expected[:, 100:] = -1
    for name in reader.names():
        assert np.array_equal(reader.labels(name), expected[reader.window(name).slices])


def test_what_no_polygon_covers_is_open_unless_everything_was_labelled(raster, polygons, tmp_path):
    areas = write_polygons(tmp_path / "areas.geojson", [(box(0, 0, 120, 160), {})])

    def labels(**how) -> np.ndarray:
        reader = GeoChips(ChipSource(raster, polygons, "kind", side=SIDE, **how))
        found = np.zeros((HEIGHT, WIDTH), np.int32)
        for name in reader.names():
            found[reader.window(name).slices] = reader.labels(name)
        return found

    assert np.array_equal(labels(), truth(elsewhere=-1))
    assert np.array_equal(labels(samples="samples"), truth(elsewhere=-1))
    assert np.array_equal(labels(samples="everything"), truth(elsewhere=0))
    assert np.array_equal(labels(areas=areas), truth(elsewhere=0))


def test_samples_alone_cannot_be_labelled_in_areas_that_are_labelled_whole(raster, polygons):
    with pytest.raises(JobError, match="leave the areas out, or say that everything in them"):
        PrepareSpec(raster, "out", "geo", labels=polygons, areas="areas.gpkg", samples="samples")


def test_the_labelled_share_and_the_polygons_of_each_side_are_told_and_few_are_warned_of(
    raster, polygons, tmp_path
):
    spec = PrepareSpec(
        raster, str(tmp_path / "out"), "geo", labels=polygons, field="kind", chip=20
    )  # fmt: skip
    listener = Listener()
    dataset = prepare(spec, listener)
    assert dataset.details["labelled"] == "samples"
    rows = dataset.details["balance"]
    for side, row in rows.items():
        masks = [dataset.read(sample)[1] for sample in dataset.split(side)]
        known = sum((mask != IGNORE).sum() for mask in masks)
        assert row["total_px"] - row["ignored_px"] == known
        wood = sum((mask == 2).any() for mask in masks)
        assert row["classes"]["wood"]["polygons"] in ((1, 2) if wood else (0,))
        assert row["classes"]["meadow"]["polygons"] <= 1
        assert row["polygons"] == sum(cls["polygons"] for cls in row["classes"].values())
    few = rows["train"]["classes"]["wood"]["polygons"]
    words = f"class 'wood' is learned from {few} polygon"
    assert words in listener.text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert words.replace("class", "Class").replace("'", "&#x27;") in page
    assert f"by polygons ({rows['train']['polygons']} train" in page
    assert "samples only: pixels outside the polygons are ignored" in page


def test_one_class_without_a_negative_is_warned_of(raster, tmp_path):
    rows = [(box(row, 0, 10, 160), {"kind": "meadow"}) for row in range(0, 120, 20)]
    layer = write_polygons(tmp_path / "one.geojson", rows)
    listener = Listener()
    spec = PrepareSpec(raster, str(tmp_path / "out"), "geo", labels=layer, field="kind", chip=20)
    prepare(spec, listener)
    assert "the model will see that class everywhere" in listener.text()
    everything = replace(spec, output=str(tmp_path / "all"), samples="everything")
    listener = Listener()
    prepare(everything, listener)
    assert "everywhere" not in listener.text()


def test_nodata_is_ignored_and_shows_the_mean(tmp_path, polygons):
    rasterio = pytest.importorskip("rasterio")
    values = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    values[:, :40] = 0
    path = tmp_path / "collar.tif"
    write_geotiff(path, values, grid_of((HEIGHT, WIDTH)))
    with rasterio.open(path, "r+") as dataset:
        dataset.nodata = 0
    reader = GeoChips(ChipSource(str(path), polygons, "kind", side=SIDE))
    first = reader.names()[0]
    assert (reader.labels(first) == -1).all()
    assert (reader.image(first) == 100).all()
    assert (reader.labels(reader.names()[1]) == 1).all()


def test_nodata_of_photographs_is_filled_as_the_pretrained_networks_get_it_in_a_map(
    tmp_path, polygons
):
    from training.presets import preset_of

    rasterio = pytest.importorskip("rasterio")
    values = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    values[:, :30] = 0
    path = tmp_path / "collar.tif"
    write_geotiff(path, values, grid_of((HEIGHT, WIDTH)))
    with rasterio.open(path, "r+") as dataset:
        dataset.nodata = 0
    spec = PrepareSpec(
        str(path), str(tmp_path / "out"), "geo", labels=polygons, field="kind", chip=20, block=40,
    )  # fmt: skip
    dataset = prepare(spec, SilentProgress())
    assert dataset.scaling.mean == (100, 100, 100)
    filled = 0
    for sample in dataset.samples:
        image, mask = dataset.read(sample)
        lacking = (image != 100).all(axis=-1)
        filled += lacking.sum()
        assert (mask[lacking] == IGNORE).all()
        assert (preset_of("lite0").scale(dataset)(image[lacking]) == 0).all()
    assert filled


@pytest.mark.parametrize(("scale", "size", "zoom"), [(0.5, (), 0.5), (1.0, (60, 20), 0.75**0.5)])
def test_chips_of_another_size_carry_their_own_ground_sampling_distance(
    raster, polygons, tmp_path, scale, size, zoom
):
    spec = PrepareSpec(
        raster, str(tmp_path / "out"), "geo", labels=polygons, field="kind", chip=40, block=40,
        scale=scale, size=size,
    )  # fmt: skip
    dataset = prepare(spec, SilentProgress())
    assert dataset.gsd == pytest.approx(PIXEL / UTM_SCALE / zoom, rel=1e-4)
    reader = GeoChips(ChipSource(raster, polygons, "kind", side=40))
    for sample in dataset.samples:
        with RasterSource(str(sample.image)) as chip:
            assert chip.grid.shape == (sample.height, sample.width)
            assert chip.grid.bounds() == pytest.approx(reader.grid(sample.name).bounds())


def test_a_class_raster_on_another_grid_is_read_by_nearest_with_its_nodata_ignored(
    raster, tmp_path
):
    rasterio = pytest.importorskip("rasterio")
    rng = np.random.default_rng(0)
    coarse = rng.choice(np.array([0, 3, 9], np.uint8), (60, 80))
    grid = RasterGrid(Shape2D(60, 80), (1.0, 0.0, LEFT, 0.0, -1.0, TOP), crs())
    path = tmp_path / "classes.tif"
    write_geotiff(path, coarse[..., None], grid)
    with rasterio.open(path, "r+") as dataset:
        dataset.nodata = 0
    reader = GeoChips(ChipSource(raster, str(path), side=SIDE))
    assert [c.name for c in reader.classes] == ["3", "9"]
    fine = np.kron(coarse, np.ones((2, 2), np.uint8)).astype(int)
    fine[fine == 0] = -1
    for name in reader.names():
        assert np.array_equal(reader.labels(name), fine[reader.window(name).slices])


def test_a_field_is_prepared_in_blocks_with_a_gap_and_keeps_bands_type_and_place(
    raster, polygons, tmp_path
):
    spec = PrepareSpec(
        raster, str(tmp_path / "out"), "geo", labels=polygons, field="kind", chip=20, block=40,
        gap=5, fractions=(0.7, 0.3),
    )  # fmt: skip
    dataset = prepare(spec, SilentProgress())
    assert (dataset.bands, dataset.data_type) == (("r", "g", "b", "nir"), "uint16")
    assert dataset.gsd == pytest.approx(PIXEL / UTM_SCALE, rel=1e-4)
    assert len(dataset.split("train")) > len(dataset.split("validation")) > 0
    places = {"train": [], "validation": []}
    for sample in dataset.samples:
        image, mask = dataset.read(sample)
        row, col = divmod(int(image[0, 0, 0]), 200)
        window = PixelWindow(row, col, 20, 20)
        places[sample.split].append(window)
        expected = np.where(truth()[window.slices] < 0, IGNORE, truth()[window.slices])
        assert np.array_equal(mask, expected)
        with RasterSource(str(sample.image)) as chip:
            assert chip.grid.bounds() == grid_of((HEIGHT, WIDTH)).crop(window).bounds()
            assert chip.grid.crs is not None
    assert not any(
        one.pad(5).intersect(other) for one in places["train"] for other in places["validation"]
    )
    brightest = max(int(dataset.read(s)[0].max()) for s in dataset.samples)
    assert dataset.value_range == (0, np.ceil(1.25 * brightest))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": ""}, "needs labels"),
        ({"labels": "gone.gpkg"}, r"no polygon layer gone\.gpkg"),
        ({"field": "species"}, "no field 'species'; it has kind, code"),
        ({"areas": "gone.gpkg"}, r"gone\.gpkg"),
        ({"bands": (1, 5)}, "has no band 5; it has 4"),
        ({"raster": "gone.tif"}, r"There is no file gone\.tif"),
    ],
)
def test_what_does_not_fit_is_told(raster, polygons, change, words):
    settings = {"raster": raster, "labels": polygons, "field": "kind", **change}
    with pytest.raises(DatasetError, match=words):
        GeoChips(ChipSource(**settings))


@pytest.mark.parametrize("role", ["labels", "areas"])
def test_polygons_whose_coordinates_do_not_fit_their_crs_are_named(
    raster, polygons, tmp_path, role
):
    layer = write_polygons(tmp_path / "metres.geojson", [(box(0, 0, 9, 9), {"kind": "a"})], 4326)
    paths = {"labels": polygons, role: layer}
    with pytest.raises(DatasetError, match=r"metres\.geojson: .*do not fit their CRS, EPSG:4326"):
        GeoChips(ChipSource(raster, field="kind", **paths))


def test_polygons_beside_the_raster_are_told_as_such(raster, tmp_path):
    layer = write_polygons(tmp_path / "far.geojson", [(box(0, 10**6, 9, 9), {"kind": "a"})])
    with pytest.raises(DatasetError, match=r"far\.geojson: no polygon lies where .* lies; check"):
        GeoChips(ChipSource(raster, layer, field="kind"))


def test_a_folder_given_as_labels_is_no_polygon_layer(raster, tmp_path):
    with pytest.raises(DatasetError, match=r"The polygon layer .* is not a polygon layer"):
        GeoChips(ChipSource(raster, str(tmp_path)))


def test_the_classes_of_a_raster_are_counted_in_blocks(raster, tmp_path, monkeypatch):
    values = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    values[-1, -1], values[0, 70] = 9, 4
    write_geotiff(tmp_path / "classes.tif", values, grid_of((HEIGHT, WIDTH)))
    read_on, shapes = RasterSource.read_on, []

    def reading(source, grid, fill):
        shapes.append(grid.shape)
        return read_on(source, grid, fill)

    monkeypatch.setattr(RasterSource, "read_on", reading)
    monkeypatch.setattr("training.datasets.geo._COUNTED", 50)
    reader = GeoChips(ChipSource(raster, str(tmp_path / "classes.tif"), side=SIDE))
    assert [cls.id for cls in reader.classes] == [0, 4, 9]
    assert max(max(shape) for shape in shapes) == 50
    reader.labels(reader.names()[0])
    assert max(shapes[-1]) == SIDE


def test_a_raster_of_many_values_is_no_class_raster(raster, tmp_path):
    values = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH, 1)
    write_geotiff(tmp_path / "height.tif", values, grid_of((HEIGHT, WIDTH)))
    with pytest.raises(DatasetError, match=r"height\.tif: more than 254 values"):
        GeoChips(ChipSource(raster, str(tmp_path / "height.tif")))


@pytest.mark.parametrize(("chip", "expected"), [(16, 64), (40, 80), (50, 50)])
def test_blocks_are_as_large_as_leaves_enough_of_them(raster, polygons, tmp_path, chip, expected):
    spec = PrepareSpec(
        raster, str(tmp_path / "out"), "geo", labels=polygons, field="kind", chip=chip
    )
    dataset = prepare(spec, SilentProgress())
    assert dataset.details["split"]["notes"][0].startswith(f"blocks of {expected} px")
    assert dataset.split("train")
    assert dataset.split("validation")


def test_blocks_are_smaller_where_a_side_would_lack_a_class(raster, tmp_path):
    rows = [(box(0, 0, 120, 160), {"kind": "meadow"}), (box(0, 0, 80, 80), {"kind": "wood"})]
    layer = write_polygons(tmp_path / "corner.geojson", rows)
    spec = PrepareSpec(raster, str(tmp_path / "out"), "geo", labels=layer, field="kind", chip=20)
    dataset = prepare(spec, SilentProgress())
    # The wood fills one of four blocks of 80 px, and parts of four of 60 px.
    assert dataset.details["split"]["notes"][0].startswith("blocks of 60 px")
    for side in ("train", "validation"):
        assert dataset.details["balance"][side]["classes"]["wood"]["px"] > 0


def test_a_raster_too_small_for_its_chips_is_named_with_what_to_change(raster, polygons, tmp_path):
    spec = PrepareSpec(raster, str(tmp_path / "out"), "geo", labels=polygons, field="kind")
    words = r"field\.tif: its 1 labelled chips of 512 px, in blocks of 512 .*--chip 16, .*--block"
    with pytest.raises(DatasetError, match=words):
        prepare(spec, SilentProgress())
    assert prepare(replace(spec, chip=16), SilentProgress()).split("validation")


def test_chips_without_a_labelled_pixel_are_on_no_side(raster, tmp_path):
    rows = [(box(0, 0, 60, 80), {"kind": "meadow"})]
    layer = write_polygons(tmp_path / "meadow.geojson", rows)
    spec = PrepareSpec(
        raster, str(tmp_path / "out"), "geo", labels=layer, field="kind", chip=20,
        ignore=("unlabelled",),
    )  # fmt: skip
    dataset = prepare(spec, SilentProgress())
    assert len(dataset.samples) <= 12
    for sample in dataset.samples:
        assert (dataset.read(sample)[1] == 1).all()


def test_polygons_without_a_class_are_counted(raster, tmp_path):
    rows = [(box(0, 0, 9, 9), {"kind": "a"}), (box(9, 9, 9, 9), {"kind": None})]
    layer = write_polygons(tmp_path / "gaps.geojson", rows)
    with pytest.raises(DatasetError, match="1 of 2 polygons have no 'kind'"):
        GeoChips(ChipSource(raster, layer, "kind"))


def test_the_real_drone_orthophoto_gives_chips_without_its_collar(shared_data, tmp_path):
    path = shared_data / "georef" / "drone_alpha_utm50s.tif"
    with RasterSource(str(path)) as source:
        left, bottom, right, top = source.grid.bounds()
    ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    whole = {"type": "Polygon", "coordinates": [ring]}
    layer = write_polygons(tmp_path / "all.geojson", [(whole, {"kind": "ground"})], 32750)
    spec = PrepareSpec(
        str(path), str(tmp_path / "out"), "geo", labels=layer, field="kind", chip=128,
        block=256, min_labelled=0.5,
    )  # fmt: skip
    dataset = prepare(spec, SilentProgress())
    assert dataset.bands == ("red", "green", "blue")
    for sample in dataset.samples:
        _image, mask = dataset.read(sample)
        assert set(np.unique(mask)) <= {1, IGNORE}
        assert (mask == 1).mean() >= 0.5
