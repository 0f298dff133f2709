# SPDX-License-Identifier: GPL-2.0-or-later
"""One pass of several models equals segment, fuse, refine and filter, run one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.toy_jobs import WatchingProgress, segment
from tests.toy_models import write_brightness_model, write_deepness_model, write_toy_unet
from tests.toy_rasters import TRANSFORM, read_raster, texture, write_raster
from unet_segmenter.engine import predictor
from unet_segmenter.engine import run_landcover as module
from unet_segmenter.engine.crf_settings import CrfSettings
from unet_segmenter.engine.errors import Cancelled, InputError, JobError, ModelError
from unet_segmenter.engine.fuse_job import METHODS, FuseJob
from unet_segmenter.engine.landcover_job import LandcoverJob, LandcoverResult
from unet_segmenter.engine.majority import majority_filter
from unet_segmenter.engine.rasters.source import RasterSource
from unet_segmenter.engine.refine_job import RefineJob
from unet_segmenter.engine.run_fuse import run_fuse
from unet_segmenter.engine.run_landcover import run_landcover
from unet_segmenter.engine.run_refine import run_refine

HEIGHT, WIDTH = 150, 170
LAYERS = ("probability", "confidence", "conflict", "entropy")


def rename(folder: Path, **names: tuple[int, str, float]) -> Path:
    """Give the classes of a toy model's card other values, names and thresholds."""
    import json

    card = json.loads((folder / "card.json").read_text())
    for one in card["output"]["classes"]:
        if one["name"] in names:
            one["value"], one["name"], one["threshold"] = names[one["name"]]
            one["calibration"] = {"scale": 1.3, "offset": -0.2}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Three bands and three classes; four bands and another divisor; one class without halo."""
    folder = tmp_path_factory.mktemp("models")
    first = rename(write_toy_unet(folder / "first"), road=(7, "road", 0.37123456789))
    second = write_toy_unet(folder / "second", bands=4, classes=3, seed=11)
    second = rename(
        second, vegetation=(4, "meadow", 0.6), road=(5, "water", 0.4), sky=(6, "roof", 0.5)
    )
    return first, second, write_brightness_model(folder / "bright")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four bands, with a corner of nodata."""
    pixels = texture(HEIGHT, WIDTH, 4)
    pixels[pixels == 0] = 1
    pixels[:20, :30] = 0
    return write_raster(tmp_path_factory.mktemp("image") / "in.tif", pixels, nodata=0)


def run(
    source: Path, output: Path, models: Any, progress: Any = None, **options: Any
) -> LandcoverResult:
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
    job = LandcoverJob(
        input=str(source),
        output=str(output),
        models=tuple(map(str, models)),
        **{"precision": "f32", **settings},
    )
    return run_landcover(job, progress or WatchingProgress())


def step_by_step(
    folder: Path, source: Path, models: Any, fusion: dict[str, Any], **options: Any
) -> dict[str, np.ndarray]:
    """Layers of `segment` for each model and `fuse`."""
    kind = {"probability_type": fusion.get("probability_type", "uint8")}
    inputs = []
    for model in models:
        shares = folder / f"{Path(model).stem}_p.tif"
        segment(
            source, folder / f"{Path(model).stem}.tif", model, probability=shares,
            precision="f32", **kind, **options,
        )  # fmt: skip
        inputs.append(str(shares))
    files = {name: str(folder / f"chain_{name}.tif") for name in LAYERS}
    output = str(folder / "chain.tif")
    run_fuse(FuseJob(tuple(inputs), output, **files, **fusion), WatchingProgress())
    return {name: read_raster(path) for name, path in {**files, "output": output}.items()}


@pytest.mark.parametrize("method", METHODS)
def test_one_pass_equals_the_steps(method, image, models, tmp_path) -> None:
    fusion = {"method": method, "unknown_threshold": 0.45, "priority": ("bright", "water")}
    chain = step_by_step(tmp_path, image, models, fusion)
    files = {name: tmp_path / f"{name}.tif" for name in LAYERS}
    result = run(image, tmp_path / "output.tif", models, block_size=48, **fusion, **files)
    assert len(np.unique(chain["output"])) > 5
    for name, expected in chain.items():
        np.testing.assert_array_equal(read_raster(tmp_path / f"{name}.tif"), expected, name)
    assert (result.networks, len(result.models), result.blocks) == (3, 3, 16)
    assert result.nodata_pixels == 600
    assert result.conflict_share == pytest.approx(
        np.mean(chain["conflict"][chain["conflict"] != 255] > 1)
    )


