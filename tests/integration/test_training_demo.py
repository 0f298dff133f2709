# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make train-demo` prepares, without its training."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import demo, train_demo

VOC = b"""<annotation><size><width>40</width><height>30</height></size>
<object><name>Tree</name><bndbox><xmin>10</xmin><ymin>5</ymin><xmax>20</xmax><ymax>9</ymax></bndbox>
</object></annotation>"""
PLACE = demo.Place("EPSG:32612", 1000.0, 2000.0, 0.5)


def test_a_crown_is_the_ellipse_in_its_box_and_the_ground_comes_first() -> None:
    found = train_demo.crowns_of(VOC, PLACE)
    assert found["crs"]["properties"]["name"].endswith(":EPSG::32612")
    ground, crown = found["features"]
    assert ground["properties"]["kind"] == "not tree crown"
    corners = ground["geometry"]["coordinates"][0]
    assert (min(x for x, _ in corners), max(x for x, _ in corners)) == (1000, 1020)
    assert (min(y for _, y in corners), max(y for _, y in corners)) == (2000, 2015)
    assert crown["properties"]["kind"] == "tree crown"
    ring = crown["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    xs, ys = zip(*ring)
    assert (min(xs), max(xs)) == pytest.approx((1005, 1010))
    assert (min(ys), max(ys)) == pytest.approx((2015 - 4.5, 2015 - 2.5))


def test_frames_are_spread_evenly_and_two_sites_are_kept_out_of_training(tmp_path: Path) -> None:
    (tmp_path / "ImageSets").mkdir()
    for part, sites in (("trn", ("041", "045")), ("val", ("005", "040"))):
        names = [f"{site}001_{number:03d}" for site in sites for number in range(8)]
        (tmp_path / "ImageSets" / f"{part}.txt").write_text("\n".join(names) + "\n")
    assert train_demo.some_frames(tmp_path) == {
        "train": ["040001_000", "041001_000"],
        "validation": ["005001_000", "005001_004", "045001_000", "045001_004"],
    }
    with pytest.raises(demo.DemoError, match="is no AeroScapes"):
        train_demo.some_frames(tmp_path / "elsewhere")


def test_the_frame_to_map_is_the_one_of_validation_with_the_most_classes(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text(
        "name,split,group,image,mask,height,width,px_0,px_1,px_2,px_ignore\n"
        "a,validation,g,images/a.png,masks/a.png,10,10,90,9,1,0\n"
        "b,validation,g,images/b.png,masks/b.png,10,10,40,30,30,0\n"
        "c,train,g,images/c.png,masks/c.png,10,10,0,50,50,0\n"
    )
    image, mask = train_demo.held_out(tmp_path)
    assert (image, mask) == (tmp_path / "images/b.png", tmp_path / "masks/b.png")


def test_without_aeroscapes_the_tree_crowns_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_demo, "tree_crowns", lambda: "crowns")
    monkeypatch.setattr(train_demo, "aeroscapes", lambda folder: folder)
    monkeypatch.setattr(train_demo, "AEROSCAPES", tmp_path / "gone")
    monkeypatch.delenv("AEROSCAPES", raising=False)
    assert train_demo.chosen() == "crowns"
    monkeypatch.setenv("AEROSCAPES", str(tmp_path))
    assert train_demo.chosen() == tmp_path
    monkeypatch.setattr(train_demo, "AEROSCAPES", tmp_path)
    monkeypatch.setenv("AEROSCAPES", "none")
    assert train_demo.chosen() == "crowns"
