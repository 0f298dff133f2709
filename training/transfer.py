# SPDX-License-Identifier: GPL-2.0-or-later
"""Hot start: begin with the weights of another model, layer by layer by name.

Where the bands or the classes differ, what both have in common is carried over, the rest is made
up or begins fresh, and each such layer is told in the log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_segmenter.engine.errors import SegmenterError
from unet_segmenter.engine.model_card import CARD_NAME, ModelCard

from .checkpoint import BEST
from .errors import WeightsError
from .optimizers import to_numpy

if TYPE_CHECKING:
    import keras

Arrays = dict[str, list[np.ndarray]]
"""The weights of each layer, by its name."""

HEAD = "head_conv"
TRAINABLE = "trainable.keras"


@dataclass(frozen=True)
class Source:
    """The weights of a model, and what its input and output channels stand for.

    Attributes
    ----------
    bands, classes : tuple of str
        Their names in the network's order; none where they are not known.
    head : str
        "sigmoid" or "softmax"; a softmax has a channel for "none of them" before the classes.
    """

    path: Path
    arrays: Arrays
    bands: tuple[str, ...]
    classes: tuple[str, ...]
    head: str


@dataclass(frozen=True)
class Transferred:
    """Names of the layers carried over as they are, carried over in part, and left fresh."""

    whole: tuple[str, ...]
    adapted: tuple[str, ...]
    fresh: tuple[str, ...]


def read_source(path: Path | str) -> Source:
    """Read the weights of a model of the library, of a run's folder, or of a Keras file.

    Parameters
    ----------
    path : Path or str
        A folder with card.json and trainable.keras, the folder of a run with its best weights so
        far, or a ``.keras`` file.

    Raises
    ------
    WeightsError
        If it is none of these, or cannot be read.
    """
    path = Path(path)
    if (path / CARD_NAME).is_file():
        return _of_model(path)
    if (path / BEST).is_file():
        return _of_run(path)
    if path.suffix == ".keras" and path.is_file():
        return Source(path, _arrays(_load(path)), (), (), "sigmoid")
    raise WeightsError(
        f"{path}: no weights to start from; give the folder of a model (card.json and "
        f"{TRAINABLE}), the folder of a run ({BEST}), or a .keras file"
    )


def _of_model(folder: Path) -> Source:
    card = ModelCard.load(folder)
    file = folder / TRAINABLE
    if not file.is_file():
        raise WeightsError(
            f"{folder}: the model has no {TRAINABLE}, only files to predict with, in which "
            "normalisation is folded away; export it again"
        )
    classes = sorted(card.classes, key=lambda cls: cls.channel)
    return Source(
        file, _arrays(_load(file)), card.input.bands, tuple(cls.name for cls in classes),
        card.activation,
    )  # fmt: skip


def _of_run(folder: Path) -> Source:
    from .run import NETWORK, build

    try:
        told = json.loads((folder / NETWORK).read_text(encoding="utf-8"))
        model = build(told)
        model.load_weights(folder / BEST)
    except SegmenterError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder}: the run's weights cannot be read ({error})") from error
    return Source(
        folder / BEST, _arrays(model), tuple(told["bands"]), tuple(told["classes"]), told["head"]
    )


def _load(file: Path) -> keras.Model:
    import keras

    try:
        return keras.models.load_model(file, compile=False, safe_mode=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{file}: cannot be read as a Keras model ({error})") from error


def _arrays(model: keras.Model) -> Arrays:
    return {
        layer.name: [to_numpy(weight) for weight in layer.weights]
        for layer in model.layers
        if layer.weights
    }


def hot_start(
    model: keras.Model,
    source: Source,
    bands: Sequence[str],
    classes: Sequence[str],
    head: str,
    log: Callable[[str], None],
) -> Transferred:
    """Put the weights of ``source`` into the layers of ``model`` that have the same name.

    Parameters
    ----------
    bands, classes : sequence of str
        Names of what the model takes and tells, in the order of its channels.
    head : str
        "sigmoid" or "softmax".
    log : callable
        Is told each layer that could not be carried over as it is.

    Raises
    ------
    WeightsError
        If no layer has a counterpart.
    """
    whole, adapted, fresh = [], [], []
    starts = first_layers(model)
    for layer in model.layers:
        if not layer.weights:
            continue
        now = [to_numpy(weight) for weight in layer.weights]
        old = source.arrays.get(layer.name)
        new, told = _fitted(layer.name, now, old, source, bands, classes, head, starts)
        if new is None:
            fresh.append(layer.name)
            log(f"layer {layer.name}: begins fresh, {told}")
            continue
        layer.set_weights(new)
        (adapted if told else whole).append(layer.name)
        if told:
            log(f"layer {layer.name}: {told}")
    if not whole and not set(adapted) - {HEAD}:
        raise WeightsError(
            f"{source.path}: none of its layers fits this network; start from a model of the same "
            "preset, by its folder or its trainable.keras"
        )
    log(
        f"{len(whole)} layers begin with the weights of {source.path}, {len(adapted)} with a part "
        f"of them, {len(fresh)} fresh"
    )
    return Transferred(tuple(whole), tuple(adapted), tuple(fresh))


def first_layers(model: keras.Model) -> set[str]:
    """Return the names of the layers with a kernel that read the image itself."""
    from .graph import layers_with_parents

    graph = layers_with_parents(model)
    image = graph[0][0].name
    plain = {image}  # the image, or a smaller one of the same bands
    found = set()
    for layer, parents in graph[1:]:
        if any(parent.name in plain for parent in parents):
            if hasattr(layer, "kernel"):
                found.add(layer.name)
            elif not layer.weights:
                plain.add(layer.name)
    return found


def _fitted(
    name: str,
    now: list[np.ndarray],
    old: list[np.ndarray] | None,
    source: Source,
    bands: Sequence[str],
    classes: Sequence[str],
    head: str,
    starts: set[str],
) -> tuple[list[np.ndarray] | None, str]:
    """Return the weights to set, or None to begin fresh, and what is to be told of it."""
    if old is None:
        return None, "the other model has no such layer"
    shapes = [array.shape for array in old], [array.shape for array in now]
    if name == HEAD and (shapes[0] != shapes[1] or tuple(classes) != source.classes):
        return _fitted_head(now, old, source, classes, head)
    if name in starts and len(old) == len(now):
        same_bands = not source.bands or tuple(bands) == source.bands
        if shapes[0] == shapes[1] and same_bands:
            return old, ""
        if _differ_in_bands_only(old[0], now[0]) and shapes[0][1:] == shapes[1][1:]:
            kernel, told = adapt_bands(old[0], source.bands, bands)
            return [kernel, *old[1:]], told
    if shapes[0] != shapes[1]:
        return None, f"its shape is {_told(now)}, the other model's {_told(old)}"
    return old, ""


def adapt_bands(
    kernel: np.ndarray, old: Sequence[str], new: Sequence[str]
) -> tuple[np.ndarray, str]:
    """Return a first kernel (h, w, bands, filters) for other bands, and what was done in words.

    A band of the same name keeps its kernel; others get the mean of all. Where no name is shared,
    the bands keep their kernels in order, or all get the mean if there are fewer than before. All
    are scaled by old / new number of bands: so an image that is equal in all bands gives about
    what it gave before, and exactly that where no band was dropped.
    """
    names = list(old) or [f"band {number}" for number in range(1, kernel.shape[2] + 1)]
    mean = kernel.mean(axis=2)
    shared = [band for band in new if band in names]
    if shared:
        place = {band: names.index(band) for band in shared}
    elif len(new) >= len(names):
        place = dict(zip(new, range(len(names)), strict=False))
    else:
        place = {}
    made = [kernel[:, :, place[band]] if band in place else mean for band in new]
    adapted = np.stack(made, axis=2) * (kernel.shape[2] / len(new))
    kept = ", ".join(f"{band} from {names[at]}" for band, at in place.items()) or "none"
    extra = ", ".join(band for band in new if band not in place) or "none"
    return adapted.astype(kernel.dtype), (
        f"bands {', '.join(names)} became {', '.join(new)}: kept {kept}; from the mean {extra}"
    )


def _fitted_head(
    now: list[np.ndarray],
    old: list[np.ndarray],
    source: Source,
    classes: Sequence[str],
    head: str,
) -> tuple[list[np.ndarray] | None, str]:
    """Copy the channels of classes that both models have by name."""
    if head != source.head:
        return None, f"its head is {head}, the other model's {source.head}"
    if old[0].shape[:-1] != now[0].shape[:-1] or len(old) != len(now):
        return None, f"its shape is {_told(now)}, the other model's {_told(old)}"
    shared = [name for name in classes if name in source.classes]
    if not shared:
        theirs = ", ".join(source.classes) or "unknown"
        return None, f"no class has the name of one of the other model's ({theirs})"
    first_new, first_old = (array[0].shape[-1] for array in (now, old))
    first_new, first_old = first_new - len(classes), first_old - len(source.classes)
    made = [array.copy() for array in now]
    pairs = [(first_new + n, first_old + source.classes.index(name))
             for n, name in enumerate(classes) if name in shared]  # fmt: skip
    pairs += [(n, n) for n in range(min(first_new, first_old))]  # "none of them"
    for new_array, old_array in zip(made, old, strict=True):
        for to, at in pairs:
            new_array[..., to] = old_array[..., at]
    fresh = ", ".join(name for name in classes if name not in shared) or "none"
    return made, f"classes kept: {', '.join(shared)}; fresh: {fresh}"


def _differ_in_bands_only(old: np.ndarray, now: np.ndarray) -> bool:
    return old.ndim == now.ndim == 4 and (
        old.shape[:2] == now.shape[:2] and old.shape[3] == now.shape[3]
    )


def _told(arrays: Sequence[np.ndarray]) -> str:
    return " and ".join("x".join(map(str, array.shape)) or "1" for array in arrays)
