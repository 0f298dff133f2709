# SPDX-License-Identifier: GPL-2.0-or-later
"""A gallery of broken data sets: each is refused with a sentence that names the file."""

import html
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.small_sets import write_folder_set
from training.errors import DatasetError
from training.prepare import prepare
from training.prepare_spec import PrepareSpec
from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.progress import SilentProgress


def save(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(path)


def missing_mask(root: Path) -> None:
    (root / "masks" / "002.png").unlink()


def size_mismatch(root: Path) -> None:
    save(root / "masks" / "002.png", np.zeros((48, 60), np.uint8))


def unknown_id(root: Path) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[:12] = 77
    save(root / "masks" / "002.png", mask)


def unknown_color(root: Path) -> None:
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[:24] = (7, 8, 9)
    save(root / "masks" / "002.png", mask)


def corrupt_image(root: Path) -> None:
    path = root / "images" / "002.jpg"
    path.write_bytes(path.read_bytes()[:300])


def no_image_at_all(root: Path) -> None:
    (root / "images" / "002.jpg").write_text("<html>404</html>")


def corrupt_mask(root: Path) -> None:
    path = root / "masks" / "002.png"
    path.write_bytes(path.read_bytes()[:60])


def duplicate_stems(root: Path) -> None:
    save(root / "images" / "002.png", np.zeros((48, 64, 3), np.uint8))


def two_bands(root: Path) -> None:
    Image.fromarray(np.zeros((48, 64, 2), np.uint8), "LA").save(root / "masks" / "002.png")


def float_mask(root: Path) -> None:
    (root / "masks" / "002.png").unlink()
    Image.fromarray(np.zeros((48, 64), np.float32)).save(root / "masks" / "002.tif")


def other_bands(root: Path) -> None:
    save(root / "images" / "002.jpg", np.zeros((48, 64), np.uint8))


def csv_without_columns(root: Path) -> None:
    (root / "classes.csv").write_text("3\n8\n")


def no_class_list(root: Path) -> None:
    (root / "classes.csv").unlink()


def no_masks(root: Path) -> None:
    (root / "masks").rename(root / "annotations")


def no_images(root: Path) -> None:
    for path in (root / "images").iterdir():
        path.unlink()


def class_absent(root: Path) -> None:
    with (root / "classes.csv").open("a") as file:
        file.write("50,whale,1,2,3\n")


GALLERY: dict[Callable[[Path], None], str] = {
    missing_mask: r"002\.jpg: has no mask of the same name",
    size_mismatch: r"002\.png: the mask is 60x48, its image 64x48",
    unknown_id: r"002\.png: unknown id 77 in 25\.00% of the pixels",
    unknown_color: r"002\.png: colour \(7, 8, 9\) in 50\.00% of the pixels",
    corrupt_image: r"002\.jpg: cannot be read as an image",
    no_image_at_all: r"002\.jpg: cannot be read as an image",
    corrupt_mask: r"002\.png: cannot be read as an image",
    duplicate_stems: r"002\.png: has the same stem as 002\.jpg",
    two_bands: r"002\.png: the mask has 2 bands",
    float_mask: r"002\.tif: the mask holds float32",
    other_bands: r"002: its image has bands 1, that of 000 3",
    csv_without_columns: r"classes\.csv: the first row must name the columns",
    no_class_list: r"plain: has no class list",
    no_masks: r"plain: has no folder of masks",
    no_images: r"images: holds no image",
    class_absent: r"class 'whale' has no pixel in any sample",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Pillow's, of a mode's name
@pytest.mark.parametrize("spoil", GALLERY, ids=lambda spoil: spoil.__name__)
def test_a_broken_data_set_is_refused_with_the_file_named_and_nothing_is_left(spoil, tmp_path):
    root = write_folder_set(tmp_path / "plain")
    spoil(root)
    spec = PrepareSpec(str(root), str(tmp_path / "out"), split="random")
    with pytest.raises(DatasetError, match=GALLERY[spoil]):
        prepare(spec, SilentProgress())
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_the_gallerys_set_is_good_when_it_is_not_spoilt(tmp_path):
    root = write_folder_set(tmp_path / "plain")
    spec = PrepareSpec(str(root), str(tmp_path / "out"), split="random")
    assert len(prepare(spec, SilentProgress()).samples) == 6


def test_a_class_that_one_side_lacks_is_warned_of_by_name(tmp_path):
    root = write_folder_set(tmp_path / "plain")
    for name in ("000", "001", "002", "003"):
        path = root / "masks" / f"{name}.png"
        mask = np.array(Image.open(path))
        mask[mask == 19] = 1
        save(path, mask)
    for side, names in {"train": "000 001 002 003", "validation": "004 005"}.items():
        (tmp_path / f"{side}.txt").write_text("\n".join(names.split()))
    progress = SilentProgress()
    lists = (f"train={tmp_path / 'train.txt'}", f"validation={tmp_path / 'validation.txt'}")
    prepare(PrepareSpec(str(root), str(tmp_path / "out"), lists=lists), progress)
    words = "class 'tree' has no pixel in the train split: it is not learned"
    assert ("warning", words) in progress.messages
    page = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert "Class 'tree' has no pixel in the train split" in page


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"train": "000\n001"}, "the validation split is empty"),
        ({"train": "000\n001", "validation": ""}, r"validation\.txt: the list is empty"),
        ({"train": "000", "validation": "000"}, "'000' is both in train and in validation"),
        ({"train": "000", "validation": "777"}, "'777' in validation is no sample"),
        ({"train": "000\n000", "validation": "001"}, r"train\.txt: names '000' twice"),
        ({"learn": "000", "validation": "001"}, "'learn' is no split"),
    ],
)
def test_lists_that_make_no_split_are_refused(tmp_path, lists, words):
    root = write_folder_set(tmp_path / "plain")
    for side, text in lists.items():
        (tmp_path / f"{side}.txt").write_text(text)
    given = tuple(f"{side}={tmp_path / side}.txt" for side in lists)
    spec = PrepareSpec(str(root), str(tmp_path / "out"), lists=given)
    with pytest.raises(DatasetError, match=words):
        prepare(spec, SilentProgress())


def test_a_csv_of_groups_without_its_columns_is_named(tmp_path):
    root = write_folder_set(tmp_path / "plain")
    (tmp_path / "groups.csv").write_text("file,site\n000,a\n")
    spec = PrepareSpec(str(root), str(tmp_path / "out"), groups=str(tmp_path / "groups.csv"))
    with pytest.raises(DatasetError, match=r"groups\.csv: has no column 'name'.*names file, site"):
        prepare(spec, SilentProgress())
    (tmp_path / "groups.csv").write_text("name,group\n000,a\n")
    with pytest.raises(DatasetError, match=r"groups\.csv: has no group for '001'"):
        prepare(spec, SilentProgress())


def test_a_split_that_the_format_cannot_give_is_refused(tmp_path):
    root = write_folder_set(tmp_path / "plain")
    for split, words in (("groups", "has no groups"), ("lists", "has no lists of its own")):
        with pytest.raises(JobError, match=words):
            prepare(PrepareSpec(str(root), str(tmp_path / "out"), split=split), SilentProgress())
