# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings of the property tests."""

from __future__ import annotations

from hypothesis import settings

# A loaded machine is no failure.
settings.register_profile("engine", deadline=None)
settings.load_profile("engine")
