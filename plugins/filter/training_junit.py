# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: training_junit
author: The gpufleet authors
short_description: Write results of the training check as JUnit's XML
version_added: 0.2.0
description:
  - Makes a document with a suite for each host, and in it a case for each framework and device, for CI servers.
  - A host without a result is an error, one that was only looked at in check mode is skipped, neither is a success.
positional: _input
options:
  _input:
    description: >-
      The fact C(training), as the module M(gpufleet.workstation.training_check) returns it, by the name of the host.
      Null for a host that has none.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the report
  ansible.builtin.copy:
    content: "{{ {inventory_hostname: ansible_facts['training']} | gpufleet.workstation.training_junit }}"
    dest: training.xml
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The document.
  type: str
  sample: <testsuites name="training_check" tests="3" failures="0" errors="0" skipped="0">...
"""

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._junit import junit


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        return {"training_junit": junit}
