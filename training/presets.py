# SPDX-License-Identifier: GPL-2.0-or-later
"""The presets: a network each, and the recipe that it is trained by."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from unet_segmenter.engine.errors import JobError

from .course_unet import build_course_unet
from .dataset import Dataset, Scaling
from .encoder_lite import MEAN, STDDEV, stages
from .fit_plan import FitPlan
from .framing import Framing
from .plain_unet import DEPTH, WIDTH, build_plain_unet
from .unet import DIVISOR, build_unet

if TYPE_CHECKING:
    import keras

HEADS = ("sigmoid", "softmax")
WIDEST = 256
PHOTO_SPREAD = 0.5
"""About the standard deviation of photographs as the pretrained encoder takes them."""
DEEPEST = 7


@dataclass(frozen=True)
class Network:
    """What a network is built from, whichever preset it is of.

    Attributes
    ----------
    classes, bands : int
        Number of each.
    head : str
        "sigmoid": one channel a class, one-vs-rest. "softmax": channel 0 is "none of the
        classes", so that every pixel has an answer, and class k has channel k.
    width, depth : int or None
        Of the presets that can be scaled; None for the preset's own.
    dropout : float
        Share of the channels dropped before the head, while training.
    reduction : int
        2 for a network that looks at half the resolution by itself; of "lite" only.
    deepest_stride : int or None
        16 or 32: where the encoder ends; of "lite" only. None for 16.
    trainable_norm : bool
        Whether the encoder's normalisation goes on learning; of "lite" only.
    """

    classes: int
    bands: int = 3
    head: str = "sigmoid"
    width: int | None = None
    depth: int | None = None
    dropout: float = 0.0
    reduction: int = 1
    deepest_stride: int | None = None
    trainable_norm: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.head not in HEADS:
            raise JobError(f"head {self.head!r} is unknown; there are {', '.join(HEADS)}")
        if not 0 <= self.dropout < 1:
            raise JobError(f"dropout must be 0 or more and below 1, not {self.dropout}")
        if self.width is not None and not 1 <= self.width <= WIDEST:
            raise JobError(f"width must be 1 to {WIDEST}, not {self.width}")
        if self.deepest_stride not in (None, 16, 32):
            raise JobError(f"the deepest stride must be 16 or 32, not {self.deepest_stride}")
        if self.depth is not None and not 1 <= self.depth <= DEEPEST:
            raise JobError(f"depth must be 1 to {DEEPEST}, not {self.depth}")

    @property
    def channels(self) -> int:
        """Number of channels of the logits."""
        return self.classes + (self.head == "softmax")


def _numbered_stage(name: str) -> int:
    return int(re.match(r"encoder_stage(\d+)_", name)[1])


@dataclass(frozen=True)
class Preset:
    """A kind of network with its recipe.

    Attributes
    ----------
    build : callable
        `Network` to a Keras model that gives logits.
    scaling : str
        "raw": values as they are; "imagenet": as the pretrained encoder takes them, also where
        they are no bytes; "dataset": by the training images' mean and standard deviation.
    group_power : float
        A group's share of the samples drawn grows with its size to this power; 1 draws evenly.
    pretrained : bool
        Whether ImageNet's weights can be loaded into its encoder.
    scalable : tuple of str
        Which of "width", "depth", "reduction", "deepest_stride" and "trainable_norm" can be
        chosen.
    stage_of : callable
        Name of an encoder layer to its stage, from 1 at full resolution on.
    """

    name: str
    title: str
    build: Callable[[Network], keras.Model]
    plan: FitPlan
    framing: Framing = field(default_factory=Framing)
    scaling: str = "dataset"
    group_power: float = 0.5
    pretrained: bool = False
    scalable: tuple[str, ...] = ()
    stage_of: Callable[[str], int] = _numbered_stage

    def network(self, network: Network) -> keras.Model:
        """Build a model.

        Raises
        ------
        JobError
            If something was chosen that this preset has not.
        """
        chosen = {"width": network.width, "depth": network.depth}
        chosen["reduction"] = network.reduction if network.reduction != 1 else None
        chosen["deepest_stride"] = network.deepest_stride
        chosen["trainable_norm"] = network.trainable_norm or None
        for name, value in chosen.items():
            if value is not None and name not in self.scalable:
                able = [one.name for one in PRESETS.values() if name in one.scalable]
                flag = name.replace("_", "-")
                raise JobError(
                    f"the preset {self.name!r} has a fixed {flag}; use {' or '.join(able)}, or "
                    f"leave {flag} out"
                )
        return self.build(network)

    def scale(self, dataset: Dataset) -> Scaling:
        """Return how the images of a data set are scaled for the network."""
        bands = len(dataset.bands)
        if self.scaling == "raw":
            return Scaling((0.0,) * bands, (1.0,) * bands)
        if self.scaling == "imagenet" and dataset.data_type == "uint8":
            # One mean and deviation for all bands: so it serves any number of them.
            return Scaling((MEAN[0],) * bands, (STDDEV[0],) * bands)
        if self.scaling == "imagenet":
            # The encoder's own normalisation, which is frozen, expects the spread of photographs:
            # scaled as above they deviate by about 0.5 from their mean, not by 1.
            own = dataset.scaling
            return Scaling(own.mean, tuple(stddev / PHOTO_SPREAD for stddev in own.stddev))
        return dataset.scaling


def _lite(variant: str) -> Preset:
    def build(network: Network) -> keras.Model:
        return build_unet(
            network.channels, variant, network.deepest_stride or DIVISOR,
            reduction=network.reduction, trainable_norm=network.trainable_norm,
            dropout=network.dropout, bands=network.bands,
        )  # fmt: skip

    def stage_of(name: str) -> int:
        if name.startswith("encoder_stem"):
            return 1
        block = int(re.match(r"encoder_block(\d+)_", name)[1])
        for number, stage in enumerate(stages(variant), start=1):
            if block < stage.blocks:
                return number
            block -= stage.blocks
        raise ValueError(name)

    return Preset(
        name=variant,
        title=f"U-Net on EfficientNet-{variant.capitalize()}, pretrained on ImageNet",
        build=build,
        plan=FitPlan(),
        scaling="imagenet",
        pretrained=True,
        scalable=("reduction", "deepest_stride", "trainable_norm"),
        stage_of=stage_of,
    )


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="course",
            title="the course's residual U-Net and its recipe, as a baseline",
            build=lambda network: build_course_unet(
                network.channels, network.bands, network.width or 8, network.dropout
            ),
            plan=FitPlan(
                epochs=50, rate=1e-3, encoder_rate=1.0, warm_up=0.0, weight_decay=0.0,
                averaging=0.0, clip_norm=0.0, loss="course-dice", augmentation=None,
                optimizer="rmsprop", schedule="constant", keep="val_loss",
            ),
            framing=Framing("squash", 512),
            scaling="raw",
            group_power=1.0,
            scalable=("width",),
        ),
        Preset(
            name="unet",
            title="a plain U-Net of any depth and width, from scratch",
            build=lambda network: build_plain_unet(
                network.channels, network.bands, network.width or WIDTH, network.depth or DEPTH,
                network.dropout,
            ),
            plan=replace(FitPlan(), encoder_rate=1.0, warm_up=0.1),
            scalable=("width", "depth"),
        ),
        _lite("lite0"),
        _lite("lite1"),
        _lite("lite2"),
    )
}  # fmt: skip
"""What ``--preset`` offers, by name."""


def preset_of(name: str) -> Preset:
    """Return the preset of that name.

    Raises
    ------
    JobError
        If there is none.
    """
    if name not in PRESETS:
        raise JobError(f"preset {name!r} is unknown; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def freeze(model: keras.Model, preset: Preset, what: str) -> int:
    """Keep layers of the encoder as they are; return how many.

    Parameters
    ----------
    what : str
        "none", "encoder", or a number: the encoder's first stages, 1 being the one at full
        resolution (of the lite presets, at half).

    Raises
    ------
    JobError
        If it is neither.
    """
    if what == "none":
        return 0
    if what != "encoder" and not (what.isdecimal() and int(what) > 0):
        raise JobError(f"freeze {what!r} is unknown; say none, encoder, or a number of stages")
    last = None if what == "encoder" else int(what)
    frozen = 0
    for layer in model.layers:
        if not layer.name.startswith("encoder_") or not layer.weights:
            continue
        if last is None or preset.stage_of(layer.name) <= last:
            layer.trainable = False
            frozen += 1
    return frozen
