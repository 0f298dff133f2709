# SPDX-License-Identifier: GPL-2.0-or-later
"""Clusters of images that show the same place: overlapping views, near-copies, another flight.

Two images belong together where a similarity (turn, zoom, shift) carries enough keypoints of the
one onto the other, spread over the picture; markers and other small things that stand in several
places do not count. Chains of such pairs make a cluster.

Sources: Lowe, Distinctive image features from scale-invariant keypoints, IJCV 2004; Arandjelovic
and Zisserman, Three things everyone should know to improve object retrieval, CVPR 2012 (square
roots of the descriptors).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from unet_segmenter.engine.errors import Cancelled, RuntimeMissingError
from unet_segmenter.engine.progress import Progress

from .images import as_rgb, read_image
from .similarity import describe, similarities

_SIDE = 480  # of the picture in which keypoints are found, at most, and of the unit "px" here
_KEYPOINTS = 350
_RATIO = 0.85  # nearest to second nearest descriptor, at most
_TOLERANCE = 6.0  # px, near the keypoint that tells the similarity; 5 % of the distance more
_LEAST_MATCHES = 8
_CHANCE = 4  # matches that agree in images of places far apart
_LEAST_SPREAD = 0.06  # standard deviation of the matches' places, of the picture's side
_COMPARED = 400  # images, nearest in colour and layout, with which each is compared at most
_NEAR_COPY = 0.9  # similarity at which no keypoints are asked for
_SMALL = 3  # images: clusters below join the one that they are most like


@dataclass(frozen=True)
class Keypoints:
    """Keypoints of one picture.

    Attributes
    ----------
    place : ndarray of complex64, shape (N,)
        Column + 1j row, px.
    pose : ndarray of complex64, shape (N,)
        Size and direction as one complex number: the ratio of two is a zoom and a turn.
    descriptors : ndarray of float32, shape (N, 128)
        Square roots of SIFT's, of length 1.
    """

    place: np.ndarray
    pose: np.ndarray
    descriptors: np.ndarray

    def __len__(self) -> int:
        return self.place.size


def cluster_samples(
    paths: Mapping[str, Path], progress: Progress
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the cluster of each name, and what to tell of them.

    Parameters
    ----------
    paths : mapping
        The image of each name.

    Raises
    ------
    Cancelled
        If the user stops.
    """
    names = list(paths)

    def look(name: str) -> tuple[np.ndarray, Keypoints]:
        image = read_image(paths[name])
        return describe(image), find_keypoints(image)

    found = []
    with ThreadPoolExecutor(2) as pool:
        for done, one in enumerate(pool.map(look, names)):
            if progress.cancelled():
                pool.shutdown(cancel_futures=True)
                raise Cancelled("preparing was stopped; nothing was written")
            progress.advance(done, 2 * len(names), "finding keypoints")
            found.append(one)
    looks = np.stack([one for one, _keypoints in found])

    def tell(done: int) -> None:
        if progress.cancelled():
            raise Cancelled("preparing was stopped; nothing was written")
        progress.advance(len(names) + done, 2 * len(names), "comparing images")

    labels = cluster([keypoints for _look, keypoints in found], looks, tell)
    sizes = Counter(labels)
    digits = len(str(len(sizes)))
    order = {label: rank for rank, (label, _size) in enumerate(sizes.most_common(), 1)}
    groups = {
        name: f"cluster {order[label]:0{digits}d}"
        for name, label in zip(names, labels, strict=True)
    }
    largest = ", ".join(str(size) for _label, size in sizes.most_common(6))
    return groups, (f"{len(sizes)} clusters of images that overlap, the largest of {largest}",)


def cluster(
    keypoints: Sequence[Keypoints], looks: np.ndarray, tell: Callable[[int], None] = lambda _: None
) -> list[int]:
    """Return the number of the cluster of each image.

    Parameters
    ----------
    keypoints : sequence of Keypoints
        Of each image.
    looks : ndarray, shape (N, D)
        Descriptor of each image, see `training.similarity.describe`.
    tell : callable
        Called with the number of images that were compared with the others.
    """
    alike = similarities(looks, looks)
    np.fill_diagonal(alike, -1)
    common = np.zeros(alike.shape, np.int16)
    done = np.zeros(alike.shape, bool)
    parents = list(range(len(keypoints)))
    for first in range(len(keypoints)):
        tell(first)
        nearest = np.argsort(-alike[first], kind="stable")[:_COMPARED]
        for second in map(int, nearest):
            one, other = _root(parents, first), _root(parents, second)
            if one == other or done[second, first]:
                continue
            done[first, second] = True
            common_here = common_keypoints(keypoints[first], keypoints[second])
            common[first, second] = common[second, first] = common_here[0]
            if is_same_place(*common_here) or alike[first, second] >= _NEAR_COPY:
                parents[max(one, other)] = min(one, other)
    labels = np.array([_root(parents, number) for number in range(len(keypoints))])
    return join_small(labels, common, alike).tolist()


