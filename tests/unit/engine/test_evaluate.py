# SPDX-License-Identifier: GPL-2.0-or-later
"""A class raster against a reference: numbers, grids, polygons, and what is refused."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st

from unet_segmenter.engine import evaluate as module
from unet_segmenter.engine.errors import Cancelled, InputError, JobError, OutputError
from unet_segmenter.engine.evaluate import EvaluateJob, run_evaluate
from unet_segmenter.engine.metrics import confusion_matrix, counts_of_confusion
from unet_segmenter.engine.progress import SilentProgress

SHAPE = (70, 90)
ORIGIN = (500_000.0, 5_000_000.0)
SIZE = 0.5


def draw(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth of blobs of 0, 1 and 2 with a corner unknown, and a map that is wrong in parts."""
    rng = np.random.default_rng(seed)
    true = np.kron(rng.integers(0, 3, (7, 9)), np.ones((10, 10))).astype(np.uint8)
    claimed = np.where(rng.random(SHAPE) < 0.2, rng.integers(0, 3, SHAPE), true).astype(np.uint8)
    true[:6, :8] = 255
    claimed[-5:, -7:] = 255
    return claimed, true


def write(path: Path, pixels: np.ndarray, shift: float = 0.0, **changes: object) -> str:
    options: dict[str, object] = {
        "driver": "GTiff",
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "count": 1,
        "dtype": pixels.dtype,
        "crs": "EPSG:32632",
        "transform": rasterio.Affine(SIZE, 0, ORIGIN[0] + shift, 0, -SIZE, ORIGIN[1]),
        "nodata": 255,
        **changes,
    }
    with rasterio.open(path, "w", **options) as dataset:
        dataset.write(pixels, 1)
    return str(path)


@pytest.fixture
def pair(tmp_path: Path) -> EvaluateJob:
    claimed, true = draw()
    return EvaluateJob(write(tmp_path / "map.tif", claimed), write(tmp_path / "true.tif", true))


def expected_matrix() -> np.ndarray:
    claimed, true = draw()
    known = np.where(claimed == 255, 255, true)
    return confusion_matrix(claimed, known, 3)


@pytest.mark.parametrize("block", [16, 33, 1024])
def test_the_numbers_are_those_of_the_whole_arrays_for_any_block_size(
    pair: EvaluateJob, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_evaluate(pair, SilentProgress())
    monkeypatch.setattr(module, "BLOCK_SIZE", block)
    found = run_evaluate(pair, SilentProgress())
    assert found == whole
    matrix = expected_matrix()
    assert [list(row) for row in found.confusion] == matrix.tolist()
    iou = counts_of_confusion(matrix, first=0).scores()["iou"]
    assert [cls.iou for cls in found.classes] == pytest.approx(iou.tolist())
    assert found.mean_iou == pytest.approx(iou.mean())
    assert found.overall_accuracy == pytest.approx(np.trace(matrix) / matrix.sum())
    assert found.pixels == matrix.sum()
    assert found.unmapped_pixels == 35
    assert all(0 < cls.boundary_f1 < 1 for cls in found.classes)


def test_a_raster_against_itself_is_right_everywhere(tmp_path: Path) -> None:
    _, true = draw()
    path = write(tmp_path / "a.tif", true)
    result = run_evaluate(EvaluateJob(path, write(tmp_path / "b.tif", true)), SilentProgress())
    assert result.mean_iou == result.overall_accuracy == result.mcc == 1
    assert result.mean_boundary_f1 == 1
    assert not result.warnings


def test_classes_are_named_by_the_job_then_by_the_raster_then_by_their_value(
    pair: EvaluateJob,
) -> None:
    names = "<Category>unknown</Category><Category>tree &amp; bush</Category>"
    Path(f"{pair.input}.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames>'
        "</PAMRasterBand></PAMDataset>"
    )
    found = run_evaluate(replace(pair, class_names=("0=other",)), SilentProgress())
    assert [cls.name for cls in found.classes] == ["other", "tree & bush", "class 2"]


def test_values_to_ignore_and_an_area_of_interest_leave_pixels_out(
    pair: EvaluateJob, tmp_path: Path
) -> None:
    claimed, true = draw()
    ignored = run_evaluate(replace(pair, ignore=(2,)), SilentProgress())
    assert ignored.pixels == ((claimed != 255) & (true != 255) & (true != 2)).sum()
    box = shapely.box(ORIGIN[0] + 10, ORIGIN[1] - 20, ORIGIN[0] + 30, ORIGIN[1] - 10)
    aoi = polygons(tmp_path / "aoi.gpkg", [box])
    found = run_evaluate(replace(pair, aoi=aoi), SilentProgress())
    assert found.pixels == 40 * 20
    inside = claimed[20:40, 20:60] == true[20:40, 20:60]
    assert found.overall_accuracy == pytest.approx(inside.mean())


def polygons(path: Path, shapes: list[shapely.Geometry], **fields: list[object]) -> str:
    columns = [
        np.array(values, dtype=object if isinstance(values[0], str) else None)
        for values in fields.values()
    ]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(shapes)),
        columns,
        list(fields),
        geometry_type="Polygon",
        crs="EPSG:32632",
        driver="GPKG",
    )
    return str(path)


