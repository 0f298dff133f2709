# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.augment import Augmentation, augment

HOW = Augmentation(size=64)
PLAIN = replace(HOW, plain=1.0)


def _frame(values=(1, 3, 5), height=90, width=120):
    mask = np.repeat(np.array(values, np.uint8), height // len(values))[:, None]
    mask = np.repeat(mask, width, axis=1)
    return np.repeat(mask[..., None] * 40, 3, axis=-1).astype(np.uint8), mask


def _places(side: int, number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A chip whose pixels tell column, row and chip, and whose mask is as irregular."""
    row, col = np.mgrid[:side, :side]
    image = np.stack([col, row, np.full_like(row, number)], axis=-1).astype(np.uint8)
    return image, ((row * 31 + col * 17 + number) % 250).astype(np.uint8)


@pytest.mark.parametrize("values", [(1, 3, 5), (0, 249, 254)])
def test_a_thousand_crops_invent_no_value_and_show_every_one(values):
    image, mask = _frame(values)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(1000):
        _crop, labels = augment(image, mask, PLAIN, rng)
        seen |= set(np.unique(labels).tolist())
    assert seen - {255} == set(values), "between them lie others: only nearest keeps them out"


def test_crops_have_the_size_and_type_asked_for():
    image, labels = augment(*_frame(), HOW, np.random.default_rng(1))
    assert image.shape == (64, 64, 3)
    assert labels.shape == (64, 64)
    assert image.dtype == labels.dtype == np.uint8


@pytest.mark.parametrize("side", [40, 200])
def test_the_same_seed_gives_the_same_crop_and_another_one_another(side):
    chips = [_places(side, number) for number in range(5)]

    def made(seed):
        return augment(
            *chips[0], HOW, np.random.default_rng(seed),
            another=lambda rng: (*chips[rng.integers(5)], HOW),
        )  # fmt: skip

    first, again, other = made(5), made(5), made(6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_a_frame_larger_than_the_crop_fills_it_however_it_is_turned():
    image, mask = _places(250)
    for seed in range(100):
        _crop, labels = augment(image, mask, PLAIN, np.random.default_rng(seed))
        assert 255 not in labels


@pytest.mark.parametrize("side", [20, 128 // 5, 40, 60])
@pytest.mark.parametrize("alone", [True, False])
def test_no_learned_pixel_of_a_small_chip_is_a_mirror_image(side, alone):
    """At zoom 1 without a turn each pixel tells where it is from; crop to chip as 320 to 128."""
    how = replace(PLAIN, scale=(1.0, 1.0), turn=0.0, lean_degrees=0.0)
    chips = [_places(side, number) for number in range(7)]
    another = None if alone else lambda rng: (*chips[rng.integers(7)], how)
    shares = []
    for seed in range(30):
        crop, labels = augment(*chips[0], how, np.random.default_rng(seed), another=another)
        known = labels != 255
        for number in range(7):
            found = crop[known & (crop[..., 2] == number)]
            # Flips keep a place once; a mirror image would show it again, with a label.
            pieces = 1 if alone else 16
            _places_seen, times = np.unique(found, axis=0, return_counts=True)
            assert times.max(initial=0) <= pieces
        learned = crop[known].astype(int)
        expected = (learned[:, 1] * 31 + learned[:, 0] * 17 + learned[:, 2]) % 250
        assert np.array_equal(labels[known], expected)
        shares.append(known.mean())
    if alone:
        assert np.max(shares) <= (side / 64) ** 2 + 1e-9
    else:
        assert np.min(shares) == 1.0, "pieces of other chips fill the crop"


def test_small_chips_are_zoomed_in_as_far_as_the_range_allows_where_there_is_no_other():
    image, mask = _places(40)
    shares = [
        (augment(image, mask, replace(PLAIN, turn=0), np.random.default_rng(seed))[1] != 255).mean()
        for seed in range(20)
    ]
    assert np.min(shares) == 1.0


def test_turned_crops_of_small_chips_are_learned_from_whole():
    chips = [_places(51, number) for number in range(7)]
    how = replace(PLAIN, size=128, scale=(0.5, 2.0), turn=1.0)
    shares = [
        (augment(*chips[0], how, np.random.default_rng(seed),
                 another=lambda rng: (*chips[rng.integers(7)], how))[1] != 255).mean()
        for seed in range(60)
    ]  # fmt: skip
    assert np.mean(shares) > 0.999


def test_upright_frames_are_never_turned_upside_down_nor_made_of_pieces():
    image, mask = _frame((6, 1))
    how = replace(HOW, upright=True, scale_upright=(0.4, 1.1))

    def other(_rng):
        raise AssertionError("no piece is asked for")

    rng = np.random.default_rng(6)
    for _ in range(200):
        _got, labels = augment(image, mask, how, rng, another=other)
        rows, _cols = np.nonzero(labels == 6)
        if 0 < rows.size < (labels != 255).sum():
            assert rows.mean() < np.nonzero(labels == 1)[0].mean()


def test_rare_values_are_aimed_at():
    mask = np.zeros((400, 400), np.uint8)
    mask[300:308, 300:308] = 251
    image = np.zeros((400, 400, 3), np.uint8)
    shown = {
        rare: np.mean([
            251 in augment(image, mask, replace(PLAIN, rare=rare), np.random.default_rng(seed))[1]
            for seed in range(100)
        ])
        for rare in (0.0, 1.0)
    }  # fmt: skip
    assert shown[1.0] > 0.45 > 2 * shown[0.0]
