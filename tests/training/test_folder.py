# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.small_sets import draw, write_folder_set
from training.dataset import IGNORE
from training.datasets.folder import FolderSet
from training.datasets.open_reader import open_reader
from training.errors import DatasetError
from training.images import read_image
from training.palette import ids_of_colors, read_palette
from training.prepare import prepare
from training.prepare_spec import PrepareSpec
from unet_segmenter.engine.progress import SilentProgress
from unet_segmenter.engine.rasters.writer import write_geotiff

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")  # the tests' own


@pytest.mark.parametrize("in_color", [False, True])
def test_masks_of_ids_and_of_colours_are_the_same(tmp_path, in_color):
    reader = FolderSet(write_folder_set(tmp_path, in_color=in_color))
    assert reader.names() == [f"{n:03d}" for n in range(6)]
    assert np.array_equal(reader.labels("004"), draw(4)[1])
    assert [cls.id for cls in reader.classes] == [0, 3, 8, 19, 1]


def test_images_beside_a_mask_folder_of_another_place_are_matched_by_stem(tmp_path):
    write_folder_set(tmp_path / "set")
    (tmp_path / "set" / "masks").rename(tmp_path / "elsewhere")
    reader = FolderSet(tmp_path / "set", masks=tmp_path / "elsewhere")
    assert np.array_equal(reader.labels("001"), draw(1)[1])


COLORS = {0: (0, 0, 0), 3: (0, 200, 0), 8: (99, 99, 0), 19: (0, 90, 0), 1: (80, 80, 80)}


def save_indexed(path: Path, indices: np.ndarray, colors: dict[int, tuple]) -> None:
    """Write a palette PNG; entries that no pixel uses are of a colour that no class has."""
    mask = Image.fromarray(indices.astype(np.uint8), "L")
    mask.putpalette([value for n in range(256) for value in colors.get(n, (1, 2, 3))])
    mask.save(path)
    with Image.open(path) as saved:
        assert saved.mode == "P"


def test_an_indexed_mask_with_the_classes_colours_gives_its_indices(tmp_path):
    save_indexed(write_folder_set(tmp_path) / "masks" / "000.png", draw(0)[1], COLORS)
    assert np.array_equal(FolderSet(tmp_path).labels("000"), draw(0)[1])


def test_an_indexed_mask_with_indices_of_its_own_is_read_by_its_colours(tmp_path):
    write_folder_set(tmp_path)
    order = [19, 3, 1, 0, 8]  # as a drawing program numbers them
    indices = np.array([order.index(value) for value in draw(0)[1].ravel()]).reshape(48, 64)
    own = {number: COLORS[value] for number, value in enumerate(order)}
    save_indexed(tmp_path / "masks" / "000.png", indices, own)
    assert np.array_equal(FolderSet(tmp_path).labels("000"), draw(0)[1])


def test_an_indexed_mask_of_unknown_colours_is_refused_with_both_ways_out(tmp_path):
    write_folder_set(tmp_path)
    ids = np.zeros((48, 64), np.uint8)
    ids[:12] = 3
    save_indexed(tmp_path / "masks" / "000.png", ids, COLORS | {3: (7, 8, 9)})
    words = r"000\.png: colour \(7, 8, 9\) in 25\.00% of the pixels.*leave the colours out"
    with pytest.raises(DatasetError, match=words):
        FolderSet(tmp_path).labels("000")


def test_an_indexed_mask_gives_its_indices_where_the_class_list_has_no_colours(tmp_path):
    save_indexed(write_folder_set(tmp_path) / "masks" / "000.png", draw(0)[1], {})
    (tmp_path / "classes.csv").write_text("id,name\n0,a\n3,b\n8,c\n19,d\n1,e\n")
    assert np.array_equal(FolderSet(tmp_path).labels("000"), draw(0)[1])


def test_an_indexed_tiff_follows_the_same_rule(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    write_folder_set(tmp_path)
    (tmp_path / "masks" / "000.png").unlink()
    path = tmp_path / "masks" / "000.tif"
    write_geotiff(path, np.full((48, 64, 1), 2, np.uint8), None)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {n: (0, 200, 0, 255) if n == 2 else (1, 2, 3, 255)
                                   for n in range(256)})  # fmt: skip
    assert (FolderSet(tmp_path).labels("000") == 3).all()


def test_colours_of_16_bits_are_read_in_full(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    values = np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30) * 30
    path = tmp_path / "deep.png"
    with rasterio.open(path, "w", driver="PNG", height=20, width=30, count=3,
                       dtype="uint16") as dataset:  # fmt: skip
        dataset.write(values)
    found = read_image(path)
    assert found.dtype == np.uint16
    assert np.array_equal(found, np.moveaxis(values, 0, -1))


def test_transparent_pixels_of_an_image_are_ignored_and_show_its_mean(tmp_path):
    write_folder_set(tmp_path)
    image = np.full((48, 64, 4), 100, np.uint8)
    image[..., 3] = 255
    image[:10, :, :3] = 7
    image[:10, :, 3] = 0
    (tmp_path / "images" / "000.jpg").unlink()
    Image.fromarray(image).save(tmp_path / "images" / "000.png")
    reader = FolderSet(tmp_path)
    labels = reader.labels("000")
    assert (labels[:10] == -1).all()
    assert np.array_equal(labels[10:], draw(0)[1][10:])
    assert (reader.image("000") == 100).all()
    assert reader.image("000").shape == (48, 64, 3)
    assert reader.image_file("000") is None
    assert reader.image_file("001") == tmp_path / "images" / "001.jpg"


