#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch the wheels that locks name, once for a whole fleet."""

DOCUMENTATION = r"""
module: python_wheelhouse
short_description: Fetch the wheels that locks name, once for a whole fleet
version_added: 0.2.0
author:
  - The gpufleet authors (@gpufleet)
description:
  - Fetches every file that locks name into one folder, checked against the lock's hashes. Hosts install from the
    folder, mounted or served, with no index; see O(gpufleet.workstation.python_environment#module:find_links).
  - What is there already is not fetched again. Wheels that no lock names any more are removed; what was not fetched
    by it is left alone.
  - A run that has nothing to do looks at sizes and times, and needs neither the network nor pip.
attributes:
  check_mode:
    description: Says whether something is missing, and fetches nothing.
    support: full
  diff_mode:
    description: What was fetched and removed is returned instead.
    support: none
  platform:
    description: Wheels are chosen for x86_64 Linux with glibc, whatever it runs on.
    support: full
    platforms: posix
requirements:
  - pip for the Python that it runs on, or for the one in O(python_command), where there is something to fetch
options:
  path:
    description: Folder of the wheels.
    type: path
    required: true
  fleet_lock:
    description: What C(plan.yml -e lock=FILE) wrote, all classes of hosts.
    type: dict
    default: {}
  locks:
    description: Further lists with hashes.
    type: list
    elements: dict
    default: []
    suboptions:
      lock:
        description: The list, as M(gpufleet.workstation.python_lock) makes it.
        type: str
        required: true
      python:
        description: Version of Python that it is for.
        type: str
        required: true
      glibc:
        description: Version of glibc that it is for.
        type: str
        required: true
  index_url:
    description: Package index. Empty means pip's own default. A login in the URL is kept out of every output.
    type: str
    default: ""
  extra_index_urls:
    description: Further package indexes.
    type: list
    elements: str
    default: []
  use_index:
    description: Whether indexes are asked at all. With V(false) everything comes from O(find_links).
    type: bool
    default: true
  find_links:
    description: Another folder, or a page, with wheels. A login in the URL is kept out of every output.
    type: str
    default: ""
  ca_file:
    description: Bundle of CA certificates in PEM form that pip trusts. Without it, pip's own rules hold.
    type: path
  python_command:
    description: A Python that has pip, as a command with its arguments. Without it, the one that the module runs on.
    type: list
    elements: str
    default: []
  minimum_free_bytes:
    description: Free space needed before anything is fetched.
    type: int
    default: 0
  prune:
    description: Whether wheels are removed that no lock names any more.
    type: bool
    default: true
  timeout:
    description: Seconds that the whole may take.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Fetch once what the fleet's lock names
  gpufleet.workstation.python_wheelhouse:
    path: /srv/wheelhouse
    fleet_lock: "{{ lookup('ansible.builtin.file', 'lab.lock.json') | from_json }}"
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: Folder of the wheels.
  returned: success
  type: str
  sample: /srv/wheelhouse
wheels:
  description: How many there are. In check mode, before anything was fetched.
  returned: success
  type: int
  sample: 74
bytes:
  description: How large they are together.
  returned: success
  type: int
  sample: 5413273600
fetched:
  description: Names of the files that were fetched.
  returned: success
  type: list
  elements: str
  sample: [numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl]
removed:
  description: Names of the files that no lock names any more.
  returned: success
  type: list
  elements: str
  sample: [numpy-2.4.5-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl]
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 0.012
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused, hide_logins, redact
from ansible_collections.gpufleet.workstation.plugins.module_utils._wheelhouse import (
    Wanted,
    as_locks,
    ensure,
    locks_of,
)


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "fleet_lock": {"type": "dict", "default": {}},
            "locks": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "lock": {"type": "str", "required": True},
                    "python": {"type": "str", "required": True},
                    "glibc": {"type": "str", "required": True},
                },
            },
            "index_url": {"type": "str", "default": "", "no_log": True},
            "extra_index_urls": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "use_index": {"type": "bool", "default": True},
            "find_links": {"type": "str", "default": "", "no_log": True},
            "ca_file": {"type": "path"},
            "python_command": {"type": "list", "elements": "str", "default": []},
            "minimum_free_bytes": {"type": "int", "default": 0},
            "prune": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    given = dict(module.params)
    hide_logins(module, [given["index_url"], given["find_links"], *given["extra_index_urls"]])
    try:
        given["locks"] = (*locks_of(given.pop("fleet_lock")), *as_locks(given["locks"]))
        module.exit_json(**ensure(Host(), Wanted(**given), check_mode=module.check_mode))
    except Refused as exc:
        module.fail_json(msg=f"{os.uname().nodename}: {redact(str(exc))}.")


if __name__ == "__main__":
    main()
