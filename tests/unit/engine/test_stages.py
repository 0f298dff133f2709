# SPDX-License-Identifier: GPL-2.0-or-later
"""What a card says of a network's parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unet_segmenter.engine.errors import ModelError
from unet_segmenter.engine.model_card import ModelCard
from unet_segmenter.engine.stages import Cuts, Feature


@pytest.fixture
def content(cut_unet: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((cut_unet / "card.json").read_text(encoding="utf-8"))
    return card


def test_a_card_names_the_parts_of_its_network(cut_unet: Path) -> None:
    cuts = ModelCard.load(cut_unet).cuts
    assert cuts is not None
    assert cuts.image == Feature("reduce", 2, 3)
    assert [part.halo for part in cuts.parts] == [4, 16, 16]
    assert cuts.logits == Feature("logits", 4, 3)
    assert cuts.divisor == 8
    assert cuts.feature("reduce") is cuts.image
    assert [cuts.producer(name) for name in ("reduce", "down4", "deep")] == [None, 0, 1]
    assert [cuts.consumers(place) for place in range(3)] == [[1, 2], [2], []]


def test_a_card_without_parts_is_for_one_pass(toy_unet: Path) -> None:
    assert ModelCard.load(toy_unet).cuts is None


def _swap(cuts: dict[str, Any]) -> None:
    cuts["parts"][0], cuts["parts"][1] = cuts["parts"][1], cuts["parts"][0]


def _set(part: int, key: str, value: object) -> Any:
    def change(cuts: dict[str, Any]) -> None:
        cuts["parts"][part][key] = value

    return change


BROKEN = {
    "no part gives down4 before it is read": _swap,
    "a multiple of its divisor": _set(1, "halo", 12),
    "no multiple of strides": _set(0, "divisor", 2),
    "no multiple of the stride of deep": _set(2, "divisor", 4),
    "does not divide the network's": _set(1, "divisor", 16),
    "needs inputs and outputs": _set(1, "inputs", []),
    "whose stride is 2 for each of 3": lambda cuts: cuts.update(doublings=3),
    "there are no parts": lambda cuts: cuts.update(parts=[]),
    "a stride from 1 to 1024": lambda cuts: cuts["image"].update(stride=0),
    "not a band each": lambda cuts: cuts["image"].update(channels=4),
    "too few channels": lambda cuts: cuts["parts"][2]["outputs"][0].update(channels=2),
    "two parts give a tensor of one name": lambda cuts: cuts["parts"][2]["outputs"][0].update(
        name="deep"
    ),
}


@pytest.mark.parametrize("said", BROKEN)
def test_parts_that_do_not_fit_together_are_refused(content: dict[str, Any], said: str) -> None:
    BROKEN[said](content["cuts"])
    with pytest.raises(ModelError, match=said):
        ModelCard.from_json(content, Path())


def test_a_part_without_a_divisor_is_refused_by_name(content: dict[str, Any]) -> None:
    del content["cuts"]["parts"][0]["divisor"]
    with pytest.raises(ModelError, match=r"cuts.parts\[0\].divisor is missing"):
        ModelCard.from_json(content, Path())


def test_a_network_of_a_fixed_size_has_no_parts(content: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="fixed size"):
        ModelCard.from_json({**content, "fixed_size": 128}, Path())


def test_cuts_come_back_from_json(content: dict[str, Any]) -> None:
    from dataclasses import asdict

    cuts = Cuts.from_json(content["cuts"])
    assert Cuts.from_json(json.loads(json.dumps(asdict(cuts)))) == cuts
