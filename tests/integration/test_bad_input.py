# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input: one clear sentence, the exit code of its kind, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.toy_cli import call
from tests.toy_jobs import WatchingProgress, segment
from tests.toy_models import write_brightness_model, write_card
from tests.toy_rasters import texture, write_raster
from unet_segmenter.engine.errors import OutputError

Arguments = list[Any]


@dataclass(frozen=True)
class Place:
    """A folder with a good raster and a good model, to spoil one or the other."""

    folder: Path

    @property
    def raster(self) -> Path:
        return self.folder / "in.tif"

    @property
    def model(self) -> Path:
        return self.folder / "models" / "bright"

    @property
    def output(self) -> Path:
        return self.folder / "out" / "m.tif"

    def arguments(self, **changes: Any) -> Arguments:
        """A call that works, but for the changes."""
        options = {"input": self.raster, "output": self.output, "model": self.model, **changes}
        given = [options.pop("input"), options.pop("output")]
        for name, value in options.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            given += [f"--{name.replace('_', '-')}", *values]
        return given


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    write_raster(place.raster, texture(64, 64))
    write_brightness_model(place.model)
    place.output.parent.mkdir()
    return place


def left_over(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def check_refused(
    folder: Path, arguments: Arguments, code: int, words: list[str]
) -> subprocess.CompletedProcess[str]:
    """The call fails with one line that holds the words, and leaves the folder as it was."""
    before = left_over(folder)
    done = call("segment", *arguments, "--quiet")
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("error: ")
    for word in words:
        assert word in errors[0]
    assert left_over(folder) == before
    return done


# Each writes what is wrong into the place, and returns what the call is given instead.


def not_a_raster(place: Place) -> Arguments:
    (place.folder / "text.tif").write_text("no raster\n")
    return place.arguments(input=place.folder / "text.tif")


def half_a_raster(place: Place) -> Arguments:
    whole = write_raster(place.folder / "whole.tif", texture(300, 300), compress="deflate")
    content = whole.read_bytes()
    (place.folder / "half.tif").write_bytes(content[: len(content) // 2])
    return place.arguments(input=place.folder / "half.tif")


def too_few_bands(place: Place) -> Arguments:
    return place.arguments(input=write_raster(place.folder / "two.tif", texture(9, 9, 2)))


def sixteen_bits(place: Place) -> Arguments:
    pixels = texture(64, 64).astype(np.uint16) * 257
    return place.arguments(input=write_raster(place.folder / "words.tif", pixels))


def shares(place: Place) -> Arguments:
    pixels = texture(64, 64).astype(np.float32) / 255
    return place.arguments(input=write_raster(place.folder / "shares.tif", pixels))


def broken_card(place: Place) -> Arguments:
    content = json.loads((place.model / "card.json").read_text())
    del content["divisor"]
    (place.model / "card.json").write_text(json.dumps(content))
    return place.arguments()


def other_weights(place: Place) -> Arguments:
    with (place.model / "model.onnx").open("ab") as file:
        file.write(b"\0")
    return place.arguments()


def no_polygons(place: Place) -> Arguments:
    aoi = place.folder / "aoi.geojson"
    point = {"type": "Point", "coordinates": [500_001, 5_299_999]}
    features = [{"type": "Feature", "properties": {}, "geometry": point}]
    aoi.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return place.arguments(aoi=aoi)


def no_vector_layer(place: Place) -> Arguments:
    (place.folder / "aoi.gpkg").write_text("nothing of the kind")
    return place.arguments(aoi=place.folder / "aoi.gpkg")


def a_far_area(place: Place) -> Arguments:
    aoi = place.folder / "aoi.geojson"
    ring = [[0, 0], [1, 0], [1, 1], [0, 0]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    features = [{"type": "Feature", "properties": {}, "geometry": polygon}]
    aoi.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return place.arguments(aoi=aoi)


def missing_folder(place: Place) -> Arguments:
    return place.arguments(output=place.folder / "absent" / "m.tif")


def a_folder_as_output(place: Place) -> Arguments:
    (place.folder / "folder.tif").mkdir()
    return place.arguments(output=place.folder / "folder.tif")


def summary_in_a_missing_folder(place: Place) -> Arguments:
    return place.arguments(summary=place.folder / "absent" / "s.html")


CASES: dict[str, tuple[Callable[[Place], Arguments], int, list[str]]] = {
    "no such file": (
        lambda p: p.arguments(input=p.folder / "none.tif"),
        3,
        ["There is no file", "none.tif", "check the path"],
    ),
    "a folder as raster": (lambda p: p.arguments(input=p.folder), 3, ["is a folder"]),
    "not a raster": (not_a_raster, 3, ["text.tif", "not a raster"]),
    "half a raster": (half_a_raster, 3, ["half.tif", "damaged or cut off"]),
    "a band that is not there": (
        lambda p: p.arguments(bands=[1, 2, 7]),
        3,
        ["no band 7", "has 3 bands"],
    ),
    "a band that cannot be": (lambda p: p.arguments(bands=[0, 1, 2]), 2, ["count from 1"]),
    "too few bands named": (
        lambda p: p.arguments(bands=[1, 2]),
        2,
        ["takes 3 bands", "red, green, blue"],
    ),
    "too few bands": (too_few_bands, 3, ["takes 3 bands", "two.tif", "has 2"]),
    "sixteen bits": (sixteen_bits, 3, ["uint16", "0 to 255", "gdal_translate -ot Byte -scale"]),
    "shares of one": (shares, 3, ["float32", "0 to 255", "another scale", "gdal_translate"]),
    "an unknown model": (
        lambda p: p.arguments(model="forests"),
        4,
        ["no model 'forests'", "library"],
    ),
    "a broken card": (broken_card, 4, ["card.json", "divisor is missing"]),
    "other weights than the card's": (other_weights, 4, ["model.onnx", "sha256", "damaged"]),
    "an unknown class": (
        lambda p: p.arguments(classes="swamp"),
        2,
        ["no class 'swamp'", "it has bright"],
    ),
    "a threshold that is no share": (
        lambda p: p.arguments(threshold=50),
        2,
        ["threshold", "from 0 to 1", "50"],
    ),
    "a negative halo": (lambda p: p.arguments(halo=-1), 2, ["halo", "-1"]),
    "an extent elsewhere": (
        lambda p: p.arguments(extent=[0, 0, 10, 10]),
        3,
        ["extent 0, 0, 10, 10", "does not touch", "which covers"],
    ),
    "an extent the wrong way round": (
        lambda p: p.arguments(extent=[10, 0, 0, 10]),
        2,
        ["extent is empty"],
    ),
    "an area without polygons": (no_polygons, 3, ["aoi.geojson", "no polygon"]),
    "an area that is no layer": (no_vector_layer, 3, ["aoi.gpkg", "not a polygon layer"]),
    "an area that is not there": (
        lambda p: p.arguments(aoi=p.folder / "aoi.gpkg"),
        3,
        ["no area of interest", "aoi.gpkg"],
    ),
    "an area elsewhere": (a_far_area, 3, ["does not touch", "right CRS"]),
    "a folder that is not there": (missing_folder, 6, ["no folder", "absent", "create it"]),
    "a folder as output": (a_folder_as_output, 6, ["is a folder"]),
    "no folder for the summary": (summary_in_a_missing_folder, 6, ["absent", "SUMMARY"]),
    "the input as output": (lambda p: p.arguments(output=p.raster), 2, ["is the input"]),
    "one file for two outputs": (
        lambda p: p.arguments(probability=p.output),
        2,
        ["same path"],
    ),
    "an unknown suffix": (
        lambda p: p.arguments(output=p.folder / "m.xyz123"),
        6,
        ["'.xyz123'", "use .tif"],
    ),
    "a runtime without weights": (
        lambda p: p.arguments(runtime="tensorflow"),
        4,
        ["no keras file", "Choose another runtime"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_told_in_one_sentence(case: str, place: Place) -> None:
    spoil, code, words = CASES[case]
    check_refused(place.folder, spoil(place), code, words)


def test_the_call_that_the_cases_spoil_works(place: Place) -> None:
    done = call("segment", *place.arguments())
    assert done.returncode == 0, done.stderr
    assert place.output.is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        ["in.tif"],
        ["in.tif", "out.tif", "--runtime", "torch"],
        ["in.tif", "out.tif", "--threshold", "high"],
        ["in.tif", "out.tif", "--extent", "1", "2"],
        ["in.tif", "out.tif", "--colour", "red"],
    ],
)
def test_a_call_that_is_no_sentence_of_the_command_line_exits_with_2(arguments: list[str]) -> None:
    done = call("segment", *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_also_told_as_json(place: Place) -> None:
    done = call("segment", *place.arguments(model="forests"), "--json")
    told = json.loads(done.stdout)["error"]
    assert (told["kind"], told["code"], done.returncode) == ("ModelError", 4, 4)
    assert f"error: {told['message']}" == done.stderr.strip()


def test_an_old_result_survives_a_run_that_fails(place: Place) -> None:
    place.output.write_text("the old map")
    check_refused(place.folder, half_a_raster(place), 3, ["damaged"])
    assert place.output.read_text() == "the old map"


# Disks: mounted where this process may mount, else skipped with the reason.


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system of memory with the given options; unmounts it afterwards."""
    mounted: list[Path] = []

    def make(*options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        if os.geteuid() != 0:
            pytest.skip("only root may mount a disk for this test")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_read_only_disk_is_refused_before_the_work(
    place: Place, mount: Callable[..., Path]
) -> None:
    disk = mount("ro", "size=1m")
    arguments = place.arguments(output=disk / "m.tif")
    check_refused(place.folder, arguments, 6, [str(disk), "read-only"])


def test_a_read_only_folder_is_refused_before_the_work(place: Place) -> None:
    if os.geteuid() == 0:
        pytest.skip("permissions do not bind root; the test with a read-only disk does")
    place.output.parent.chmod(0o555)
    try:
        check_refused(place.folder, place.arguments(), 6, ["read-only"])
    finally:
        place.output.parent.chmod(0o755)


def test_a_disk_too_small_is_refused_before_the_work(
    place: Place, mount: Callable[..., Path]
) -> None:
    disk = mount("size=64k")
    big = write_raster(place.folder / "big.tif", texture(300, 300))
    arguments = place.arguments(input=big, output=disk / "m.tif")
    check_refused(place.folder, arguments, 6, [str(disk), "GB free", "Free some space"])


def fill(disk: Path) -> None:
    """Use up all that is free."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


@pytest.mark.parametrize("moment", ["while blocks are written", "while outputs are written"])
def test_a_disk_that_fills_up_during_the_run_is_told_and_the_run_goes_on_later(
    moment: str, place: Place, mount: Callable[..., Path]
) -> None:
    disk = mount("size=8m")
    source = write_raster(place.folder / "big.tif", texture(400, 400))
    # Blocks finished before the disk is full, and at most after it: a page may have room left.
    before, after = {"while blocks are written": (5, 15), "while outputs are written": (16, 16)}[
        moment
    ]

    def at_block(done: int) -> None:
        if done == before and not (disk / "filler").exists():
            fill(disk)

    def run(progress: WatchingProgress) -> int:
        result = segment(
            source,
            disk / "m.tif",
            place.model,
            progress,
            block_size=100,
            probability=disk / "p.tif",
            probability_type="float32",
            summary=disk / "s.html",
        )
        return result.resumed_blocks

    with pytest.raises(OutputError) as refused:
        run(WatchingProgress(at_block))
    assert "\n" not in str(refused.value)
    assert not [p for p in disk.iterdir() if p.name not in ("filler", ".m.tif.unfinished")]
    (disk / "filler").unlink()
    assert before <= run(WatchingProgress()) <= after
    assert (disk / "m.tif").is_file()


def test_a_card_changed_after_its_weights_is_noticed(place: Place) -> None:
    write_card(place.model, halo=-1)
    check_refused(place.folder, place.arguments(), 4, ["card.json", "halo"])
