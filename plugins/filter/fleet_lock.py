# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_lock
author: The gpufleet authors
short_description: Put plans and hashes together into a lock
version_added: 0.2.0
description:
  - Puts the plan of each class of hosts beside the lists with hashes that M(gpufleet.workstation.python_lock) made.
  - Role P(gpufleet.workstation.stack#role) takes the result, written to a file as JSON, in C(stack_lock).
positional: _input, results
options:
  _input:
    description: What P(gpufleet.workstation.fleet_plan#filter) returned.
    type: dict
    required: true
  results:
    description: The C(results) of a loop of M(gpufleet.workstation.python_lock) over C(to_lock) of it.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the lock
  ansible.builtin.copy:
    content: "{{ fleet_plan | gpufleet.workstation.fleet_lock(locks.results) | to_nice_json }}"
    dest: lab.lock.json
    mode: "0644"
"""

RETURN = r"""
_value:
  description: C(classes), which has for each class its C(plan) and its C(locks), a text for each framework.
  type: dict
  sample:
    classes: {"1 x Tesla T4 on debian12 with Python 3.11, pytorch_version 2.10.0": {plan: {}, locks: {pytorch: "..."}}}
"""

from typing import Any

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._fleet import made_lock


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"fleet_lock": made_lock}
