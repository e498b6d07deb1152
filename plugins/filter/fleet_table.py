# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_table
author: The gpufleet authors
short_description: Lay out what a fleet is, a line for each host
version_added: 0.1.0
description:
  - Makes a table of hosts, GPUs, driver, memory, NVMe storage and findings, the columns as wide as their contents.
  - A host that was not read has a line that says so. Hardware that is a stand-in is called V(EMULATED).
positional: _input, hostvars
options:
  _input:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of each host by its name, with C(ansible_facts) and C(preflight_findings).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the fleet
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | gpufleet.workstation.fleet_table(hostvars) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The lines, the first of which is the heading.
  type: list
  elements: str
  sample:
    - "host   GPUs                      driver      memory  NVMe     findings"
    - "gpu01  8 x Tesla V100 SXM2 32GB  580.126.16  540 GB  3.84 TB  fail: gpu.lost (and 2 warn)"
"""

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._table import fleet_table


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        return {"fleet_table": fleet_table}
