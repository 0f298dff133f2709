# SPDX-License-Identifier: GPL-2.0-or-later
"""Batches for training: drawn by weight, varied in parallel, made ahead; the same by seed.

Every crop has its own random numbers, by seed, step and place in the batch, so neither the number
of threads nor a resumed run changes what a network sees.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from .augment import Augmentation, augment
from .dataset import Scaling
from .encoder_lite import MEAN, STDDEV

Sample = tuple[np.ndarray, np.ndarray]
Draw = Callable[[np.random.Generator], Sample]
Vary = Callable[[np.ndarray, np.ndarray, np.random.Generator, Draw], Sample]
"""Image, mask, random numbers and what draws another sample, to a crop of the image and mask."""

scaled = Scaling(tuple(MEAN), tuple(STDDEV))
"""uint8 pixels as the float32 that an encoder trained on ImageNet takes: (x - mean) / stddev."""

_DEPTH = 3  # batches made ahead


class Samples(Protocol):
    """Images and masks by number: a list, or `training.sample_cache.CachedSamples`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def group_weights(groups: Sequence[str], power: float = 0.5) -> np.ndarray:
    """Return the probability to draw each sample, (N,) float64, by the group that it is of.

    A group's share grows with its number of samples to ``power``: 1 draws samples evenly (a site
    filmed for long drowns the others), 0 draws groups evenly (ten frames are learned by heart).
    """
    share = {group: groups.count(group) ** (power - 1.0) for group in set(groups)}
    weights = np.array([share[group] for group in groups])
    return weights / weights.sum()


def training_batches(
    source: Samples,
    weights: np.ndarray | None,
    steps: int,
    batch: int,
    how: Augmentation | Vary | None,
    seed: Sequence[int],
    scale: Callable[[np.ndarray], np.ndarray] = scaled,
    maker: str | None = None,
    origins: Sequence[Hashable] | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Yield ``steps`` batches: images (N, H, W, B) float32 scaled, masks (N, H, W) uint8.

    Parameters
    ----------
    source : Samples
        Images (H, W, B) in any type, masks (H, W) uint8.
    weights : ndarray, shape (N,), or None
        Probability to draw each sample, with replacement; None draws them evenly.
    how : Augmentation, callable or None
        How crops are varied; None takes whole samples, which must then be of one size.
    seed : sequence of int
        Run and epoch, say: the same numbers give the same batches, whatever makes them.
    scale : callable
        From pixels to what the network takes.
    maker : str, optional
        One of `MAKERS`; by default tf.data where Keras runs on TensorFlow, else threads.
    origins : sequence of hashable, length N, optional
        The data set of each sample: what fills a crop beside a small sample is of the same one.
    """
    rng = np.random.default_rng(list(seed))
    picks = rng.choice(len(source), (steps, batch), p=weights)
    vary = _variation(how)

    draws = _draws(source, weights, origins or [None] * len(source))

    def crop(number: int) -> Sample:
        step, place = divmod(int(number), batch)
        own, pick = np.random.default_rng([*seed, step, place]), int(picks[step, place])
        return vary(*source[pick], own, draws[pick])

    yield from MAKERS[maker or _default_maker()](crop, steps, batch, scale)


def _draws(source: Samples, weights: np.ndarray | None, origins: Sequence[Hashable]) -> list[Draw]:
    """Return for each sample what draws another of its data set, by weight."""
    weights = np.ones(len(source)) if weights is None else weights

    def of_one(origin: Hashable) -> Draw:
        numbers = np.array([n for n, one in enumerate(origins) if one == origin])
        shares = weights[numbers] / max(weights[numbers].sum(), 1e-300)
        return lambda rng: source[int(rng.choice(numbers, p=shares))]

    draw_of = {origin: of_one(origin) for origin in dict.fromkeys(origins)}
    return [draw_of[origin] for origin in origins]


def _variation(how: Augmentation | Vary | None) -> Vary:
    if how is None:
        return lambda image, mask, _rng, _another: (image, mask)
    if callable(how):
        return how

    def varied(
        image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, another: Draw
    ) -> Sample:
        return augment(image, mask, how, rng, another=lambda own: (*another(own), how))

    return varied


def _by_threads(
    crop: Callable[[int], Sample], steps: int, batch: int, scale: Callable
) -> Iterator[Sample]:
    def whole(step: int, pool: ThreadPoolExecutor) -> list:
        return [pool.submit(crop, number) for number in range(step * batch, (step + 1) * batch)]

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        under_way: list[list] = []
        try:
            for step in range(steps):
                under_way.append(whole(step, pool))
                if len(under_way) > _DEPTH:
                    yield _stacked(under_way.pop(0), scale)
            while under_way:
                yield _stacked(under_way.pop(0), scale)
        finally:
            for futures in under_way:
                for future in futures:
                    future.cancel()


def _stacked(futures: list, scale: Callable[[np.ndarray], np.ndarray]) -> Sample:
    images, masks = zip(*(future.result() for future in futures), strict=True)
    return scale(np.stack(images)), np.stack(masks)


def _by_tf_data(
    crop: Callable[[int], Sample], steps: int, batch: int, scale: Callable
) -> Iterator[tuple[Any, Any]]:
    import tensorflow as tf

    image, mask = crop(0)
    image_type, mask_shape = tf.as_dtype(image.dtype), mask.shape
    in_graph = isinstance(scale, Scaling)  # then it costs no Python
    failure: list[BaseException] = []

    def made(number: np.ndarray) -> Sample:
        try:
            image, mask = crop(int(number))
        except BaseException as error:
            failure.append(error)
            raise
        return np.ascontiguousarray(image), np.ascontiguousarray(mask)

    def shaped(number: Any) -> tuple[Any, Any]:
        pixels, labels = tf.numpy_function(made, [number], (image_type, tf.uint8))
        return tf.ensure_shape(pixels, image.shape), tf.ensure_shape(labels, mask_shape)

    def in_float(pixels: Any, labels: Any) -> tuple[Any, Any]:
        pixels = tf.cast(pixels, tf.float32) - tf.constant(scale.mean, tf.float32)
        return pixels / tf.constant(scale.stddev, tf.float32), labels

    batches = tf.data.Dataset.range(steps * batch).map(
        shaped, num_parallel_calls=os.cpu_count() or 1, deterministic=True
    )
    batches = batches.batch(batch)
    if in_graph:
        batches = batches.map(in_float, num_parallel_calls=1, deterministic=True)
    try:
        for pixels, labels in batches.prefetch(_DEPTH):
            yield (pixels if in_graph else scale(pixels.numpy())), labels
    except tf.errors.OpError as error:
        if failure:
            raise failure[0] from error
        raise


MAKERS: dict[str, Callable[..., Iterator[tuple[Any, Any]]]] = {
    "tf.data": _by_tf_data,
    "threads": _by_threads,
}
"""What makes batches; all give the same ones."""


def _default_maker() -> str:
    try:
        import keras
    except ImportError:
        return "threads"
    return "tf.data" if keras.backend.backend() == "tensorflow" else "threads"
