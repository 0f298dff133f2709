# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.small_sets import draw, write_class_list, write_folder_set, write_pairs
from training.__main__ import main
from training.dataset import Dataset
from training.describe_dataset import value_range
from training.errors import DatasetError
from training.prepare import prepare
from training.prepare_sample import resize_image, resize_mask
from training.prepare_spec import READERS, SPLIT_METHODS, PrepareSpec
from unet_segmenter.engine.errors import Cancelled, JobError, OutputError
from unet_segmenter.engine.progress import SilentProgress


def spec_of(source: Path, output: Path, **more) -> PrepareSpec:
    settings = {"reader": "folder", "split": "random", "fractions": (0.5, 0.5), **more}
    return PrepareSpec(str(source), str(output), **settings)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_folder_set(tmp_path / "plain")


def test_aeroscapes_is_prepared_by_its_own_lists_and_copied_byte_for_byte(small_set, tmp_path):
    output = tmp_path / "out"
    dataset = prepare(PrepareSpec(str(small_set), str(output), "aeroscapes"), SilentProgress())
    assert [s.name for s in dataset.split("train")] == ["000001_001", "000001_002", "041001_001"]
    assert [s.name for s in dataset.split("validation")] == ["040001_001"]
    assert dataset.split("train")[2].group == "041"
    assert [c.name for c in dataset.classes][:2] == ["vegetation", "background"]
    assert dataset.rim == 1
    original = small_set / "JPEGImages" / "000001_001.jpg"
    assert dataset.split("train")[0].image.read_bytes() == original.read_bytes()
    assert sorted(path.name for path in output.iterdir()) == [
        "contact_sheet.png", "dataset.json", "images", "masks", "report.html", "samples.csv",
        "splits",
    ]  # fmt: skip


def test_the_files_tell_what_the_masks_hold(plain, tmp_path):
    dataset = prepare(
        spec_of(plain, tmp_path / "out", classes=("green=grass,bush", "tree"), ignore=("paved",)),
        SilentProgress(),
    )
    with (tmp_path / "out" / "samples.csv").open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(dataset.samples) == 6
    for sample in dataset.samples:
        ids = draw(int(sample.name))[1]
        expected = np.select([np.isin(ids, (3, 8)), ids == 19, ids == 1], [1, 2, 255], 0)
        _image, mask = dataset.read(sample)
        assert np.array_equal(mask, expected)
        counted = [int(rows[sample.name][f"px_{v}"]) for v in (0, 1, 2, "ignore")]
        assert counted == [(expected == v).sum() for v in (0, 1, 2, 255)]
    balance = json.loads((tmp_path / "out" / "dataset.json").read_text())["balance"]
    total = sum(row["classes"]["green"]["px"] for row in balance.values())
    assert total == sum(int(row["px_1"]) for row in rows.values()) > 0


def test_the_scaling_is_of_the_training_images_alone(plain, tmp_path):
    dataset = prepare(spec_of(plain, tmp_path / "out"), SilentProgress())
    pixels = np.concatenate(
        [dataset.read(sample)[0].reshape(-1, 3) for sample in dataset.split("train")]
    ).astype(np.float64)
    assert np.allclose(dataset.scaling.mean, pixels.mean(axis=0), atol=1e-4)
    assert np.allclose(dataset.scaling.stddev, pixels.std(axis=0), atol=1e-4)
    scaled = dataset.scaling(dataset.read(dataset.split("train")[0])[0])
    assert scaled.dtype == np.float32
    assert abs(float(scaled.mean())) < 1


@pytest.mark.parametrize(
    ("data_type", "lowest", "highest", "expected"),
    [
        ("uint8", 12, 200, [0, 255]),
        ("uint16", 310, 3001, [0, 3752]),
        ("uint16", 0, 60000, [0, 65535]),
        ("int16", -400, 2000, [-900, 2500]),
        ("int16", -32768, 32767, [-32768, 32767]),
        ("float32", 0.02, 0.5, [0, 0.625]),
        ("float64", -24.0, -4.0, [-30, 2]),
        ("float32", 0, 0, [0, 1]),
    ],
)
def test_the_range_of_values_leaves_room_for_other_light(data_type, lowest, highest, expected):
    assert value_range(data_type, lowest, highest) == expected


