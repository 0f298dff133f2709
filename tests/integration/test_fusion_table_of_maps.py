# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of fusions scores what the algorithms write: a frame of AeroScapes as a map layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.toy_rasters import read_raster, write_raster
from tests.training.tiny_fit import Listener
from training.crossvalidation_results import write_tallies
from training.dataset import Dataset
from training.evaluate import Tally
from training.fusion_table import FusionTableSpec, fusion_table
from training.prepare import prepare
from training.prepare_spec import PrepareSpec
from unet_segmenter.engine.crf_settings import CrfSettings
from unet_segmenter.engine.evaluate import run_evaluate
from unet_segmenter.engine.evaluate_job import EvaluateJob
from unet_segmenter.engine.fuse_job import METHODS, FuseJob
from unet_segmenter.engine.job import JobSpec
from unet_segmenter.engine.majority_job import MajorityFilterJob
from unet_segmenter.engine.pipeline import run_job
from unet_segmenter.engine.refine_job import RefineJob
from unet_segmenter.engine.run_fuse import run_fuse
from unet_segmenter.engine.run_majority import run_majority_filter
from unet_segmenter.engine.run_refine import run_refine

SIZE = (320, 180)
FRAMES = 2
RADIUS = 4
CRF = CrfSettings(sxy=10, iterations=3)


def frames_to_judge(source: Path) -> list[str]:
    """The frame of `val.txt` that shows the most classes, and one of another site."""
    stems = (source / "ImageSets" / "val.txt").read_text().split()
    masks = source / "SegmentationClass"
    shown = {stem: len(np.unique(Image.open(masks / f"{stem}.png"))) for stem in stems}
    first = max(shown, key=lambda stem: shown[stem])
    others = {stem: count for stem, count in shown.items() if stem[:3] != first[:3]}
    return [first, max(others, key=lambda stem: others[stem])]


@pytest.fixture(scope="module")
def dataset(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two frames of different sites, prepared as all are, but smaller."""
    folder = tmp_path_factory.mktemp("frames")
    source = shared_data / "aeroscapes"
    names = folder / "names.txt"
    names.write_text("\n".join(frames_to_judge(source)))
    spec = PrepareSpec(
        str(source), str(folder / "set"), "aeroscapes", only=str(names), size=SIZE,
        split="random", fractions=(0.5, 0.5),
    )  # fmt: skip
    return prepare(spec, Listener())


@pytest.fixture(scope="module")
def layers(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Each frame, its mask and the bundled model's probabilities, georeferenced."""
    folder = tmp_path_factory.mktemp("layers")
    found: dict[str, list[Path]] = {"image": [], "truth": [], "probability": []}
    for sample in dataset.samples:
        image, mask = dataset.read(sample)
        paths = {kind: folder / f"{kind}_{sample.name}.tif" for kind in found}
        write_raster(paths["image"], image)
        write_raster(paths["truth"], mask, nodata=255)
        job = JobSpec(
            input=str(paths["image"]), output=str(folder / f"mask_{sample.name}.tif"),
            model="aeroscapes", probability=str(paths["probability"]), precision="f32",
        )  # fmt: skip
        run_job(job, Listener())
        for kind, path in paths.items():
            found[kind].append(path)
    return found


@pytest.fixture(scope="module")
def rows(dataset: Dataset, layers: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory):
    """The table of these frames, each a fold, of the very probabilities of the rasters."""
    folder = tmp_path_factory.mktemp("folds")
    classes = len(dataset.classes)
    for number, (sample, path) in enumerate(
        zip(dataset.samples, layers["probability"], strict=True), 1
    ):
        here = folder / f"fold_{number}" / "predictions"
        here.mkdir(parents=True)
        steps = np.moveaxis(read_raster(path), 0, -1)
        np.savez_compressed(here / f"{sample.name}.npz", p=steps)
        _image, mask = dataset.read(sample)
        tally = Tally.of(steps / np.float32(254), mask, [0.5] * classes)
        write_tallies(here.parent / "tallies.npz", {sample.group: tally})

    def of(name: str) -> dict[tuple[str, str], dict[str, float | None]]:
        spec = FusionTableSpec(
            str(dataset.folder), str(folder), str(folder / "out"), names=(name,), radius=RADIUS,
            crf=CRF,
        )  # fmt: skip
        table = fusion_table(spec, Listener())["rows"]
        return {
            (row["method"], row["refinement"]): row["iou"] for row in table if not row["calibrated"]
        }

    return of


@pytest.mark.parametrize("number", range(FRAMES))
# Which class comes first is the data's to say in the table, and the user's in `fuse`.
@pytest.mark.parametrize("method", [name for name in METHODS if name != "priority"])
def test_maps_made_step_by_step_score_as_the_table_says(
    dataset, layers, rows, tmp_path, method, number
) -> None:
    image, truth, probability = (
        str(layers[kind][number]) for kind in ("image", "truth", "probability")
    )
    names = tuple(cls.name for cls in dataset.classes)
    maps = {name: str(tmp_path / f"{name}.tif") for name in ("none", "majority", "crf")}
    fused, shares = maps["none"], str(tmp_path / "shares.tif")
    rules = {"class_names": names, "method": method, "thresholds": ("0.5",)}
    if method == "argmax":  # the table gives each pixel a class
        rules["unknown_threshold"] = 0.0
    run_fuse(FuseJob((probability,), fused, probability=shares, **rules), Listener())
    run_majority_filter(MajorityFilterJob(fused, maps["majority"], radius=RADIUS), Listener())
    given = {"probability": shares} if method == "argmax" else {"labels": fused, "unknown": "keep"}
    crf = {"sxy": CRF.sxy, "iterations": CRF.iterations}
    run_refine(RefineJob(image, maps["crf"], **given, **crf), Listener())
    told = rows(dataset.samples[number].name)
    for refinement, path in maps.items():
        found = run_evaluate(EvaluateJob(path, truth, class_names=names), Listener())
        scored = {one.name: one.iou for one in found.classes}
        expected = told[method, refinement]
        assert sum(iou is not None for iou in expected.values()) >= 3
        # Scores of the table have 4 digits; and `fuse` writes shares in steps of 1/254.
        allowed = 3e-4 if (method, refinement) == ("argmax", "crf") else 6e-5
        for name, iou in expected.items():
            assert scored.get(name) == pytest.approx(iou, abs=allowed), (refinement, name)