def test_one_pass_with_float_probabilities_equals_the_steps(image, models, tmp_path) -> None:
    fusion = {"probability_type": "float32", "thresholds": ("0.3",), "method": "threshold"}
    chain = step_by_step(tmp_path, image, models[:1], fusion)
    run(image, tmp_path / "output.tif", models[:1], block_size=48, **fusion)
    np.testing.assert_array_equal(read_raster(tmp_path / "output.tif"), chain["output"])


@pytest.mark.parametrize("radius", [1, 6])
def test_the_majority_filter_of_one_pass_equals_that_of_the_whole_map(
    radius, image, models, tmp_path
) -> None:
    (fused,) = step_by_step(tmp_path, image, models, {"unknown_threshold": 0.5})["output"]
    expected = majority_filter(fused, radius, fused != 255)
    assert (expected != fused).mean() > 0.01
    options = {"unknown_threshold": 0.5, "majority_radius": radius, "block_size": 40}
    run(image, tmp_path / "output.tif", models, **options)
    np.testing.assert_array_equal(read_raster(tmp_path / "output.tif")[0], expected)


def test_models_with_the_same_weights_are_run_once(image, models, tmp_path, monkeypatch) -> None:
    first = models[0]
    twin = tmp_path / "twin"
    twin.mkdir()
    for name in ("model.onnx", "card.json"):
        (twin / name).write_bytes((first / name).read_bytes())
    rename(twin, vegetation=(9, "lawn", 0.5), sky=(10, "blue", 0.5), road=(11, "path", 0.5))
    opened = []
    open_predictor = module.open_predictor
    monkeypatch.setattr(
        module,
        "open_predictor",
        lambda card, *given: opened.append(card.name) or open_predictor(card, *given),
    )
    result = run(image, tmp_path / "output.tif", (first, twin))
    assert opened == ["first"]
    assert (result.networks, len(result.models)) == (1, 2)
    chain = step_by_step(tmp_path, image, (first, twin), {})
    np.testing.assert_array_equal(read_raster(tmp_path / "output.tif"), chain["output"])


def test_each_block_is_read_once_for_models_of_the_same_bands(
    image, models, tmp_path, monkeypatch
) -> None:
    windows = []
    read = RasterSource.read
    monkeypatch.setattr(
        RasterSource, "read", lambda self, *given: windows.append(given) or read(self, *given)
    )
    result = run(image, tmp_path / "output.tif", (models[0], models[2]), block_size=64)
    sampled = [given for given in windows if tuple(given[0].shape) == (128, 128)]
    assert result.blocks == 9
    assert len(windows) - len(sampled) <= 9 + 8, "one a block, and samples cut off at the edges"


def test_models_of_a_fixed_window_are_run_on_as_many_as_it_takes(image, tmp_path) -> None:
    model = write_deepness_model(tmp_path / "fixed.onnx", side=64, classes=2)
    image3 = write_raster(tmp_path / "image.tif", texture(HEIGHT, WIDTH))
    segment(image3, tmp_path / "m.tif", model, probability=tmp_path / "p.tif", precision="f32")
    run_fuse(FuseJob((str(tmp_path / "p.tif"),), str(tmp_path / "chain.tif")), WatchingProgress())
    run(image3, tmp_path / "output.tif", (model,), block_size=100)
    expected = read_raster(tmp_path / "chain.tif")
    assert len(np.unique(expected)) == 2
    np.testing.assert_array_equal(read_raster(tmp_path / "output.tif"), expected)


def test_an_extent_and_an_area_of_interest_leave_the_rest_out(image, models, tmp_path) -> None:
    area = tmp_path / "area.geojson"
    left, top = TRANSFORM.c, TRANSFORM.f
    ring = [(20, 30), (120, 30), (120, 100), (20, 100), (20, 30)]
    points = [[left + 0.25 * col, top - 0.25 * row] for col, row in ring]
    area.write_text(
        '{"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": '
        '"EPSG:32633"}}, "features": [{"type": "Feature", "properties": {}, "geometry": '
        f'{{"type": "Polygon", "coordinates": [{points}]}}}}]}}'
    )
    run(image, tmp_path / "all.tif", models, majority_radius=2)
    extent = (left + 0.25 * 10, top - 0.25 * 140, left + 0.25 * 150, top)
    run(image, tmp_path / "part.tif", models, aoi=area, extent=extent, block_size=32)
    with rasterio.open(tmp_path / "part.tif") as raster:
        assert raster.shape == (140, 140)
        assert (raster.transform.c, raster.transform.f) == (left + 2.5, top)
        part = raster.read(1)
    mapped = np.zeros(part.shape, bool)
    mapped[30:100, 10:110] = True
    np.testing.assert_array_equal(part != 255, mapped)