def test_scaling_shrinks_images_smoothly_and_masks_by_nearest(plain, tmp_path):
    dataset = prepare(spec_of(plain, tmp_path / "out", scale=0.5, gsd=0.1), SilentProgress())
    assert (dataset.samples[0].height, dataset.samples[0].width) == (24, 32)
    assert dataset.gsd == pytest.approx(0.2)
    _image, mask = dataset.read(dataset.samples[0])
    whole = prepare(spec_of(plain, tmp_path / "whole"), SilentProgress())
    same = next(s for s in whole.samples if s.name == dataset.samples[0].name)
    assert np.array_equal(mask, resize_mask(whole.read(same)[1], (32, 24)))
    assert dataset.samples[0].image.suffix == ".png"


def test_all_images_are_brought_to_one_size_when_asked(plain, tmp_path):
    dataset = prepare(spec_of(plain, tmp_path / "out", size=(40, 40)), SilentProgress())
    assert {(s.width, s.height) for s in dataset.samples} == {(40, 40)}
    assert dataset.read(dataset.samples[0])[0].shape == (40, 40, 3)


def test_a_resized_mask_invents_no_class():
    rng = np.random.default_rng(0)
    mask = rng.choice(np.array([0, 3, 9, 255], np.uint8), (31, 47))
    assert set(np.unique(resize_mask(mask, (20, 13)))) <= {0, 3, 9, 255}


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("bands", [1, 3, 5])
def test_resized_images_keep_type_bands_and_mean(kind, bands):
    image = np.linspace(0, 200, 40 * 40 * bands).reshape(40, 40, bands).astype(kind)
    small = resize_image(image, (20, 16))
    assert (small.shape, small.dtype) == ((16, 20, bands), np.dtype(kind))
    assert abs(float(small.mean()) - float(image.mean())) < 2


def test_samples_below_the_limits_are_left_out_and_counted(plain, tmp_path):
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(plain / "masks" / "003.png")
    progress = SilentProgress()
    dataset = prepare(spec_of(plain, tmp_path / "out", min_positive=0.01), progress)
    assert [s.name for s in sorted(dataset.samples, key=lambda s: s.name)] == [
        "000", "001", "002", "004", "005",
    ]  # fmt: skip
    assert any(words.startswith("1 of 6 samples were left out") for _, words in progress.messages)
    assert not (tmp_path / "out" / "images" / "003.jpg").exists()


def test_samples_without_a_labelled_pixel_are_left_out_and_told(plain, tmp_path):
    for name in ("001", "004"):
        Image.fromarray(np.full((48, 64), 1, np.uint8)).save(plain / "masks" / f"{name}.png")
    progress, learned = SilentProgress(), {"classes": ("grass", "tree"), "ignore": ("paved",)}
    dataset = prepare(spec_of(plain, tmp_path / "out", **learned), progress)
    assert sorted(s.name for s in dataset.samples) == ["000", "002", "003", "005"]
    assert any(
        words.startswith("2 of 6 samples were left out as empty: without a labelled pixel")
        for _level, words in progress.messages
    )
    report = (tmp_path / "out" / "report.html").read_text()
    assert "2 of 6 samples were left out as empty" in report
    for path in (plain / "masks").iterdir():
        Image.fromarray(np.full((48, 64), 1, np.uint8)).save(path)
    with pytest.raises(DatasetError, match="all 6 samples are empty: without a labelled pixel"):
        prepare(spec_of(plain, tmp_path / "none", **learned), SilentProgress())


def test_images_that_would_become_too_small_are_named(plain, tmp_path):
    spec = spec_of(plain, tmp_path / "out", split="clusters", scale=0.001)
    with pytest.raises(DatasetError, match=r"000\.jpg: would be 1x1 px; samples have 16 px"):
        prepare(spec, SilentProgress())


def test_a_class_list_without_what_is_ignored_by_default_is_named(tmp_path):
    write_pairs(tmp_path / "set" / "images", tmp_path / "set" / "labels", 4)
    path = tmp_path / "set" / "class_dict.csv"
    write_class_list(path, "name, r, g, b")
    lines = [line for line in path.read_text().splitlines() if "conflicting" not in line]
    path.write_text("\n".join(lines))
    spec = PrepareSpec(str(tmp_path / "set"), str(tmp_path / "out"), "semantic-drone")
    words = r"class_dict\.csv: lists no class 'conflicting', which is ignored by default"
    with pytest.raises(DatasetError, match=words):
        prepare(spec, SilentProgress())


