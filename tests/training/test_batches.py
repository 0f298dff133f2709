# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.small_sets import draw, write_folder_set
from training import batches as batches_module
from training import sample_cache
from training.augment import Augmentation
from training.batches import MAKERS, group_weights, scaled, training_batches
from training.dataset import Dataset, Scaling
from training.errors import DatasetError
from training.prepare import prepare
from training.prepare_spec import PrepareSpec
from training.sample_cache import CachedSamples, DecodedSamples, cached, ignore_rim
from unet_segmenter.engine.progress import SilentProgress

HOW = Augmentation(size=32)
SOURCE = [draw(number, 60, 80) for number in range(5)]


@pytest.fixture(params=MAKERS)
def maker(request) -> str:
    """The name of each way to make batches."""
    if request.param == "tf.data":
        pytest.importorskip("tensorflow", reason="tf.data needs tensorflow")
    return request.param


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    source = write_folder_set(tmp_path / "plain")
    spec = PrepareSpec(str(source), str(tmp_path / "out"), split="random", fractions=(0.5, 0.5))
    return prepare(spec, SilentProgress())


def as_arrays(batches) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.asarray(images), np.asarray(masks)) for images, masks in batches]


def equal(one: list, other: list) -> bool:
    return all(
        np.array_equal(a, c) and np.array_equal(b, d)
        for (a, b), (c, d) in zip(one, other, strict=True)
    )


def test_a_batch_is_scaled_crops_and_their_masks(maker):
    (images, masks), *rest = as_arrays(
        training_batches(SOURCE, None, 3, 4, HOW, (1, 0), maker=maker)
    )
    assert len(rest) == 2
    assert (images.shape, images.dtype) == ((4, 32, 32, 3), np.dtype("float32"))
    assert (masks.shape, masks.dtype) == ((4, 32, 32), np.dtype("uint8"))
    assert -3 < images.mean() < 3
    known = set(np.unique(np.stack([mask for _image, mask in SOURCE])))
    assert set(np.unique(masks)) <= known | {255}, "masks are cut by nearest"


def test_the_same_seed_gives_the_same_batches_and_another_epoch_others(maker):
    one, same, other = (
        as_arrays(training_batches(SOURCE, None, 3, 2, HOW, (1, epoch), maker=maker))
        for epoch in (0, 0, 1)
    )
    assert equal(one, same)
    assert not np.array_equal(one[0][0], other[0][0])


@pytest.mark.parametrize("workers", [1, 7])
def test_the_number_of_threads_changes_nothing(maker, workers, monkeypatch):
    plain = as_arrays(training_batches(SOURCE, None, 4, 3, HOW, (5,), maker=maker))
    monkeypatch.setattr(batches_module.os, "cpu_count", lambda: workers)
    assert equal(plain, as_arrays(training_batches(SOURCE, None, 4, 3, HOW, (5,), maker=maker)))


def test_tf_data_and_threads_make_the_same_batches():
    pytest.importorskip("tensorflow", reason="tf.data needs tensorflow")
    made = [as_arrays(training_batches(SOURCE, None, 3, 4, HOW, (2, 1), maker=m)) for m in MAKERS]
    assert equal(*made)


def test_samples_are_drawn_by_their_weights():
    weights = np.array([0.0, 0.5, 0.0, 0.5, 0.0])

    def tell(image, mask, _rng, _another):
        number = next(n for n, (one, _) in enumerate(SOURCE) if one is image)
        return np.full((1, 1, 3), number, np.uint8), mask[:1, :1]

    plain = Scaling((0, 0, 0), (1, 1, 1))
    drawn = [
        int(value)
        for images, _masks in training_batches(
            SOURCE, weights, 50, 4, tell, (3,), plain, maker="threads"
        )
        for value in images[:, 0, 0, 0]
    ]
    assert set(drawn) == {1, 3}
    assert 70 < drawn.count(1) < 130


def test_what_fills_the_crop_beside_a_small_sample_is_drawn_by_weight_from_its_data_set(maker):
    weights, origins = np.array([0.25, 0.25, 0.0, 0.25, 0.25]), "aabbb"

    def tell(image, mask, rng, another):
        own, other = (
            next(n for n, (known, _) in enumerate(SOURCE) if known is one)
            for one in (image, another(rng)[0])
        )
        return np.array([[[own, other]]], np.uint8), mask[:1, :1]

    plain = Scaling((0, 0), (1, 1))
    one, same = (
        as_arrays(training_batches(SOURCE, weights, 20, 8, tell, (3,), plain, maker, origins))
        for _ in range(2)
    )
    assert equal(one, same)
    pairs = {tuple(pixel.astype(int)) for images, _masks in one for pixel in images.reshape(-1, 2)}
    assert pairs == {(a, b) for ours in ((0, 1), (3, 4)) for a in ours for b in ours}


def test_groups_share_the_draws_by_the_root_of_their_size():
    weights = group_weights(["a"] * 16 + ["b"] * 4)
    assert weights.sum() == pytest.approx(1)
    assert weights[:16].sum() == pytest.approx(4 / 6)
    assert group_weights(["a"] * 16 + ["b"] * 4, power=0)[:16].sum() == pytest.approx(0.5)
    assert group_weights(["a"] * 3 + ["b"], power=1).tolist() == [0.25] * 4


