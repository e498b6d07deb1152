#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a set of configuration files as one."""

DOCUMENTATION = r"""
module: config_files
short_description: Write a set of configuration files as one
version_added: 0.2.0
author:
  - The gpufleet authors (@gpufleet)
description:
  - Brings folders and files into the state that is asked for, all in one call, and says which of them changed. Nothing
    is written where something stands in the way of any of them.
  - A file is replaced in one step, so a reader sees the old one or the new one and never half of it.
  - The content of a file that is marked as secret is in no output, whatever the verbosity, and in no diff.
options:
  folders:
    description: Folders to be there. Those above them are made with mode 0755.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      mode:
        description: Mode in octal digits.
        type: str
        default: "0755"
      owner:
        description: Name or number of the user.
        type: str
        default: root
      group:
        description: Name or number of the group.
        type: str
        default: root
  files:
    description: Files to be there.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path. A link is replaced, not followed.
        type: path
        required: true
      content:
        description: The whole content.
        type: str
        required: true
      base64:
        description: Whether the content stands here in Base64, as a keytab does.
        type: bool
        default: false
      mode:
        description: Mode in octal digits.
        type: str
        default: "0644"
      owner:
        description: Name or number of the user.
        type: str
        default: root
      group:
        description: Name or number of the group.
        type: str
        default: root
      secret:
        description: Whether the content is kept out of every output.
        type: bool
        default: false
  absent:
    description: Files to be gone.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Says what would change.
    support: full
  diff_mode:
    description: Shows contents and, where they change, modes and owners.
    support: full
  platform:
    description: Systems with POSIX files.
    support: full
    platforms: posix
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
"""

EXAMPLES = r"""
- name: Write the configuration
  gpufleet.workstation.config_files:
    folders:
      - path: /var/lib/example
        mode: "1777"
    files:
      - path: /etc/example/example.conf
        content: "{{ lookup('ansible.builtin.template', 'example.conf.j2') }}"
      - path: /etc/example/login.conf
        content: "{{ lookup('ansible.builtin.template', 'login.conf.j2') }}"
        mode: "0640"
        group: example
        secret: true
"""

RETURN = r"""
changed_paths:
  description: The paths that were changed. In check mode, those that would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/example/example.conf]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._files import Refused, carry_out, plan, show

OWNER = {"owner": {"type": "str", "default": "root"}, "group": {"type": "str", "default": "root"}}


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "folders": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "mode": {"type": "str", "default": "0755"},
                    **OWNER,
                },
            },
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True, "no_log": True},
                    "mode": {"type": "str", "default": "0644"},
                    "secret": {"type": "bool", "default": False},
                    "base64": {"type": "bool", "default": False},
                    **OWNER,
                },
            },
            "absent": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    files = module.params["files"]
    # Only the contents of secret files are secret, or a diff could show nothing.
    hidden = {file["content"] for file in files if file["secret"]}
    module.no_log_values.difference_update({file["content"] for file in files} - hidden)
    os.umask(0o022)  # the folders above those that are named; root's umask may be stricter
    try:
        steps = plan(module.params["folders"], files, module.params["absent"], module.check_mode)
        for asked, there, wanted in [] if module.check_mode else steps:
            carry_out(asked, there, wanted)
    except Refused as exc:
        module.fail_json(msg=f"{os.uname().nodename}: {exc}.")
    except OSError as exc:
        module.fail_json(msg=f"{os.uname().nodename}: {exc.filename}: {exc.strerror}; mend that and run this again.")
    module.exit_json(
        changed=bool(steps),
        changed_paths=[asked["path"] for asked, _there, _wanted in steps],
        diff=[show(asked, there, wanted) for asked, there, wanted in steps],
    )


if __name__ == "__main__":
    main()
