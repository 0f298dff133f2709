# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of the command line, one a module with `HELP`, `add_arguments` and `run`."""