def test_only_the_names_of_a_list_are_used(plain, tmp_path):
    (tmp_path / "only.txt").write_text("001\n004\n\n")
    dataset = prepare(
        spec_of(plain, tmp_path / "out", only=str(tmp_path / "only.txt")), SilentProgress()
    )
    assert {s.name for s in dataset.samples} == {"001", "004"}
    (tmp_path / "only.txt").write_text("001\n999\n")
    with pytest.raises(DatasetError, match=r"only\.txt: '999' is no sample"):
        prepare(spec_of(plain, tmp_path / "b", only=str(tmp_path / "only.txt")), SilentProgress())


def test_given_lists_are_kept_and_saved(plain, tmp_path):
    lists = {"train": ["003", "001"], "validation": ["000"], "test": ["005"]}
    for side, names in lists.items():
        (tmp_path / f"{side}.txt").write_text("\n".join(names))
    dataset = prepare(
        spec_of(
            plain,
            tmp_path / "out",
            split="",
            lists=tuple(f"{side}={tmp_path / side}.txt" for side in lists),
        ),
        SilentProgress(),
    )
    for side, names in lists.items():
        assert [s.name for s in dataset.split(side)] == sorted(names)
        saved = (tmp_path / "out" / "splits" / f"{side}.txt").read_text().split()
        assert saved == sorted(names)
    assert sorted(p.stem for p in (tmp_path / "out" / "images").iterdir()) == [
        "000", "001", "003", "005",
    ]  # fmt: skip


def test_a_csv_of_groups_keeps_each_group_on_one_side(plain, tmp_path):
    rows = ["name,group", *(f"{n:03d},{'abc'[n // 2]}" for n in range(6))]
    (tmp_path / "groups.csv").write_text("\n".join(rows))
    dataset = prepare(
        spec_of(
            plain,
            tmp_path / "out",
            split="",
            groups=str(tmp_path / "groups.csv"),
            fractions=(0.34, 0.33, 0.33),
        ),
        SilentProgress(),
    )
    sides = {}
    for sample in dataset.samples:
        sides.setdefault(sample.group, set()).add(sample.split)
    assert {group: len(found) for group, found in sides.items()} == {"a": 1, "b": 1, "c": 1}
    assert {side for found in sides.values() for side in found} == {"train", "validation", "test"}


def test_a_random_split_is_warned_of(plain, tmp_path):
    progress = SilentProgress()
    prepare(spec_of(plain, tmp_path / "out"), progress)
    assert any(level == "warning" and "random" in text for level, text in progress.messages)


def test_the_report_holds_its_pictures_and_asks_for_nothing_from_elsewhere(plain, tmp_path):
    prepare(spec_of(plain, tmp_path / "out", title="A <b> & c"), SilentProgress())
    page = (tmp_path / "out" / "report.html").read_text()
    assert "A &lt;b&gt; &amp; c" in page
    assert page.count("data:image/png;base64,") >= 1
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    for word in ("Class balance", "grass", "Does the split leak?"):
        assert word in page
    sheet = Image.open(tmp_path / "out" / "contact_sheet.png")
    assert sheet.width > 1500
    assert len(sheet.convert("RGB").getcolors(1 << 24)) > 1000


@pytest.mark.parametrize("when", ["reading samples", "drawing the contact sheet"])
def test_a_cancelled_or_failed_run_leaves_nothing(plain, tmp_path, when, monkeypatch):
    class Stopping(SilentProgress):
        def cancelled(self) -> bool:
            return when == "reading samples"

        def advance(self, done, total, message=None):
            if message == when == "drawing the contact sheet":
                raise DatasetError("disk full, say")

    with pytest.raises(Cancelled if when == "reading samples" else DatasetError):
        prepare(spec_of(plain, tmp_path / "out"), Stopping())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain"]


