# SPDX-License-Identifier: GPL-2.0-or-later
"""`modelinfo` tells a card's content, as a page and as outputs that a model can use."""

from __future__ import annotations

from pathlib import Path

import pytest
from qgis.core import QgsApplication

from tests.qgis.samples import write_model


@pytest.fixture
def run(provider, context, feedback):
    def run_modelinfo(**parameters):
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(
            "unet_segmenter:modelinfo"
        )
        ok, message = algorithm.checkParameterValues(parameters, context)
        if not ok:
            return None, message
        results, success = algorithm.run(parameters, context, feedback)
        return (results if success else None), feedback

    return run_modelinfo


def test_the_outputs_are_the_card_s(run, model_folder):
    results, _ = run(MODEL="toy")
    expected = {
        "NAME": "toy",
        "VERSION": "1.2.0",
        "TITLE": "Toy <model> & more",
        "LICENSE": "CC0-1.0",
        "CITATION": "Nobody, 2026",
        "CLASSES": "vegetation,road,slow",
        "BANDS": "red,green,blue",
        "FOLDER": str(model_folder / "toy"),
        "CLASS_COUNT": 3,
        "HALO": 96,
        "DIVISOR": 16,
        "INTACT": True,
    }
    assert {name: results[name] for name in expected} == expected


def test_the_page_is_readable_and_escaped(run, tmp_path):
    page = tmp_path / "card.html"
    results, _ = run(MODEL="toy", OUTPUT=str(page))
    assert results["OUTPUT"] == str(page)
    text = page.read_text(encoding="utf-8")
    for words in (
        "<h1>Toy &lt;model&gt; &amp; more</h1>",
        "background: #228b22",
        "0.912",
        "Mean IoU 0.800",
        "three toy sites",
        "0.02 to 0.5 m",
        "96 px",
        "99.9950 % equal pixels",
        "Toy data; CC0-1.0; https://example.org",
        "left out: it is needed for training alone",
        "epochs",
    ):
        assert words in text, words


def test_a_file_that_was_exchanged_is_told(run, tmp_path):
    folder = write_model(tmp_path / "changed")
    (folder / "model.onnx").write_bytes(b"something else!")
    results, feedback = run(MODEL_FILE=str(folder))
    assert results["INTACT"] is False
    assert any("is not the file that its card describes" in text for _, text in feedback.told)


def test_a_model_outside_the_library_is_read_from_its_folder(run, tmp_path):
    folder = write_model(tmp_path / "mine", metrics={}, training={}, sources=[])
    page = tmp_path / "card.html"
    results, _ = run(MODEL_FILE=str(folder), OUTPUT=str(page))
    assert results["NAME"] == "mine"
    assert "says nothing about the training" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"MODEL": "moon"}, "There is no model 'moon' in the library"),
        ({"MODEL_FILE": "/no/such"}, "there is no file or folder"),
        ({"MODEL": None}, "Choose a MODEL"),
    ],
)
def test_a_model_that_is_not_there_is_refused(run, parameters, words):
    results, message = run(**parameters)
    assert results is None
    assert words in message


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "other"}'])
def test_a_broken_card_is_told_in_one_sentence(run, tmp_path, content):
    folder = write_model(tmp_path / "broken")
    (folder / "card.json").write_text(content)
    results, feedback = run(MODEL_FILE=str(folder))
    assert results is None
    said = feedback if isinstance(feedback, str) else " ".join(t for _, t in feedback.told)
    assert "card" in said
    assert str(Path(folder) / "card.json") in said


def test_the_bundled_models_are_intact(run, repository):
    names = [path.parent.name for path in (repository / "resources/models").glob("*/card.json")]
    if not names:
        pytest.skip("no model is bundled in this checkout")
    for name in names:
        results, _ = run(MODEL=name)
        assert results["INTACT"] is True, name
