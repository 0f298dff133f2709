# SPDX-License-Identifier: GPL-2.0-or-later
"""Train, evaluate and export the models of U-Net Segmenter."""
