# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the folder a program: /opt/gpufleet/envs/pytorch/current/bin/python /opt/gpufleet/training_check --help."""

import os
import sys

if __package__ in (None, ""):
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from training_check import supervisor

if __name__ == "__main__":
    sys.exit(supervisor.main(sys.argv[1:]))
