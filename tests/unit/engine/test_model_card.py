# SPDX-License-Identifier: GPL-2.0-or-later
"""Model cards: what is read, and what is refused in one sentence."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toy_models import write_brightness_model, write_toy_unet
from unet_segmenter.engine.errors import JobError, ModelError, SegmenterError
from unet_segmenter.engine.model_card import ModelCard, sha256_of

DELETE = object()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_toy_unet(tmp_path / "toy")


def content_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))


def change(content: Any, path: tuple[Any, ...], value: Any) -> None:
    for step in path[:-1]:
        content = content[step]
    if value is DELETE:
        del content[path[-1]]
    else:
        content[path[-1]] = value


def test_a_card_is_read_as_it_is_written(folder: Path) -> None:
    card = ModelCard.load(folder)
    assert (card.name, card.divisor, card.halo, card.theoretical_halo) == ("toy", 4, 16, 16)
    assert card.input.bands == ("red", "green", "blue")
    assert (card.input.value_range, card.input.gsd_range) == ((0, 255), None)
    assert [(c.value, c.name, c.channel, c.threshold) for c in card.classes] == [
        (1, "vegetation", 0, 0.5),
        (2, "road", 1, 0.5),
        (3, "sky", 2, 0.5),
    ]
    assert all(c.calibration.is_identity for c in card.classes)
    assert not card.bf16_verified


def test_a_class_may_be_part_of_another_but_not_of_a_part(folder: Path) -> None:
    content = content_of(folder)
    change(content, ("output", "classes", 2, "part_of"), "vegetation")
    card = ModelCard.from_json(content, folder)
    assert [c.part_of for c in card.classes] == [None, None, "vegetation"]
    change(content, ("output", "classes", 1, "part_of"), "sky")
    with pytest.raises(ModelError, match="class road: 'sky' is itself part of a class"):
        ModelCard.from_json(content, folder)


def test_classes_of_a_softmax_are_no_parts(folder: Path) -> None:
    content = content_of(folder)
    change(content, ("output", "classes", 2, "part_of"), "vegetation")
    change(content, ("output", "activation"), "softmax")
    with pytest.raises(ModelError, match="class sky: part_of needs the activation sigmoid"):
        ModelCard.from_json(content, folder)


def test_a_card_is_found_by_folder_by_itself_and_by_its_weights(folder: Path) -> None:
    card = ModelCard.load(folder)
    assert ModelCard.load(folder / "card.json") == card
    assert ModelCard.load(str(folder / "model.onnx")) == card


BROKEN: list[tuple[tuple[Any, ...], Any, str]] = [
    (("format",), "deepness", "format"),
    (("format_version",), 2, "version"),
    (("format_version",), DELETE, "version"),
    *[
        ((key,), DELETE, key)
        for key in (
            "name",
            "version",
            "title",
            "description",
            "license",
            "citation",
            "input",
            "output",
            "divisor",
            "halo",
            "theoretical_halo",
            "files",
        )
    ],
    (("input", "bands"), [], "bands"),
    (("input", "bands"), ["red"], "length"),
    (("input", "bands"), 3, "wrong kind"),
    (("input", "value_range"), [255, 0], "range"),
    (("input", "value_range"), [0], "wrong kind"),
    (("input", "value_range"), [0, float("nan")], "range"),
    (("input", "value_scaling", "type"), "min-max", "min-max"),
    (("input", "value_scaling", "stddev"), [64, 0, 64], "stddev"),
    (("input", "value_scaling", "stddev"), [64, -1, 64], "stddev"),
    (("input", "value_scaling", "stddev"), [64, 64], "length"),
    (("input", "value_scaling", "mean"), [1, 2, float("nan")], "mean"),
    (("input", "value_scaling", "mean"), "grey", "wrong kind"),
    (("input", "gsd_range"), [1], "wrong kind"),
    (("input", "gsd_range"), [0.5, 0.1], "gsd_range"),
    (("output", "activation"), "relu", "relu"),
    (("output", "classes"), [], "no classes"),
    (("output", "classes"), None, "wrong kind"),
    (("output", "classes", 1, "value"), 1, "value"),
    (("output", "classes", 1, "value"), 255, "255"),
    (("output", "classes", 1, "value"), -1, "-1"),
    (("output", "classes", 1, "value"), "two", "wrong kind"),
    (("output", "classes", 1, "value"), 1.5, "value"),
    (("output", "classes", 1, "name"), "vegetation", "name"),
    (("output", "classes", 1, "name"), 7, "name"),
    (("output", "classes", 1, "channel"), 0, "channel"),
    (("output", "classes", 1, "channel"), -1, "channel"),
    (("output", "classes", 1, "channel"), "first", "wrong kind"),
    (("output", "classes", 1, "color"), "green", "green"),
    (("output", "classes", 1, "color"), "#12345g", "#12345g"),
    (("output", "classes", 1, "threshold"), 1.5, "1.5"),
    (("output", "classes", 1, "threshold"), None, "wrong kind"),
    (("output", "classes", 1, "colour"), "#ffffff", "output.classes[1].colour is an unknown key"),
    (("output", "classes", 1, "part_of"), "forest", "forest"),
    (("output", "classes", 1, "part_of"), "road", "part of a class"),
    (("output", "classes", 1, "part_of"), 3, "part_of"),
    (("output", "classes", 1, "calibration"), {"slope": 2}, "calibration.slope is an unknown key"),
    (("output", "classes", 1, "calibration"), {"scale": "steep"}, "wrong kind"),
    (("output", "classes", 1, "calibration"), {"scale": 0.0}, "calibration"),
    (("output", "classes", 1, "calibration"), {"offset": float("nan")}, "calibration"),
    (("divisor",), 0, "divisor"),
    (("divisor",), "four", "wrong kind"),
    (("halo",), -16, "halo"),
    (("theoretical_halo",), -16, "halo"),
    (("fixed_size",), "big", "fixed_size"),
    (("fixed_size",), -64, "fixed_size"),
    (("fixed_size",), 62, "fixed_size"),
    (("fixed_size",), 32, "fixed_size"),
    (("files",), [], "file"),
    (("files", 0, "name"), "../model.onnx", "plain file name"),
    (("files", 0, "name"), "/etc/passwd", "plain file name"),
    (("files", 0, "name"), "..", "plain file name"),
    (("files", 0, "name"), "", "plain file name"),
    (("files", 0, "format"), "pickle", "pickle"),
    (("files", 0, "dim_order"), "hwc", "hwc"),
    (("files", 0, "sha256"), DELETE, "sha256"),
    (("files", 0, "name"), "..\\model.onnx", "plain file name"),
    (("metrics",), [], "metrics"),
    (("metrics",), None, "metrics"),
    (("training",), "long", "training"),
    (("precision",), 32, "precision"),
    (("output", "classes", 1, "value"), 0, "not in 1-254"),
    (("output", "classes", 1, "value"), True, "output.classes[1].value is of the wrong kind"),
    (("halo",), float("inf"), "halo is inf, which is no finite number"),
    (("halo",), 16.5, "halo is of the wrong kind: it must be a whole number, not 16.5"),
    (("halo",), 10**9, "16384 px at most"),
    (("theoretical_halo",), 10**400, "no finite number"),
    (("files", 0, "sha256"), 7, "files[0].sha256 is of the wrong kind: it must be a text, not 7"),
    (("files", 0, "sha256"), "abc", "64 hex digits"),
    (("files", 0, "size"), "big", "files[0].size is of the wrong kind"),
    (("name",), 7, "name is of the wrong kind"),
    (("description",), "a\0b", "description holds the character U+0000"),
    (("title",), "half \ud83d", "title holds the character U+D83D"),
    (("output", "classes", 0, "name"), "a\x1bb", "classes[0].name holds the character U+001B"),
    (("output", "classes", 0, "name"), " ", "has no name"),
    (("training",), {"a\ud800": 1}, "training (a key) holds the character U+D800"),
    (("metrics",), {"per_class": []}, "metrics.per_class is of the wrong kind"),
    (("metrics",), {"per_class": {"sky": 3}}, "metrics.per_class.sky is of the wrong kind"),
    (("metrics",), {"per_class": {"sky": {"iou": "x"}}}, "per_class.sky.iou is of the wrong kind"),
    (("metrics",), {"split": 3}, "metrics.split is of the wrong kind: it must be a text, not 3"),
    (("metrics",), {"mean_iou": [1]}, "metrics.mean_iou is of the wrong kind"),
    (("refinement",), {"crf": "yes"}, "refinement.crf is of the wrong kind"),
    (("tile_versus_whole",), {"mask_agreement": "all"}, "tile_versus_whole.mask_agreement is"),
    (("sources",), ["me"], "sources[0] is of the wrong kind: it must be an object"),
    (("training",), json.loads('{"a":' * 40 + "1" + "}" * 40), "nested more than 32 levels"),
]


@pytest.mark.parametrize(("path", "value", "word"), BROKEN)
def test_a_broken_card_is_refused_in_one_sentence_that_names_it(
    folder: Path, path: tuple[Any, ...], value: Any, word: str
) -> None:
    content = content_of(folder)
    change(content, path, value)
    (folder / "card.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError) as refused:
        ModelCard.load(folder)
    message = str(refused.value)
    assert word in message
    assert str(folder / "card.json") in message
    assert "\n" not in message


def test_a_card_is_written_as_it_is_read(folder: Path, repository: Path) -> None:
    for path in (folder, *sorted((repository / "resources" / "models").glob("*/"))):
        card = ModelCard.load(path)
        content = json.loads(json.dumps(card.to_json()))
        again = ModelCard.from_json(content, card.folder)
        assert again == card
        assert again.details == {**card.details, "output": again.details["output"]}


@pytest.mark.parametrize("text", ["[" * 100_000, "", "{", "[]", "null", '"card"', "\x00\xff"])
def test_a_file_that_is_no_card_is_refused(folder: Path, text: str) -> None:
    (folder / "card.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"card\.json"):
        ModelCard.load(folder)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
PLACES = [
    ("input",),
    ("input", "value_scaling"),
    ("input", "value_range"),
    ("input", "data_type"),
    ("output", "classes"),
    ("output", "classes", 0),
    ("output", "classes", 0, "calibration"),
    ("files",),
    ("files", 0),
    ("files", 0, "name"),
    ("precision",),
    ("fixed_size",),
    ("metrics",),
    ("divisor",),
    ("halo",),
]


@given(st.sampled_from(PLACES), json_values)
def test_whatever_stands_in_a_card_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[Any, ...], value: Any
) -> None:
    content = VALID_CARD(tmp_path_factory)
    change(content, path, value)
    with contextlib.suppress(ModelError):
        assert ModelCard.from_json(content, Path()).name == "bright"


def _valid_card() -> Callable[[pytest.TempPathFactory], dict[str, Any]]:
    kept: list[str] = []

    def read(factory: pytest.TempPathFactory) -> dict[str, Any]:
        if not kept:
            folder = write_brightness_model(factory.mktemp("card") / "bright")
            kept.append((folder / "card.json").read_text(encoding="utf-8"))
        return json.loads(kept[0])

    return read


VALID_CARD = _valid_card()


def test_a_folder_without_a_card_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no card\.json"):
        ModelCard.load(tmp_path)


def test_weights_that_are_not_the_cards_are_refused(folder: Path) -> None:
    card = ModelCard.load(folder)
    file = card.file("onnx")
    assert file is not None
    assert card.checked_path(file) == folder / "model.onnx"
    with (folder / "model.onnx").open("ab") as weights:
        weights.write(b"\0")
    with pytest.raises(ModelError, match=r"sha256.*damaged or was exchanged"):
        card.checked_path(file)


def test_weights_that_are_gone_are_told_by_name(folder: Path) -> None:
    card = ModelCard.load(folder)
    (folder / "model.onnx").unlink()
    assert card.file("onnx") is None
    with pytest.raises(ModelError, match=r"lacks its file .*model\.onnx"):
        card.checked_path(card.files[0])


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_classes_are_chosen_by_name_in_the_cards_order(folder: Path) -> None:
    card = ModelCard.load(folder)
    assert [c.name for c in card.select(("sky", "vegetation"))] == ["vegetation", "sky"]
    assert card.select(()) == card.classes


def test_an_unknown_class_is_told_with_those_that_there_are(folder: Path) -> None:
    with pytest.raises(JobError) as refused:
        ModelCard.load(folder).select(("sky", "swamp"))
    assert "'swamp'" in str(refused.value)
    assert "vegetation, road, sky" in str(refused.value)


def test_bf16_is_verified_only_where_the_card_measured_it(folder: Path) -> None:
    content = content_of(folder)
    content["precision"] = {"bf16": {"largest_difference": 0.01, "mask_agreement": 0.9999}}
    assert ModelCard.from_json(content, folder).bf16_verified


def test_the_errors_of_a_card_belong_to_the_one_tree() -> None:
    assert issubclass(ModelError, SegmenterError)