def test_what_is_there_is_replaced_only_if_it_is_a_data_set_and_that_is_asked(plain, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.txt").write_text("all of it")
    for overwrite in (False, True):
        with pytest.raises(DatasetError, match="holds no prepared data set; name another folder"):
            prepare(spec_of(plain, output, overwrite=overwrite), SilentProgress())
    (output / "thesis.txt").unlink()
    prepare(spec_of(plain, output), SilentProgress())  # an empty folder is fine
    with pytest.raises(DatasetError, match="ask to overwrite it"):
        prepare(spec_of(plain, output, seed=3), SilentProgress())
    again = prepare(spec_of(plain, output, seed=3, overwrite=True), SilentProgress())
    assert again.details["split"]["seed"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "plain"]


def test_the_same_spec_gives_the_same_data_set(plain, tmp_path):
    one = prepare(spec_of(plain, tmp_path / "one"), SilentProgress())
    two = prepare(spec_of(plain, tmp_path / "two"), SilentProgress())
    other = prepare(spec_of(plain, tmp_path / "three", classes=("tree",)), SilentProgress())
    assert one.fingerprint() == two.fingerprint() != other.fingerprint()
    for name in ("dataset.json", "samples.csv", "contact_sheet.png"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


def test_a_spec_goes_through_json_and_back():
    spec = PrepareSpec(
        "a", "b", "geo", bands=(4, 1), classes=("x=y,z",), size=(64, 32), gsd=0.5, rim=2
    )
    assert PrepareSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reader": "cityscapes"}, "reader 'cityscapes' is unknown; known are aeroscapes"),
        ({"split": "luck"}, "split 'luck' is unknown"),
        ({"split": "blocks"}, "for georeferenced rasters"),
        ({"fractions": (0.5, 0.6)}, "sum to 1.1"),
        ({"fractions": (1.0,)}, "two or three"),
        ({"scale": 0}, "scale 0"),
        ({"size": (0, 4)}, "size"),
        ({"size": (8, 8)}, "16 px or more"),
        ({"size": (64, 64), "scale": 0.5}, "not both"),
        ({"seed": -1}, "seed must not be negative"),
        ({"classes": "grass"}, "classes must be a list of texts, not 'grass'"),
        ({"bands": [1, "nir"]}, "bands must be a list of whole numbers"),
        ({"chip": "x"}, "chip must be a whole number, not 'x'"),
        ({"overwrite": 1}, "overwrite must be true or false, not 1"),
        ({"gsd": "5 cm"}, "gsd must be a number or null, not '5 cm'"),
        ({"chip": 64, "overlap": 64}, "overlap 64"),
        ({"min_positive": 2}, "min_positive 2"),
        ({"gap": -1}, "negative"),
        ({"source": ""}, "a source and an output"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(change, words):
    with pytest.raises(JobError, match=words):
        PrepareSpec.from_dict({"source": "a", "output": "b", **change})


def test_each_reader_and_each_split_has_its_entry():
    from training.datasets.open_reader import OPENERS
    from training.prepare_split import METHODS

    assert tuple(OPENERS) == READERS
    assert tuple(METHODS) == SPLIT_METHODS


def test_the_command_takes_flags_and_prints_the_balance(plain, tmp_path, capsys):
    flags = ["--classes", "green=grass,tree", "--split", "random", "--seed", "9"]
    assert main(["prepare", str(plain), str(tmp_path / "out"), *flags]) == 0
    dataset = Dataset.open(tmp_path / "out")
    assert [c.name for c in dataset.classes] == ["green"]
    assert dataset.details["split"]["seed"] == 9
    assert re.search(r"green +\d+\.\d\d% in", capsys.readouterr().out)


def test_the_command_tells_an_error_in_one_line(tmp_path, capsys):
    assert main(["prepare", str(tmp_path / "gone"), str(tmp_path / "out")]) == 3
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "gone: no such file or folder" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("split", ["random", "clusters"])
def test_progress_goes_one_way_from_nothing_to_all_but_one(plain, tmp_path, split):
    class Telling(SilentProgress):
        def __init__(self):
            super().__init__()
            self.shares = []

        def advance(self, done, total, message=None):
            self.shares.append(done / total)

    progress = Telling()
    prepare(spec_of(plain, tmp_path / "out", split=split), progress)
    assert progress.shares == sorted(progress.shares)
    assert progress.shares[0] == 0
    assert 0.8 < progress.shares[-1] < 1


def test_semantic_drone_is_prepared_by_clusters_with_unlabelled_pixels_ignored(tmp_path):
    write_pairs(tmp_path / "set" / "images", tmp_path / "set" / "labels", 4)
    spec = PrepareSpec(
        str(tmp_path / "set"), str(tmp_path / "out"), "semantic-drone", fractions=(0.5, 0.5)
    )
    dataset = prepare(spec, SilentProgress())
    assert dataset.details["split"]["method"] == "clusters"
    assert [c.name for c in dataset.classes] == ["grass", "vegetation", "tree"]
    for sample in dataset.samples:
        ids = draw(int(sample.name))[1]
        assert np.array_equal(dataset.read(sample)[1] == 255, ids == 0)


def test_a_folder_that_cannot_be_written_is_told(plain, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"out: cannot be written"):
        prepare(spec_of(plain, tmp_path / "file" / "out"), SilentProgress())
