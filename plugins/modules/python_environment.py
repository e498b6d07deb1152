#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build a Python environment aside, prove it, and swap it in."""

DOCUMENTATION = r"""
module: python_environment
short_description: Build a Python environment aside and swap it in
version_added: 0.1.0
author:
  - The gpufleet authors (@gpufleet)
description:
  - Builds a virtual environment with uv in a folder of its own, proves that it works, and only then points the link
    C(current) at it. Until that moment, and after any failure, the previous environment is the one in use.
  - The folder is named after everything that the environment is made from, so going back to earlier pins finds the
    earlier environment ready. What was installed is locked with hashes; a rebuild installs exactly the same files.
  - An environment that somebody altered by hand is rebuilt, or only reported, and the difference is shown. Sizes and
    times of all files are compared with those at the end of the build, and what differs there with the checksums of
    its wheel. Bytecode and what no wheel tells of, such as C(bin/activate), are not looked at.
  - A run that has nothing to do reads a few folder names. It needs neither the network nor uv.
attributes:
  check_mode:
    description: Predicts by the pins, and needs neither uv nor the network for it.
    support: full
  diff_mode:
    description: Shows the lists of packages before and after.
    support: full
  platform:
    description: Systems on which uv and POSIX links are to be had.
    support: full
    platforms: linux
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
  - uv on the target where there is something to build
options:
  name:
    description: Name of the environment, a folder below O(root).
    type: str
    required: true
  root:
    description: Folder of all environments. Interpreters that uv fetches lie in it as well.
    type: path
    default: /opt/gpufleet/envs
  state:
    description:
      - V(present) makes the environment so.
      - V(previous) takes the one into use that was in use before, as it is; of the other options only O(root) and
        O(name) count. Asked again, it comes back to where it was.
    type: str
    choices: [present, previous]
    default: present
    version_added: 0.2.0
  on_drift:
    description:
      - What happens to an environment that was altered since it was built.
      - V(repair) builds it anew from its list with hashes, and takes that one into use. V(report) leaves it as it is,
        and says what was altered in RV(drift) and in a warning.
    type: str
    choices: [repair, report]
    default: repair
    version_added: 0.2.0
  python:
    description: The interpreter, a path or a version such as V(3.12).
    type: str
    default: python3
  packages:
    description:
      - Exact pins, such as V(numpy==2.4.6).
      - What they depend on is resolved when the environment is first built.
    type: list
    elements: str
    default: []
  constraints:
    description:
      - Bounds on packages that others bring along, such as V(nvidia-cudnn-cu12==9.10.2.21).
      - With O(lock) they are not looked at; the lock was made with them.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  lock:
    description:
      - What is to be installed, with hashes, as M(gpufleet.workstation.python_lock) makes it.
      - Exactly these files are installed then, from whatever index or mirror has them, and nothing is resolved. Every
        one of O(packages) has to be in it.
    type: str
    default: ""
    version_added: 0.2.0
  index_url:
    description: Package index. Empty means uv's own default. A login in the URL is kept out of every output and file.
    type: str
    default: ""
  extra_index_urls:
    description: Further package indexes. A pin may be on any of them; the highest version that fits it is taken.
    type: list
    elements: str
    default: []
  use_index:
    description: Whether indexes are asked at all. With V(false) everything comes from O(find_links).
    type: bool
    default: true
  find_links:
    description: Folder with wheels on the host, or the URL of a page with links to them; what
      M(gpufleet.workstation.python_wheelhouse) fills. A login in the URL is kept out of every output and file.
    type: str
    default: ""
  build:
    description: Whether a package that has no wheel may be built on the host.
    type: bool
    default: false
  uv:
    description:
      - Path of uv.
      - Without it, the newest C(../uv/VERSION/bin/uv) beside O(root) is taken, where role python puts it.
    type: path
  cache_dir:
    description:
      - uv's download cache.
      - On the same filesystem as O(root), environments share their files with it by hard links.
    type: path
    default: /var/cache/gpufleet/uv
  python_mirror:
    description: Mirror of the interpreters that uv fetches. Empty means uv's own default.
    type: str
    default: ""
  python_downloads:
    description: Whether uv may fetch the interpreter if the host does not have it.
    type: bool
    default: false
  ca_file:
    description: Bundle of CA certificates in PEM form that uv trusts. Without it, uv's own rules hold.
    type: path
  imports:
    description: Modules that must import in the new environment before it is taken into use.
    type: list
    elements: str
    default: []
  checks:
    description:
      - Programs that must succeed in the new environment before it is taken into use.
      - One that fails does so with C(sys.exit("the sentence for the user")).
    type: list
    elements: dict
    default: []
    suboptions:
      code:
        description: Text of a Python program.
        type: str
        required: true
      args:
        description: Its arguments, in C(sys.argv[1:]).
        type: list
        elements: str
        default: []
  keep:
    description:
      - How many earlier environments are kept for going back.
      - One that a program still works from is kept beyond that; the first run after the program has ended removes it.
    type: int
    default: 1
  minimum_free_bytes:
    description: Free space needed, before anything is built, on each of the filesystems of O(root) and O(cache_dir).
    type: int
    default: 0
  timeout:
    description: Seconds that the whole may take. uv and everything it started are ended then.
    type: int
    default: 1800
"""

