# SPDX-License-Identifier: GPL-2.0-or-later
"""A fit that is killed, really killed, goes on to the same curve."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="training needs keras")

from tests.training.tiny_fit import PLAN, Listener, batches, frames, network
from training.checkpoint import Checkpoint, read_history
from training.errors import WeightsError
from training.fit import compile_for_fit, fit

REPOSITORY = Path(__file__).resolve().parents[2]
CHILD = """
import sys, time
from pathlib import Path
from tests.training.tiny_fit import PLAN, Listener, batches, frames, network
from training.fit import fit

def slow(epoch):
    for number, batch in enumerate(batches(epoch)):
        if epoch == 2 and number == 3:
            print("in the third epoch", flush=True)
            time.sleep(120)
        yield batch

fit(network(dropout=0.2), slow, frames(), PLAN, Path(sys.argv[1]), Listener())
"""


def test_a_fit_ended_by_sigkill_resumes_to_the_same_curve(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "cut")],
        env=environment, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        fit(network(dropout=0.2), batches, frames(), PLAN, tmp_path / "whole", Listener())
        assert child.stdout.readline() == "in the third epoch\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert len(read_history(tmp_path / "cut")) == 2
    listener = Listener()
    began = time.time()
    fit(network(dropout=0.2, seed=99), batches, frames(), PLAN, tmp_path / "cut", listener)
    assert time.time() - began < 60
    assert "resumed after epoch 2 of 3" in listener.text()
    whole, resumed = (read_history(tmp_path / name) for name in ("whole", "cut"))
    for key in ("epoch", "loss", "val_loss", "mean_iou", "score", "rate"):
        expected = [row[key] for row in whole]
        assert [row[key] for row in resumed] == pytest.approx(expected, rel=2e-3, abs=2e-3), key
    assert whole[0]["loss"] != pytest.approx(whole[2]["loss"], rel=0.05)


def test_a_kill_between_history_and_state_repeats_the_epoch_without_doubling_its_row(tmp_path):
    model = network()
    checkpoint = Checkpoint(tmp_path, model, compile_for_fit(model, PLAN))
    rows = [{"epoch": float(n), "score": 0.1 * n} for n in (1, 2)]
    checkpoint.save(0.1, rows[:1])
    kept = (tmp_path / "last.npz").read_bytes()
    checkpoint.save(0.2, rows)
    (tmp_path / "last.npz").write_bytes(kept)
    best, history = checkpoint.load()
    assert best == pytest.approx(0.1)
    assert history == rows[:1]


def test_a_checkpoint_of_another_network_or_a_damaged_one_is_told_by_its_file(tmp_path):
    model = network()
    Checkpoint(tmp_path, model, compile_for_fit(model, PLAN)).save(0.0, [{"epoch": 1.0}])
    other = network(channels=5)
    with pytest.raises(WeightsError, match=r"last\.npz: the checkpoint of another network"):
        Checkpoint(tmp_path, other, compile_for_fit(other, PLAN)).load()
    path = tmp_path / "last.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(WeightsError, match=r"last\.npz: damaged"):
        Checkpoint(tmp_path, model, compile_for_fit(model, PLAN)).load()


def test_a_finished_fit_does_nothing_more(tmp_path):
    fit(network(), batches, frames(), PLAN, tmp_path, Listener())
    before = (tmp_path / "history.csv").read_text()

    def never(_epoch):
        raise AssertionError("no batch is wanted")

    state = fit(network(), never, frames(), PLAN, tmp_path, Listener())
    assert state.status == "finished"
    assert len(state.history) == 3
    assert (tmp_path / "history.csv").read_text() == before
    assert np.isfinite(state.best["score"])
