# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module through Ansible: what it returns is what it documents, and a login is nowhere in what Ansible says."""

import hashlib
import json
import os
import sys

import yaml
from through_ansible import CHECKOUT, needs_ansible, play_tasks

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "contract"))
from returns import mismatches

MODULE = os.path.join(CHECKOUT, "plugins", "modules", "release_folder.py")

pytestmark = needs_ansible


def run(tmp_path, *words, **options):
    """Run the module by Ansible; return what Ansible said, and what was registered."""
    given = {"name": "tool", "root": str(tmp_path / "opt"), "cache_dir": str(tmp_path / "cache"), "version": "1.0"}
    given.update(options)
    tasks = [
        {"name": "Install", "gpufleet.workstation.release_folder": "{{ options }}", "register": "result"},
        {"name": "Note", "ansible.builtin.copy": {"content": "{{ result }}", "dest": str(tmp_path / "result.json")}},
    ]
    said = play_tasks(tmp_path, tasks, "-vvv", "--diff", *words, options=given).stdout
    result = tmp_path / "result.json"
    return said, json.loads(result.read_text()) if result.exists() else None


def test_what_is_documented_is_what_is_returned(tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "tool.jar").write_text("jar")
    checksum = "sha256:" + hashlib.sha256(b"jar").hexdigest()
    files = [{"path": "tool.jar", "checksum": checksum}]
    said, result = run(tmp_path, sources=["file://" + str(tmp_path / "mirror")], files=files)
    assert "changed=2" in said, said
    with open(MODULE, encoding="utf-8") as file:
        documented = yaml.safe_load(file.read().split('RETURN = r"""')[1].split('"""')[0])
    for name in ("changed", "diff", "failed", "gid", "uid", "owner", "group", "mode", "size", "state"):
        result.pop(name, None)  # Ansible's own, about what lies at RV(path)
    assert list(mismatches({"type": "dict", "contains": documented}, result, "release_folder")) == []
    assert result["downloads"] == [
        {
            "name": "tool.jar",
            "checksum": checksum,
            "source": "file://" + str(tmp_path / "mirror") + "/tool.jar",
            "bytes": 3,
        }
    ]


def test_a_login_is_in_nothing_that_ansible_says(tmp_path):
    said, _result = run(
        tmp_path, sources=["http://lab:canary%2Fword@127.0.0.1:9/mirror"], files=[{"path": "tool.tgz", "unpack": True}]
    )
    assert "failed=1" in said and "http://***@127.0.0.1:9/mirror/tool.tgz.sha512" in said, said
    assert "canary" not in said


def test_check_mode_asks_nobody(tmp_path):
    said, result = run(tmp_path, "--check", sources=["http://127.0.0.1:9"], files=[{"path": "tool.tgz"}])
    assert "failed=0" in said and "tool" in said, said
    assert result is None and not (tmp_path / "opt").exists()