def test_without_augmentation_samples_come_as_they_are(maker):
    plain = Scaling((0, 0, 0), (1, 1, 1))
    for images, masks in training_batches(SOURCE, None, 3, 2, None, (4,), plain, maker):
        for image, mask in zip(np.asarray(images), np.asarray(masks), strict=True):
            assert any(
                np.array_equal(image, one) and np.array_equal(mask, labels)
                for one, labels in SOURCE
            )


@pytest.mark.parametrize(("kind", "bands"), [(np.uint16, 5), (np.float32, 1)])
def test_any_type_and_number_of_bands_goes_through(maker, kind, bands):
    source = [(np.full((20, 20, bands), 7, kind), np.ones((20, 20), np.uint8))]
    scale = Scaling((5.0,) * bands, (4.0,) * bands)
    ((images, _masks),) = training_batches(source, None, 1, 2, None, (0,), scale, maker)
    assert np.asarray(images).tolist() == np.full((2, 20, 20, bands), 0.5).tolist()


def test_a_failure_in_a_sample_is_raised_as_it_is(maker):
    class Broken(list):
        def __getitem__(self, index):
            raise DatasetError("a.png: damaged")

    with pytest.raises(DatasetError, match=r"a\.png: damaged"):
        list(training_batches(Broken(SOURCE), None, 2, 2, HOW, (0,), maker=maker))


def test_batches_that_nobody_takes_end_with_the_loop(maker):
    batches = training_batches(SOURCE, None, 10_000, 2, HOW, (0,), maker=maker)
    next(batches)
    batches.close()


def test_the_default_scaling_is_imagenets():
    assert scaled(np.zeros((1, 1, 3), np.uint8)).ravel() == pytest.approx(
        [-m / s for m, s in zip(scaled.mean, scaled.stddev, strict=True)]
    )


def test_cached_samples_are_the_decoded_ones_and_lie_on_the_disk(dataset):
    samples = dataset.split("train")
    found = cached(dataset, samples, rim=2)
    assert isinstance(found, CachedSamples)
    plain = DecodedSamples(dataset, samples, rim=2)
    assert len(found) == len(plain) == len(samples)
    for number in range(len(samples)):
        for one, other in zip(found[number], plain[number], strict=True):
            assert np.array_equal(one, other)
        assert not found[number][0].flags.owndata, "a view of the file"
        assert not found[number][0].flags.writeable
    assert (found[0][1][:2] == 255).all()
    assert (found[0][1][2:-2, 2:-2] != 255).any()


def test_images_are_decoded_once_and_again_only_if_they_changed(dataset, monkeypatch):
    samples = dataset.split("train")
    cached(dataset, samples)
    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "read", lambda *_: pytest.fail("decoded again"))
        assert len(cached(dataset, samples)) == len(samples)
    path = samples[0].image
    path.write_bytes(samples[1].image.read_bytes())
    assert np.array_equal(cached(dataset, samples)[0][0], dataset.read(samples[1])[0])


def test_an_interrupted_cache_is_not_taken_for_a_whole_one(dataset, monkeypatch):
    samples = dataset.split("train")
    reads = []

    def failing(self, sample):
        reads.append(sample)
        if len(reads) == 2:
            raise DatasetError("killed, say")
        return whole(self, sample)

    whole = Dataset.read
    monkeypatch.setattr(Dataset, "read", failing)
    with pytest.raises(DatasetError, match="killed"):
        cached(dataset, samples)
    assert list((dataset.folder / "cache").iterdir()) == []
    monkeypatch.setattr(Dataset, "read", whole)
    assert isinstance(cached(dataset, samples), CachedSamples)


def test_without_room_on_the_disk_samples_are_decoded_each_time(dataset, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(sample_cache.shutil, "disk_usage", lambda _path: usage)
    found = cached(dataset, dataset.split("train"))
    assert isinstance(found, DecodedSamples)
    assert found[0][0].shape == (48, 64, 3)
    assert list((dataset.folder / "cache").iterdir()) == []


def test_another_side_or_fold_finds_what_one_has_decoded(dataset):
    cached(dataset, dataset.split("train"))
    found = cached(dataset, dataset.split("validation")[::-1])
    assert len(list((dataset.folder / "cache").iterdir())) == 1
    for number, sample in enumerate(dataset.split("validation")[::-1]):
        assert np.array_equal(found[number][0], dataset.read(sample)[0])


def test_memory_does_not_grow_with_the_data_set(dataset):
    (sample, *_) = dataset.split("train")
    image, _mask = dataset.read(sample)

    def peak(count: int) -> int:
        more = replace(dataset, samples=(sample,) * count)
        shutil.rmtree(dataset.folder / "cache", ignore_errors=True)
        tracemalloc.start()
        source = cached(more, more.samples)
        for images, _masks in training_batches(
            source, None, count // 4, 4, None, (0,), dataset.scaling, "threads"
        ):
            assert len(images) == 4
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(8)  # what is loaded but once
    few, many = peak(40), peak(400)
    assert 400 * image.nbytes > 3_000_000
    assert many - few < 400_000


def test_a_rim_of_nothing_leaves_the_mask_and_the_input_is_never_changed():
    mask = np.ones((6, 8), np.uint8)
    assert ignore_rim(mask, 0) is mask
    assert (ignore_rim(mask, 1) == 255).sum() == 48 - 24
    assert (mask == 1).all()
