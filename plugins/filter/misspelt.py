# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: misspelt
author: The gpufleet authors
short_description: Find variables whose names are nearly those of this collection
version_added: 0.1.0
description:
  - Ansible checks the values of role variables, and never their names. A misspelt one would be ignored in silence.
  - Names that are not close to one of the collection's are left alone; they are the site's own.
options:
  _input:
    description: Names of variables, as P(ansible.builtin.varnames#lookup) gives them.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse misspelt variables
  ansible.builtin.assert:
    that: lookup('ansible.builtin.varnames', '.+', wantlist=true) | gpufleet.workstation.misspelt | length == 0
"""

RETURN = r"""
_value:
  description: The name that was meant, by the name that stands there.
  type: dict
  sample: {pytorch_verison: pytorch_version}
"""

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._variables import misspelt


class FilterModule:
    """Ansible's entry point."""

    def filters(self):
        return {"misspelt": misspelt}