def cell(row: int, col: int, height: int, width: int) -> shapely.Geometry:
    left, top = ORIGIN[0] + col * SIZE, ORIGIN[1] - row * SIZE
    return shapely.box(left, top - height * SIZE, left + width * SIZE, top)


@pytest.mark.parametrize("classes", [["tree", "Road", "tree"], [1, 2, 1]], ids=["names", "values"])
def test_polygons_count_by_name_or_value_and_only_inside_of_them(
    pair: EvaluateJob, tmp_path: Path, classes: list[object]
) -> None:
    claimed, _ = draw()
    shapes = [cell(10, 10, 20, 30), cell(40, 5, 10, 10), cell(12, 50, 9, 9)]
    path = polygons(tmp_path / "true.gpkg", shapes, sort=classes)
    job = replace(pair, reference=path, field="sort", class_names=("1=tree", "2=road"))
    found = run_evaluate(job, SilentProgress())
    true = np.full(SHAPE, 255, np.uint8)
    true[10:30, 10:40] = true[12:21, 50:59] = 1
    true[40:50, 5:15] = 2
    expected = confusion_matrix(claimed, true, 3)
    assert found.pixels == expected.sum() == 781
    assert [list(row) for row in found.confusion] == expected.tolist()
    assert [cls.name for cls in found.classes] == ["class 0", "tree", "road"]


def test_a_map_without_a_crs_is_taken_to_have_that_of_the_polygons_and_it_is_told(
    pair: EvaluateJob, tmp_path: Path
) -> None:
    path = polygons(tmp_path / "true.gpkg", [cell(10, 10, 20, 30)], sort=[1])
    job = replace(pair, reference=path, field="sort")
    with_crs = run_evaluate(job, SilentProgress())
    assert not any("CRS" in warning for warning in with_crs.warnings)
    plain = write(tmp_path / "plain.tif", draw()[0], crs=None)
    found = run_evaluate(replace(job, input=plain), SilentProgress())
    assert found.confusion == with_crs.confusion
    told = f"{plain} has no CRS: it is taken to have that of the other one."
    assert told in found.warnings


def test_a_polygon_of_an_unknown_class_is_refused_with_the_known_ones(
    pair: EvaluateJob, tmp_path: Path
) -> None:
    path = polygons(tmp_path / "true.gpkg", [cell(0, 0, 9, 9)], sort=["water"])
    job = replace(pair, reference=path, field="sort", class_names=("1=tree",))
    with pytest.raises(InputError, match=r"class 'water'.*1=tree.*CLASS_NAMES"):
        run_evaluate(job, SilentProgress())
    with pytest.raises(InputError, match=r"no field 'kind'; it has sort"):
        run_evaluate(replace(job, field="kind"), SilentProgress())
    with pytest.raises(JobError, match=r"vector layer: name the FIELD.*sort"):
        run_evaluate(replace(job, field=None), SilentProgress())
    with pytest.raises(JobError, match=r"is a raster: leave out FIELD"):
        run_evaluate(replace(pair, field="sort"), SilentProgress())


def test_another_grid_is_refused_with_the_difference_and_the_remedy(
    pair: EvaluateJob, tmp_path: Path
) -> None:
    _, true = draw()
    moved = write(tmp_path / "moved.tif", true, shift=1.0)
    with pytest.raises(InputError, match=r"another grid.*origin.*--align.*gdalwarp -r near"):
        run_evaluate(replace(pair, reference=moved), SilentProgress())
    small = write(tmp_path / "small.tif", true[:40])
    with pytest.raises(InputError, match=r"size \(90 x 70 and 90 x 40 px\)"):
        run_evaluate(replace(pair, reference=small), SilentProgress())
    plain = write(tmp_path / "plain.tif", true, crs=None)
    with pytest.raises(InputError, match=r"CRS \(EPSG:32632 and none\).*no CRS"):
        run_evaluate(replace(pair, reference=plain), SilentProgress())


