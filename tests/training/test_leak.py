# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.training.small_sets import VIEWS, view
from training.clusters import find_keypoints
from training.datasets.aeroscapes import AeroScapes
from training.leak import Leak, measure_leak, measure_overlap
from training.similarity import describe, similarities
from training.split import split_at_random


def scene(number: int) -> np.ndarray:
    """A picture (90, 120, 3) with colours and layout of its own."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 255, (5, 6, 3), np.uint8))
    return np.asarray(coarse.resize((120, 90), Image.Resampling.BICUBIC))


def film(number: int, frames: int) -> list[np.ndarray]:
    """Frames of a camera that moves slowly over one scene, with grain."""
    rng = np.random.default_rng(number + 100)
    wide = np.asarray(Image.fromarray(scene(number)).resize((132, 99)))
    return [
        np.clip(wide[n : n + 90, n : n + 120] + rng.normal(0, 6, (90, 120, 3)), 0, 255).astype(
            np.uint8
        )
        for n in range(frames)
    ]


@pytest.fixture(scope="module")
def looks() -> dict[str, np.ndarray]:
    """Eight films of five frames each."""
    return {f"{f}_{n}": describe(frame) for f in range(8) for n, frame in enumerate(film(f, 5))}


def test_a_picture_is_like_itself_to_one_and_like_its_neighbours_more_than_others(looks):
    values = similarities(np.stack(list(looks.values())), np.stack(list(looks.values())))
    assert np.allclose(np.diag(values), 1, atol=1e-5)
    assert values[0, 1] > 0.9 > values[0, 5:].max()


def test_brightness_changes_the_likeness_little():
    bright = np.clip(scene(1).astype(int) + 12, 0, 255).astype(np.uint8)
    assert describe(scene(1)) @ describe(bright) > 0.75


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
@pytest.mark.parametrize("bands", [1, 4])
def test_images_of_any_type_and_bands_have_a_descriptor(kind, bands):
    image = np.repeat(scene(2)[..., :1], bands, axis=-1).astype(kind) * 37
    assert np.linalg.norm(describe(image)) == pytest.approx(1, abs=1e-4)


def test_a_split_of_films_in_the_middle_leaks_and_the_pairs_are_named(looks):
    side_of = {name: "validation" if name.endswith("_2") else "train" for name in looks}
    leak = measure_leak(looks, side_of)
    assert leak.share == 1.0
    assert leak.across >= leak.within - 0.02
    held_out, trained, value = leak.pairs[0]
    assert held_out[0] == trained[0]
    assert value > 0.9
    assert "the split leaks: 100% of the samples held out" in leak.warning
    assert held_out in leak.warning


def test_a_split_by_films_does_not_leak(looks):
    side_of = {name: "validation" if name[0] in "67" else "train" for name in looks}
    leak = measure_leak(looks, side_of)
    assert leak.share == 0.0
    assert leak.warning == ""
    assert leak.across < leak.within - 0.1


def test_validation_and_test_are_both_held_against_training(looks):
    side_of = {name: "test" if name == "0_2" else "train" for name in looks}
    assert measure_leak(looks, side_of).pairs[0][0] == "0_2"


def garden_views() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Three views each of two gardens, turned and zoomed, and the split that tears them."""
    names = list(VIEWS)
    side_of = {name: "validation" if name.endswith("2") else "train" for name in names}
    return {name: view(*VIEWS[name]) for name in names}, side_of


def test_one_place_seen_by_two_flights_is_found_though_the_pictures_are_not_alike():
    pytest.importorskip("skimage", reason="keypoints need scikit-image")
    images, side_of = garden_views()
    looks = {name: describe(image) for name, image in images.items()}
    quick = measure_leak(looks, side_of)
    told = []
    leak = measure_overlap(
        quick, looks, side_of, lambda name: find_keypoints(images[name]), told.append
    )
    assert (quick.share, quick.warning) == (0.0, "")
    assert leak.same_place == 1.0
    assert {(a[0], b[0]) for a, b, _count in leak.same_place_pairs} == {("a", "a"), ("b", "b")}
    assert "100% of those looked at show a place that training shows too" in leak.warning
    assert told == list(range(6))
    assert Leak.from_dict(leak.to_dict()) == leak


def test_places_on_one_side_only_are_no_leak():
    pytest.importorskip("skimage", reason="keypoints need scikit-image")
    images, _torn = garden_views()
    side_of = {name: "validation" if name[0] == "b" else "train" for name in images}
    looks = {name: describe(image) for name, image in images.items()}
    leak = measure_overlap(
        measure_leak(looks, side_of), looks, side_of, lambda name: find_keypoints(images[name])
    )
    assert (leak.same_place, leak.same_place_pairs, leak.warning) == (0.0, (), "")


def test_on_aeroscapes_random_leaks_and_the_lists_where_two_sites_show_one_place(shared_data):
    dataset = AeroScapes(shared_data / "aeroscapes")
    lists = {side: names[::2] for side, names in dataset.lists().items()}
    looks = {name: describe(dataset.image(name)) for names in lists.values() for name in names}
    by_site = {name: side for side, names in lists.items() for name in names}
    at_random = split_at_random(sorted(looks), (0.75, 0.25), 0)
    leak = measure_leak(looks, by_site)
    assert {pair[0][:3] + pair[1][:3] for pair in leak.pairs[:5]} == {"040041"}
    assert measure_leak(looks, at_random).share > 0.3 > 0.15 > leak.share
