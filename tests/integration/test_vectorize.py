# SPDX-License-Identifier: GPL-2.0-or-later
"""Class rasters as GeoPackages: fields, units, grids, cancelling, memory."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyogrio.raw
import pytest
import rasterio
import shapely

from tests.integration.test_majorityfilter import real_mask, speckled, write_classes
from tests.toy_cli import environment
from tests.toy_rasters import TRANSFORM, UTM, texture, write_raster
from unet_segmenter import cli
from unet_segmenter.engine import run_vectorize as module
from unet_segmenter.engine.components import strips_of
from unet_segmenter.engine.errors import Cancelled, InputError, JobError, OutputError
from unet_segmenter.engine.progress import SilentProgress
from unet_segmenter.engine.run_vectorize import VectorizeJob, run_vectorize

BLOCKS = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 0, 255]], np.uint8)


def read(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]]:
    """Fields, polygons and metadata of a GeoPackage."""
    meta, _, wkb, values = pyogrio.raw.read(path)
    return dict(zip(meta["fields"], values, strict=True)), shapely.from_wkb(wkb), meta


def vectorized(source: Path, **options: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    output = source.with_suffix(".gpkg")
    options = {"min_area": 0.0, **options}
    run_vectorize(VectorizeJob(str(source), str(output), **options), SilentProgress())
    fields, polygons, _ = read(output)
    return fields, polygons


def as_set(fields: dict[str, np.ndarray], polygons: Any) -> set[tuple[Any, ...]]:
    """Each polygon with its class and sizes, in no order."""
    wkb = shapely.to_wkb(shapely.normalize(polygons))
    numbers = (np.round(column, 6).tolist() for name, column in fields.items() if name != "name")
    return set(zip(wkb, *numbers, strict=True))


def test_each_area_becomes_a_polygon_with_its_class_and_its_size(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "classes.tif", BLOCKS)
    output = tmp_path / "classes.gpkg"
    result = run_vectorize(VectorizeJob(str(source), str(output), min_area=0), SilentProgress())
    fields, polygons, meta = read(output)
    assert meta["crs"] == UTM
    assert meta["geometry_type"] == "Polygon"
    rows = sorted(zip(fields["class"].tolist(), fields["name"], fields["area"], strict=True))
    # On its central meridian UTM draws lengths by 0.9996 of what they are.
    assert rows == [
        (value, name, pytest.approx(pixels / 16 / 0.9996**2, rel=1e-5))
        for value, name, pixels in ((0, "unknown", 3), (1, "grass", 4), (2, "road & path", 4))
    ]
    assert fields["perimeter"].tolist() == pytest.approx([2.0 / 0.9996] * 3, rel=1e-5)
    grass = polygons[fields["class"].tolist().index(1)]
    assert grass.equals(shapely.box(500_000, 5_299_999.5, 500_000.5, 5_300_000))
    assert (result.polygons, result.left_out, result.area_unit) == (3, 0, "m2")
    assert [(c.name, c.color, c.polygons) for c in result.classes][1] == ("grass", "#1b9e77", 1)
    assert not list(tmp_path.glob(".*"))


def test_strips_leave_no_trace_in_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_classes(tmp_path / "classes.tif", speckled(90, 70))
    whole_fields, whole = vectorized(source)
    monkeypatch.setattr(module, "strips_of", lambda h, w: strips_of(h, w, 13))
    monkeypatch.setattr(module, "_WRITTEN_AT_ONCE", 50)
    (tmp_path / "classes.gpkg").unlink()
    fields, polygons = vectorized(source)

    assert len(polygons) == len(whole) > 300
    assert as_set(fields, polygons) == as_set(whole_fields, whole)


def test_confidence_is_averaged_after_its_scale_and_without_nodata(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "classes.tif", BLOCKS)
    numbers = np.array([[254, 127, 0, 0], [255, 0, 0, 0], [255] * 4], np.uint8)
    sure = write_raster(tmp_path / "sure.tif", numbers, nodata=255)
    with rasterio.open(sure, "r+") as raster:
        raster.scales = (1 / 254,)
    fields, _ = vectorized(source, confidence=str(sure))
    found = dict(zip(fields["name"], fields["confidence"].tolist(), strict=True))
    assert found["grass"] == pytest.approx(0.5)
    assert found["road & path"] == 0
    assert math.isnan(found["unknown"])


def test_a_confidence_on_another_grid_is_refused(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "classes.tif", BLOCKS)
    sure = write_raster(tmp_path / "sure.tif", BLOCKS[:2])
    with pytest.raises(InputError, match="another grid"):
        vectorized(source, confidence=str(sure))
    assert not (tmp_path / "classes.gpkg").exists()


def test_small_polygons_and_other_classes_are_left_out(tmp_path: Path, capsys) -> None:
    source = write_classes(tmp_path / "classes.tif", BLOCKS)
    output = tmp_path / "some.gpkg"
    command = ["vectorize", str(source), str(output), "--quiet"]
    assert cli.main([*command, "--min-area", "0.2", "--classes", "GRASS", "0"]) == 0
    told = capsys.readouterr().out
    assert f"OUTPUT: {output}" in told
    assert "grass (1): 1 polygons, 0.3 m²" in told
    assert "left out as too small: 1" in told
    assert read(output)[0]["name"].tolist() == ["grass"]
    assert cli.main([*command, "--classes", "lake", "--json"]) == 2
    assert (
        "no class 'lake'; it names 1=grass"
        in json.loads(capsys.readouterr().out)["error"]["message"]
    )


def test_specks_are_left_out_by_default_and_it_is_told(tmp_path: Path) -> None:
    labels = np.ones((30, 40), np.uint8)
    labels[5, 5] = labels[9, 9:12] = labels[20:22, 20:22] = 2
    source = write_classes(tmp_path / "classes.tif", labels)
    progress = SilentProgress()
    for simplify in (0.0, 1.5):
        output = tmp_path / f"p{simplify}.gpkg"
        job = VectorizeJob(str(source), str(output), simplify=simplify)
        result = run_vectorize(job, progress)
        assert (result.polygons, result.left_out) == (2, 2), "an area of 4 px is none"
        (warning,) = result.warnings
        assert "2 specks of fewer than 4 px are left out, 4 px together" in warning
        assert ("warning", warning) in progress.messages
    kept = VectorizeJob(str(source), str(tmp_path / "all.gpkg"), min_area=0)
    result = run_vectorize(kept, SilentProgress())
    assert (result.polygons, result.left_out, result.warnings) == (4, 0, ())


def test_an_image_is_no_map_of_classes(tmp_path: Path) -> None:
    photograph = write_raster(tmp_path / "photo.tif", texture(200, 300))
    output = tmp_path / "p.gpkg"
    with pytest.raises(
        InputError, match=r"photo\.tif is no class raster but an image: band 1 holds"
    ):
        run_vectorize(VectorizeJob(str(photograph), str(output)), SilentProgress())
    assert not output.exists()
    # Many classes in areas, or with names, are a map.
    many = np.kron(np.arange(60).reshape(6, 10), np.ones((20, 20))).astype(np.uint8)
    source = write_raster(tmp_path / "many.tif", many)
    assert run_vectorize(VectorizeJob(str(source), str(output)), SilentProgress()).polygons == 60


def test_a_raster_of_nothing_but_nodata_gives_an_empty_layer_with_its_fields(
    tmp_path: Path,
) -> None:
    source = write_classes(tmp_path / "classes.tif", np.full((5, 5), 255, np.uint8))
    fields, polygons = vectorized(source, simplify=1.0)
    assert list(fields) == ["class", "name", "area", "perimeter"]
    assert len(polygons) == 0


def test_sizes_in_degrees_are_metres_at_the_polygon_s_latitude(tmp_path: Path) -> None:
    labels = np.ones((60, 2), np.uint8)
    labels[:, 1] = 255
    labels[1:-1] = 255
    transform = rasterio.Affine(1e-3, 0, 10, 0, -1, 60)
    source = write_classes(tmp_path / "c.tif", labels, crs="EPSG:4326", transform=transform)
    fields, polygons = vectorized(source)
    by_qgis = {60: (6309805.67, 222920.74), 1: (12307291.34, 221371.09)}
    for polygon, area, perimeter in zip(polygons, fields["area"], fields["perimeter"], strict=True):
        expected = by_qgis[round(polygon.bounds[3])]
        assert (area, perimeter) == pytest.approx(expected, rel=1e-3)


def test_sizes_in_web_mercator_are_those_of_the_ground(tmp_path: Path) -> None:
    transform = rasterio.Affine(12.8, 0, 1669792, 0, -12.8, 8399737)
    source = write_classes(tmp_path / "c.tif", BLOCKS, crs="EPSG:3857", transform=transform)
    fields, _ = vectorized(source)
    by_class = dict(zip(fields["class"].tolist(), fields["area"].tolist(), strict=True))
    # 657.56 m2 are the 51.2 m square that is drawn from (1669792, 8399737) on.
    assert by_class[1] == pytest.approx(657.56 / 4, rel=1e-3)
    assert by_class[0] == pytest.approx(3 / 4 * 657.56 / 4, rel=1e-3)
    assert max(fields["perimeter"]) == pytest.approx(102.57 / 2, rel=1e-3)


def test_sizes_in_feet_are_metres_and_a_turned_grid_keeps_sizes(tmp_path: Path) -> None:
    turned = rasterio.Affine.translation(7e6, 5e5) @ rasterio.Affine.rotation(30)
    turned @= rasterio.Affine.scale(2, -3)
    source = write_classes(tmp_path / "c.tif", BLOCKS, crs="EPSG:2263", transform=turned)
    fields, polygons = vectorized(source)
    foot = 1200 / 3937
    k = fields["class"].tolist().index(1)
    assert fields["area"][k] == pytest.approx(4 * 6 * foot**2, rel=0.05)  # far from its region
    assert fields["perimeter"][k] == pytest.approx(2 * (2 * 2 + 2 * 3) * foot, rel=0.03)
    assert shapely.area(polygons[k]) == pytest.approx(24)


def test_without_a_crs_sizes_are_pixels_and_a_warning_tells(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "c.tif", BLOCKS, crs=None)
    output = tmp_path / "c.gpkg"
    result = run_vectorize(VectorizeJob(str(source), str(output), min_area=0), SilentProgress())
    assert sorted(read(output)[0]["area"].tolist()) == [3, 4, 4]
    assert result.area_unit == "px"
    assert "are in pixels" in result.warnings[0]


def test_simplified_neighbours_share_their_borders_across_strips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = speckled(90, 70)
    labels[labels == 255] = 3
    source = write_classes(tmp_path / "classes.tif", labels)
    _, exact = vectorized(source)
    (tmp_path / "classes.gpkg").unlink()
    monkeypatch.setattr(module, "strips_of", lambda h, w: strips_of(h, w, 40))
    fields, polygons = vectorized(source, simplify=1.0)
    assert len(polygons) == len(exact)
    assert fields["area"].sum() == pytest.approx(90 * 70 / 16 / 0.9996**2, rel=1e-5)
    assert shapely.coverage_is_valid(polygons)
    corners = [shapely.get_num_coordinates(some).sum() for some in (polygons, exact)]
    assert corners[0] < 0.8 * corners[1]


def test_the_style_lies_in_the_file_and_that_of_a_raster_of_its_name_stays(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "classes.tif", BLOCKS)
    beside = tmp_path / "classes.qml"
    beside.write_text("the raster's own")
    vectorized(source)
    vectorized(source)  # over its own file
    assert beside.read_text() == "the raster's own"
    with closing(sqlite3.connect(tmp_path / "classes.gpkg")) as database:
        rows = database.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        ).fetchall()
    ((table, column, default, qml),) = rows
    assert (table, column, default) == ("classes", "geom", 1)
    assert "road &amp; path" in qml
    assert pyogrio.list_layers(tmp_path / "classes.gpkg")[0][0] == "classes"


def test_other_tables_of_a_file_are_not_lost(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "classes.tif", BLOCKS)
    output = tmp_path / "other.gpkg"
    run_vectorize(VectorizeJob(str(source), str(output)), SilentProgress())
    output.rename(tmp_path / "mine.gpkg")
    job = VectorizeJob(str(source), str(tmp_path / "mine.gpkg"))
    with pytest.raises(OutputError, match=r"holds other tables too \(other\)"):
        run_vectorize(job, SilentProgress())
    assert pyogrio.list_layers(tmp_path / "mine.gpkg")[0][0] == "other"


def test_classes_that_cannot_be_or_are_not_there_are_told(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "classes.tif", BLOCKS)
    job = VectorizeJob(str(source), str(tmp_path / "v.gpkg"), classes=("300",))
    with pytest.raises(JobError, match="no class '300'; it names"):
        run_vectorize(job, SilentProgress())
    result = run_vectorize(replace(job, classes=("77",)), SilentProgress())
    assert "no pixel of the classes wanted" in result.warnings[-1]


def test_probabilities_are_no_classes(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "shares.tif", BLOCKS)
    with rasterio.open(source, "r+") as raster:
        raster.scales = (1 / 254,)
    with pytest.raises(InputError, match=r"holds amounts with a scale of 0\.00393701"):
        run_vectorize(VectorizeJob(str(source), str(tmp_path / "v.gpkg")), SilentProgress())


def test_a_cancelled_run_leaves_nothing(tmp_path: Path) -> None:
    class Stopping(SilentProgress):
        def cancelled(self) -> bool:
            return True

    source = write_classes(tmp_path / "classes.tif", BLOCKS)
    output = tmp_path / "c.gpkg"
    with pytest.raises(Cancelled, match="nothing was written"):
        run_vectorize(VectorizeJob(str(source), str(output)), Stopping())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classes.tif",
        "classes.tif.aux.xml",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output": "a.shp"}, "suffix .gpkg"),
        ({"simplify": -1.0}, "SIMPLIFY"),
        ({"min_area": math.inf}, "MIN_AREA"),
        ({"band": 0}, "count from 1"),
        ({"confidence": "b.gpkg"}, "is an input"),
    ],
)
def test_what_no_run_could_honour_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(JobError, match=words):
        VectorizeJob(**{"input": "a.tif", "output": "b.gpkg", **changes})


PEAK = """
import sys
from pathlib import Path
from unet_segmenter.engine import components
from unet_segmenter.engine.run_vectorize import VectorizeJob, run_vectorize
from unet_segmenter.engine.progress import SilentProgress

