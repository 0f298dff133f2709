# SPDX-License-Identifier: GPL-2.0-or-later
"""What the plugin adds to QGIS's windows: a page in the options."""
