# SPDX-License-Identifier: GPL-2.0-or-later
"""Text for a cell of a table that a spreadsheet may open."""

from __future__ import annotations

from typing import Any

# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain_cell(value: Any) -> Any:
    """Quote text that a spreadsheet would run as a formula; anything else stays.

    References
    ----------
    OWASP, "CSV Injection": an apostrophe before the first sign.

    Examples
    --------
    >>> plain_cell("=HYPERLINK(A1)")
    "'=HYPERLINK(A1)"
    >>> plain_cell("road"), plain_cell(-0.5)
    ('road', -0.5)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
