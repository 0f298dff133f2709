# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference implementation of the dense CRF: the only importer of pydensecrf.

The package to install is pydensecrf2. It holds Python's lock while it computes, so it uses one
core. Its helper for the bilateral kernel takes three bands of bytes only; here the features are
made for any number of bands.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydensecrf import densecrf

from .crf_settings import CrfSettings

FloatArray = NDArray[np.float32]
Mask = NDArray[np.bool_]


def mean_field(
    features: FloatArray,
    unary: FloatArray,
    wanted: Mask,
    used: Mask,
    settings: CrfSettings,
    *,
    origin: tuple[int, int] = (0, 0),
    stop: Callable[[], None] = lambda: None,
) -> FloatArray:
    """Marginals of the classes after all iterations; as `crf_inference.mean_field`."""
    probabilities = np.maximum(unary[used].T, np.float32(1e-20))
    classes, count = probabilities.shape
    rows, cols = np.nonzero(used)
    places = np.stack([cols + origin[1], rows + origin[0]]).astype(np.float32)
    model = densecrf.DenseCRF(count, classes)
    model.setUnaryEnergy(np.ascontiguousarray(-np.log(probabilities)))
    if settings.compat_gaussian:
        near = places / np.float32(settings.sxy_gaussian)
        model.addPairwiseEnergy(near, compat=settings.compat_gaussian)
    if settings.compat:
        alike = np.concatenate(
            [places / np.float32(settings.sxy), features[used].T / np.float32(settings.srgb)]
        )
        model.addPairwiseEnergy(np.ascontiguousarray(alike), compat=settings.compat)
    marginals, first, second = model.startInference()
    for _ in range(settings.iterations):
        stop()
        model.stepInference(marginals, first, second)
    result = unary.copy()
    result[used] = np.array(marginals).T
    result[~wanted] = unary[~wanted]
    return result
