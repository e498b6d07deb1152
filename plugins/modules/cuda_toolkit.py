#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep CUDA toolkits side by side, prove that they compile, and choose the default."""

DOCUMENTATION = r"""
module: cuda_toolkit
short_description: Keep CUDA toolkits side by side and choose the default
version_added: 0.2.0
author:
  - The gpufleet authors (@gpufleet)
description:
  - Builds toolkits from NVIDIA's wheels, each aside and under one prefix (C(bin), C(include), C(lib64), C(nvvm)), and
    finds those that packages brought. Each has to compile a small kernel for the compute capabilities asked for before
    anything is taken into use.
  - Then it makes one of them the default, by the system's alternatives, and names it in a profile for login shells. It
    never sets C(LD_LIBRARY_PATH).
  - The toolkits, builds and default that were in use before are kept, and O(state=previous) goes back to them.
  - Packages are installed with apt or dnf, all or none. In check mode it returns those that are missing in RV(missing).
  - A run that has nothing to do reads a few hundred names and, where packages are involved, asks dpkg or rpm once. It
    needs neither the network nor a compiler.
attributes:
  check_mode:
    description: Predicts by the pins, and needs neither uv nor the network for it.
    support: full
  diff_mode:
    description: Shows the toolkits, their packages and the default before and after.
    support: full
  platform:
    description: Systems on which uv, POSIX links and C(update-alternatives) are to be had.
    support: full
    platforms: linux
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
  - uv on the target where there is a toolkit of wheels to build
options:
  state:
    description:
      - V(present) makes the toolkits so. V(previous) takes into use what was in use before; nothing is built then, and
        nothing removed, so doing it twice returns.
    type: str
    choices: [present, previous]
    default: present
  toolkits:
    description: The toolkits. One that is no longer named is kept for going back, and removed by the change after that.
    type: list
    elements: dict
    default: []
    suboptions:
      version:
        description: Its major and minor version.
        type: str
        required: true
      pins:
        description: Wheels, as exact pins. Without them, packages bring the toolkit.
        type: list
        elements: str
        default: []
      lock:
        description: All wheels with hashes, as M(gpufleet.workstation.python_lock) makes it. Nothing is resolved then.
        type: str
        default: ""
      packages:
        description:
          - Packages of the system that have to be installed. A version, which may end in C(*), can stand behind C(=).
        type: list
        elements: str
        default: []
      prefix:
        description: Folder that the packages put the toolkit in. Only without O(toolkits[].pins).
        type: path
      nvcc:
        description: Path of nvcc, where it is not C(bin/nvcc) in O(toolkits[].prefix).
        type: path
  non_free:
    description: Whether Debian's component C(non-free) is added to apt's sources if a package is missing.
    type: bool
    default: false
  repository_url:
    description: >-
      NVIDIA's repository for the host's system, or a mirror of it, added to the sources of apt or dnf if a package is
      missing. Where another file names it already, that one is used. From there comes only what is asked for. A login
      in it is written where only root reads it.
    type: str
    default: ""
  repository_key:
    description: >-
      The key that the repository is signed with, its text or an address from which it is fetched where the host does
      not have it. Another key takes the place of the one before, once the repository was seen to be signed with it.
    type: str
    default: ""
  repository_fingerprint:
    description: Full fingerprint of that key. It is what is trusted, wherever the key comes from.
    type: str
    default: ""
  lock_timeout:
    description: Seconds to wait for another program that holds the package manager's lock. It is never broken.
    type: int
    default: 600
  default:
    description: Version of the toolkit that is the default. Empty means the first.
    type: str
    default: ""
  root:
    description: Folder of all toolkits that are built from wheels.
    type: path
    default: /opt/gpufleet/cuda
  link:
    description: Link that leads to the default, kept by the system's alternatives. None without it.
    type: path
  profile:
    description: File below C(/etc/profile.d) that puts the default's programs into the C(PATH). None without it.
    type: path
  architectures:
    description: Compute capabilities, such as V(7.0), that every toolkit has to compile for.
    type: list
    elements: str
    default: []
  run:
    description: Whether the kernel is also run, on every GPU of its compute capability.
    type: bool
    default: false
  python:
    description: The interpreter that uv works with, a path or a version. The toolkit itself needs none.
    type: str
    default: python3
  python_downloads:
    description: Whether uv may fetch the interpreter if the host does not have it.
    type: bool
    default: false
  python_mirror:
    description: Mirror of the interpreters that uv fetches. Empty means uv's own default.
    type: str
    default: ""
  index_url:
    description: Package index. Empty means uv's own default. A login in the URL is kept out of every output and file.
    type: str
    default: ""
  use_index:
    description: Whether an index is asked at all. With V(false) everything comes from O(find_links).
    type: bool
    default: true
  find_links:
    description: Folder with wheels.
    type: path
  uv:
    description:
      - Path of uv.
      - Without it, the newest C(../uv/VERSION/bin/uv) beside O(root) is taken, where role python puts it.
    type: path
  cache_dir:
    description: uv's download cache. On the filesystem of O(root), toolkits share their files with it by hard links.
    type: path
    default: /var/cache/gpufleet/uv
  ca_file:
    description: >-
      Bundle of CA certificates in PEM form that uv trusts, and whoever fetches O(repository_key). Without it, their own
      rules hold.
    type: path
  minimum_free_bytes:
    description: Free space needed, before a toolkit is built, on each of the filesystems of O(root) and O(cache_dir).
    type: int
    default: 0
  timeout:
    description: Seconds that building one toolkit may take. uv and everything it started are ended then.
    type: int
    default: 1800
"""

