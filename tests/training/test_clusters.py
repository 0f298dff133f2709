# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.training.small_sets import VIEWS, view
from training.clusters import (
    cluster,
    cluster_samples,
    common_keypoints,
    find_keypoints,
    join_small,
)
from training.similarity import describe
from unet_segmenter.engine.errors import Cancelled
from unet_segmenter.engine.progress import SilentProgress

pytest.importorskip("skimage", reason="clusters need scikit-image")


@pytest.fixture(scope="module")
def views() -> dict[str, np.ndarray]:
    return {name: view(*how) for name, how in VIEWS.items()}


def test_turned_zoomed_shifted_and_darker_views_of_a_place_are_one_cluster(views):
    found = [find_keypoints(image) for image in views.values()]
    looks = np.stack([describe(image) for image in views.values()])
    labels = cluster(found, looks)
    assert len(set(labels)) == 2
    assert len(set(labels[:3])) == len(set(labels[3:])) == 1


def test_keypoints_in_common_tell_the_same_place_from_another(views):
    keys = {name: find_keypoints(views[name]) for name in ("a0", "a1", "b0")}
    same, spread = common_keypoints(keys["a0"], keys["a1"])
    other, _spread = common_keypoints(keys["a0"], keys["b0"])
    assert same >= 20 > 8 > other
    assert spread > 30


def test_one_marker_that_stands_in_two_places_does_not_join_them(views):
    rng = np.random.default_rng(5)
    marker = np.kron(rng.integers(0, 2, (7, 7)), np.ones((5, 5)))[..., None] * 255
    both = []
    for name in ("a0", "b0"):
        image = views[name].copy()
        image[20:55, 30:65] = marker
        both.append(image)
    keys = [find_keypoints(image) for image in both]
    count, spread = common_keypoints(*keys)
    assert count >= 8, "the marker matches, else the test shows nothing"
    assert spread < 0.06 * 480
    assert len(set(cluster(keys, np.eye(2)))) == 2


def test_a_picture_without_keypoints_has_none_and_is_compared_all_the_same():
    flat = find_keypoints(np.full((60, 80, 3), 90, np.uint8))
    assert len(flat) == 0
    assert common_keypoints(flat, flat) == (0, 0.0)


def test_a_lone_picture_joins_the_cluster_it_has_most_in_common_with():
    labels = np.array([0, 0, 0, 3, 3, 3, 6, 7])
    common, alike = np.zeros((8, 8), int), np.full((8, 8), 0.1)
    common[6, 4] = 6
    alike[6, 1] = alike[7, 2] = 0.7
    common[7, 3] = 3  # no more than chance
    assert join_small(labels, common, alike).tolist() == [0, 0, 0, 3, 3, 3, 3, 0]


def test_without_large_clusters_all_stay_as_they_are():
    labels = np.array([0, 1, 1])
    assert join_small(labels, np.zeros((3, 3)), np.zeros((3, 3))).tolist() == [0, 1, 1]


def test_files_get_names_of_clusters_by_size(views, tmp_path):
    paths = {}
    for name in ("b0", "a0", "a1"):
        paths[name] = tmp_path / f"{name}.png"
        Image.fromarray(views[name]).save(paths[name])
    groups, notes = cluster_samples(paths, SilentProgress())
    assert groups == {"b0": "cluster 2", "a0": "cluster 1", "a1": "cluster 1"}
    assert notes == ("2 clusters of images that overlap, the largest of 2, 1",)


def test_clustering_can_be_cancelled(views, tmp_path):
    class Stopping(SilentProgress):
        def cancelled(self) -> bool:
            return True

    Image.fromarray(views["a0"]).save(tmp_path / "a.png")
    with pytest.raises(Cancelled):
        cluster_samples({"a": tmp_path / "a.png"}, Stopping())
