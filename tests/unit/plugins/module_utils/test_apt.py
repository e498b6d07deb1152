# -*- coding: utf-8 -*-
"""What apt and dpkg say, read."""

import fcntl
import os
import subprocess
import sys

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _apt as apt
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host, Result

POLICY = """nvidia-smi:
  Installed: (none)
  Candidate: 535.261.03-1
  Version table:
     535.261.03-1 500
        500 http://mirror.example.org/debian bookworm/non-free amd64 Packages
 *** 535.247.01-1~deb12u1 100
        100 /var/lib/dpkg/status
nvidia-none:
  Installed: (none)
  Candidate: (none)
  Version table:
"""


def test_candidates_and_versions_are_read_from_a_policy():
    read = apt.parse_policy(POLICY)
    assert read["nvidia-smi"] == ("535.261.03-1", ["535.261.03-1", "535.247.01-1~deb12u1"])
    assert read["nvidia-none"] == (None, [])


def test_what_is_pinned_or_only_installed_does_not_hide_what_apt_would_take_unasked():
    text = POLICY.split("nvidia-none", maxsplit=1)[0].replace("535.247.01-1~deb12u1 100", "535.247.01-1~deb12u1 1001")
    assert apt.parse_offered(text) == ["535.261.03-1", "535.247.01-1~deb12u1"]
    assert apt.parse_offered(text.replace("535.261.03-1 500", "535.261.03-1~bpo12+1 100")) == ["535.247.01-1~deb12u1"]


def test_a_simulation_says_what_comes_and_what_goes():
    text = (
        "NOTE: This is only a simulation!\n"
        "Remv nvidia-smi [535.247.01-1]\n"
        "Inst libcuda1:i386 [1] (2:535.261.03-1 Debian:12/stable [i386])\n"
        "Inst nvidia-kernel-dkms (535.261.03-1 Debian:12 [amd64]) []\n"
        "Conf nvidia-kernel-dkms (535.261.03-1 Debian:12 [amd64])\n"
    )
    assert apt.parse_simulation(text) == (
        {"libcuda1:i386": "2:535.261.03-1", "nvidia-kernel-dkms": "535.261.03-1"},
        ["nvidia-smi"],
    )


def test_packages_that_are_gone_do_not_count_and_those_of_a_foreign_architecture_are_called_so():
    text = (
        "dpkg\tamd64\t1\tinstall ok installed\na\tamd64\t1\tinstall ok installed\n"
        "a\ti386\t1\tinstall ok half-configured\nb\tamd64\t2\thold ok installed\n"
        "c\tall\t3\tdeinstall ok config-files\nc\ti386\t3\tdeinstall ok config-files\n"
        "d\tamd64\t\tunknown ok not-installed\nrubbish\n"
    )
    read = apt.parse_query(text)
    assert sorted(read) == ["a", "a:i386", "b", "dpkg"]
    assert (read["a:i386"].status, read["b"].held) == ("half-configured", True)
    assert apt.parse_removed(text) == ["c", "c:i386"]


@pytest.mark.parametrize(
    ("version", "short"), [("535.261.03-1~deb12u1", "535.261.03"), ("1:4.4.1-1", "4.4.1"), ("580", "580"), ("", "")]
)
def test_the_upstream_part_of_a_version(version, short):
    assert apt.upstream(version) == short


def test_of_much_that_was_said_the_errors_are_told():
    said = Result(100, "Reading...\nE: first\nmore\nE: second\n", "", None)
    assert apt.complaints(said) == "E: first E: second"
    assert apt.complaints(Result(None, "", "", "timed out after 5 s")) == "timed out after 5 s"
    assert apt.complaints(Result(3, "", "", None)) == "it ended with status 3"


def test_who_holds_a_lock_is_known_and_nobody_is_none(tmp_path):
    path = tmp_path / "lock"
    path.write_text("")
    assert apt.lock_holder(str(path)) is None
    assert apt.lock_holder(str(tmp_path / "missing")) is None
    code = f"import fcntl; f = open({str(path)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('x', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        assert apt.lock_holder(str(path)) == holder.pid
        holder.stdin.close()
    assert apt.lock_holder(str(path)) is None
    assert fcntl.LOCK_EX and os.path.exists(str(path))  # looking at a lock does not take it away


def test_a_lock_that_is_held_for_ever_is_an_error_with_its_holder(tmp_path, monkeypatch):
    monkeypatch.setattr(apt, "LOCKS", ("/a/lock",))
    monkeypatch.setattr(apt, "lock_holder", lambda path: 4711)
    with pytest.raises(apt.Failed, match=r"process 4711 \(gone\) has held /a/lock for more than 0 s"):
        apt.Apt(Host(str(tmp_path)), str(tmp_path), lock_timeout=0).wait()


def test_an_update_that_only_a_part_of_the_hosts_gets_yet_is_one_of_the_versions():
    text = "foo:\n  Candidate: 1.2-1\n  Version table:\n     1.2-1 500 (phased 20%)\n *** 1.1-1 100\n"
    assert apt.parse_policy(text) == {"foo": ("1.2-1", ["1.2-1", "1.1-1"])}
    assert apt.parse_offered(text) == ["1.2-1"]