EXAMPLES = r"""
- name: Give the host a PyTorch that still knows the V100
  gpufleet.workstation.python_environment:
    name: pytorch
    python: "3.12"
    packages:
      - torch==2.10.0
      - torchvision==0.25.0
      - numpy==2.4.6
    imports: [torch, torchvision, numpy]
    minimum_free_bytes: 12000000000

- name: Go back to the one that was in use before
  gpufleet.workstation.python_environment:
    name: pytorch
    state: previous
"""

RETURN = r"""
reason:
  description: Why the environment in use is not left as it is. Empty if it is.
  returned: success
  type: str
  sample: "/opt/gpufleet/envs/pytorch/3f0c2a9d41be was altered: numpy is 2.4.5 instead of 2.4.6"
drift:
  description: >-
    What was altered in the environment in use since it was built. Empty where it was made from something else.
  returned: success
  type: list
  elements: str
  sample: ["numpy/version.py was changed", "six 1.17.0 was added"]
path:
  description: Folder of the environment in use. In check mode, of the one that would be.
  returned: success
  type: str
  sample: /opt/gpufleet/envs/pytorch/3f0c2a9d41be
current:
  description: The link that leads to the environment in use. Give this one to users.
  returned: success
  type: str
  sample: /opt/gpufleet/envs/pytorch/current
python_version:
  description: Version of the interpreter. Null in check mode where the environment is not built yet.
  returned: success
  type: str
  sample: 3.11.2
packages:
  description: What is installed. In check mode, the pins and what is known beyond them.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name, as indexes compare it.
      type: str
      sample: scikit-learn
    version:
      description: Version.
      type: str
      sample: 1.9.1
checks:
  description: What each of O(checks) printed when the environment was built.
  returned: success
  type: list
  elements: str
  sample: ["torch 2.10.0 carries sm_70 sm_75 sm_80"]
removed:
  description: Folders of earlier environments and of interrupted runs that were removed.
  returned: success
  type: list
  elements: str
  sample: [/opt/gpufleet/envs/pytorch/91b6f0de7c55]
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 0.012
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._environment import Wanted, ensure
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused, hide_logins, redact


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "root": {"type": "path", "default": "/opt/gpufleet/envs"},
            "state": {"type": "str", "choices": ["present", "previous"], "default": "present"},
            "on_drift": {"type": "str", "choices": ["repair", "report"], "default": "repair"},
            "python": {"type": "str", "default": "python3"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "constraints": {"type": "list", "elements": "str", "default": []},
            "lock": {"type": "str", "default": ""},
            "index_url": {"type": "str", "default": "", "no_log": True},
            "extra_index_urls": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "use_index": {"type": "bool", "default": True},
            "find_links": {"type": "str", "default": "", "no_log": True},
            "build": {"type": "bool", "default": False},
            "uv": {"type": "path"},
            "cache_dir": {"type": "path", "default": "/var/cache/gpufleet/uv"},
            "python_mirror": {"type": "str", "default": "", "no_log": True},
            "python_downloads": {"type": "bool", "default": False},
            "ca_file": {"type": "path"},
            "imports": {"type": "list", "elements": "str", "default": []},
            "checks": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "code": {"type": "str", "required": True},
                    "args": {"type": "list", "elements": "str", "default": []},
                },
            },
            "keep": {"type": "int", "default": 1},
            "minimum_free_bytes": {"type": "int", "default": 0},
            "timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    urls = [module.params[name] for name in ("index_url", "find_links", "python_mirror")]
    urls += module.params["extra_index_urls"]
    hide_logins(module, urls)
    try:
        result = ensure(Host(), Wanted(**module.params), check_mode=module.check_mode)
        if result["drift"] and module.params["on_drift"] == "report":
            module.warn(f"{os.uname().nodename}: {result['current']} was altered: {', '.join(result['drift'])}")
        module.exit_json(**result)
    except Refused as exc:
        module.fail_json(msg=f"{os.uname().nodename}: {redact(str(exc))}.")


if __name__ == "__main__":
    main()
