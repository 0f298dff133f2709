# SPDX-License-Identifier: GPL-2.0-or-later
"""Readers of labelled image sets."""
