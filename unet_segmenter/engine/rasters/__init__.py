# SPDX-License-Identifier: GPL-2.0-or-later
"""Georeferenced rasters, read and written: the only package that imports rasterio."""
