# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that go through Ansible itself, on this machine. Modules then run on the Python that runs the tests."""

import json
import os
import shutil
import subprocess
import sys

import pytest

CHECKOUT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir))
SEARCH_PATH = os.pathsep.join(
    [os.path.dirname(sys.executable), os.path.join(CHECKOUT, ".venv", "bin"), os.environ["PATH"]]
)
ANSIBLE_PLAYBOOK = shutil.which("ansible-playbook", path=SEARCH_PATH)  # of a controller, whatever Python it runs on

needs_ansible = pytest.mark.skipif(
    ANSIBLE_PLAYBOOK is None or sys.version_info < (3, 8),
    reason="this ansible-core manages no Python before 3.8" if ANSIBLE_PLAYBOOK else "there is no ansible-playbook",
)


def play_tasks(folder, tasks, *words, **variables):
    """Play tasks on this machine, with variables and more words on the command line; return how Ansible ended."""
    path = str(folder / "play.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}], file)
    with open(path + ".vars", "w", encoding="utf-8") as file:
        json.dump({"ansible_python_interpreter": sys.executable, **variables}, file)
    argv = [ANSIBLE_PLAYBOOK, "-i", "host,", "-c", "local", *words, "-e", "@" + path + ".vars", path]
    return subprocess.run(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
        env=dict(os.environ, ANSIBLE_COLLECTIONS_PATH=os.pathsep.join(sys.path), ANSIBLE_NOCOLOR="1"),
    )


def controller(folder, *words, **variables):
    """Run one of Ansible's commands in a folder with nothing of this machine's configuration; return how it ended."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": os.path.join(CHECKOUT, ".collections"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
        "ANSIBLE_NOCOLOR": "1",
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", "ansible", *words],
        check=False,
        env=environment,
        cwd=str(folder),
        capture_output=True,
        text=True,
        timeout=300,
    )
