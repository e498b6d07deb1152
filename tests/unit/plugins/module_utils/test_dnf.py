# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dnf says of a transaction."""

from ansible_collections.gpufleet.workstation.plugins.module_utils import _dnf

TABLE = """Last metadata expiration check: 0:00:02 ago on Sat Nov 28 10:32:28 2026.
Dependencies resolved.
================================================================================
 Package                Arch      Version                Repository        Size
================================================================================
Installing:
 cuda-toolkit-12-9      x86_64    12.9.2-1               gpufleet-cuda    5.6 k
     replacing  cuda-site.x86_64 1-1
 a-package-with-a-name-that-is-longer-than-its-column
                        x86_64    1-1                    gpufleet-cuda    5.6 k
Upgrading:
 libnccl                x86_64    2.32.3-1+cuda12.9      gpufleet-cuda    5.7 k
Downgrading:
 libcudnn9-cuda-12      x86_64    9.10.2.21-1            gpufleet-cuda    5.7 k
Installing dependencies:
 cuda-nvcc-12-9         x86_64    12.9.86-1              gpufleet-cuda    5.6 k
Removing dependent packages:
 site-tools             x86_64    3-1                    @site            5.6 k

Transaction Summary
================================================================================
Install  3 Packages
Removing: nothing that counts
"""


def test_what_would_be_changed_removed_and_replaced_is_read_from_dnfs_table():
    assert _dnf.parse_table(TABLE) == (["libnccl", "libcudnn9-cuda-12"], ["cuda-site", "site-tools"])


def test_no_table_is_nothing():
    assert _dnf.parse_table("Nothing to do.\nComplete!\n") == ([], [])
    assert _dnf.parse_table("") == ([], [])
