# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of the dense conditional random field (CRF), validated where they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import JobError

# Beyond this many standard deviations a neighbour counts for nothing: a Gaussian in the plane
# has 1 % of its weight there.
_REACH = 3.0

# Name -> module whose function `mean_field` infers.
SOLVERS = {"lattice": "crf_inference", "pydensecrf": "crf_pydensecrf"}


@dataclass(frozen=True)
class CrfSettings:
    """A dense CRF with two Gaussian kernels, as Krähenbühl and Koltun (2011) define it.

    The defaults are the course's, but for a pull of 10 instead of 40 and 10 instead of 30 steps:
    on eight aerial images the course's own gained less, and less of small things
    (`docs/refine.md`).

    Parameters
    ----------
    sxy : float
        How far in px pixels of like colour pull each other (standard deviation).
    srgb : float
        How like in colour they must be: standard deviation in units of a value range of 255.
    compat : float
        How strongly they pull: the cost of two labels.
    sxy_gaussian, compat_gaussian : float
        Reach in px and strength of the kernel that knows no colour: it removes single pixels.
    iterations : int
        Most steps of mean-field inference; it ends before where no label changes any more.
    gt_prob : float
        Probability that a label given is right, for the unary of `labels`.
    unknown_threshold : float, optional
        Probability below which "unknown" is likelier than the best class; None knows no
        "unknown". Of a single class it is the threshold between the class and the rest, and None
        stands for 0.5.
    solver : str
        "lattice", or "pydensecrf" for the reference implementation, where it is installed.

    Raises
    ------
    JobError
        If a parameter is out of its range.
    """

    sxy: float = 40.0
    srgb: float = 5.0
    compat: float = 10.0
    sxy_gaussian: float = 1.0
    compat_gaussian: float = 1.0
    iterations: int = 10
    gt_prob: float = 0.51
    unknown_threshold: float | None = None
    solver: str = "lattice"

    def __post_init__(self) -> None:
        """Refuse what no run could honour."""
        for name, low, high in (
            ("sxy", 1, 500),
            ("srgb", 0.1, 1000),
            ("compat", 0, 10_000),
            ("sxy_gaussian", 0.3, 10),
            ("compat_gaussian", 0, 10_000),
            ("iterations", 1, 1000),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise JobError(
                    f"{name.upper()} must lie from {low} to {high}, but it is {value:g}."
                )
        for name in ("gt_prob", "unknown_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise JobError(f"{name.upper()} must lie between 0 and 1, but it is {value:g}.")
        if self.solver not in SOLVERS:
            raise JobError(f"There is no solver {self.solver!r}; choose from {', '.join(SOLVERS)}.")

    @property
    def halo(self) -> int:
        """Context in px that a block needs around it."""
        return math.ceil(_REACH * max(self.sxy, self.sxy_gaussian))
