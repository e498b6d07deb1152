# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dnf says of a transaction, and which keys rpm goes on trusting."""

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _dnf
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host, Result

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


class PlayedHost(Host):
    """A host below another root whose rpm is played."""

    def __init__(self, root, keys="", rc=0):
        Host.__init__(self, str(root))
        self.answer, self.calls = Result(rc, keys, "", None), []

    def run(self, argv, timeout, env=None, pass_fds=()):
        self.calls.append(argv)
        return self.answer


def test_where_rpm_does_not_say_which_keys_it_trusts_none_is_taken_for_new(tmp_path):
    with pytest.raises(Failed, match="rpm does not say which keys it trusts"):
        _dnf.Dnf(PlayedHost(tmp_path, rc=1), "/kept").trusted()


@pytest.mark.parametrize(("others", "gone"), [("", ["gpg-pubkey-5bb1e980-6b0a9fe7"]), ("the same key", [])])
def test_a_key_that_was_replaced_is_trusted_no_more_unless_another_file_has_it(tmp_path, monkeypatch, others, gone):
    monkeypatch.setattr(_dnf, "fingerprints", lambda text: ["A" * 32 + "5BB1E980"] if "the same key" in text else [])
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "RPM-GPG-KEY-site").write_text(others)
    host = PlayedHost(tmp_path, "gpg-pubkey-5bb1e980-6b0a9fe7\ngpg-pubkey-00000000-6b0a9fe7\n")
    _dnf.Dnf(host, "/kept").retire("the same key", "/keys")
    assert [argv[2] for argv in host.calls if argv[1] == "--erase"] == gone
