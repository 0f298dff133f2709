# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: what its flags become, and what it prints."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.toy_models import write_deepness_model
from tests.toy_rasters import read_raster, texture, write_raster
from unet_segmenter import cli
from unet_segmenter.engine.errors import OutputError
from unet_segmenter.engine.job import JobSpec
from unet_segmenter.engine.model_info import facts
from unet_segmenter.engine.model_library import DEFAULT_MODEL, ModelLibrary
from unet_segmenter.engine.open_model import open_model
from unet_segmenter.runners import in_process
from unet_segmenter.version import plugin_version


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Gives Ctrl-C back to the test runner, as a run takes it."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[JobSpec]:
    """Jobs that the command line asks for; none is run."""
    asked: list[JobSpec] = []

    def run(job: JobSpec, progress: Any) -> None:
        asked.append(job)
        raise OutputError("not run")

    monkeypatch.setattr(in_process, "run", run)
    return asked


def test_flags_become_a_job(jobs: list[JobSpec], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.tif").touch()
    flags = (
        "--model toy --classes road,sky vegetation --bands 3 2 1 --extent -1.5 2 3 4 "
        "--aoi a.gpkg --threshold 0.3 --runtime onnxruntime --precision f32 --tta "
        "--probability p.tif --probability-type float32 --confidence c.tif --summary s.html "
        "--block-size 512 --batch 2 --halo 64 --no-resume --quiet"
    )
    code = cli.main(["segment", "in.tif", "out.tif", *flags.split()])
    assert code == 6
    assert jobs == [
        JobSpec(
            input=str(tmp_path / "in.tif"),
            output=str(tmp_path / "out.tif"),
            model="toy",
            classes=("road", "sky", "vegetation"),
            bands=(3, 2, 1),
            extent=(-1.5, 2, 3, 4),
            aoi="a.gpkg",
            threshold=0.3,
            runtime="onnxruntime",
            precision="f32",
            tta=True,
            block_size=512,
            batch=2,
            halo=64,
            probability=str(tmp_path / "p.tif"),
            probability_type="float32",
            confidence=str(tmp_path / "c.tif"),
            summary=str(tmp_path / "s.html"),
            resume=False,
        )
    ]


def test_without_flags_the_defaults_are_the_jobs(jobs: list[JobSpec]) -> None:
    cli.main(["segment", "/data/in.tif", "/data/out.tif", "--quiet"])
    assert jobs == [JobSpec("/data/in.tif", "/data/out.tif", DEFAULT_MODEL)]


def test_a_models_path_wins_over_a_name(jobs: list[JobSpec]) -> None:
    cli.main(["segment", "/a.tif", "/b.tif", "--model", "x", "--model-file", "/m", "--quiet"])
    assert jobs[0].model == "/m"


def test_a_run_tells_its_outputs_and_covers(
    bright: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_raster(tmp_path / "in.tif", texture(40, 50))
    code = cli.main(["segment", str(source), str(tmp_path / "m.tif"), "--model", str(bright)])
    assert code == 0
    told = capsys.readouterr().out
    share = (read_raster(tmp_path / "m.tif") == 1).mean()
    assert f"OUTPUT: {tmp_path / 'm.tif'}" in told
    assert f"bright: {share:.1%}" in told


def test_a_result_is_told_as_json(
    bright: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_raster(tmp_path / "in.tif", texture(40, 50))
    arguments = ["segment", str(source), str(tmp_path / "m.tif"), "--model", str(bright)]
    assert cli.main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told["outputs"] == {"OUTPUT": str(tmp_path / "m.tif")}
    assert (told["pixels"], told["blocks"], told["resumed_blocks"]) == (2000, 1, 0)
    assert printed.err == ""


def test_models_are_listed_and_described(
    toy_unet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNET_SEGMENTER_MODELS", str(toy_unet.parent))
    assert cli.main(["modelinfo"]) == 0
    assert "toy_unet: Toy model (vegetation, road, sky)" in capsys.readouterr().out
    assert cli.main(["modelinfo", "toy_unet", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["bands"] == ["red", "green", "blue"]
    assert [c["value"] for c in described["classes"]] == [1, 2, 3]


def test_a_model_is_described_in_the_words_of_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_deepness_model(tmp_path / "soil.onnx")
    assert cli.main(["modelinfo", str(model)]) == 0
    told = capsys.readouterr().out
    assert "An ONNX model made for the Deepness plugin." in told
    for heading, fact in facts(open_model(str(model), ModelLibrary(()))).items():
        assert f"{heading}: {fact}" in told
    assert "Class 2: light (#1b9e77), threshold 0.5" in told
    assert cli.main(["modelinfo", str(model), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in described["classes"]] == ["dark", "light"]
    assert described["intact"] is True


def test_a_broken_card_is_told_and_does_not_hide_the_other_models(
    toy_unet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "card.json").write_text("{")
    folders = os.pathsep.join([str(tmp_path), str(toy_unet.parent)])
    monkeypatch.setenv("UNET_SEGMENTER_MODELS", folders)
    assert cli.main(["modelinfo"]) == 0
    told = capsys.readouterr()
    assert "toy_unet: Toy model" in told.out
    assert told.err.startswith("warning: The model card")


def test_an_unknown_model_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["modelinfo", "forests"]) == 4
    assert capsys.readouterr().err.startswith("error: There is no model 'forests'")


def test_what_nobody_foresaw_is_told_in_full_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(job: JobSpec, progress: Any) -> None:
        raise RuntimeError("out of tea")

    monkeypatch.setattr(in_process, "run", run)
    assert cli.main(["segment", "/a.tif", "/b.tif", "--quiet"]) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.rstrip().endswith("error: Unexpected error: out of tea")


def test_the_version_is_the_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.strip() == plugin_version()
