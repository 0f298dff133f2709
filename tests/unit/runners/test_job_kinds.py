# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of the kinds of job: what it names exists, and what is missing is told."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from unet_segmenter.engine import spec_texts
from unet_segmenter.engine.errors import JobError, RuntimeMissingError
from unet_segmenter.runners import job_kinds
from unet_segmenter.runners.job_kinds import JOB_KINDS, JobKind, PlainJob
from unet_segmenter.runners.protocol import decode_job, encode_job


@pytest.mark.parametrize("kind", sorted(JOB_KINDS))
def test_every_kind_names_a_class_and_a_function_that_exist(kind: str) -> None:
    pytest.importorskip("numpy")
    assert isinstance(job_kinds.load(JOB_KINDS[kind].spec), type)
    assert callable(job_kinds.load(JOB_KINDS[kind].run))


def test_naming_a_kind_imports_nothing_of_it(repository: Path) -> None:
    code = (
        "import sys; import unet_segmenter.runners.worker_process, unet_segmenter.cli; "
        "print([n for n in ('numpy', 'keras', 'training', 'rasterio') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_training_inside_the_plugin_s_folder_wins_over_one_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_plugin"
    for folder, text in ((package / "training", "inside"), (tmp_path / "training", "beside")):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "sample.py").write_text(f"PLACE = {text!r}\n")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(job_kinds, "_PACKAGE", "some_plugin")
    monkeypatch.setattr(job_kinds, "_PACKAGE_FOLDER", package)
    assert job_kinds.load("training.sample:PLACE") == "inside"


def test_missing_packages_are_named_with_the_remedy() -> None:
    kind = dataclasses.replace(JOB_KINDS["train"], modules=("sys", "a_package_that_is_not_there"))
    with pytest.raises(RuntimeMissingError) as raised:
        kind.read_job({})
    assert "lacks (a_package_that_is_not_there)" in str(raised.value)
    assert "WITH_TRAINING" in str(raised.value)


def test_a_module_that_cannot_be_imported_is_an_environment_error() -> None:
    with pytest.raises(RuntimeMissingError, match=r"gone.*WITH_TRAINING"):
        job_kinds.load("training.gone:Spec")


def test_a_plain_job_is_read_as_its_real_class_by_the_worker() -> None:
    values = {"input": "a.tif", "reference": "b.tif", "class_names": ["1=tree"]}
    kind, job = decode_job(encode_job("evaluate", PlainJob(values)))
    assert kind == "evaluate"
    assert (type(job).__name__, job.class_names, job.align) == ("EvaluateJob", ("1=tree",), False)
    with pytest.raises(JobError, match="colour"):
        decode_job(encode_job("evaluate", PlainJob({**values, "colour": 1})))


def test_a_prepared_data_set_is_told_in_numbers(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class Known:
        name: str

    class Set:
        folder, title, samples = tmp_path, "T", [1, 2, 3]
        classes = (Known("tree"),)
        details: ClassVar = {"split": {"method": "blocks", "leak": {"share": 0.1}}}

        def split(self, side: str) -> list[int]:
            return {"train": [1, 2], "validation": [3], "test": []}[side]

    told = JOB_KINDS["prepare"].tell(Set())
    assert told["sides"] == {"train": 2, "validation": 1, "test": 0}
    assert (told["samples"], told["classes"]) == (3, ["tree"])
    assert told["leak"]["share"] == 0.1
    assert told["report"] == str(tmp_path / "report.html")


def test_a_result_travels_as_plain_values() -> None:
    @dataclasses.dataclass
    class Trained:
        folder: Path
        metrics: dict[str, object]

    told = JOB_KINDS["train"].tell(Trained(Path("/m"), {"a": (1, Path("/x"))}))
    assert told == {"folder": "/m", "metrics": {"a": [1, "/x"]}}
    assert JobKind("a:b", "c:d").read_result(told) == told


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("green=grass,tree; road", ("green=grass,tree", "road")),
        ("grass, tree,", ("grass", "tree")),
        ("a#112233=b,c\n d", ("a#112233=b,c", "d")),
        ("semantic-drone-six", ("semantic-drone-six",)),
        (" ", ()),
    ],
)
def test_classes_are_read_alone_or_in_groups(text: str, groups: tuple[str, ...]) -> None:
    assert spec_texts.class_groups(text) == groups


@pytest.mark.parametrize(
    ("text", "shares"),
    [("75/25", (0.75, 0.25)), ("0.5 0.25 0.25", (0.5, 0.25, 0.25)), ("1,0", (1.0, 0.0))],
)
def test_shares_are_read_as_parts_of_1_or_100(text: str, shares: tuple[float, ...]) -> None:
    assert spec_texts.fractions(text) == shares


@pytest.mark.parametrize("text", ["", "75", "75/30", "half/half", "-25/125", "1/1/1/1"])
def test_shares_that_do_not_sum_up_are_refused(text: str) -> None:
    with pytest.raises(JobError, match="FRACTIONS"):
        spec_texts.fractions(text)


def test_a_size_is_width_and_height() -> None:
    assert spec_texts.size("960 x 540") == (960, 540)
    assert spec_texts.size(" ") == ()
    with pytest.raises(JobError, match="960x540"):
        spec_texts.size("960")


def test_keras_is_looked_for_and_not_imported() -> None:
    before = set(sys.modules)
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    with pytest.raises(RuntimeMissingError):
        dataclasses.replace(JOB_KINDS["train"], modules=("keras", "not_there")).read_job({})
    assert "keras" not in set(sys.modules) - before
