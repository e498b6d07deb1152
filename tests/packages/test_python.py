# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python of deadsnakes' by role python: the archive is of stand-ins, apt verifies and installs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CHECKOUT, REPOSITORIES
from test_nvidia_ubuntu import OS, SITE

ARCHIVE = "file:/repositories/deadsnakes"


@pytest.fixture
def host(machine):
    """Return a host that takes itself for Ubuntu 22.04."""
    one = machine()
    one.sh("rm /etc/os-release")
    one.write("/etc/os-release", OS)
    one.write("/etc/apt/sources.list.d/site.list", SITE)
    return one


@pytest.fixture
def role(host, tmp_path):
    """Return a function that runs the role on the host, planned for deadsnakes' 3.12, and returns what Ansible said."""
    tasks = {"role": "gpufleet.workstation.python", "python_environment": False, "python_command": False}
    play = [{"hosts": "all", "gather_facts": False, "roles": [tasks]}]
    (tmp_path / "play.json").write_text(json.dumps(play), encoding="utf-8")

    def run(*words, **variables):
        plan = {"python": {"version": "3.12", "source": "deadsnakes"}}
        given = {"stack_plan": plan, "python_uv_path": "/bin/true", "workstation_deadsnakes": ARCHIVE, **variables}
        argv = [
            Path(sys.executable).parent / "ansible-playbook",
            "-i",
            f"{host.name},",
            *words,
            "-e",
            json.dumps(given),
        ]
        done = subprocess.run(
            [*argv, "-c", "community.docker.docker", tmp_path / "play.json"],
            cwd=tmp_path,
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return " ".join((done.stdout + done.stderr).split())

    return run


def key(name):
    return {"workstation_deadsnakes_key": (REPOSITORIES / "keys" / f"{name}.asc").read_text(encoding="utf-8")}


def test_the_planned_python_comes_from_the_archive_once(host, role):
    said = role("--check", **key("first"))
    assert "failed=0" in said, said
    assert "python3.12" not in host.sh("ls /usr/bin")
    first = role(**key("first"))
    assert "failed=0" in first and host.sh("python3.12 --version") == "Python 3.12.11", first
    assert "Suites: jammy" in host.sh("cat /etc/apt/sources.list.d/gpufleet-python.sources")
    second = role(**key("first"))
    assert "changed=0" in second and "failed=0" in second, second
    host.assert_healthy()


def test_an_archive_that_another_key_signed_gives_nothing(host, role):
    said = role(**key("second"))
    assert "failed=1" in said and "python3.12" not in host.sh("ls /usr/bin"), said


def test_an_archive_whose_key_nobody_names_is_not_asked(host, role):
    said = role()
    assert "nobody says which key signs it. Put the key's text into workstation_deadsnakes_key" in said
    assert "Nothing was changed" in said and "gpufleet" not in host.sh("ls /etc/apt/sources.list.d")
