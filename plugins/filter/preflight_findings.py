# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: preflight_findings
author: The gpufleet authors
short_description: Judge a host by its facts
version_added: 0.1.0
description:
  - Compares what the fact modules read with what the inventory expects and returns every finding, the worst first.
  - The role P(gpufleet.workstation.preflight#role) stops a host with the findings of severity C(fail).
positional: _input, expectations
options:
  _input:
    description:
      - The host's C(ansible_facts), with C(gpu), C(memory), C(nvme) and C(host). A subject that is not there is not
        judged.
    type: dict
    required: true
  expectations:
    description: What the inventory expects; the keys are the variables of the role without C(preflight_).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what is wrong with a host
  ansible.builtin.debug:
    msg: "{{ ansible_facts | gpufleet.workstation.preflight_findings({'minimum_memory_gb': 64}) }}"
"""

RETURN = r"""
_value:
  description:
    - The findings, each with C(rule), C(severity) (V(info), V(warn) or V(fail)) and C(message).
    - The message names the device and the value, and ends with the way out.
  type: list
  elements: dict
  sample:
    - rule: gpu.remap_failure
      severity: fail
      message: >-
        the GPU at 0000:3b:00.0 could not remap a failed memory row: isolate it and have it replaced; no reboot mends it
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._preflight import findings


def preflight_findings(facts: dict[str, Any], expectations: dict[str, Any]) -> list[dict[str, str]]:
    """Return the findings on one host."""
    try:
        return findings(facts, expectations)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        return {"preflight_findings": preflight_findings}