def test_an_area_of_interest_changes_no_class_that_is_refined(image, models, tmp_path) -> None:
    """Pixels outside of it lend context to the CRF and to the majority filter."""
    left, top = TRANSFORM.c, TRANSFORM.f
    ring = [(31, 30), (120, 38), (111, 101), (20, 95), (31, 30)]
    points = [[left + 0.25 * col, top - 0.25 * row] for col, row in ring]
    area = tmp_path / "area.geojson"
    area.write_text(
        '{"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": '
        '"EPSG:32633"}}, "features": [{"type": "Feature", "properties": {}, "geometry": '
        f'{{"type": "Polygon", "coordinates": [{points}]}}}}]}}'
    )
    refined = {"crf": "default", "sxy": 6.0, "srgb": 30.0, "iterations": 4, "majority_radius": 2}
    for method in ("argmax", "threshold"):
        options = {**refined, "method": method, "block_size": 48}
        run(image, tmp_path / "all.tif", models, **options)
        run(image, tmp_path / "part.tif", models, aoi=area, **options)
        everywhere, part = (read_raster(tmp_path / f"{n}.tif")[0] for n in ("all", "part"))
        inside = part != 255
        assert 0.1 < inside.mean() < 0.4
        np.testing.assert_array_equal(part[inside], everywhere[inside])


def test_the_map_tells_what_made_it_as_a_segmentation_does(image, models, tmp_path) -> None:
    segment(image, tmp_path / "s.tif", models[0], precision="f32")
    result = run(image, tmp_path / "c.tif", models[:1])
    told = []
    for name in ("s.tif", "c.tif"):
        with rasterio.open(tmp_path / name) as raster:
            told.append(raster.tags())
    keys = ("INPUT", "BANDS", "MODEL", "MODEL_VERSION", "MODEL_SHA256", "MODEL_LICENSE", "RUNTIME",
            "PRECISION", "COLORS", "THRESHOLDS", "TTA", "AREA_OF_INTEREST")  # fmt: skip
    for key in (f"UNET_SEGMENTER_{key}" for key in keys):
        assert told[0][key] == told[1][key], key
    assert told[1]["UNET_SEGMENTER_PRECISION"] == "f32"
    assert result.model_sha256 == (told[0]["UNET_SEGMENTER_MODEL_SHA256"],)


@pytest.mark.parametrize("what", ["segment", "landcover"])
def test_blocks_of_another_runtime_or_precision_are_not_taken_up(
    what, image, models, tmp_path, monkeypatch
) -> None:
    """What "auto" becomes may change between two runs, with what is installed."""

    def mapped(progress: WatchingProgress) -> Any:
        if what == "segment":
            return segment(image, tmp_path / "c.tif", models[0], progress, block_size=48)
        return run(image, tmp_path / "c.tif", models[:1], progress, block_size=48, precision="auto")

    with pytest.raises(Cancelled):
        mapped(WatchingProgress(stop_at=3))
    runtimes = {k: v for k, v in predictor.RUNTIMES.items() if k != "openvino"}
    monkeypatch.setattr(predictor, "RUNTIMES", runtimes)
    result = mapped(WatchingProgress())
    assert (result.runtime, result.resumed_blocks) == ("onnxruntime", 0)


