#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that a host's Hadoop client reads and writes a cluster's HDFS."""

DOCUMENTATION = r"""
module: hdfs_check
short_description: Prove that a host reads and writes HDFS
version_added: 0.2.0
author:
  - The gpufleet authors (@gpufleet)
description:
  - Lists a path, writes a small file below it, reads it back, compares, and removes it, with the host's own C(hdfs)
    command. Nothing is left behind.
  - A failure is one sentence with the true reason and the way out, and the client's own words behind it.
attributes:
  check_mode:
    description: Asks nobody in check mode.
    support: full
  diff_mode:
    description: There is nothing to compare, because nothing is changed.
    support: N/A
  platform:
    description: Systems with a Hadoop client.
    support: full
    platforms: linux
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
  - A Hadoop client; with O(keytab), kinit
options:
  path:
    description: Folder in HDFS, such as V(/tmp), or with the cluster's address, V(hdfs://namenode:8020/tmp).
    type: str
    required: true
  hdfs:
    description: The command.
    type: path
    default: /usr/local/bin/hdfs
  write:
    description: Whether a file is written, read and removed. With V(false), the path is only listed.
    type: bool
    default: true
  keytab:
    description: A keytab on the host. With it, a ticket is fetched for this check alone.
    type: path
  principal:
    description: Whose ticket.
    type: str
    default: ""
  environment:
    description: Further environment variables for the client.
    type: dict
    default: {}
  timeout:
    description: Seconds that the whole may take.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Prove that this host reads and writes the cluster
  gpufleet.workstation.hdfs_check:
    path: /tmp
"""

RETURN = r"""
steps:
  description: Seconds that each step took, by its name. Empty in check mode.
  returned: success
  type: dict
  sample: {list: 1.6, write: 2.1, read: 1.7, remove: 1.5}
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 6.9
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._hdfs import check
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "hdfs": {"type": "path", "default": "/usr/local/bin/hdfs"},
            "write": {"type": "bool", "default": True},
            "keytab": {"type": "path", "no_log": False},
            "principal": {"type": "str", "default": ""},
            "environment": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, steps={}, seconds=0.0, msg="not run: check mode")
    try:
        module.exit_json(changed=False, **check(Host(), module.params))
    except Refused as exc:
        module.fail_json(msg=f"{os.uname().nodename}, {module.params['path']}: {exc}.")


if __name__ == "__main__":
    main()
