#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install NVIDIA's driver, prove it, hold it, and go back where that fails."""

DOCUMENTATION = r"""
module: nvidia_driver
short_description: Install and hold NVIDIA's driver
version_added: 0.2.0
author:
  - The gpufleet authors (@gpufleet)
description:
  - Installs the driver's packages with the headers of the kernels that need it, proves that each of these kernels has
    the module of that version and flavour, keeps nouveau off the GPU, and holds the packages against unattended
    upgrades.
  - Whatever can be refused is refused before the first change. Where the installation fails, for example at the build
    of the module, the driver that was there before is installed again, and the error has the end of the build's log.
  - The driver is not changed while a program uses the GPU. Where nothing does, the installed driver is loaded in place
    of another; a reboot is never made here, but asked for in RV(reboot).
  - Locks of the package manager are waited for and never broken. A dpkg that was cut off is repaired first.
  - A run that has nothing to do asks no network.
attributes:
  check_mode:
    description: Predicts by what is installed, and asks no network for it.
    support: full
  diff_mode:
    description: Shows files and packages before and after.
    support: full
  platform:
    description: Debian; Ubuntu and Enterprise Linux, whose packages were only seen as stand-ins.
    support: full
    platforms: linux
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
options:
  state:
    description:
      - V(absent) removes the driver and what came with it.
      - V(previous) goes back to the driver before the last change, from files that were kept on the host.
    type: str
    choices: [present, absent, previous]
    default: present
  source:
    description:
      - V(distribution) is the system's own archive, on Debian with its component non-free.
      - V(nvidia) is NVIDIA's network repository or a mirror of it, see O(repository_url).
      - V(runfile) is NVIDIA's installer, the last resort, see O(runfile_url). It was only seen as a stand-in.
    type: str
    choices: [distribution, nvidia, runfile]
    default: distribution
  branch:
    description: Driver branch, V(535) for example. Empty means that of the installed driver, or the distribution's.
    type: str
    default: ""
  version:
    description: >-
      Exact version, V(535.261.03) for example. Empty means whatever the source has of O(branch), and of a runfile the
      version in its name.
    type: str
    default: ""
  flavor:
    description: Kernel modules. GPUs before Turing need V(proprietary), Blackwell needs V(open).
    type: str
    choices: [proprietary, open]
    default: proprietary
  headless:
    description: Whether only what computing needs is installed, without X and OpenGL.
    type: bool
    default: true
  modules:
    description: On Ubuntu, modules that Canonical built and signed, or DKMS. V(auto) takes the former where they exist.
    type: str
    choices: [auto, prebuilt, dkms]
    default: auto
  repository_url:
    description: Address of the repository, for O(source=nvidia). A login in it is written where only root reads it.
    type: str
    default: ""
  repository_key:
    description: >-
      The key that the repository is signed with, its text or an address from which it is fetched where the host does
      not have it.
    type: str
    default: ""
  repository_fingerprint:
    description: Full fingerprint of that key. It is what is trusted, wherever the key comes from.
    type: str
    default: ""
  ca_file:
    description: >-
      Bundle of CA certificates in PEM form, on the host, that is trusted where the key is fetched. Without it, the
      system's.
    type: path
  runfile_url:
    description: Address of NVIDIA's installer, or its path on the host, for O(source=runfile).
    type: str
    default: ""
  runfile_checksum:
    description: The installer's SHA-256, required with O(source=runfile).
    type: str
    default: ""
  signing_key:
    description:
      - Path on the host of the site's own private key, or a C(pkcs11:) address, with which DKMS signs the modules, for
        Secure Boot. Modules that DKMS signed with another key are built again. Of the key only its public half is
        asked for.
      - Together with O(signing_certificate), which the firmware has to trust where Secure Boot is on.
    type: str
    default: ""
  signing_certificate:
    description: Path on the host of the key's X.509 certificate, in DER.
    type: str
    default: ""
  duplicates:
    description: What happens where the repository stands in another of apt's files. V(remove) keeps a copy of it.
    type: str
    choices: [report, remove]
    default: report
  upgrade:
    description: Whether a newer version of the branch is installed where the source has one.
    type: bool
    default: false
  hold:
    description: Whether the packages are held against upgrades.
    type: bool
    default: true
  persistence:
    description: Whether the persistence daemon keeps the driver loaded.
    type: bool
    default: true
  fabric_manager:
    description: Package of the fabric manager. It is installed, in exactly the driver's version, where an NVSwitch is.
    type: str
    default: ""
  peermem:
    description: Whether nvidia_peermem is loaded at each start, for RDMA to the GPU's memory.
    type: bool
    default: false
  packages:
    description: Further packages.
    type: list
    elements: str
    default: []
  dcgm:
    description: >-
      Whether DCGM is installed, in the package for the CUDA of the driver's branch, and its service enabled. Only with
      O(source=nvidia).
    type: bool
    default: false
  container_toolkit:
    description: Whether the container toolkit (C(nvidia-container-toolkit)) is installed. Not with O(source=runfile).
    type: bool
    default: false
  container_toolkit_url:
    description: >-
      Address of a repository that has it, flat for apt, C(https://nvidia.github.io/libnvidia-container/stable/deb/amd64)
      or C(https://nvidia.github.io/libnvidia-container/stable/rpm/x86_64) for example, or a mirror. Empty means that a
      source of the host has it already. Where another file names the repository, that one is used.
    type: str
    default: ""
  container_toolkit_key:
    description: The key that this repository is signed with, its text or an address, as O(repository_key).
    type: str
    default: ""
  container_toolkit_fingerprint:
    description: Full fingerprint of that key.
    type: str
    default: ""
  reboot:
    description: The policy of whoever calls. With V(always) the driver is changed below running programs.
    type: str
    choices: [never, when_idle, always]
    default: never
  minimum_free_mb:
    description: Megabytes that must be free, by path, before anything is changed.
    type: dict
    default: {}
  lock_timeout:
    description: Seconds to wait for another package manager.
    type: int
    default: 600
  timeout:
    description: Seconds that one installation may take, the build of the modules included.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Give the host Debian's own driver
  gpufleet.workstation.nvidia_driver:
    branch: "535"
    minimum_free_mb: {/var: 2000, /boot: 200}

- name: Give the host a driver of which there is no package
  gpufleet.workstation.nvidia_driver:
    source: runfile
    runfile_url: https://mirror.example.org/NVIDIA-Linux-x86_64-580.126.16.run
    runfile_checksum: "{{ lookup('file', 'NVIDIA-Linux-x86_64-580.126.16.run.sha256') }}"

- name: Go back to the driver before
  gpufleet.workstation.nvidia_driver:
    state: previous
"""

