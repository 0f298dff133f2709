# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that tell the user which file of a data set or model is wrong, and why."""

from __future__ import annotations

from unet_segmenter.engine.errors import InputError, ModelError, SegmenterError


class DatasetError(InputError):
    """A data set does not look as its format says; the message names the file."""


class WeightsError(ModelError):
    """A file of weights cannot be read, or does not fit the network."""


class TrainingError(SegmenterError):
    """Training went astray: the loss is no number, or nothing can be learned from the data."""
