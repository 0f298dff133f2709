# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of job that a worker can do: one table, open for others.

A kind names its specification and its function by text, because the parent is QGIS's own Python,
which has none of the packages that they import: only the worker resolves them. The parent
describes such a job as a `PlainJob` and gets its result as plain JSON values.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Protocol

from ..engine.errors import RuntimeMissingError
from ..engine.job import JobResult
from .environment_check import REMEDY
from .memory import run_within_memory
from .training_environment import TRAINING_REMEDY

_PACKAGE_FOLDER = Path(__file__).resolve().parents[1]
_PACKAGE = __package__.rpartition(".")[0]


class JsonJob(Protocol):
    """A job that travels as JSON."""

    def to_json(self) -> dict[str, Any]:
        """The job as plain JSON values."""


@dataclass(frozen=True)
class PlainJob:
    """A job as its JSON values, for a Python that cannot import its class."""

    values: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The values themselves."""
        return dict(self.values)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PlainJob:
        """The job of these values, whatever they are."""
        return cls(values)


@dataclass(frozen=True)
class JobKind:
    """One kind of job.

    Parameters
    ----------
    spec, run : str
        "module:name" of the class of the job and of the function that does it, in the plugin's
        package or in `training`.
    tell : callable
        What the worker tells of the function's result: plain JSON values.
    read_result : callable
        What the parent makes of them.
    modules : tuple of str
        Modules that the environment must have, beyond those of the engine.
    seconds_to_stop : float
        How long a cancelled run may take to end by itself; then it is killed.
    less_memory : str
        What to do where memory ran out.
    less_native : str
        What to do where a native library crashed.
    """

    spec: str
    run: str
    tell: Callable[[Any], dict[str, Any]] = operator.methodcaller("to_json")
    read_result: Callable[[dict[str, Any]], Any] = dict
    modules: tuple[str, ...] = ()
    seconds_to_stop: float = 1.0
    less_memory: str = "Choose a smaller BLOCK_SIZE or BATCH, or close other programs"
    less_native: str = "Try another RUNTIME, or PRECISION f32"

    def read_job(self, values: dict[str, Any]) -> Any:
        """The job that the JSON values describe.

        Raises
        ------
        SegmenterError
            If they describe none, or the environment lacks what the job needs.
        """
        self._require_modules()
        spec = load(self.spec)
        # Some specifications read a text as JSON, and a mapping by `from_dict`.
        return getattr(spec, "from_dict", spec.from_json)(values)

    def do(self, job: Any, progress: Any) -> Any:
        """Do the job in this process and return its result."""
        return run_within_memory(load(self.run), job, progress, self.less_memory)

    def _require_modules(self) -> None:
        absent = [name for name in self.modules if importlib.util.find_spec(name) is None]
        if absent:
            raise RuntimeMissingError(
                f"Training needs packages that the engine's environment lacks "
                f"({', '.join(absent)}). {TRAINING_REMEDY}"
            )


def _tell_fields(result: Any) -> dict[str, Any]:
    """The fields of a dataclass as plain JSON values."""
    return {key: _plain(value) for key, value in dataclasses.asdict(result).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _labels_in_words(details: Mapping[str, Any]) -> str:
    """How much of a data set is labelled, in words."""
    rows = details.get("balance", {}).values()
    total = sum(row["total_px"] for row in rows)
    share = 1 - sum(row["ignored_px"] for row in rows) / max(total, 1)
    only = ", samples only" if details.get("labelled") == "samples" else ""
    return f"{share:.1%} of the pixels labelled{only}"


def _tell_prepared(dataset: Any) -> dict[str, Any]:
    """What a `training.dataset.Dataset` is, for who cannot open it."""
    details, folder = dataset.details, Path(dataset.folder).absolute()
    sides = ("train", "validation", "test")
    return {
        "folder": str(folder),
        "title": dataset.title,
        "classes": [known.name for known in dataset.classes],
        "samples": len(dataset.samples),
        "sides": {side: len(dataset.split(side)) for side in sides},
        "split": details["split"].get("method"),
        "leak": details["split"].get("leak", {}),
        "labels": _labels_in_words(details),
        "report": str(folder / "report.html"),
        "sheet": str(folder / "contact_sheet.png"),
    }


JOB_KINDS: dict[str, JobKind] = {
    "segment": JobKind(
        "engine.job:JobSpec", "engine.pipeline:run_job", read_result=JobResult.from_json
    ),
    "landcover": JobKind(
        "engine.run_landcover:LandcoverJob",
        "engine.run_landcover:run_landcover",
        less_memory="Choose a smaller BLOCK_SIZE, or close other programs",
    ),
    "fuse": JobKind(
        "engine.run_fuse:FuseJob",
        "engine.run_fuse:run_fuse",
        less_memory="Choose a smaller BLOCK_SIZE, or close other programs",
        less_native="See whether all inputs open in QGIS",
    ),
    "refine": JobKind(
        "engine.run_refine:RefineJob",
        "engine.run_refine:run_refine",
        less_memory="Choose a smaller BLOCK_SIZE or SXY, or close other programs",
        less_native="See whether the image and the map open in QGIS",
    ),
    "evaluate": JobKind(
        "engine.evaluate:EvaluateJob",
        "engine.evaluate:run_evaluate",
        less_memory="Close other programs",
        less_native="See whether both files open in QGIS",
    ),
    "majorityfilter": JobKind(
        "engine.majority_job:MajorityFilterJob",
        "engine.run_majority:run_majority_filter",
        less_memory="Choose a smaller BLOCK_SIZE, or close other programs",
        less_native="See whether the file opens in QGIS",
    ),
    "vectorize": JobKind(
        "engine.vectorize_job:VectorizeJob",
        "engine.run_vectorize:run_vectorize",
        less_memory="Smooth the map with majorityfilter first, or close other programs",
        less_native="See whether the files open in QGIS",
    ),
    "modelinfo": JobKind(
        "engine.model_info:ModelInfoJob",
        "engine.model_info:run_model_info",
        less_memory="Close other programs",
        less_native="Get the model again",
    ),
    "prepare": JobKind(
        "training.prepare_spec:PrepareSpec",
        "training.prepare:prepare",
        tell=_tell_prepared,
        less_memory="Choose a smaller CHIP_SIZE or SCALE, or close other programs",
        less_native="See whether the files open in another program",
    ),
    "train": JobKind(
        "training.train_spec:TrainSpec",
        "training.train:train",
        tell=_tell_fields,
        modules=("keras", "matplotlib", "onnx"),
        # It stops between two steps, and a step of large crops on a small machine takes a while.
        seconds_to_stop=30.0,
        less_memory="Choose a smaller BATCH or SIZE, or close other programs",
        less_native="Run it again: it goes on from the last epoch; try a smaller BATCH",
    ),
}


def _is_ours(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] in (
        _PACKAGE.partition(".")[0],
        "training",
    )


def load(reference: str) -> Any:
    """The object that "module:name" means.

    `training` lies inside the plugin's folder where the plugin is installed, and beside the
    package in a checkout. It is found by name at run time: the plugin never imports it.

    Raises
    ------
    RuntimeMissingError
        If a package that the module imports is absent.
    """
    module, _, name = reference.partition(":")
    inside = not module.startswith("training.") or (_PACKAGE_FOLDER / "training").is_dir()
    try:
        found = importlib.import_module(f"{_PACKAGE}.{module}" if inside else module)
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError) and _is_ours(error.name):
            raise  # no package is missing: no set-up would mend it
        remedy = TRAINING_REMEDY if module.startswith("training.") else REMEDY
        raise RuntimeMissingError(f"The engine cannot start: {error}. {remedy}") from error
    return getattr(found, name)
