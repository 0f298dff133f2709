# SPDX-License-Identifier: GPL-2.0-or-later
"""From a spec to all that a fit needs: network, plan, batches, frames, first weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from unet_segmenter.engine.errors import JobError

from .augment import Augmentation, Chip, augment
from .batches import Draw, Vary, training_batches
from .chosen_classes import NO_CODE, ChosenClasses, mix_datasets
from .dataset import Dataset, Sample, Scaling
from .errors import DatasetError
from .fit import Batches
from .fit_plan import FitPlan
from .framing import Framing
from .losses import DEFAULT_LOSS, LOSSES
from .picked_samples import Picked, count_pixels
from .presets import PRESETS, Network, Preset, preset_of
from .train_spec import BALANCED, DEFAULT_PRESET, TrainSpec
from .validation import Frames, Pair
from .vary_bands import VaryBands, random_crop
from .vary_photo import vary_photo

MANY = 10_000
"""Epochs, and their steps, of a training that the time ends."""
CROP_STEP, LARGEST_CROP = 64, 256
"""Sides of crops that are chosen by the images are multiples of the first, up to the second."""


@dataclass(frozen=True)
class Recipe:
    """A spec resolved against its data set and its preset.

    Attributes
    ----------
    size : int
        Side of the training crops, px of the network.
    """

    spec: TrainSpec
    dataset: ChosenClasses
    preset: Preset
    network: Network
    plan: FitPlan
    framing: Framing
    scaling: Scaling
    size: int

    @classmethod
    def of(cls, spec: TrainSpec) -> Recipe:
        """Resolve a spec.

        Raises
        ------
        JobError
            If it names what does not exist, or what does not fit together.
        """
        preset = preset_of(spec.preset or DEFAULT_PRESET)
        if spec.names_encoder and not preset.pretrained:
            able = " or ".join(one.name for one in PRESETS.values() if one.pretrained)
            raise JobError(f"the preset {preset.name!r} has no pretrained encoder; use {able}")
        shares = [(Dataset.open(folder), share) for folder, share in spec.shares()]
        chosen = mix_datasets(shares, spec.classes, spec.all_samples)
        network = Network(
            classes=len(chosen.classes), bands=len(chosen.bands), head=spec.head, width=spec.width,
            depth=spec.depth, dropout=spec.dropout, deepest_stride=spec.deepest_stride,
            trainable_norm=bool(spec.trainable_norm),
        )  # fmt: skip
        plan = _plan(spec, preset)
        framing = _framing(spec, preset)
        size = (
            framing.size if framing.kind == "squash" else spec.size or _crop(plan, framing, chosen)
        )
        if plan.augmentation is not None:
            plan = replace(plan, augmentation=_augmentation(plan.augmentation, size, framing))
        return cls(spec, chosen, preset, network, plan, framing, preset.scale(chosen), size)

    def told(self) -> dict[str, Any]:
        """Return what `build` and `transfer` need to know, as JSON values."""
        return {
            "preset": self.preset.name, "network": asdict(self.network),
            "bands": list(self.dataset.bands), "head": self.network.head,
            "classes": [cls.name for cls in self.dataset.classes],
        }  # fmt: skip

    def check_size(self, divisor: int) -> None:
        """Refuse crops that the network cannot take."""
        if self.size % divisor:
            below = self.size // divisor * divisor
            near = [str(side) for side in (below, below + divisor) if side]
            raise JobError(
                f"size {self.size} is not a multiple of {divisor}, as the preset "
                f"{self.preset.name!r} needs; {' or '.join(near)} is"
            )

    def batches(self, samples: Sequence[Sample]) -> Batches:
        """Return what makes the batches of an epoch from these samples."""
        if not samples:
            raise DatasetError(f"{self.dataset.folder}: there is no training image")
        source = Picked.of(self.dataset, samples, with_rim=False)
        weights = self.dataset.draw_weights(samples, self.preset.group_power)
        vary, plan = self.variation(), self.plan
        origins = [self.dataset.origins[sample.name][0].prefix for sample in samples]

        def of_epoch(epoch: int) -> Iterator[Pair]:
            seed = (plan.seed, epoch)
            return training_batches(
                source, weights, plan.steps, plan.batch, vary, seed, self.scaling, origins=origins
            )

        return of_epoch

    def frames(self, samples: Sequence[Sample], divisor: int) -> Frames:
        """Return these samples as the network sees them, whole.

        Raises
        ------
        DatasetError
            If there is none.
        """
        if not samples:
            raise DatasetError(
                f"{self.dataset.folder}: there is no validation image; prepare the data set with "
                "another split"
            )
        source = Picked.of(self.dataset, samples)
        return Frames(source, self.framing, self.scaling, divisor, self.dataset.answers)

    def variation(self) -> Vary:
        """Return what makes one training crop of an image and its mask of all classes."""
        framing, size = self.framing, self.size
        how = self.plan.augmentation
        squash = framing.kind == "squash"
        if how is None and squash:
            return lambda image, mask, _rng, _another: framing.see(image, mask)
        if how is None:

            def plain(
                image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, _another: Draw
            ) -> Pair:
                side = 2 * size if framing.kind == "half" else size
                return framing.see(*random_crop(image, mask, side, rng))

            return plain
        data = self.dataset
        photo = data.data_type == "uint8" and len(data.bands) == 3
        vary = vary_photo if photo else VaryBands(data.scaling, data.value_range, data.data_type)
        sky, upright = data.sky_code, replace(how, upright=True)

        def chip(image: np.ndarray, mask: np.ndarray) -> Chip:
            # Images at half resolution are halved by the zoom of their crops.
            image, mask = framing.see(image, mask) if squash else (image, mask)
            # The sky tells that up is up, also where it is not learned.
            stands = sky != NO_CODE and bool((mask == sky).any())
            return image, mask, upright if stands else how

        def varied(
            image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, another: Draw
        ) -> Pair:
            return augment(*chip(image, mask), rng, vary, lambda own: chip(*another(own)))

        return varied

    def class_weights(self, samples: Sequence[Sample]) -> tuple[float, ...]:
        """Return the weight of each class, or none where none was asked for.

        "balanced" gives the inverse root of the class's share of the pixels, scaled to a mean of
        1: the inverse itself would let a class of a few pixels drown all others.
        """
        spec, names = self.spec, [cls.name for cls in self.dataset.classes]
        if not spec.class_weights:
            return ()
        named = spec.named_weights()
        if unknown := set(named) - set(names):
            raise JobError(
                f"a weight is given for {min(unknown)!r}, which is none of the classes "
                f"{', '.join(names)}"
            )
        weights = np.ones(len(names))
        if BALANCED in spec.class_weights:
            share = count_pixels(self.dataset, samples)
            weights = 1 / np.sqrt(np.maximum(share, 1))
            weights /= weights.mean()
        return tuple(round(named.get(n, float(w)), 4) for n, w in zip(names, weights, strict=True))


def _plan(spec: TrainSpec, preset: Preset) -> FitPlan:
    changes = spec.plan_changes()
    if "loss" not in changes and LOSSES[preset.plan.loss].head != spec.head:
        changes["loss"] = DEFAULT_LOSS[spec.head]
    if spec.augment is not None:
        changes["augmentation"] = Augmentation() if spec.augment else None
    if spec.all_samples:
        changes.setdefault("keep", "last")
    if spec.minutes is not None and spec.epochs is None:
        changes |= {"open_end": True, "epochs": MANY, "steps": spec.steps or MANY}
    plan = replace(preset.plan, **changes)
    if spec.averaging is None and plan.open_end:
        plan = replace(plan, averaging=min(plan.averaging, 0.95 if spec.minutes < 10 else 0.98))
    elif spec.averaging is None:
        # An average over 100 steps would leave a training of 50 with little but its first weights.
        most = max(0.0, 1 - 10 / (plan.epochs * plan.steps))
        plan = replace(plan, averaging=min(plan.averaging, round(most, 4)))
    if plan.head != spec.head:
        able = [name for name, loss in LOSSES.items() if loss.head == spec.head]
        raise JobError(
            f"the loss {plan.loss!r} is for a {plan.head} head, not for {spec.head}; use one of "
            f"{', '.join(able)}"
        )
    return plan


def _crop(plan: FitPlan, framing: Framing, dataset: Dataset) -> int:
    """Return the side of crops, px of the network, where none is asked for.

    A training in a fixed time, which is for any data set, takes crops that fit into its images:
    what lies beyond an image teaches nothing.
    """
    usual = Augmentation().size
    if not plan.open_end:
        return usual
    sides = [min(sample.height, sample.width) for sample in dataset.split("train")]
    side = int(np.median(sides)) // (2 if framing.kind == "half" else 1)
    return min(max(side // CROP_STEP, 1) * CROP_STEP, LARGEST_CROP)


def _framing(spec: TrainSpec, preset: Preset) -> Framing:
    if preset.framing.kind == "squash":
        if spec.half:
            raise JobError(f"the preset {preset.name!r} squashes images; choose its size instead")
        return Framing("squash", spec.size or preset.framing.size)
    if spec.half and "reduction" not in preset.scalable:
        able = " or ".join(one.name for one in PRESETS.values() if "reduction" in one.scalable)
        raise JobError(f"the preset {preset.name!r} cannot work at half resolution; use {able}")
    return Framing("half") if spec.half else preset.framing


def _augmentation(how: Augmentation, size: int, framing: Framing) -> Augmentation:
    """Return it for crops of ``size``; at half resolution things are shown half as large."""
    if framing.kind != "half":
        return replace(how, size=size)

    def halved(zoom: tuple[float, float]) -> tuple[float, float]:
        return zoom[0] / 2, zoom[1] / 2

    return replace(
        how, size=size, scale=halved(how.scale), scale_upright=halved(how.scale_upright)
    )  # fmt: skip
