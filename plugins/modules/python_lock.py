#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolve pins for another machine into a list with hashes."""

DOCUMENTATION = r"""
module: python_lock
short_description: Resolve Python packages for another machine, with hashes
version_added: 0.2.0
author:
  - The gpufleet authors (@gpufleet)
description:
  - Resolves packages and everything that they depend on for a Python and a glibc that the machine it runs on need not
    have, and returns the list with the hashes of every file of each package.
  - What it returns is what O(gpufleet.workstation.python_environment#module:lock) installs, today or next year, from
    the same index or any mirror of it. Nothing is installed and nothing is changed.
attributes:
  check_mode:
    description: Resolves in check mode exactly as it does otherwise.
    support: full
  diff_mode:
    description: There is nothing to compare, because nothing is changed.
    support: N/A
  platform:
    description: Lists are made for x86_64 Linux with glibc.
    support: full
    platforms: linux
requirements:
  - uv on the machine that this runs on, most often the controller
options:
  packages:
    description: Requirements, such as V(torch==2.10.0) or V(tensorflow[and-cuda]==2.21.0).
    type: list
    elements: str
    required: true
  constraints:
    description: Bounds on packages that others bring along, such as V(nvidia-cudnn-cu12==9.10.2.21).
    type: list
    elements: str
    default: []
  python:
    description: Version of Python that the list is for.
    type: str
    required: true
  glibc:
    description: Version of glibc that the list is for.
    type: str
    required: true
  index_url:
    description: Package index. Empty means uv's own default. A login in the URL is kept out of every output.
    type: str
    default: ""
  extra_index_urls:
    description: Further package indexes. The highest version that fits is taken from any of them.
    type: list
    elements: str
    default: []
  use_index:
    description: Whether indexes are asked at all. With V(false) everything comes from O(find_links).
    type: bool
    default: true
  find_links:
    description: Folder with wheels.
    type: path
  uv:
    description: Path or name of uv.
    type: str
    default: uv
  cache_dir:
    description: uv's download cache.
    type: path
    default: ~/.cache/uv
  ca_file:
    description: Bundle of CA certificates in PEM form that uv trusts. Without it, uv's own rules hold.
    type: path
  timeout:
    description: Seconds that uv may take.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Lock what a V100 host gets
  gpufleet.workstation.python_lock:
    python: "3.10"
    glibc: "2.35"
    packages: [torch==2.10.0, torchvision==0.25.0]
  delegate_to: localhost
  register: lock
"""

RETURN = r"""
lock:
  description: One requirement after the other, each with its hashes.
  returned: success
  type: str
  sample: |
    torch==2.10.0 \
        --hash=sha256:0db5b2bd3d7b2e6b6f1c8a9f0e2b6a0d
packages:
  description: How many packages the list has.
  returned: success
  type: int
  sample: 31
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._environment import Wanted
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._lock import Target, resolve
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused, hide_logins, redact


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "constraints": {"type": "list", "elements": "str", "default": []},
            "python": {"type": "str", "required": True},
            "glibc": {"type": "str", "required": True},
            "index_url": {"type": "str", "default": "", "no_log": True},
            "extra_index_urls": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "use_index": {"type": "bool", "default": True},
            "find_links": {"type": "path"},
            "uv": {"type": "str", "default": "uv"},
            "cache_dir": {"type": "path", "default": "~/.cache/uv"},
            "ca_file": {"type": "path"},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    given = dict(module.params)
    hide_logins(module, [given["index_url"], *given["extra_index_urls"]])
    target = Target(given.pop("python"), given.pop("glibc"))
    constraints = given.pop("constraints")
    wanted = Wanted(name="lock", root="/nonexistent", python=target.python, **given)
    try:
        lock = resolve(Host(), wanted, target, constraints)
    except Refused as exc:
        module.fail_json(msg=redact(str(exc)) + ".")
    count = sum(1 for line in lock.splitlines() if line[:1].isalnum())
    module.exit_json(changed=False, lock=lock, packages=count)


if __name__ == "__main__":
    main()
