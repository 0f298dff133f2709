# SPDX-License-Identifier: GPL-2.0-or-later
"""Types of what travels as JSON, for every kind of job."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from unet_segmenter.engine.errors import JobError
from unet_segmenter.engine.typed_json import fits, in_words
from unet_segmenter.runners.job_kinds import JOB_KINDS, load

JOBS: dict[str, dict[str, Any]] = {
    "segment": {"input": "a.tif", "output": "b.tif", "model": "toy"},
    "landcover": {"input": "a.tif", "output": "b.tif", "models": ["toy"]},
    "fuse": {"inputs": ["a.tif"], "output": "b.tif"},
    "refine": {"input": "a.tif", "output": "b.tif", "labels": "c.tif"},
    "evaluate": {"input": "a.tif", "reference": "b.tif"},
    "majorityfilter": {"input": "a.tif", "output": "b.tif"},
    "vectorize": {"input": "a.tif", "output": "b.gpkg"},
    "modelinfo": {"model": "toy"},
    "prepare": {"source": "a", "output": "b"},
    "train": {"dataset": "a", "output": "b"},
}
WRONG: dict[str, tuple[object, ...]] = {
    "str": (3, None, ["a"], True, "a\0b"),
    "int": (512.5, 512.0, "512", True, None, math.nan),
    "float": ("0.5", True, None, math.nan, math.inf, [0.5]),
    "bool": ("false", 0, None),
    "tuple[str, ...]": ("a", [1], ["\0"], None, {"a": 1}),
    "tuple[int, ...]": (1, ["1"], [1.5], [True], None),
    "tuple[float, ...]": (1.0, ["1"], [math.nan], None),
    "tuple[float, float, float, float]": ([1, 2, 3], [1, 2, 3, "4"], "1,2,3,4"),
}
FIELDS = [
    (kind, field.name, str(field.type))
    for kind in JOBS
    for field in dataclasses.fields(load(JOB_KINDS[kind].spec))
]


def read(kind: str, **changes: object) -> Any:
    spec = load(JOB_KINDS[kind].spec)
    return getattr(spec, "from_dict", spec.from_json)({**JOBS[kind], **changes})


def test_every_kind_of_job_is_checked() -> None:
    assert set(JOBS) == set(JOB_KINDS)
    for kind in JOBS:
        read(kind)


@pytest.mark.parametrize(("kind", "name", "annotation"), FIELDS)
def test_no_field_of_a_job_takes_another_type(kind: str, name: str, annotation: str) -> None:
    optional = annotation.endswith(" | None")
    for value in WRONG[annotation.removesuffix(" | None")]:
        if optional and value is None:
            continue
        with pytest.raises(JobError) as refused:
            read(kind, **{name: value})
        assert f"malformed: {name} must be {in_words(annotation)}, not" in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", JOBS)
def test_what_is_missing_or_unknown_is_named(kind: str) -> None:
    with pytest.raises(JobError, match="unknown key 'colour'"):
        read(kind, colour="red")
    spec = load(JOB_KINDS[kind].spec)
    with pytest.raises(JobError, match=f"incomplete: {next(iter(JOBS[kind]))} must be given"):
        getattr(spec, "from_dict", spec.from_json)({})


def test_a_whole_number_is_a_number_and_a_list_may_be_a_tuple() -> None:
    assert fits(1, "float")
    assert fits((1, 2.5), "tuple[float, ...]")
    assert read("segment", extent=[0, 0, 1, 1], threshold=1).extent == (0, 0, 1, 1)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(JobError) as refused:
        read("segment", tta="x" * 10_000)
    assert len(str(refused.value)) < 200
