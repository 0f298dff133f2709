# SPDX-License-Identifier: GPL-2.0-or-later
"""The Processing provider: thin algorithms that turn parameters into jobs. No widgets."""
