# SPDX-License-Identifier: GPL-2.0-or-later
"""Training on several devices, and on Keras's other backends where they are installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

TWO_DEVICES = """
import json, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.training.tiny_fit import PLAN, Listener, batches, frames, network
from training.fit import compile_for_fit, fit
from training.stepping import Stepper, scope_of, strategy_over
from unet_segmenter.engine.errors import JobError

strategy = strategy_over(["CPU:0", "CPU:1"])
told = {"devices": strategy.num_replicas_in_sync, "one": strategy_over(["CPU:0"]) is None}
with scope_of(strategy):
    model = network()
compile_for_fit(model, PLAN, strategy)
images, labels = next(iter(batches(0)))
step = Stepper(model, strategy)
told["nan"] = bool(np.isnan(step(images * np.nan, labels))) and step.skipped == 1
told["loss"] = step(images, labels)
try:
    step(images[:3], labels[:3])
except JobError as error:
    told["odd"] = str(error)
with scope_of(strategy):
    model = network()
state = fit(model, batches, frames(), replace(PLAN, epochs=2), Path(sys.argv[1]), Listener(),
            strategy=strategy)
told["losses"] = [row["loss"] for row in state.history]
told["iou"] = state.best["mean_iou"]
alone = network()
compile_for_fit(alone, PLAN)
told["parts"] = [float(Stepper(alone)._take(images[:2], labels[:2]))]
alone = network()
compile_for_fit(alone, PLAN)
told["parts"].append(float(Stepper(alone)._take(images[2:], labels[2:])))
with scope_of(strategy):
    model = network()
compile_for_fit(model, PLAN, strategy)
told["both"] = Stepper(model, strategy)(images, labels)
print("TOLD", json.dumps(told))
"""

SHORT_FIT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import keras
import numpy as np
from tests.training.tiny_fit import PLAN, Listener, batches, frames, network
from training.fit import compile_for_fit, fit
from training.optimizers import to_numpy
from training.stepping import Stepper

model = network()
compile_for_fit(model, PLAN)
step, (images, labels) = Stepper(model), next(iter(batches(0)))
values = lambda: [to_numpy(one) for one in (*model.variables, model.optimizer.iterations)]
states = [values()]
for factor in (1, np.nan):
    step(images * factor, labels)
    states.append(values())
same = lambda one, other: [bool(np.array_equal(a, b)) for a, b in zip(one, other)]
told = {"compiled": bool(model.jit_compile), "moved": not any(same(*states[:2])),
        "kept": all(same(*states[1:]))}

def some(epoch):
    for number, (images, labels) in enumerate(batches(epoch)):
        yield (images * np.nan if (epoch, number) == (0, 3) else images), labels

first = fit(network(dropout=0.1), some, frames(), PLAN, Path(sys.argv[1]), Listener())
again = fit(network(seed=5, dropout=0.1), some, frames(), PLAN, Path(sys.argv[1]), Listener())
rows = [{k: row[k] for k in ("loss", "mean_iou", "skipped", "rate")} for row in first.history]
print("TOLD", json.dumps({"backend": keras.backend.backend(), "rows": rows,
                          "again": len(again.history), **told}))
"""


def _run(code, folder, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={
            **os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *_inherited()]),
            "TF_CPP_MIN_LOG_LEVEL": "3", **environment,
        },
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("TOLD "))
    return json.loads(line.removeprefix("TOLD "))


def _inherited():
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def test_two_devices_share_a_batch_and_learn(tmp_path):
    pytest.importorskip("tensorflow", reason="training needs tensorflow")
    told = _run(TWO_DEVICES, tmp_path)
    assert told["devices"] == 2
    assert told["one"]
    assert told["nan"]
    assert told["losses"][1] < told["losses"][0]
    assert told["iou"] > 0.3
    assert told["odd"].startswith("a batch of 3 cannot be shared evenly by 2 devices")
    # Each device has its own loss over its half; what is told is their mean.
    assert told["both"] == pytest.approx(sum(told["parts"]) / 2, rel=1e-3)
    assert told["parts"][0] != pytest.approx(told["parts"][1], rel=1e-3)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_code_trains_on_another_backend(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: training was tested on TensorFlow only")
    told = _run(SHORT_FIT, tmp_path, KERAS_BACKEND=backend)
    assert told["backend"] == backend
    # On JAX a step that is not compiled runs one operation at a time: seconds on a GPU.
    assert told["compiled"] == (backend == "jax")
    assert told["moved"]
    assert told["kept"], "a step left out has changed weights or moving statistics"
    rows = told["rows"]
    assert [row["skipped"] for row in rows] == [1, 0, 0]
    assert rows[2]["loss"] < 0.8 * rows[0]["loss"]
    assert rows[2]["mean_iou"] > 0.4
    assert told["again"] == 3
