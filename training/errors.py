# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that tell the user which file of a data set or model is wrong, and why."""

from __future__ import annotations

from unet_segmenter.engine.errors import InputError, ModelError


class DatasetError(InputError):
    """A data set does not look as its format says; the message names the file."""


class WeightsError(ModelError):
    """A file of weights cannot be read, or does not fit the network."""