@pytest.mark.parametrize("nodata", [255, None])
def test_a_reference_on_another_grid_is_aligned_if_asked(
    pair: EvaluateJob, tmp_path: Path, nodata: int | None
) -> None:
    """Two columns to the east, and twice as fine: the part that both cover is compared."""
    claimed, true = draw()
    true[true == 255] = 1
    fine = np.kron(true[:, 2:], np.ones((2, 2), np.uint8))
    transform = rasterio.Affine(SIZE / 2, 0, ORIGIN[0] + 2 * SIZE, 0, -SIZE / 2, ORIGIN[1])
    path = write(tmp_path / "fine.tif", fine, transform=transform, nodata=nodata)
    found = run_evaluate(replace(pair, reference=path, align=True), SilentProgress())
    known = np.where(claimed == 255, 255, true)
    known[:, :2] = 255
    assert [list(row) for row in found.confusion] == confusion_matrix(claimed, known, 3).tolist()


def test_a_raster_without_whole_numbers_is_refused_and_floats_that_are_whole_are_taken(
    pair: EvaluateJob, tmp_path: Path
) -> None:
    _, true = draw()
    floats = true.astype(np.float32)
    path = write(tmp_path / "floats.tif", floats)
    expected = run_evaluate(pair, SilentProgress())
    found = run_evaluate(replace(pair, reference=path), SilentProgress())
    assert found.confusion == expected.confusion
    floats[30, 30] = 1.5
    with pytest.raises(InputError, match=r"holds 1\.5, which is no class"):
        run_evaluate(replace(pair, reference=write(tmp_path / "odd.tif", floats)), SilentProgress())


def test_what_should_make_a_reader_wonder_is_told(pair: EvaluateJob, tmp_path: Path) -> None:
    _, true = draw()
    other = np.where(true == 255, 255, true + 10).astype(np.uint8)
    path = write(tmp_path / "other.tif", other)
    progress = SilentProgress()
    found = run_evaluate(replace(pair, reference=path), progress)
    assert found.mean_iou == 0
    assert "number their classes alike" in found.warnings[0]
    assert ("warning", found.warnings[0]) in progress.messages


def test_nothing_in_common_is_an_error(pair: EvaluateJob, tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.tif", np.full(SHAPE, 255, np.uint8))
    with pytest.raises(InputError, match="No pixel could be compared"):
        run_evaluate(replace(pair, reference=empty), SilentProgress())


def test_files_hold_the_same_numbers(pair: EvaluateJob, tmp_path: Path) -> None:
    files = {name: str(tmp_path / f"out.{name}") for name in ("html", "csv", "json")}
    names = ("0=other", "1=<tree>", "2=road")
    result = run_evaluate(replace(pair, class_names=names, **files), SilentProgress())
    told = json.loads(Path(files["json"]).read_text())
    assert told["mean_iou"] == result.mean_iou
    assert told["job"]["input"] == pair.input
    with Path(files["csv"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["other", "<tree>", "road"]
    assert float(rows[1]["iou"]) == pytest.approx(result.classes[1].iou, abs=1e-6)
    page = Path(files["html"]).read_text()
    assert f"{result.mean_iou:.3f}" in page
    assert "&lt;tree&gt;" in page
    assert "<tree>" not in page
    assert "data:image/png;base64," in page
    assert "http" not in page
    assert result.outputs == {name.upper(): path for name, path in files.items()}
    assert not list(tmp_path.glob("*.part"))


def test_a_class_that_is_not_there_has_no_score_instead_of_zero(tmp_path: Path) -> None:
    true = np.ones((10, 10), np.uint8)
    claimed = true.copy()
    claimed[0, 0] = 2
    job = EvaluateJob(write(tmp_path / "a.tif", claimed), write(tmp_path / "b.tif", true))
    result = run_evaluate(job, SilentProgress())
    assert result.mcc is None
    assert result.mean_iou == pytest.approx(0.99)
    assert (result.classes[1].iou, result.classes[1].recall) == (0, None)


def test_what_is_undefined_is_empty_in_the_table_and_a_dash_on_the_page(tmp_path: Path) -> None:
    """The reference has no class 3, so no boundary of it; class 2 is never claimed."""
    true, claimed = np.ones((2, 40, 50), np.uint8)
    claimed[:10, :10], true[20:30, 20:30] = 3, 2
    files = {name: str(tmp_path / f"o.{name}") for name in ("csv", "html")}
    result = run_evaluate(
        EvaluateJob(write(tmp_path / "c.tif", claimed), write(tmp_path / "t.tif", true), **files),
        SilentProgress(),
    )
    with Path(files["csv"]).open(newline="") as file:
        rows = {row["value"]: row for row in csv.DictReader(file)}
    assert (rows["3"]["boundary_f1"], rows["3"]["recall"], rows["2"]["precision"]) == ("", "", "")
    assert (rows["2"]["boundary_f1"], rows["3"]["claimed_pixels"]) == ("0.0", "100")
    assert result.mean_boundary_f1 == 0, "over the classes that have a boundary to find"
    (line,) = [text for text in Path(files["html"]).read_text().split("<tr>") if ">0.000<" in text
               and "class 3 (3)" in text]  # fmt: skip
    assert "<td class=number>-</td><td class=number>0</td><td class=number>100</td>" in line


def test_an_image_is_refused_as_map_and_as_reference(pair: EvaluateJob, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
    image = write(tmp_path / "image.tif", noise)
    for changes in ({"input": image}, {"reference": image}):
        with pytest.raises(InputError, match=r"image\.tif is no class raster but an image"):
            run_evaluate(replace(pair, **changes), SilentProgress())


def test_a_cancelled_run_writes_nothing(pair: EvaluateJob, tmp_path: Path) -> None:
    class Stop(SilentProgress):
        def cancelled(self) -> bool:
            return True

    with pytest.raises(Cancelled, match="nothing was written"):
        run_evaluate(replace(pair, html=str(tmp_path / "r.html")), Stop())
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"input": ""}, "No input"),
        ({"band": 0}, "from 1"),
        ({"tolerance": -1}, "tolerance"),
        ({"ignore": (300,)}, "0 to 255"),
        ({"class_names": ("tree=1",)}, "value=name"),
        ({"class_names": ("1=a", "1=b")}, "twice"),
        ({"html": "x", "csv": "x"}, "same path"),
        ({"csv": "a.tif"}, "is an input"),
    ],
    ids=str,
)
def test_a_job_that_cannot_be_done_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(JobError, match=told):
        EvaluateJob(**{"input": "a.tif", "reference": "b.tif", **changes})


