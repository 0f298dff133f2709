# SPDX-License-Identifier: GPL-2.0-or-later
"""Several data sets as one to learn: classes by name, shares, and refusals."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.training.dataset_folder import write_dataset
from tests.training.tiny_fit import Listener
from training.answers import NO, OPEN, YES
from training.chosen_classes import mix_datasets, recode
from training.dataset import Dataset
from training.errors import DatasetError
from training.leak_across import places_shared, warning_of
from training.picked_samples import Picked
from training.recipe import Recipe
from training.train_spec import TrainSpec
from unet_segmenter.engine.errors import JobError


@pytest.fixture
def sets(tmp_path):
    """One of meadow and road, the other of road and water."""
    first = write_dataset(tmp_path / "first", size=(32, 48))
    second = write_dataset(tmp_path / "second", size=(32, 32))
    path = second / "dataset.json"
    path.write_text(path.read_text().replace('"meadow"', '"water"'))
    return Dataset.open(first), Dataset.open(second)


def test_classes_are_matched_by_name_and_unknown_ones_are_open(sets):
    mixed = mix_datasets([(sets[0], 0.7), (sets[1], 0.3)])
    assert [cls.name for cls in mixed.classes] == ["meadow", "road", "water"]
    assert [cls.value for cls in mixed.classes] == [1, 2, 3]
    first, second = (part.codes for part in mixed.parts)
    table = mixed.answers
    assert table[first[1]].tolist() == [YES, NO, OPEN]
    assert table[first[2]].tolist() == [NO, YES, OPEN]
    assert table[first[0]].tolist() == [NO, NO, OPEN]
    assert table[second[1]].tolist() == [OPEN, NO, YES]
    assert table[second[2]].tolist() == [OPEN, YES, NO]
    assert first[255] == second[255] == 255


def test_each_sample_is_read_with_the_codes_of_the_whole(sets):
    mixed = mix_datasets([(sets[0], 0.7), (sets[1], 0.3)])
    samples = mixed.split("train")
    assert {sample.name.partition("/")[0] for sample in samples} == {"first", "second"}
    assert {sample.group.partition("/")[0] for sample in samples} == {"first", "second"}
    picked = Picked.of(mixed, samples)
    for number, sample in enumerate(samples):
        part, own = mixed.origins[sample.name]
        mask = part.codes[part.dataset.read(own)[1]]
        assert np.array_equal(mixed.read(sample)[1], mask)
        assert np.array_equal(picked[number][1], mask)


def test_each_data_set_has_its_share_of_the_crops(sets):
    mixed = mix_datasets([(sets[0], 0.7), (sets[1], 0.3)])
    samples = mixed.split("train")
    weights = mixed.draw_weights(samples, 0.5)
    of_first = sum(w for w, s in zip(weights, samples, strict=True) if s.name.startswith("first"))
    assert of_first == pytest.approx(0.7)
    assert weights.sum() == pytest.approx(1)


def test_a_set_that_shares_no_class_is_refused(sets):
    with pytest.raises(DatasetError, match=r"second: has none of the classes to learn \(meadow\)"):
        mix_datasets([(sets[0], 0.5), (sets[1], 0.5)], ["meadow"])
    with pytest.raises(JobError, match="the data sets have no class 'snow'; known are meadow"):
        mix_datasets([(sets[0], 0.5), (sets[1], 0.5)], ["snow"])


def test_sets_of_other_bands_are_refused(sets):
    path = sets[1].folder / "dataset.json"
    path.write_text(path.read_text().replace('"blue"', '"nir"'))
    with pytest.raises(DatasetError, match=r"second: its images have bands .*nir.*, those of"):
        mix_datasets([(sets[0], 0.5), (Dataset.open(sets[1].folder), 0.5)])


def test_shares_are_written_as_folder_and_number(sets):
    spec = TrainSpec(str(sets[0].folder), "out", mix=(f"{sets[1].folder}=0.25",), size=32)
    assert spec.shares() == [(str(sets[0].folder), 0.75), (str(sets[1].folder), 0.25)]
    recipe = Recipe.of(spec)
    assert recipe.network.classes == 3
    assert recipe.dataset.details["mixed"][1]["share"] == 0.25
    for wrong in ("second", "second=2", "=0.5"):
        with pytest.raises(JobError, match="must be FOLDER=SHARE"):
            TrainSpec("first", "out", mix=(wrong,))
    with pytest.raises(JobError, match=r"the shares of mix sum to 1; below 1, as the rest is that"):
        TrainSpec("first", "out", mix=("a=0.5", "b=0.5"))


def test_recoding_leaves_unknown_classes_open(sets):
    codes, table = recode(sets[0], ["road", "snow"])
    assert table[codes[2]].tolist() == [YES, OPEN]
    assert table[codes[1]].tolist() == [NO, OPEN]
    assert codes[255] == 255


def test_the_sky_keeps_a_code_of_its_own_where_it_is_not_learned(sets):
    path = sets[0].folder / "dataset.json"
    path.write_text(path.read_text().replace('"meadow"', '"sky"'))
    dataset = Dataset.open(sets[0].folder)
    mixed = mix_datasets([(dataset, 1.0)], ["road"])
    assert mixed.sky_code not in (0, 1, 255)
    assert mixed.parts[0].codes[1] == mixed.sky_code
    assert mixed.answers[mixed.sky_code].tolist() == [NO]
    assert mix_datasets([(dataset, 1.0)]).sky_code == 1


def test_a_part_keeps_its_whole_where_both_are_learned(sets):
    path = sets[1].folder / "dataset.json"
    told = json.loads(path.read_text())
    told["classes"][1]["part_of"] = "water"
    path.write_text(json.dumps(told))
    shares = [(sets[0], 0.5), (Dataset.open(sets[1].folder), 0.5)]
    assert [c.part_of for c in mix_datasets(shares).classes] == [None, "water", None]
    assert [c.part_of for c in mix_datasets(shares, ["meadow", "road"]).classes] == [None, None]


def test_a_place_that_one_set_validates_on_and_another_learns_is_found(sets):
    mixed = mix_datasets([(sets[0], 0.5), (sets[1], 0.5)])
    assert places_shared(mixed, Listener()) == []
    held_out, trained = sets[0].split("validation")[0], sets[1].split("train")[0]
    with Image.open(held_out.image) as image:
        copy = image.crop((0, 0, 32, 32))
    copy.save(trained.image)
    with Image.open(held_out.image) as image:
        image.crop((0, 0, 32, 32)).resize(image.size).save(held_out.image)
    found = places_shared(mix_datasets([(sets[0], 0.5), (sets[1], 0.5)]), Listener())
    assert [(one.held_out, one.trained) for one in found] == [
        (f"first/{held_out.name}", f"second/{trained.name}")
    ]
    assert f"first/{held_out.name} and second/{trained.name}" in warning_of(found)
    assert places_shared(mix_datasets([(sets[0], 1.0)]), Listener()) == []
