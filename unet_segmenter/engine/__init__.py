# SPDX-License-Identifier: GPL-2.0-or-later
"""Pure Python engine: rasters in, land-cover masks out, with no QGIS import."""
