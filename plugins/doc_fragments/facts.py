# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all facts modules promise."""


class ModuleDocFragment:
    """Read by ansible-doc."""

    DOCUMENTATION = r"""
options:
  root:
    description:
      - Folder below which C(/sys), C(/proc) and C(/dev) are read.
      - Another folder than V(/) holds a recording or a stand-in of a machine. The facts carry it, so that reports can
        say so.
    type: path
    default: /
attributes:
  check_mode:
    description: Reads in check mode exactly as it reads otherwise.
    support: full
  diff_mode:
    description: There is nothing to compare, because nothing is changed.
    support: N/A
  facts:
    description: What it returns becomes part of the host's facts.
    support: full
  platform:
    description: Kernels whose files it can read.
    support: full
    platforms: linux
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
author:
  - The gpufleet authors (@gpufleet)
"""
