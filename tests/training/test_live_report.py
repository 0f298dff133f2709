# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="training needs tensorflow")

from tests.training.dataset_folder import write_dataset
from tests.training.tiny_fit import Listener
from training.dataset import ClassInfo
from training.fit import FitState
from training.live_report import LiveReport
from training.recipe import Recipe
from training.sample_pictures import colored_mask, colored_probability
from training.svg_chart import Line, line_chart, ticks
from training.train_spec import TrainSpec
from training.validation import Verdict, decided
from unet_segmenter.engine.metrics import BinaryCounts

CLASSES = (ClassInfo(1, "grass", "#00ff00"), ClassInfo(2, "road", "#0000ff"))


def _row(epoch, **changes):
    row = {
        "epoch": epoch, "loss": 1.0 / epoch, "val_loss": 1.2 / epoch, "score": 0.1 * epoch,
        "rate": 1e-3, "mean_iou": 0.1 * epoch, "iou_1": 0.1 * epoch, "iou_2": float("nan"),
        "skipped": 0, "train_s": 60.0, "validation_s": 3.0,
    }  # fmt: skip
    return {**row, **changes}


@pytest.fixture
def report(tmp_path):
    folder = write_dataset(tmp_path / "data", size=(32, 48), validation=3)
    spec = TrainSpec(str(folder), str(tmp_path / "m"), preset="unet", epochs=5, size=32)
    recipe = Recipe.of(spec)
    samples = recipe.dataset.split("validation")
    listener = Listener()
    page = LiveReport(
        recipe, recipe.frames(samples, 16), ["<one>", "two", "three"], tmp_path / "run",
        "A <title>", listener,
    )  # fmt: skip
    (tmp_path / "run").mkdir()
    return page, recipe, listener


def _verdict(page):
    shown = {n: np.full((32, 48, 2), 0.3, np.float32) for n in page.frames}
    for probability in shown.values():
        probability[:16, :, 0] = 0.9
    return Verdict(BinaryCounts.zero(2), 0.5, shown)


def test_the_page_loads_itself_again_while_it_runs_and_no_longer_when_it_is_over(report):
    page, recipe, _listener = report
    history = [_row(1), _row(2, score=0.05, mean_iou=0.05)]
    state = FitState(recipe.plan, history, 754.0)
    page.epoch(state, _verdict(page))
    text = (page.folder / "report.html").read_text()
    assert '<meta http-equiv="refresh" content="10">' in text
    assert ">running<" in text
    assert "13 min" in text
    assert "2 of 5" in text
    assert "epoch 1, now 0.050" in text  # the best
    page.end(replace(state, status="finished"))
    text = (page.folder / "report.html").read_text()
    assert "http-equiv" not in text
    assert ">finished<" in text
    assert "time left" not in text


def test_the_page_holds_all_that_it_shows_and_escapes_names(report):
    page, recipe, _listener = report
    page.epoch(FitState(recipe.plan, [_row(1)], 10.0), _verdict(page))
    text = (page.folder / "report.html").read_text()
    assert len(re.findall(r'<img alt="\w+" src="data:image/', text)) == 4 * 3
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert text.count("<svg") == 2
    assert "A &lt;title&gt;" in text
    assert "<one>" not in text
    assert not re.findall(r"\bnan\b", re.sub(r'"data:[^"]*"', "", text), re.IGNORECASE)


def test_beside_it_lie_the_curves_and_a_sheet_of_each_epoch(report):
    page, recipe, _listener = report
    for epochs in (1, 2):
        history = [_row(n + 1) for n in range(epochs)]
        page.epoch(FitState(recipe.plan, history, 10.0), _verdict(page))
    sheets = sorted(path.name for path in (page.folder / "samples").iterdir())
    assert sheets == ["epoch_001.png", "epoch_002.png"]
    with Image.open(page.folder / "samples" / "epoch_001.png") as sheet:
        assert sheet.width > 4 * 300
    with Image.open(page.folder / "curves.png") as curves:
        assert curves.width > 600


def test_a_cancelled_run_is_told_as_such_with_where_its_weights_are(report):
    page, recipe, _listener = report
    page.epoch(FitState(recipe.plan, [_row(1)], 10.0), _verdict(page))
    told = "Training was cancelled in epoch 2. The best weights so far are kept in best.weights.h5"
    page.end(FitState(recipe.plan, [_row(1)], 0.0, told))
    text = (page.folder / "report.html").read_text()
    assert ">cancelled<" in text
    assert told in text
    assert "stopped" in text


def test_a_later_call_that_adds_no_epoch_leaves_the_pictures_and_tells_the_end(report):
    page, recipe, listener = report
    state = FitState(recipe.plan, [_row(1)], 10.0)
    page.epoch(state, _verdict(page))
    before = (page.folder / "report.html").read_text()
    later = LiveReport(recipe, page.all_frames, page.names, page.folder, "", listener)
    later.end(replace(state, status="finished"))
    text = (page.folder / "report.html").read_text()
    assert "http-equiv" not in text
    assert ">finished<" in text
    assert text.count("data:image/") == before.count("data:image/") == 12


def test_a_report_that_cannot_be_written_is_a_warning_and_no_end(report, monkeypatch):
    page, recipe, listener = report

    def full(*_args, **_options):
        raise OSError("No space left on device")

    monkeypatch.setattr("training.live_report.save_sheet", full)
    page.epoch(FitState(recipe.plan, [_row(1)], 10.0), _verdict(page))
    assert listener.messages == [
        ("warning", "the report could not be written: No space left on device")
    ]


def test_masks_are_drawn_in_the_classes_colours_and_ignored_pixels_hatched():
    mask = np.array([[0, 1, 2, 255] * 5] * 20, np.uint8)
    drawn = colored_mask(mask, CLASSES)
    assert drawn[0, 1].tolist() == [0, 255, 0]
    assert drawn[0, 2].tolist() == [0, 0, 255]
    assert drawn[0, 0].tolist() == [246, 246, 246]
    assert len(np.unique(drawn[mask == 255], axis=0)) == 2


def test_probabilities_mix_the_colours_and_the_mask_is_the_most_probable_above_half():
    p = np.float32([[[1, 0], [0, 0], [0.5, 0.5], [0.4, 0.45], [0.7, 0.9]]])
    mixed = colored_probability(p, CLASSES)[0]
    assert mixed[0].tolist() == [0, 255, 0]
    assert mixed[1].tolist() == [246, 246, 246]
    assert mixed[2].tolist() == [0, 128, 128]
    assert decided(p, "sigmoid").tolist() == [[1, 0, 0, 0, 2]]
    assert decided(p[..., 3:4, :], "softmax").tolist() == [[2]]  # 0.15 for none of them


def test_charts_leave_gaps_mark_the_best_and_name_their_points():
    lines = [Line("a <b>", "#123456", [1.0, float("nan"), 3.0])]
    chart = line_chart(lines, 3, "loss", mark=2)
    assert chart.count("<circle") == 2
    assert "a &lt;b&gt;, epoch 3: 3" in chart
    assert 'class="mark"' in chart
    assert "nan" not in chart
    assert "polyline" not in line_chart([Line("a", "#000", [1.0])], 1, "one point")


def test_ticks_are_round_numbers_within_the_limits():
    assert ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0.13, 0.92, 5) == [0.2, 0.4, 0.6, 0.8]
    assert ticks(2, 2, 5) == [2]
