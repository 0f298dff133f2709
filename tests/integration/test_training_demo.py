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


def test_chips_of_one_place_stay_on_one_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_demo, "INPUTS", tmp_path)
    (tmp_path / "oam" / "images").mkdir(parents=True)
    for stem in ("kampala_OAM-8-8-18", "kampala_OAM-11-11-18", "kampala_OAM-12-8-18"):
        (tmp_path / "oam" / "images" / f"{stem}.jpg").touch()
    course = train_demo.seen_from_above(tmp_path)
    places = Path(course.prepare[course.prepare.index("--groups") + 1]).read_text().split()
    group_of = dict(line.split(",") for line in places)
    assert group_of["kampala_OAM-8-8-18"] == group_of["kampala_OAM-11-11-18"]
    assert group_of["kampala_OAM-8-8-18"] != group_of["kampala_OAM-12-8-18"]
    with pytest.raises(demo.DemoError, match="does not hold the set oam"):
        train_demo.seen_from_above(tmp_path / "elsewhere")


def test_the_frame_to_map_is_the_one_of_validation_with_the_most_classes(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text(
        "name,split,group,image,mask,height,width,px_0,px_1,px_2,px_ignore\n"
        "a,validation,g,images/a.png,masks/a.png,10,10,90,9,1,0\n"
        "b,validation,g,images/b.png,masks/b.png,10,10,40,30,30,0\n"
        "c,train,g,images/c.png,masks/c.png,10,10,0,50,50,0\n"
    )
    assert train_demo.held_out(tmp_path) == tmp_path / "images/b.png"


def test_without_the_chips_the_tree_crowns_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_demo, "tree_crowns", lambda: "crowns")
    monkeypatch.setattr(train_demo, "seen_from_above", lambda folder: folder)
    monkeypatch.setattr(train_demo, "NADIR", tmp_path / "gone")
    monkeypatch.delenv("NADIR", raising=False)
    assert train_demo.chosen() == "crowns"
    monkeypatch.setenv("NADIR", str(tmp_path))
    assert train_demo.chosen() == tmp_path
    monkeypatch.setattr(train_demo, "NADIR", tmp_path)
    monkeypatch.setenv("NADIR", "none")
    assert train_demo.chosen() == "crowns"