RETURN = r"""
reasons:
  description: What was changed or would be. Empty if nothing.
  returned: success
  type: list
  elements: str
  sample: [driver 470.256.02 is installed, 535 is wanted]
version:
  description: Version of the installed driver. In check mode what is wanted, as far as known. Null if there is none.
  returned: success
  type: str
  sample: 535.261.03
flavor:
  description: V(open) or V(proprietary) kernel modules. Null if there is no driver.
  returned: success
  type: str
  sample: proprietary
loaded:
  description: Version of the loaded driver. Null if none is.
  returned: success
  type: str
  sample: 535.261.03
kernels:
  description: The kernels that must have the driver.
  returned: success
  type: list
  elements: str
  sample: [6.1.0-50-amd64]
previous:
  description: Version of the driver before the last change, to which O(state=previous) returns. Null if there is none.
  returned: success
  type: str
  sample: 470.256.02
reboot:
  description: Whether only a reboot makes the installed driver the loaded one.
  returned: success
  type: dict
  contains:
    needed:
      description: Whether it is needed.
      type: bool
      sample: true
    reason:
      description: Why. Empty if it is not.
      type: str
      sample: driver 470.256.02 is loaded and 535.261.03 is installed
    processes:
      description: The programs that use the GPU.
      type: list
      elements: dict
      contains:
        pid:
          description: Process.
          type: int
          sample: 4711
        name:
          description: Name of its program.
          type: str
          sample: python3
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 0.21
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_host import Wanted
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_run import ensure
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import hide_logins, redact


def main() -> None:
    """Ansible's entry point."""
    text = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent", "previous"], "default": "present"},
            "source": {"type": "str", "choices": ["distribution", "nvidia", "runfile"], "default": "distribution"},
            "branch": text,
            "version": text,
            "flavor": {"type": "str", "choices": ["proprietary", "open"], "default": "proprietary"},
            "headless": {"type": "bool", "default": True},
            "modules": {"type": "str", "choices": ["auto", "prebuilt", "dkms"], "default": "auto"},
            "repository_url": {"type": "str", "default": "", "no_log": True},
            "repository_key": {"type": "str", "default": "", "no_log": False},  # a public key
            "repository_fingerprint": text,
            "ca_file": {"type": "path"},
            "runfile_url": {"type": "str", "default": "", "no_log": True},
            "runfile_checksum": text,
            "signing_key": {"type": "str", "default": "", "no_log": False},  # a path
            "signing_certificate": text,
            "duplicates": {"type": "str", "choices": ["report", "remove"], "default": "report"},
            "upgrade": {"type": "bool", "default": False},
            "hold": {"type": "bool", "default": True},
            "persistence": {"type": "bool", "default": True},
            "fabric_manager": text,
            "peermem": {"type": "bool", "default": False},
            "packages": {"type": "list", "elements": "str", "default": []},
            "dcgm": {"type": "bool", "default": False},
            "container_toolkit": {"type": "bool", "default": False},
            "container_toolkit_url": {"type": "str", "default": "", "no_log": True},
            "container_toolkit_key": {"type": "str", "default": "", "no_log": False},  # a public key
            "container_toolkit_fingerprint": text,
            "reboot": {"type": "str", "choices": ["never", "when_idle", "always"], "default": "never"},
            "minimum_free_mb": {"type": "dict", "default": {}},
            "lock_timeout": {"type": "int", "default": 600},
            "timeout": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    addresses = ("repository_url", "repository_key", "runfile_url", "container_toolkit_url", "container_toolkit_key")
    hide_logins(module, [module.params[name] for name in addresses])
    try:
        result = ensure(Host(), Wanted(**module.params), check_mode=module.check_mode)
    except Failed as failure:
        module.fail_json(msg=f"{os.uname().nodename}: {redact(str(failure))}.")
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