EXAMPLES = r"""
- name: Give the host the last toolkit that knows the V100, from wheels
  gpufleet.workstation.cuda_toolkit:
    toolkits:
      - version: "12.9"
        pins: ["cuda-toolkit[nvcc,nvrtc,cudart]==12.9.2", nvidia-cudnn-cu12==9.10.2.21]
    link: /usr/local/cuda
    profile: /etc/profile.d/gpufleet-cuda.sh
    architectures: ["7.0"]

- name: Go back to the default of yesterday
  gpufleet.workstation.cuda_toolkit:
    state: previous
    link: /usr/local/cuda
"""

RETURN = r"""
reason:
  description: Why something is or would be changed. Empty if nothing is.
  returned: success
  type: str
  sample: there is no CUDA 12.9 yet; /usr/local/cuda is to lead to /opt/gpufleet/cuda/12.9/current
toolkits:
  description: The toolkits in use. In check mode, those that would be.
  returned: success
  type: list
  elements: dict
  contains:
    version:
      description: Major and minor version.
      type: str
      sample: "12.9"
    path:
      description: The folder to give to users.
      type: str
      sample: /opt/gpufleet/cuda/12.9/current
    release:
      description: What its compiler calls itself. Null before it was proven.
      type: str
      sample: "12.9"
    compiler:
      description: What the kernel was compiled with, V(nvcc) or V(nvrtc). Null before it was proven.
      type: str
      sample: nvrtc
    architectures:
      description: Compute capabilities that it was seen to compile for.
      type: list
      elements: str
      sample: ["7.0"]
    ran:
      description: Number of GPUs that the kernel ran on when the toolkit was proven.
      type: int
      sample: 0
default:
  description: Version of the default. Null if there is no toolkit.
  returned: success
  type: str
  sample: "12.9"
missing:
  description: In check mode, the packages that would be installed. Empty otherwise.
  returned: success
  type: list
  elements: str
  sample: [nvidia-cuda-toolkit]
removed:
  description: Folders of builds that are neither in use nor were before.
  returned: success
  type: list
  elements: str
  sample: [/opt/gpufleet/cuda/12.8/91b6f0de7c55]
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 0.02
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._cuda import Toolkit, Wanted, ensure
from ansible_collections.gpufleet.workstation.plugins.module_utils._cuda_packages import Repository
from ansible_collections.gpufleet.workstation.plugins.module_utils._environment import Wanted as Wheels
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused, hide_logins, redact

REPOSITORY = {"non_free": "non_free", "url": "repository_url", "key": "repository_key"}
REPOSITORY.update({"fingerprint": "repository_fingerprint", "lock_timeout": "lock_timeout"})
OWN = ("toolkits", "default", "link", "profile", "architectures", "run", "state")


def wanted_of(given) -> Wanted:
    """Return the options in the form that the logic takes."""
    own = {name: given[name] for name in OWN}
    wheels = {name: value for name, value in given.items() if name not in (*OWN, *REPOSITORY.values())}
    repository = Repository(
        **{name: given[option] for name, option in REPOSITORY.items()},
        timeout=given["timeout"],
        ca_file=given["ca_file"],
    )
    own["toolkits"] = [Toolkit(**toolkit) for toolkit in given["toolkits"]]
    own["default"] = given["default"] or (own["toolkits"][0].version if own["toolkits"] else "")
    return Wanted(root=given["root"], wheels=Wheels(name=".", packages=[], **wheels), repository=repository, **own)


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "previous"], "default": "present"},
            "toolkits": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "version": {"type": "str", "required": True},
                    "pins": {"type": "list", "elements": "str", "default": []},
                    "lock": {"type": "str", "default": ""},
                    "packages": {"type": "list", "elements": "str", "default": []},
                    "prefix": {"type": "path"},
                    "nvcc": {"type": "path"},
                },
            },
            "non_free": {"type": "bool", "default": False},
            "repository_url": {"type": "str", "default": "", "no_log": True},
            "repository_key": {"type": "str", "default": "", "no_log": False},  # a public key
            "repository_fingerprint": {"type": "str", "default": ""},
            "lock_timeout": {"type": "int", "default": 600},
            "default": {"type": "str", "default": ""},
            "root": {"type": "path", "default": "/opt/gpufleet/cuda"},
            "link": {"type": "path"},
            "profile": {"type": "path"},
            "architectures": {"type": "list", "elements": "str", "default": []},
            "run": {"type": "bool", "default": False},
            "python": {"type": "str", "default": "python3"},
            "python_downloads": {"type": "bool", "default": False},
            "python_mirror": {"type": "str", "default": "", "no_log": True},
            "index_url": {"type": "str", "default": "", "no_log": True},
            "use_index": {"type": "bool", "default": True},
            "find_links": {"type": "path"},
            "uv": {"type": "path"},
            "cache_dir": {"type": "path", "default": "/var/cache/gpufleet/uv"},
            "ca_file": {"type": "path"},
            "minimum_free_bytes": {"type": "int", "default": 0},
            "timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    hide_logins(
        module, [module.params[name] for name in ("index_url", "python_mirror", "repository_url", "repository_key")]
    )
    try:
        module.exit_json(**ensure(Host(), wanted_of(module.params), check_mode=module.check_mode))
    except Refused as exc:
        module.fail_json(msg=f"{os.uname().nodename}: {redact(str(exc))}.")


if __name__ == "__main__":
    main()
