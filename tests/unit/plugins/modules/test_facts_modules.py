# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules on the Python that runs this test: with Ansible around them, and for an old Python without."""

import importlib
import json
import os
import sys
import types

import pytest
from through_ansible import CHECKOUT, needs_ansible, play_tasks

EMULATION = os.path.join(CHECKOUT, "tests", "emulation", "a100")
PACKAGE = "ansible_collections.gpufleet.workstation.plugins.modules."
MODULES = sorted(
    name[:-3]
    for name in os.listdir(os.path.join(CHECKOUT, "plugins", "modules"))
    if name.endswith(".py") and name[0] != "_"
)
FACTS = {"gpu_facts": "gpu", "memory_facts": "memory", "nvme_facts": "nvme"}


class Ended(Exception):
    """What exit_json ends a module with here."""


class StandInForAnsibleModule:
    """As much of AnsibleModule as a facts module needs: its parameters, and a way out."""

    def __init__(self, argument_spec, supports_check_mode=False):
        assert supports_check_mode
        self.params = {name: option.get("default") for name, option in argument_spec.items()}
        self.params["root"] = EMULATION

    def exit_json(self, **result):
        raise Ended(result)


@pytest.fixture
def stand_in(monkeypatch):
    """Put the stand-in where modules look for Ansible, and let them be imported afresh."""
    basic = types.ModuleType("ansible.module_utils.basic")
    basic.AnsibleModule = StandInForAnsibleModule
    for name in ("ansible", "ansible.module_utils"):
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name) or types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "ansible.module_utils.basic", basic)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, PACKAGE + name, raising=False)
    yield
    for name in MODULES:
        sys.modules.pop(PACKAGE + name, None)  # what was imported here knows the stand-in only


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported_on_this_python(stand_in, name):
    assert callable(importlib.import_module(PACKAGE + name).main)


def test_memory_facts_returns_the_facts_and_nothing_else_on_this_python(stand_in):
    with pytest.raises(Ended) as ended:
        importlib.import_module(PACKAGE + "memory_facts").main()
    (result,) = ended.value.args
    assert list(result) == ["ansible_facts"]
    assert result["ansible_facts"]["memory"]["installed_bytes"] == 512 * 2**30


@needs_ansible
def test_the_facts_modules_run_under_ansible_in_check_mode_and_change_nothing(tmp_path):
    options = {"root": EMULATION}
    tasks = [{"name": name, "gpufleet.workstation." + name: options} for name in sorted(FACTS)]
    tasks[0]["gpufleet.workstation.gpu_facts"] = dict(options, nvidia_smi=os.path.join(EMULATION, "bin", "nvidia-smi"))
    written = {"content": "{{ ansible_facts | to_json }}", "dest": str(tmp_path / "facts.json")}
    tasks.append({"name": "Write", "ansible.builtin.copy": written, "check_mode": False})
    said = play_tasks(tmp_path, tasks, "--check").stdout
    assert "ok=4" in said and "changed=1" in said, said  # the one is the file that the test reads
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert {name: facts[name]["root"] for name in FACTS.values()} == dict.fromkeys(FACTS.values(), EMULATION)
    assert facts["memory"]["installed_bytes"] == 512 * 2**30
