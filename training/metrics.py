# SPDX-License-Identifier: GPL-2.0-or-later
"""Moved: see unet_segmenter.engine.metrics."""

from unet_segmenter.engine.metrics import (  # noqa: F401
    BinaryCounts,
    confusion_matrix,
    counts_of_confusion,
)
