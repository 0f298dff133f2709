# SPDX-License-Identifier: GPL-2.0-or-later
"""Invariant 6: a result is whole or absent, and a killed run goes on from its blocks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.toy_cli import call, start
from tests.toy_jobs import WatchingProgress, segment
from tests.toy_models import write_card, write_deepness_model, write_toy_unet
from tests.toy_rasters import UTM, read_raster, texture, write_raster
from unet_segmenter.engine.block_journal import ENTRY_BYTES
from unet_segmenter.engine.errors import Cancelled, OutputError

SIDE = 640
BLOCKS = 19 * 19  # the first block of a row also writes where its halo would be
OUTPUTS = ("m.tif", "p.tif")


def journal_of(folder: Path) -> Path:
    return folder / ".m.tif.unfinished" / "finished_blocks"


def finished_blocks(folder: Path) -> int:
    try:
        return journal_of(folder).stat().st_size // ENTRY_BYTES
    except OSError:
        return 0


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def arguments(source: Path, model: Path, folder: Path) -> list[Any]:
    """A run of many blocks with two outputs."""
    given = ["segment", source, folder / "m.tif", "--model", model, "--block-size", 32]
    return [*given, "--probability", folder / "p.tif", "--precision", "f32", "--json"]


def wait_for_blocks(run: subprocess.Popen[str], folder: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while finished_blocks(folder) < count:
        assert run.poll() is None, f"it ended before block {count}: {run.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(tmp_path_factory.mktemp("source") / "in.tif", texture(SIDE, SIDE))


@pytest.fixture(scope="module")
def undisturbed(
    source: Path, toy_unet: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Bytes of the outputs of a run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = call(*arguments(source, toy_unet, folder))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["blocks"] == BLOCKS
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


def kill_and_finish(
    seed: int, source: Path, model: Path, folder: Path, expected: dict[str, bytes]
) -> None:
    random = np.random.default_rng(seed)
    block = int(random.integers(1, BLOCKS * 3 // 4))
    run = start(*arguments(source, model, folder))
    wait_for_blocks(run, folder, block)
    time.sleep(random.uniform(0, 0.02))
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert run.returncode == -signal.SIGKILL
    assert visible(folder) == []
    kept = finished_blocks(folder)
    assert block <= kept <= BLOCKS  # on a busy machine the kill may come after the last block
    done = call(*arguments(source, model, folder))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["resumed_blocks"] == kept
    for name, content in expected.items():
        assert (folder / name).read_bytes() == content, name
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_at_a_random_block_is_finished_by_the_same_command(
    seed: int, source: Path, toy_unet: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    kill_and_finish(seed, source, toy_unet, tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_twenty_runs_killed_at_random_blocks_are_finished_by_the_same_command(
    seed: int, source: Path, toy_unet: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    kill_and_finish(seed, source, toy_unet, tmp_path, undisturbed)


def test_a_run_killed_after_its_last_block_only_writes_its_outputs_again(
    source: Path, toy_unet: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    run = start(*arguments(source, toy_unet, tmp_path))
    wait_for_blocks(run, tmp_path, BLOCKS)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    for name in set(OUTPUTS) & set(visible(tmp_path)):  # what has its name is whole
        assert (tmp_path / name).read_bytes() == undisturbed[name]
    done = call(*arguments(source, toy_unet, tmp_path))
    assert done.returncode == 0, done.stderr
    for name, content in undisturbed.items():
        assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("resume", [True, False])
def test_an_interrupt_stops_within_two_seconds_and_keeps_only_what_resuming_needs(
    sent: signal.Signals, resume: bool, toy_unet: Path, tmp_path: Path
) -> None:
    source = write_raster(tmp_path / "in.tif", np.zeros((3000, 3000, 3), np.uint8))
    folder = tmp_path / "out"
    folder.mkdir()
    options = ["--block-size", 256, "--tta", "--quiet", *([] if resume else ["--no-resume"])]
    run = start("segment", source, folder / "m.tif", "--model", toy_unet, *options)
    wait_for_blocks(run, folder, 3)
    began = time.monotonic()
    run.send_signal(sent)
    _, told = run.communicate(timeout=60)
    assert time.monotonic() - began < 2
    assert run.returncode == 130
    assert "Traceback" not in told
    assert "cancelled" in told
    left = [p.name for p in folder.iterdir()]
    assert left == ([".m.tif.unfinished"] if resume else [])


# The same in one process, where a run is stopped at a block of our choice.


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "in.tif", texture(128, 128))


def stopped(source: Path, output: Path, model: Path, at: int = 4, **options: Any) -> None:
    """A run of nine blocks that is cancelled."""
    settings = {"block_size": 32, **options}
    with pytest.raises(Cancelled):
        segment(source, output, model, WatchingProgress(stop_at=at), **settings)


def resumed(source: Path, output: Path, model: Path, **options: Any) -> int:
    return segment(source, output, model, **{"block_size": 32, **options}).resumed_blocks


def test_a_cancelled_run_goes_on_from_its_blocks_and_says_so(
    small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    stopped(small, tmp_path / "m.tif", toy_unet)
    assert not (tmp_path / "m.tif").exists()
    progress = WatchingProgress()
    result = segment(small, tmp_path / "m.tif", toy_unet, progress, block_size=32)
    assert (result.resumed_blocks, result.blocks) == (4, 9)
    assert progress.steps[0] == (4, 9)
    assert any("with 4 finished blocks" in text for _, text in progress.messages)
    segment(small, tmp_path / "again.tif", toy_unet, block_size=32)
    assert (tmp_path / "m.tif").read_bytes() == (tmp_path / "again.tif").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 0.3},
        {"tta": True},
        {"block_size": 40},
        {"halo": 32},
        {"classes": ("road",)},
        {"bands": (3, 2, 1)},
        {"precision": "f32"},
        {"runtime": "onnxruntime"},
        {"probability": "p.tif"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_parameter_starts_anew(
    change: dict[str, Any], small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    stopped(small, tmp_path / "m.tif", toy_unet)
    if "probability" in change:
        change = {"probability": tmp_path / "p.tif"}
    assert resumed(small, tmp_path / "m.tif", toy_unet, **change) == 0
    segment(small, tmp_path / "fresh.tif", toy_unet, **{"block_size": 32, **change})
    assert (tmp_path / "m.tif").read_bytes() == (tmp_path / "fresh.tif").read_bytes()


def rewrite_input(folder: Path) -> None:
    write_raster(folder / "in.tif", texture(128, 128, seed=2))


def touch_input(folder: Path) -> None:
    state = (folder / "in.tif").stat()
    os.utime(folder / "in.tif", ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))


def exchange_weights(folder: Path) -> None:
    write_toy_unet(folder / "toy", seed=8)


def change_threshold_of_card(folder: Path) -> None:
    classes = json.loads((folder / "toy" / "card.json").read_text())["output"]["classes"]
    for one in classes:
        one["threshold"] = 0.4
    write_card(folder / "toy", output={"activation": "sigmoid", "classes": classes})


@pytest.mark.parametrize(
    "change", [rewrite_input, touch_input, exchange_weights, change_threshold_of_card]
)
def test_a_changed_input_or_model_starts_anew(
    change: Callable[[Path], None], small: Path, tmp_path: Path
) -> None:
    model = write_toy_unet(tmp_path / "toy")
    stopped(small, tmp_path / "m.tif", model)
    change(tmp_path)
    assert resumed(small, tmp_path / "m.tif", model) == 0


def test_a_changed_file_of_a_virtual_raster_starts_anew(
    small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{small.name}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in (1, 2, 3)
    )
    virtual = tmp_path / "in.vrt"
    virtual.write_text(
        f'<VRTDataset rasterXSize="128" rasterYSize="128"><SRS>{UTM}</SRS>{bands}</VRTDataset>'
    )
    stopped(virtual, tmp_path / "m.tif", toy_unet)
    touch_input(tmp_path)
    assert resumed(virtual, tmp_path / "m.tif", toy_unet) == 0


def test_an_unchanged_run_is_taken_up_whatever_it_reports(
    small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    stopped(small, tmp_path / "m.tif", toy_unet)
    assert resumed(small, tmp_path / "m.tif", toy_unet, summary=tmp_path / "s.html") == 4


def test_without_resume_nothing_is_taken_up_and_nothing_is_left(
    small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    stopped(small, tmp_path / "m.tif", toy_unet)
    stopped(small, tmp_path / "m.tif", toy_unet, resume=False)
    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]
    stopped(small, tmp_path / "m.tif", toy_unet)
    assert resumed(small, tmp_path / "m.tif", toy_unet, resume=False) == 0


def test_a_run_cancelled_before_its_first_block_leaves_nothing(
    small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    stopped(small, tmp_path / "m.tif", toy_unet, at=0)
    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.parametrize("bytes_lost", [1, 5, 8])
def test_a_torn_journal_entry_costs_a_block_and_nothing_else(
    bytes_lost: int, small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    stopped(small, tmp_path / "m.tif", toy_unet)
    journal = journal_of(tmp_path)
    os.truncate(journal, journal.stat().st_size - bytes_lost)
    assert resumed(small, tmp_path / "m.tif", toy_unet) == 3
    segment(small, tmp_path / "fresh.tif", toy_unet, block_size=32)
    assert (tmp_path / "m.tif").read_bytes() == (tmp_path / "fresh.tif").read_bytes()


def test_a_signature_that_cannot_be_read_starts_anew(
    small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    stopped(small, tmp_path / "m.tif", toy_unet)
    (tmp_path / ".m.tif.unfinished" / "run.json").write_text("{torn")
    assert resumed(small, tmp_path / "m.tif", toy_unet) == 0


def test_a_second_run_on_the_same_output_is_refused_and_the_first_goes_on(
    small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    refusals = []

    def second(done: int) -> None:
        if done == 3:
            with pytest.raises(OutputError, match=r"Another run is writing .*m\.tif") as refused:
                segment(small, tmp_path / "m.tif", toy_unet, block_size=32, threshold=0.9)
            refusals.append(refused)

    result = segment(small, tmp_path / "m.tif", toy_unet, WatchingProgress(second), block_size=32)
    assert len(refusals) == 1
    assert result.blocks == 9
    segment(small, tmp_path / "fresh.tif", toy_unet, block_size=32)
    assert (tmp_path / "m.tif").read_bytes() == (tmp_path / "fresh.tif").read_bytes()


def test_an_old_output_stays_until_the_new_one_is_whole(
    small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    old = tmp_path / "m.tif"
    old.write_text("the old map")
    stopped(small, old, toy_unet)
    assert old.read_text() == "the old map"

    def still_there(done: int) -> None:
        assert old.read_text() == "the old map"

    progress = WatchingProgress(still_there)
    segment(small, old, toy_unet, progress, block_size=32)
    assert len(progress.steps) >= 6
    assert old.read_bytes()[:2] == b"II"


def test_a_run_cancelled_while_outputs_are_written_leaves_none(
    small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    stopped(small, tmp_path / "m.tif", toy_unet, at=9)
    assert not (tmp_path / "m.tif").exists()
    assert resumed(small, tmp_path / "m.tif", toy_unet) == 9


def write_square(path: Path, side: float) -> Path:
    left, top = 500_002.0, 5_299_998.0
    ring = [[left, top], [left + side, top], [left + side, top - side], [left, top]]
    named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    geometry = {"type": "Polygon", "coordinates": [ring]}
    features = [{"type": "Feature", "properties": {}, "geometry": geometry}]
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": named, "features": features}))
    return path


def test_other_polygons_start_anew_and_the_same_in_another_file_do_not(
    small: Path, toy_unet: Path, tmp_path: Path
) -> None:
    """QGIS writes an area of interest to a new file for each run."""
    first = write_square(tmp_path / "a.geojson", 25)
    same = write_square(tmp_path / "b.geojson", 25)
    other = write_square(tmp_path / "c.geojson", 20)
    stopped(small, tmp_path / "m.tif", toy_unet, aoi=first)
    assert resumed(small, tmp_path / "m.tif", toy_unet, aoi=same) == 4
    stopped(small, tmp_path / "m.tif", toy_unet, aoi=first)
    assert resumed(small, tmp_path / "m.tif", toy_unet, aoi=other) == 0
    stopped(small, tmp_path / "m.tif", toy_unet, aoi=first)
    assert resumed(small, tmp_path / "m.tif", toy_unet) == 0


def test_a_run_does_not_go_on_with_other_weights_of_the_same_graph(
    small: Path, tmp_path: Path
) -> None:
    model = write_deepness_model(tmp_path / "soil.onnx", weights_file="soil.bin")
    stopped(small, tmp_path / "m.tif", model)
    weights = tmp_path / "soil.bin"
    numbers = np.frombuffer(weights.read_bytes(), np.float32)
    weights.write_bytes((-numbers).tobytes())  # the map turns inside out
    assert resumed(small, tmp_path / "m.tif", model) == 0
    segment(small, tmp_path / "fresh.tif", model, block_size=32)
    assert (read_raster(tmp_path / "m.tif") == read_raster(tmp_path / "fresh.tif")).all()
