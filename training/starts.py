# SPDX-License-Identifier: GPL-2.0-or-later
"""The model that a training starts from: which by default, its network, and what it has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unet_segmenter.engine.model_card import CARD_NAME
from unet_segmenter.engine.model_library import ModelLibrary, default_library
from unet_segmenter.engine.training_choices import AUTO, DEFAULT_STARTS, NONE, TRAINABLE_FILE

from .dataset import Dataset
from .train_spec import DEFAULT_PRESET, TrainSpec

MINUTES = 20.0
"""How long a training takes where neither time nor epochs nor a preset are given."""


def with_start(spec: TrainSpec, library: ModelLibrary | None = None) -> TrainSpec:
    """Return the spec with all that a start decides: its folder, and the network it has.

    "auto" starts from the first of `DEFAULT_STARTS` that the library has with trainable weights,
    unless another preset than that model's, or an encoder's weights, are asked for. What is not
    given of the network is then as in that model, which works at its own resolution.
    """
    start = folder_of(spec, library)
    card = card_of(Path(start)) if start else None
    trained = (card or {}).get("training", {})
    preset = spec.preset or trained.get("preset") or DEFAULT_PRESET
    changes: dict[str, Any] = {"start": start, "preset": preset}
    if trained.get("preset") == preset:
        network = trained.get("network", {})
        for name in ("width", "depth", "deepest_stride", "trainable_norm"):
            if getattr(spec, name) is None:
                changes[name] = network.get(name)
        if spec.half is None:
            changes["half"] = trained.get("framing", {}).get("kind") == "half"
    if spec.minutes is None and spec.epochs is None and not spec.preset:
        changes["minutes"] = MINUTES
    for name in ("half", "trainable_norm"):
        given = getattr(spec, name)
        changes[name] = bool(changes.get(name) if given is None else given)
    return replace(spec, **changes)


def folder_of(spec: TrainSpec, library: ModelLibrary | None = None) -> str:
    """Return the folder or file to start from, "" for none."""
    if spec.start in ("", NONE):
        return ""
    library = default_library() if library is None else library
    if spec.start != AUTO:
        known = spec.start in library.names() and not Path(spec.start).exists()
        return str(library.load(spec.start).folder) if known else spec.start
    if spec.names_encoder:
        return ""
    for name in DEFAULT_STARTS:
        if name not in library.names():
            continue
        card = library.load(name)
        if (card.folder / TRAINABLE_FILE).is_file():
            fits = spec.preset in ("", card.details.get("training", {}).get("preset"))
            return str(card.folder) if fits else ""
    return ""


def card_of(start: Path) -> dict[str, Any] | None:
    """Return the card of a model's folder, a file in it, or of what a run's folder became."""
    from .run import read_json

    folder = start.parent if start.is_file() else start
    model = folder.with_name(folder.name.removesuffix(".run"))
    mend = "repair it, or remove it and train without its information"
    return read_json(folder / CARD_NAME, mend) or read_json(model / CARD_NAME, mend)


def told_start(spec: TrainSpec, dataset: Dataset) -> dict[str, Any]:
    """Return what the card records on the model started from; {} for none.

    "started_from" is its name, "start_learned_from" the titles of the data that it and the models
    before it learned from, and "start_saw_this_data" whether one of them is this data set, by
    fingerprint or title.
    """
    if not spec.start:
        return {}
    card = card_of(Path(spec.start))
    if card is None:
        return {"started_from": Path(spec.start).name, "start_learned_from": []}
    trained = card.get("training", {})
    sets = _sets_of(trained.get("dataset", {}))
    titles = [one["title"] for one in sets if one.get("title")]
    titles += [title for title in trained.get("start_learned_from", ()) if title not in titles]
    ours = _sets_of({
        "title": dataset.title, "fingerprint": dataset.fingerprint(),
        "mixed": dataset.details.get("mixed"),
    })  # fmt: skip
    prints = {one.get("fingerprint") for one in sets} - {None}
    seen = any(one.get("fingerprint") in prints for one in ours) or any(
        _alike(one["title"], title) for one in ours if one.get("title") for title in titles
    )
    return {
        "started_from": f"{card.get('name')} {card.get('version')}",
        "start_learned_from": titles,
        "start_saw_this_data": seen,
    }


def start_in_words(told: Mapping[str, Any]) -> str:
    """Return what images that were not trained on may owe to the model started from; or ""."""
    if "started_from" not in told:
        return ""
    name, titles = told["started_from"], told["start_learned_from"]
    if not titles:
        return f"what the starting model {name} learned from is not recorded"
    learned = f"the starting model {name} learned from {', '.join(titles)}"
    return learned + (", so it may have seen them" if told.get("start_saw_this_data") else "")


def _sets_of(dataset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(dataset.get("mixed") or [dataset])


def _alike(one: str, other: str) -> bool:
    one, other = one.casefold(), other.casefold()
    return one in other or other in one