def test_a_run_that_was_cancelled_goes_on_and_gives_the_same_bytes(image, models, tmp_path) -> None:
    options = {"block_size": 48, "majority_radius": 3}
    run(image, tmp_path / "whole.tif", models, **options)
    with pytest.raises(Cancelled):
        run(image, tmp_path / "c.tif", models, WatchingProgress(stop_at=3), **options)
    assert not (tmp_path / "c.tif").exists()
    result = run(image, tmp_path / "c.tif", models, **options)
    assert 3 <= result.resumed_blocks < result.blocks
    assert (tmp_path / "c.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_bands_may_be_named_for_all_models_or_one_by_one(image, models, tmp_path) -> None:
    two = (models[0], models[2])
    for name, bands in {"same": ("2", "3", "4"), "each": ("2,3,4", "2, 3, 4")}.items():
        run(image, tmp_path / f"{name}.tif", two, bands=bands)
    run(image, tmp_path / "other.tif", two, bands=("2,3,4", "1,2,3"))
    same, each, other = (read_raster(tmp_path / f"{n}.tif") for n in ("same", "each", "other"))
    np.testing.assert_array_equal(same, each)
    assert (same != other).any()


def test_classes_may_be_chosen_whichever_model_tells_them(image, models, tmp_path) -> None:
    result = run(image, tmp_path / "c.tif", models, classes=("sky", "water"))
    assert [area.name for area in result.areas] == ["unknown", "sky", "water"]
    assert result.networks == 2, "no class of the third model is wanted"


def test_the_summary_tells_models_and_shows_the_image(image, models, tmp_path) -> None:
    summary = tmp_path / "s.html"
    result = run(image, tmp_path / "c.tif", models, summary=summary, majority_radius=2)
    page = summary.read_text(encoding="utf-8")
    for words in ("Model first", "Model bright", "radius 2 px", "Left: the image."):
        assert words in page
    assert Path(result.outputs["QUICKLOOK"]).read_bytes()[:4] == b"\x89PNG"
    with rasterio.open(tmp_path / "c.tif") as raster:
        assert raster.tags()["UNET_SEGMENTER_MODEL"] == "first; second; bright"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": ("tree",)}, "None of the models has a class 'tree'"),
        ({"bands": ("1,2",) * 2}, "2 lists for 3 models"),
        ({"bands": ("one",)}, "must be numbers from 1"),
        ({"majority_radius": -1}, "from 0 to 100 px"),
        ({"priority": ("tree",)}, "PRIORITY names 'tree'"),
        ({"method": "median"}, "argmax, priority"),
        ({"sxy": 0.0}, "SXY must lie from"),
        ({"extent": (2.0, 0.0, 1.0, 1.0)}, "extent is empty"),
        ({"runtime": "abacus"}, "runtime must be one of"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(image, models, tmp_path, options, words) -> None:
    with pytest.raises(JobError, match=words):
        run(image, tmp_path / "c.tif", models, **options)


def test_models_and_rasters_that_are_not_there_are_named(image, models, tmp_path) -> None:
    with pytest.raises(JobError, match="MODELS names one twice"):
        run(image, tmp_path / "c.tif", (models[0], models[0]))
    with pytest.raises(JobError, match="No models"):
        run(image, tmp_path / "c.tif", ())
    with pytest.raises(ModelError, match="gone"):
        run(image, tmp_path / "c.tif", (tmp_path / "gone",))
    with pytest.raises(InputError, match=r"gone\.tif"):
        run(tmp_path / "gone.tif", tmp_path / "c.tif", models)


def test_a_job_and_its_result_survive_json(image, models, tmp_path) -> None:
    job = LandcoverJob(
        str(image), str(tmp_path / "c.tif"), tuple(map(str, models)), bands=("1", "2", "3"),
        crf="default", sxy=20.0, extent=(0.0, 0.0, 1.0, 1.0),
    )  # fmt: skip
    assert LandcoverJob.from_json(job.to_json()) == job
    assert job.crf_settings() == CrfSettings(sxy=20.0)
    result = run(image, tmp_path / "c.tif", models)
    assert LandcoverResult.from_json(result.to_json()) == result


def test_the_models_cards_decide_on_a_crf_where_nothing_else_is_said(
    image: Path, tmp_path: Path
) -> None:
    import json

    model = write_toy_unet(tmp_path / "model")
    content = json.loads((model / "card.json").read_text())

    def mapped(gains: bool, **options: Any) -> bytes:
        (model / "card.json").write_text(json.dumps({**content, "refinement": {"crf": gains}}))
        output = tmp_path / "map.tif"
        run(image, output, [model], sxy=5.0, iterations=2, **options)
        with rasterio.open(output) as found:
            return bytes(found.read(1))

    plain, refined = mapped(False, crf="no"), mapped(True, crf="default")
    assert plain != refined
    told = WatchingProgress()
    assert mapped(True, progress=told) == refined
    assert any("--no-crf" in message for _level, message in told.messages)
    assert mapped(False) == plain
    assert mapped(True, crf="no") == plain
    assert mapped(True, crf="models") == refined
    with pytest.raises(JobError, match="choice of a CRF must be one of models, no, default"):
        LandcoverJob("in.tif", "out.tif", ("m",), crf="full")


def test_one_model_s_map_has_the_unknown_of_its_segmentation(
    image: Path, models: Any, tmp_path: Path
) -> None:
    segment(image, tmp_path / "s.tif", models[0], precision="f32")
    result = run(image, tmp_path / "c.tif", models[:1], block_size=48)
    unknown, segmented = (read_raster(tmp_path / f"{name}.tif")[0] == 0 for name in "cs")
    assert 0.01 < unknown.mean() < 0.9
    # Probabilities are fused as a raster has them, in steps of 1/254.
    assert (unknown == segmented).mean() > 0.995
    assert result.unknown_share > 0.01


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose class "sky" is part of its class "vegetation"."""
    import json

    folder = write_toy_unet(tmp_path_factory.mktemp("parted") / "parted", seed=11)
    card = json.loads((folder / "card.json").read_text())
    card["output"]["classes"][2] |= {"part_of": "vegetation", "threshold": 0.45}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize("method", ["argmax", "threshold", "priority"])
def test_one_pass_equals_the_steps_where_a_class_is_part_of_another(
    method, image, parted, tmp_path
) -> None:
    fusion = {"method": method, "unknown_threshold": 0.45}
    chain = step_by_step(tmp_path, image, [parted], fusion)
    files = {name: tmp_path / f"{name}.tif" for name in LAYERS}
    run(image, tmp_path / "output.tif", [parted], block_size=48, **fusion, **files)
    for name, expected in chain.items():
        np.testing.assert_array_equal(read_raster(tmp_path / f"{name}.tif"), expected, name)
    vegetation, road, sky = read_raster(tmp_path / "parted_p.tif").astype(np.float32) / 254
    classes, valid = chain["output"][0], chain["output"][0] != 255
    claims = (vegetation >= 0.5, sky >= np.float32(0.45))
    assert {0, 1, 2, 3} <= set(np.unique(classes))
    np.testing.assert_array_equal(
        chain["conflict"][0][valid],
        ((claims[0] | claims[1]).astype(int) + (road >= 0.5))[valid],
    )
    if method == "argmax":
        whole = valid & (np.maximum(vegetation, road) >= np.float32(0.45))
        np.testing.assert_array_equal(
            classes[whole],
            np.where(vegetation >= road, np.where(claims[1], 3, 1), 2)[whole],
        )
        # The likeliest band of the probabilities is the class, as a refinement by them needs.
        likeliest = np.array([1, 2, 3, 0])[chain["probability"].argmax(axis=0)]
        assert np.mean(likeliest[valid] == classes[valid]) > 0.995


def test_a_binary_mask_of_a_class_includes_its_parts(image, parted, tmp_path) -> None:
    alone, both = tmp_path / "alone.tif", tmp_path / "both.tif"
    segment(image, alone, parted, classes=("vegetation",), probability=tmp_path / "p.tif",
            precision="f32")  # fmt: skip
    segment(image, both, parted, classes=("vegetation", "sky"), precision="f32")
    mask, classes = read_raster(alone)[0], read_raster(both)[0]
    np.testing.assert_array_equal(mask == 1, (classes == 1) | (classes == 3))
    assert (classes == 3).mean() > 0.1
    with rasterio.open(alone) as raster:
        assert "PART_OF" not in str(raster.tags())


def test_a_part_survives_the_refinement_by_probabilities(image, parted, tmp_path) -> None:
    """Without it the whole, whose probability is the higher one, would take all its parts."""
    plain, refined = tmp_path / "plain.tif", tmp_path / "refined.tif"
    run(image, plain, [parted], crf="no")
    run(image, refined, [parted], crf="default", compat=1.0, compat_gaussian=0.5, iterations=2)
    before, after = read_raster(plain)[0], read_raster(refined)[0]
    assert (after[before == 3] == 3).mean() > 0.8


def test_refining_the_probabilities_of_a_segmentation_keeps_parts_apart(
    image, parted, tmp_path
) -> None:
    shares, fused, refined = (tmp_path / f"{name}.tif" for name in ("p", "fused", "refined"))
    segment(image, tmp_path / "m.tif", parted, probability=shares, precision="f32")
    run_fuse(FuseJob((str(shares),), str(fused), unknown_threshold=0), WatchingProgress())
    job = RefineJob(str(image), str(refined), str(shares), compat=0, compat_gaussian=0)
    run_refine(job, WatchingProgress())
    vegetation, road, _ = read_raster(shares)
    untied = vegetation != road  # of equal ones the first band wins, and the part's is the last
    np.testing.assert_array_equal(read_raster(refined)[0][untied], read_raster(fused)[0][untied])
