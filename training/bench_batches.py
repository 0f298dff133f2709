# SPDX-License-Identifier: GPL-2.0-or-later
"""python -m training.bench_batches DATASET: does making batches hold the training up?

Prints the steps per second of one network with the real pipeline and with one batch held in
memory, in turns, so that what else the machine does weighs on both alike; and the ratio of the
processor time of a step, which other programs change less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

_WARM_UP = 4  # steps, until as many batches are made ahead as ever will be


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and return 1 where the pipeline falls short of ``--least``."""
    parser = argparse.ArgumentParser(prog="python -m training.bench_batches", description=__doc__)
    parser.add_argument("dataset", help="prepared data set")
    parser.add_argument("--preset", default="lite0", help="network (lite0)")
    parser.add_argument("--size", type=int, default=320, help="side of the crops, px")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10, help="timed steps a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--maker", help="tf.data or threads")
    parser.add_argument("--least", type=float, default=0.0, help="ratio below which to fail")
    options = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    ratio = _measure(options)
    return int(ratio < options.least)


def _measure(options: argparse.Namespace) -> float:
    from .augment import Augmentation
    from .batches import group_weights, training_batches
    from .dataset import Dataset
    from .presets import Network, preset_of
    from .sample_cache import cached

    dataset, preset = Dataset.open(options.dataset), preset_of(options.preset)
    samples = dataset.split("train")
    began = time.perf_counter()
    source = cached(dataset, samples, dataset.rim)
    print(f"{len(samples)} samples ready in {time.perf_counter() - began:.1f} s")
    weights = group_weights([sample.group for sample in samples])
    how, scale = Augmentation(size=options.size), preset.scale(dataset)
    model = _compiled(preset.network(Network(len(dataset.classes), len(dataset.bands))))

    def real(turn: int) -> Iterator[tuple[Any, Any]]:
        steps = options.steps + _WARM_UP
        return training_batches(
            source, weights, steps, options.batch, how, (0, turn), scale, options.maker
        )

    held = next(iter(real(0)))
    model.train_on_batch(*held)  # builds its function
    speeds: dict[str, list[tuple[float, float]]] = {"held in memory": [], "real pipeline": []}
    for turn in range(options.turns):
        kinds: dict[str, Iterable] = {"held in memory": repeat(held), "real pipeline": real(turn)}
        for kind, batches in kinds.items():
            speeds[kind].append(_seconds_a_step(model, iter(batches), options.steps))
            wall, busy = speeds[kind][-1]
            print(f"turn {turn + 1}, {kind}: {1 / wall:.3f} steps/s, {busy:.2f} s CPU", flush=True)
    held_wall, real_wall = (statistics.median(s[0] for s in speeds[kind]) for kind in speeds)
    held_busy, real_busy = (statistics.median(s[1] for s in speeds[kind]) for kind in speeds)
    ratio = held_wall / real_wall
    print(
        f"real pipeline {1 / real_wall:.3f}, held in memory {1 / held_wall:.3f} steps/s: ratio "
        f"{ratio:.3f}; of processor time {held_busy / real_busy:.3f}"
    )
    print(f"peak memory {_peak_mb():.0f} MB")
    return ratio


def _seconds_a_step(model: Any, batches: Iterator, steps: int) -> tuple[float, float]:
    """Return the wall time and the processor time of a step, s."""
    for _ in range(_WARM_UP):
        model.train_on_batch(*next(batches))
    began, busy = time.perf_counter(), time.process_time()
    for _ in range(steps):
        model.train_on_batch(*next(batches))
    return (time.perf_counter() - began) / steps, (time.process_time() - busy) / steps


def _compiled(model: Any) -> Any:
    from .losses import DEFAULT_LOSS, LOSSES

    model.compile(optimizer="adam", loss=LOSSES[DEFAULT_LOSS["sigmoid"]], jit_compile=False)
    return model


def _peak_mb() -> float:
    """Return the largest resident size of this process, MB; pages of mapped files count too."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    kilo = 1024 if sys.platform != "darwin" else 1024**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / kilo


if __name__ == "__main__":
    raise SystemExit(main())