def test_a_band_or_folder_that_is_not_there_is_refused(pair: EvaluateJob, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no band 2"):
        run_evaluate(replace(pair, band=2), SilentProgress())
    with pytest.raises(OutputError, match="no folder"):
        run_evaluate(replace(pair, html=str(tmp_path / "no" / "r.html")), SilentProgress())


TEXT = st.text("abc/.", min_size=1, max_size=8)


@given(
    st.builds(
        EvaluateJob,
        input=TEXT.map("in".__add__),
        reference=TEXT.map("ref".__add__),
        field=st.none() | TEXT,
        band=st.integers(1, 9),
        align=st.booleans(),
        class_names=st.just(()) | st.just(("1=tree", "2=road")),
        ignore=st.lists(st.integers(0, 255), max_size=3).map(tuple),
        tolerance=st.integers(0, 50),
        html=st.none() | TEXT.map("out".__add__),
    )
)
def test_a_job_travels_as_json(job: EvaluateJob) -> None:
    assert EvaluateJob.from_json(json.loads(json.dumps(job.to_json()))) == job


def test_names_without_a_value_are_numbered_from_one() -> None:
    job = EvaluateJob("a", "b", class_names=("tree", "road"))
    assert job.names() == {1: "tree", 2: "road"}


MEASURE = """
import sys
from pathlib import Path
from unet_segmenter.engine.evaluate import EvaluateJob, run_evaluate
from unet_segmenter.engine.progress import SilentProgress
run_evaluate(EvaluateJob(sys.argv[1], sys.argv[1]), SilentProgress())
status = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_peak_memory_does_not_grow_with_the_raster(tmp_path: Path) -> None:
    peaks = []
    for side in (4096, 12288):
        path = tmp_path / f"{side}.tif"
        shape = {"height": side, "width": side, "tiled": True, "SPARSE_OK": True}
        with rasterio.open(path, "w", driver="GTiff", count=1, dtype="uint8", **shape):
            pass
        found = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
        )
        peaks.append(int(found.stdout))
    assert peaks[1] < 1.25 * peaks[0]


@pytest.mark.parametrize("name", ["=1+1", "+road", "-tree", "@SUM(A1)"])
def test_a_class_name_is_no_formula_in_the_table(
    name: str, pair: EvaluateJob, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    named = replace(pair, class_names=(f"1={name}", "2=water"), csv=str(table))
    run_evaluate(named, SilentProgress())
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["class 0", f"'{name}", "water"]
