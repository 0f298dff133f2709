# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a job runs: in this process, in a worker process, or on a cluster."""