components._STRIP_PIXELS = 1 << 18  # many strips, in a short time
run_vectorize(VectorizeJob(sys.argv[1], sys.argv[2], simplify=1.0), SilentProgress())
status = Path("/proc/self/status").read_text().splitlines()
print(int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_raster_of_four_times_the_rows_takes_no_more_memory(tmp_path: Path) -> None:
    part = np.kron(np.arange(1, 65).reshape(8, 8), np.ones((64, 128))).astype(np.uint8)
    peaks = []
    for times in (4, 16):
        path = tmp_path / f"{times}.tif"
        profile = {"width": 1024, "height": 512 * times, "count": 1, "dtype": "uint8"}
        tiles = {"tiled": True, "crs": UTM, "transform": TRANSFORM, "nodata": 255}
        with rasterio.open(path, "w", driver="GTiff", **profile, **tiles) as raster:
            for k in range(times):
                raster.write(part, 1, window=rasterio.windows.Window(0, 512 * k, 1024, 512))
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path), str(tmp_path / f"{times}.gpkg")],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    print(f"{peaks[0]} MB, {peaks[1]} MB")
    gdal_cache = 17  # the smaller raster does not fill it
    assert peaks[1] <= 1.05 * peaks[0] + gdal_cache


def test_real_masks_give_the_polygons_of_the_whole_and_simple_ones_without_gaps(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = real_mask(shared_data)
    source = write_classes(tmp_path / "classes.tif", labels)
    monkeypatch.setattr(module, "strips_of", lambda h, w: strips_of(h, w, 100))
    fields, polygons = vectorized(source)
    shapes = rasterio.features.shapes(
        labels.astype(np.int32), mask=labels != 255, connectivity=4, transform=TRANSFORM
    )
    whole = [(shapely.geometry.shape(shape), int(value)) for shape, value in shapes]
    assert as_set({"class": fields["class"]}, polygons) == as_set(
        {"class": np.array([value for _, value in whole])}, [polygon for polygon, _ in whole]
    )
    (tmp_path / "classes.gpkg").unlink()
    _, simple = vectorized(source, simplify=1.5)
    assert len(simple) == len(polygons)
    assert shapely.is_valid(simple).all()
    assert shapely.coverage_is_valid(simple)
    assert shapely.area(simple).sum() == pytest.approx(labels.size / 16)
    corners = [int(shapely.get_num_coordinates(some).sum()) for some in (simple, polygons)]
    print(f"{len(polygons)} polygons, {corners[1]} points, simplified {corners[0]}")
    assert corners[0] < 0.6 * corners[1]
