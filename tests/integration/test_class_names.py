# SPDX-License-Identifier: GPL-2.0-or-later
"""Class names with commas, equals signs, hashes and quotes, through all commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely

from tests.toy_models import write_toy_unet
from tests.toy_rasters import TRANSFORM, UTM, read_raster, texture, write_raster
from unet_segmenter.cli import main
from unet_segmenter.engine.name_lists import join_names, quoted

NAMES = ("Developed, Open Space", "a=b", 'grass #1 "dry"')


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three classes with these names."""
    folder = write_toy_unet(tmp_path_factory.mktemp("models") / "hard")
    card = json.loads((folder / "card.json").read_text())
    for one, name in zip(card["output"]["classes"], NAMES, strict=True):
        one["name"] = name
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def did(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    code = main([*map(str, arguments), "--json"])
    told = capsys.readouterr()
    assert code == 0, told.err
    return json.loads(told.out)


def test_every_command_takes_and_tells_such_names(model, tmp_path, capsys) -> None:
    image = write_raster(tmp_path / "image.tif", texture(96, 96))
    shares, mask, fused = (tmp_path / f"{name}.tif" for name in ("shares", "mask", "fused"))
    found = did(
        capsys, "segment", image, mask, "--model", model, "--probability", shares,
        "--classes", quoted(NAMES[1]), quoted(NAMES[0]),
    )  # fmt: skip
    assert [area["name"] for area in found["areas"] if area["value"]] == list(NAMES[:2])
    by_model = ("--models", model, "--classes", join_names(NAMES))
    chosen = ("--method", "priority", "--priority", join_names(NAMES[::-1]))
    limits = ("--thresholds", f"0.5, {quoted(NAMES[0])}=0.2", f"{quoted(NAMES[2])}=0.9")
    found = did(capsys, "landcover", image, fused, *by_model, *chosen, *limits)
    assert {area["name"] for area in found["areas"]} == {*NAMES, "unknown"}
    names = ("--class-names", f"7={quoted(NAMES[0])}", quoted(NAMES[1]))
    found = did(capsys, "fuse", shares, tmp_path / "again.tif", *names)
    values = {area["name"]: area["value"] for area in found["areas"]}
    assert values == {"unknown": 0, NAMES[0]: 7, NAMES[1]: 2}
    polygons = tmp_path / "one.gpkg"
    found = did(capsys, "vectorize", fused, polygons, "--classes", quoted(NAMES[0]))
    assert [one["name"] for one in found["classes"]] == [NAMES[0]]
    meta, _, _, columns = pyogrio.raw.read(polygons)
    assert set(columns[list(meta["fields"]).index("name")]) == {NAMES[0]}
    table = tmp_path / "scores.csv"
    given = ("--class-names", *(f"{n}={quoted(name)}" for n, name in enumerate(NAMES, 1)))
    did(capsys, "evaluate", fused, fused, "--csv", table, *given)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert {row["name"] for row in rows} >= {NAMES[0]}


def test_polygons_with_such_names_are_evaluated_and_taught(tmp_path, capsys) -> None:
    from training.dataset import Dataset

    shape = (240, 240)
    image = write_raster(tmp_path / "image.tif", texture(*shape))
    columns = np.repeat([1, 2, 3], 80)
    mask = write_raster(tmp_path / "map.tif", np.tile(columns, (240, 1)).astype(np.uint8))
    left, top, size = TRANSFORM.c, TRANSFORM.f, TRANSFORM.a
    boxes = [
        shapely.box(left + n * 80 * size, top - 240 * size, left + (n + 1) * 80 * size, top)
        for n in range(3)
    ]
    pyogrio.raw.write(
        tmp_path / "areas.gpkg", shapely.to_wkb(np.array(boxes)), [np.array(NAMES, object)],
        ["kind"], geometry_type="Polygon", crs=UTM,
    )  # fmt: skip
    given = ("--class-names", *(f"{n}={quoted(name)}" for n, name in enumerate(NAMES, 1)))
    found = did(capsys, "evaluate", mask, tmp_path / "areas.gpkg", "--field", "kind", *given)
    assert [(one["name"], one["iou"]) for one in found["classes"]] == [(n, 1.0) for n in NAMES]
    chips = ("--labels", tmp_path / "areas.gpkg", "--field", "kind", "--chip-size", "48")
    for number, flags in enumerate(
        ((), ("--classes", f"{quoted(NAMES[2])}; built={join_names(NAMES[:2])}"))
    ):
        output = tmp_path / f"set{number}"
        did(capsys, "preparedataset", "raster", image, output, *chips, *flags)
        learned = [one.name for one in Dataset.open(output).classes]
        assert sorted(learned) == sorted([NAMES[2], "built"] if flags else NAMES)
    assert (read_raster(mask) > 0).all()