@pytest.mark.parametrize("where", ["images", "masks"])
@pytest.mark.parametrize("by", ["value", "mask band"])
def test_nodata_of_tiffs_is_ignored(tmp_path, where, by):
    rasterio = pytest.importorskip("rasterio")
    write_folder_set(tmp_path)
    next((tmp_path / where).glob("000.*")).unlink()
    values = np.full((48, 64, 3 if where == "images" else 1), 3, np.uint8)
    values[:10] = 200  # no class's
    path = tmp_path / where / "000.tif"
    write_geotiff(path, values, None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        if by == "value":
            dataset.nodata = 200
        else:
            dataset.write_mask(values[..., 0] == 3)
    labels = FolderSet(tmp_path).labels("000")
    assert (labels[:10] == -1).all()
    assert (labels[10:] >= 0).all()


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_nodata_does_not_reach_the_prepared_values(tmp_path, scale):
    rasterio = pytest.importorskip("rasterio")
    write_folder_set(tmp_path / "set")
    for number in range(6):
        (tmp_path / "set" / "images" / f"{number:03d}.jpg").unlink()
        values = np.full((48, 64, 3), number + 1, np.float32)
        values[:10] = -9999
        values[10, :, 1] = -9999  # one band lacks data: as in a map the pixel lacks it then
        values[11, :, 2] = np.nan
        path = tmp_path / "set" / "images" / f"{number:03d}.tif"
        write_geotiff(path, values, None)
        with rasterio.open(path, "r+") as dataset:
            dataset.nodata = -9999
    spec = PrepareSpec(str(tmp_path / "set"), str(tmp_path / "out"), split="random", scale=scale)
    dataset = prepare(spec, SilentProgress())
    assert dataset.value_range == (0, 7.5)
    taught = [int(sample.name) + 1 for sample in dataset.split("train")]
    assert dataset.scaling.mean == pytest.approx([np.mean(taught)] * 3)
    lacking = int(12 * scale)
    for sample in dataset.samples:
        image, mask = dataset.read(sample)
        assert (mask[:lacking] == IGNORE).all()
        assert (mask[lacking:] != IGNORE).any()
        # As in a map: nothing once it is scaled.
        assert np.abs(dataset.scaling(image[:lacking])).max() < 1e-5
        assert image[lacking:] == pytest.approx(int(sample.name) + 1)


def test_masks_without_an_image_are_counted_and_named(tmp_path):
    write_folder_set(tmp_path / "set")
    (tmp_path / "set" / "images" / "002.jpg").unlink()
    (tmp_path / "set" / "images" / "more").mkdir()
    (tmp_path / "set" / "images" / "004.jpg").rename(tmp_path / "set/images/more/004.jpg")
    progress = SilentProgress()
    open_reader(PrepareSpec(str(tmp_path / "set"), str(tmp_path / "out")), progress)
    [(level, words)] = progress.messages
    assert level == "warning"
    assert "2 masks have no image" in words
    assert "(002.png, 004.png)" in words


@pytest.mark.parametrize(
    ("text", "ids", "colors"),
    [
        ("name,r,g,b\na,1,2,3\nb,255,0,16\n", [0, 1], ["#010203", "#ff0010"]),
        ("Class; Red; Green; Blue\na; 1; 2; 3\n", [0], ["#010203"]),
        ("id,name,color\n5,a,#ABCDEF\n", [5], ["#abcdef"]),
        ("value,label\n5,a\n6,b\n", [5, 6], None),
    ],
)
def test_class_lists_are_read_in_all_their_forms(tmp_path, text, ids, colors):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    classes = read_palette(path)
    assert [cls.id for cls in classes] == ids
    assert colors is None or [cls.color for cls in classes] == colors
    assert len({cls.color for cls in classes}) == len(classes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour,meaning\n1,2\n", "must name the columns"),
        ("", "must name the columns"),
        ("name,r,g,b\n", "lists no class"),
        ("name,r,g,b\na,1,2\n", "row 2 has 3 cells"),
        ("name,r,g,b\na,1,2,300\n", "row 2: .*is no colour"),
        ("name,r,g,b\na,1,2,x\n", "row 2: b 'x' is no whole number"),
        ("id,name\none,a\n", "row 2: id 'one' is no whole number"),
        ("name,r,g,b\na,1,2,3\na,1,2,4\n", "name 'a' is there twice"),
        ("name,r,g,b\na,1,2,3\nb,1,2,3\n", "color '#010203' is there twice"),
    ],
)
def test_malformed_class_lists_are_named(tmp_path, text, words):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=rf"classes\.csv: .*{words}"):
        read_palette(path)


def test_an_unknown_colour_is_told_with_its_share_and_the_number_of_others(tmp_path):
    classes = FolderSet(write_folder_set(tmp_path, in_color=True)).classes
    mask = np.zeros((10, 10, 3), np.uint8)
    mask[0, :8] = (1, 200, 0)
    mask[1, :2] = (2, 200, 0)
    with pytest.raises(
        DatasetError,
        match=r"m\.png: colour \(1, 200, 0\) and 1 other unknown colours in 10\.00% of the pixels",
    ):
        ids_of_colors(mask, classes, tmp_path / "m.png")


def test_alpha_does_not_change_the_ids(tmp_path):
    classes = FolderSet(write_folder_set(tmp_path)).classes
    mask = np.zeros((2, 2, 4), np.uint8)
    mask[0, 0] = (0, 200, 0, 255)
    assert ids_of_colors(mask, classes, tmp_path / "m.png").tolist() == [[3, 0], [0, 0]]
