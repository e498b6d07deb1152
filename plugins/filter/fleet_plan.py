# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_plan
author: The gpufleet authors
short_description: Choose the versions for a whole fleet
version_added: 0.2.0
description:
  - Plans every host as P(gpufleet.workstation.stack_plan#filter) does, hosts of one class once, and lets hosts share
    one set that ask for it with C(stack_uniform).
  - A host with C(stack_assume) in its variables is planned without facts. Nothing is read from a host, and nothing is
    changed.
options:
  _input:
    description:
      - The variables of the hosts, each with C(inventory_hostname), the C(stack_*) inputs of
        P(gpufleet.workstation.stack#role), and C(ansible_facts) or C(stack_assume).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Plan the fleet
  ansible.builtin.set_fact:
    fleet_plan: "{{ groups['workstations'] | map('extract', hostvars) | gpufleet.workstation.fleet_plan }}"
"""

RETURN = r"""
_value:
  description:
    - C(hosts), a plan (or C(refused)) for each host; C(unread), why there is none for a host.
    - C(uniform), for each group that shares one set, its C(hosts), the C(set), the C(cost) in sentences, and
      C(without), the hosts that were not read and had no say in it.
    - C(to_lock), what M(gpufleet.workstation.python_lock) has to resolve, one entry for each framework of each class,
      with the C(host) whose index is asked; C(classes), the plan of each class under the name that a lock keeps it by.
    - C(table), all of it for people, as a list of lines.
  type: dict
  sample:
    hosts: {gpu01: {host_class: "8 x Tesla V100 SXM2 32GB on ubuntu22.04"}}
    unread: {}
    uniform: {}
    table: ["GPUs                      system       driver                  CUDA"]
"""

from collections.abc import Iterable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load_all
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._fleet import fleet
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._resolver import Refusal


def fleet_plan(variables: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the plans of many hosts."""
    try:
        return fleet(variables, load_all())
    except Refusal as refusal:
        raise AnsibleFilterError(str(refusal)) from refusal


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        return {"fleet_plan": fleet_plan}
