# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs and results as values."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_segmenter.engine.errors import ERROR_KINDS, JobError, SegmenterError
from unet_segmenter.engine.job import (
    PRECISIONS,
    PROBABILITY_TYPES,
    RUNTIMES,
    ClassArea,
    JobResult,
    JobSpec,
)

NAMED = {"input": "in.tif", "output": "out.tif", "model": "aeroscapes"}
# Every field with another value than its default.
CHANGES: dict[str, Any] = {
    "input": "other.tif",
    "output": "elsewhere.tif",
    "model": "another",
    "classes": ("road",),
    "bands": (3, 2, 1),
    "extent": (0.0, 0.0, 1.0, 1.0),
    "aoi": "a.gpkg",
    "threshold": 0.25,
    "runtime": "openvino",
    "precision": "f32",
    "tta": True,
    "block_size": 64,
    "batch": 2,
    "halo": 32,
    "probability": "p.tif",
    "probability_type": "float32",
    "confidence": "c.tif",
    "nodata": (0.0,),
    "crs": "EPSG:32650",
}

# A text of a job holds no NUL and no half of a surrogate pair: neither a path nor JSON could.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1)
jobs = st.builds(
    JobSpec,
    input=st.just("in.tif"),
    output=st.just("out.tif"),
    model=texts,
    classes=st.lists(texts, unique=True).map(tuple),
    bands=st.lists(st.integers(1, 99)).map(tuple),
    extent=st.none() | st.just((-1.5, 2.0, 3.25, 4.0)),
    threshold=st.none() | st.floats(0, 1),
    runtime=st.sampled_from(RUNTIMES),
    precision=st.sampled_from(PRECISIONS),
    probability_type=st.sampled_from(PROBABILITY_TYPES),
    tta=st.booleans(),
    block_size=st.none() | st.integers(1, 4096),
    halo=st.none() | st.integers(0, 512),
    resume=st.booleans(),
)


@given(jobs)
def test_a_job_survives_the_way_through_json(job: JobSpec) -> None:
    assert JobSpec.from_json(json.loads(json.dumps(job.to_json()))) == job


def test_a_result_survives_the_way_through_json() -> None:
    result = JobResult(
        outputs={"OUTPUT": "/a.tif"},
        blocks=3,
        resumed_blocks=1,
        pixels=100,
        nodata_pixels=4,
        seconds=1.5,
        areas=(ClassArea(1, "road", "#112233", 9, None), ClassArea(0, "x", "#000000", 1, 2.5)),
        runtime="openvino",
        precision="bf16",
        model="toy",
        model_version="1",
        model_sha256="ab",
        warnings=("one", "two"),
    )
    assert JobResult.from_json(json.loads(json.dumps(result.to_json()))) == result


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"input": ""}, "input"),
        ({"output": ""}, "output"),
        ({"model": ""}, "model"),
        ({"runtime": "torch"}, "torch"),
        ({"precision": "f16"}, "f16"),
        ({"probability_type": "int8"}, "int8"),
        ({"classes": ("road", "road")}, "twice"),
        ({"bands": (0, 1)}, "count from 1"),
        ({"threshold": 1.01}, "1.01"),
        ({"threshold": -0.1}, "-0.1"),
        ({"threshold": float("nan")}, "nan"),
        ({"extent": (0, 0, 0, 1)}, "empty"),
        ({"extent": (0, 2, 1, 1)}, "empty"),
        ({"extent": (0, 0, 1)}, "four numbers"),
        ({"extent": (0, 0, 1, float("inf"))}, "four numbers"),
        ({"block_size": 0}, "block size"),
        ({"batch": 0}, "batch"),
        ({"halo": -1}, "halo"),
        ({"probability": "out.tif"}, "same path"),
        ({"confidence": "p.tif", "probability": "p.tif"}, "same path"),
        ({"output": "in.tif"}, "is the input"),
        ({"output": "folder/../in.tif"}, "is the input"),
        ({"summary": "in.tif"}, "is the input"),
    ],
)
def test_a_job_that_no_run_could_honour_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(JobError) as refused:
        JobSpec(**{**NAMED, **change})
    assert word in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_output_that_leads_to_the_input_by_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "in.tif").touch()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    with pytest.raises(JobError, match="is the input"):
        JobSpec(str(tmp_path / "real/in.tif"), str(tmp_path / "link/in.tif"), "toy")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({**NAMED, "colour": "red"}, "colour"),
        ({"input": "in.tif"}, "output"),
        ({**NAMED, "threshold": "high"}, "malformed"),
        ({**NAMED, "extent": "everywhere"}, "extent"),
        ({**NAMED, "bands": ["one"]}, "malformed"),
        ({**NAMED, "block_size": "big"}, "malformed"),
        ({**NAMED, "classes": None}, "malformed"),
        ({**NAMED, "output": 3}, "malformed"),
    ],
)
def test_malformed_json_is_told_as_such(content: dict[str, Any], word: str) -> None:
    with pytest.raises(JobError) as refused:
        JobSpec.from_json(content)
    assert word in str(refused.value)


@pytest.mark.parametrize(("name", "value"), CHANGES.items())
def test_the_fingerprint_changes_with_everything_that_decides_pixels(name: str, value: Any) -> None:
    job = JobSpec(**NAMED)
    assert dataclasses.replace(job, **{name: value}).fingerprint() != job.fingerprint()


def test_the_fingerprint_does_not_change_with_what_only_reports() -> None:
    job = JobSpec(**NAMED)
    assert dataclasses.replace(job, summary="s.html", resume=False).fingerprint() == (
        job.fingerprint()
    )
    told = set(CHANGES) | {"summary", "resume"}
    assert told == {f.name for f in dataclasses.fields(JobSpec)}, "a field without a test"


def test_outputs_are_those_asked_for() -> None:
    assert JobSpec(**NAMED).outputs() == {"OUTPUT": "out.tif"}
    job = JobSpec(**NAMED, probability="p.tif", confidence="c.tif", summary="s.html")
    assert list(job.outputs()) == ["OUTPUT", "PROBABILITY", "CONFIDENCE", "SUMMARY"]


def test_each_kind_of_error_has_its_exit_code() -> None:
    codes = {name: kind.exit_code for name, kind in ERROR_KINDS.items()}
    assert codes == {
        "SegmenterError": 1,
        "JobError": 2,
        "InputError": 3,
        "ModelError": 4,
        "RuntimeMissingError": 5,
        "OutputError": 6,
        "Cancelled": 130,
    }
    assert all(issubclass(kind, SegmenterError) for kind in ERROR_KINDS.values())
