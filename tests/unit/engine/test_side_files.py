# SPDX-License-Identifier: GPL-2.0-or-later
"""Side files of rasters: ours are replaced and removed, those of others stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.toy_jobs import WatchingProgress, segment
from tests.toy_rasters import texture, write_raster
from unet_segmenter.engine.errors import OutputError
from unet_segmenter.engine.run_majority import MajorityFilterJob, run_majority_filter
from unet_segmenter.engine.side_files import is_ours, mark_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return write_raster(tmp_path / "in" / "in.tif", texture(40, 50))


def test_a_style_of_another_layer_stays_and_is_told(
    source: Path, bright: Path, tmp_path: Path
) -> None:
    style = tmp_path / "parcels.qml"
    style.write_text("<qgis>the parcels</qgis>")
    progress = WatchingProgress()
    segment(source, tmp_path / "parcels.tif", bright, progress)
    assert style.read_text() == "<qgis>the parcels</qgis>"
    assert any("parcels.qml is no style that this plugin wrote" in w for w in progress.warnings())
    assert (tmp_path / "parcels.tif.aux.xml").is_file()


def test_a_style_of_ours_is_replaced_by_that_of_the_next_map(
    source: Path, bright: Path, toy_unet: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.tif"
    segment(source, out, toy_unet)
    first = (tmp_path / "m.qml").read_text()
    progress = WatchingProgress()
    segment(source, out, bright, progress)
    assert (tmp_path / "m.qml").read_text() != first
    assert 'label="bright"' in (tmp_path / "m.qml").read_text()
    assert progress.warnings() == []


def test_probabilities_in_the_place_of_a_map_lose_its_style_and_its_classes(
    source: Path, bright: Path, tmp_path: Path
) -> None:
    place = tmp_path / "m.tif"
    segment(source, place, bright)
    assert (tmp_path / "m.qml").is_file()
    segment(source, tmp_path / "other.tif", bright, probability=place)
    assert not (tmp_path / "m.qml").exists()
    assert not (tmp_path / "m.tif.aux.xml").exists()
    with rasterio.open(place) as raster:
        assert raster.scales == (pytest.approx(1 / 254),)


def test_statistics_of_the_raster_that_is_replaced_do_not_describe_the_new_one(
    source: Path, bright: Path, tmp_path: Path
) -> None:
    place = write_raster(tmp_path / "p.tif", np.full((40, 50), 7, np.uint8))
    beside = tmp_path / "p.tif.aux.xml"
    beside.write_text(
        '<PAMDataset><PAMRasterBand band="1"><Metadata><MDI key="STATISTICS_MAXIMUM">7</MDI>'
        "</Metadata></PAMRasterBand></PAMDataset>"
    )
    segment(source, tmp_path / "m.tif", bright, probability=place)
    assert not beside.exists()
    with rasterio.open(place) as raster:
        assert float(raster.tags(1)["STATISTICS_MAXIMUM"]) > 7


def test_a_side_file_without_its_raster_is_refused_before_the_work(
    source: Path, bright: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "m.tif.aux.xml"
    alone.write_text("<PAMDataset>mine</PAMDataset>")
    with pytest.raises(OutputError, match=r"m\.tif\.aux\.xml lies there without its raster"):
        segment(source, tmp_path / "m.tif", bright)
    assert alone.read_text() == "<PAMDataset>mine</PAMDataset>"
    alone.unlink()
    segment(source, tmp_path / "m.tif", bright)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_gdal_s_statistics_do_not_make_a_table_of_ours_another_s(tmp_path: Path) -> None:
    classes = np.random.default_rng(1).integers(0, 3, (20, 20), np.uint8)
    source = write_raster(tmp_path / "c.tif", classes, nodata=255)
    job = MajorityFilterJob(str(source), str(tmp_path / "m.tif"), radius=1)
    run_majority_filter(job, WatchingProgress())
    with rasterio.open(tmp_path / "m.tif") as raster, rasterio.Env(GDAL_PAM_ENABLED="YES"):
        raster.statistics(1, approx=False, clear_cache=True)
    assert is_ours(tmp_path / "m.tif.aux.xml", tmp_path / "m.tif")
    (tmp_path / "m.tif").unlink()
    run_majority_filter(job, WatchingProgress())


@pytest.mark.parametrize("name", ["a--b.tif", "a&b <c>.tif", "ä]].tif", "m.tif"])
def test_the_mark_of_any_name_may_stand_in_a_comment_and_is_of_that_name(
    name: str, tmp_path: Path
) -> None:
    mark = mark_of(tmp_path / name)
    assert not set("<>&") & set(mark)
    assert "--" not in mark
    path = tmp_path / "x.qml"
    path.write_text(f"<!-- {mark} --><qgis/>")
    assert is_ours(path, tmp_path / name)
    assert not is_ours(path, tmp_path / f"x{name}")
    assert not is_ours(path, tmp_path / name[:-1])


def test_a_picture_in_the_place_of_the_quick_look_is_refused_before_the_work(
    source: Path, bright: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "s_quicklook.png"
    picture.write_bytes(b"holiday")
    options = {"summary": tmp_path / "s.html"}
    with pytest.raises(OutputError, match=r"s_quicklook\.png is no quick look"):
        segment(source, tmp_path / "m.tif", bright, **options)
    assert picture.read_bytes() == b"holiday"
    picture.unlink()
    for _ in range(2):  # one that a run drew is replaced
        segment(source, tmp_path / "m.tif", bright, **options)
    assert picture.stat().st_size > 1000
