#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the Java that a program runs on."""

DOCUMENTATION = r"""
module: java_home
short_description: Find the Java that a program runs on
version_added: 0.2.0
author:
  - The gpufleet authors (@gpufleet)
description:
  - Looks through the folders that packages put their Java into, and returns the first one of the wanted versions under
    the path that survives an update of its package. C(default-java) and the like, which change under a program's feet,
    are never returned where there is a better name.
  - Changes nothing. Where the host has a C(release) file for each Java, as packages do, none is started.
options:
  versions:
    description: Major versions that will do, the preferred one first, V([21, 17]) for example. Java 1.8 is V(8).
    type: list
    elements: str
    required: true
  home:
    description: The Java to take, where the choice is made already. It must be of one of O(versions).
    type: path
    default: ""
  folders:
    description: Where to look.
    type: list
    elements: path
    default: [/usr/lib/jvm, /usr/lib64/jvm, /usr/java, /opt/java]
  program:
    description: What needs it, for the message.
    type: str
    default: this program
  commands:
    description: Commands that the program needs beside Java. RV(missing) has those that the host does not have.
    type: list
    elements: str
    default: []
  required:
    description: Whether the host fails without one. If not, RV(home) is null then.
    type: bool
    default: true
attributes:
  check_mode:
    description: It only reads.
    support: full
  diff_mode:
    description: There is nothing to compare, because nothing is changed.
    support: N/A
  platform:
    description: Systems whose Java lies in folders of its own.
    support: full
    platforms: linux
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
"""

EXAMPLES = r"""
- name: Find the Java for Spark 4.3
  gpufleet.workstation.java_home:
    versions: ["21", "17"]
    program: Spark 4.3.0
  register: java
"""

RETURN = r"""
home:
  description: The folder, for C(JAVA_HOME). Null where none will do.
  returned: success
  type: str
  sample: /usr/lib/jvm/java-17-openjdk-amd64
version:
  description: Its version.
  returned: success
  type: str
  sample: 17.0.17
major:
  description: Its major version.
  returned: success
  type: str
  sample: "17"
found:
  description: Every Java that was found.
  returned: success
  type: list
  elements: dict
  contains:
    home:
      description: The folder.
      type: str
      sample: /usr/lib/jvm/java-17-openjdk-amd64
    version:
      description: Version.
      type: str
      sample: 17.0.17
    major:
      description: Major version.
      type: str
      sample: "17"
missing:
  description: Those of O(commands) that the host does not have.
  returned: success
  type: list
  elements: str
  sample: [kinit]
problem:
  description: What there is instead. Null where one will do.
  returned: success
  type: str
  sample: there is Java 11.0.29 (/usr/lib/jvm/java-11-openjdk-amd64)
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._java import FOLDERS, choose


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "versions": {"type": "list", "elements": "str", "required": True},
            "home": {"type": "path", "default": ""},
            "folders": {"type": "list", "elements": "path", "default": list(FOLDERS)},
            "program": {"type": "str", "default": "this program"},
            "commands": {"type": "list", "elements": "str", "default": []},
            "required": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    result = choose(Host(), asked["versions"], asked["home"], asked["folders"], asked["commands"])
    if result["problem"] and asked["required"]:
        module.fail_json(
            msg="{}: {} runs on Java {}, and {}; install one of these, or name the folder of yours.".format(
                os.uname().nodename, asked["program"], " or ".join(asked["versions"]), result["problem"]
            ),
            found=result["found"],
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