def join_small(labels: np.ndarray, common: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """Return labels (N,) in which clusters of one or two images have joined a larger one.

    A picture of lawn or asphalt has no keypoints to find its place by; alone on one side of a
    split it may have its place on the other. It joins the cluster with which it has the most
    keypoints in common, or, where that is no more than chance, that looks most alike. To join too
    many keeps a split free of leaks; to join too few does not.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
    common : ndarray of int, shape (N, N)
        Keypoints in common.
    alike : ndarray, shape (N, N)
        Similarity of the looks.
    """
    numbers, sizes = np.unique(labels, return_counts=True)
    large = numbers[sizes >= _SMALL]
    joined = labels.copy()
    if not large.size:
        return joined
    for number in numbers[sizes < _SMALL]:
        members = labels == number
        best = [
            (
                max(int(common[np.ix_(members, labels == other)].max()), _CHANCE),
                float(alike[np.ix_(members, labels == other)].max()),
            )
            for other in large
        ]
        joined[members] = large[best.index(max(best))]
    return joined


def find_keypoints(image: np.ndarray) -> Keypoints:
    """Return the keypoints of image (H, W, B), the largest ones if there are many."""
    try:
        from skimage.feature import SIFT
    except ImportError as error:
        raise RuntimeMissingError(
            "a split by clusters needs the package scikit-image; install it, or choose another "
            "split"
        ) from error
    picture = Image.fromarray(np.ascontiguousarray(as_rgb(image))).convert("L")
    zoom = min(1.0, _SIDE / max(picture.size))
    size = max(1, round(picture.width * zoom)), max(1, round(picture.height * zoom))
    grey = np.asarray(picture.resize(size, Image.Resampling.LANCZOS), np.float32) / 255
    finder = SIFT(upsampling=1, c_dog=0.006)
    try:
        finder.detect_and_extract(grey)
    except RuntimeError:  # "found no features"
        return Keypoints(*(np.zeros(0, np.complex64),) * 2, np.zeros((0, 128), np.float32))
    largest = np.argsort(-finder.sigmas, kind="stable")[:_KEYPOINTS]
    rows, columns = finder.keypoints[largest].T * (_SIDE / max(size))
    descriptors = finder.descriptors[largest].astype(np.float32)
    descriptors /= np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9)
    pose = finder.sigmas[largest] * np.exp(1j * finder.orientations[largest])
    return Keypoints(
        (columns + 1j * rows).astype(np.complex64), pose.astype(np.complex64), np.sqrt(descriptors)
    )


def common_keypoints(first: Keypoints, second: Keypoints) -> tuple[int, float]:
    """Return how many keypoints one similarity carries over, and how far they spread, px.

    Each pair of matching keypoints tells a similarity by itself, by their sizes and directions;
    the one that most other pairs agree with is taken. The spread is the standard deviation
    of their places in the image where it is smaller.
    """
    one, other = _matches(first, second)
    if one.size <= _CHANCE:
        return 0, 0.0
    start, end = first.place[one], second.place[other]
    best, spread = 0, 0.0
    away = start[None, :] - start[:, None]
    # Rows run downwards, so the sense in which directions count depends on the finder's axes.
    for sign in (1, -1):
        turn = _posed(second.pose[other], sign) / _posed(first.pose[one], sign)
        missed = np.abs(turn[:, None] * away + end[:, None] - end[None, :])
        agree = missed < _TOLERANCE + 0.05 * np.abs(turn[:, None] * away)
        counts = agree.sum(axis=1)
        if counts.max() > best:
            members = agree[counts.argmax()]
            best = int(counts.max())
            spread = float(min(np.std(start[members]), np.std(end[members])))
    return best, spread


def is_same_place(count: int, spread: float) -> bool:
    """Return whether so many common keypoints that spread so far show one place."""
    return count >= _LEAST_MATCHES and spread >= _LEAST_SPREAD * _SIDE


def _posed(pose: np.ndarray, sign: int) -> np.ndarray:
    return pose if sign > 0 else np.conj(pose)


def _matches(first: Keypoints, second: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of keypoints that are each other's nearest, and clearly so."""
    if min(len(first), len(second)) < _LEAST_MATCHES:
        return np.zeros(0, int), np.zeros(0, int)
    alike = first.descriptors @ second.descriptors.T
    nearest, back = alike.argmax(axis=1), alike.argmax(axis=0)
    rows = np.flatnonzero(back[nearest] == np.arange(len(first)))
    best = alike[rows, nearest[rows]]
    rest = alike[rows]
    rest[np.arange(rows.size), nearest[rows]] = -1
    clear = 1 - best < _RATIO**2 * (1 - rest.max(axis=1))
    rows = rows[clear]
    return rows, nearest[rows]


def _root(parents: list[int], number: int) -> int:
    while parents[number] != number:
        parents[number] = number = parents[parents[number]]
    return number
