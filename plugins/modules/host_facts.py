#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what stands between a host and its provisioning."""

DOCUMENTATION = r"""
module: host_facts
short_description: Read what stands between a host and its provisioning
version_added: 0.1.0
description:
  - Reads the state of dpkg and of dnf, apt's sources, kernels and their headers, filesystems, the clock, processors,
    and whether the host is a container or a virtual machine. No command is run and no package manager is asked.
  - It has no opinion; the role P(gpufleet.workstation.preflight#role) has.
extends_documentation_fragment:
  - gpufleet.workstation.facts
options:
  paths:
    description:
      - Paths whose filesystems are of interest. They need not be mount points, and need not be there yet.
    type: list
    elements: path
    default: [/, /boot, /var, /tmp]
  timeout:
    description: Seconds after which a filesystem that does not answer is given up, as of a server that is gone.
    type: float
    default: 5
"""

EXAMPLES = r"""
- name: Read what stands between the host and its provisioning
  gpufleet.workstation.host_facts:
    paths: [/, /boot, /var, /tmp, /opt/gpufleet]

- name: Show what dpkg left half done
  ansible.builtin.debug:
    msg: "{{ ansible_facts['host'].packages.interrupted | map(attribute='name') }}"
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: always
  type: dict
  contains:
    host:
      description: The host. Null is what it does not say.
      type: dict
      contains:
        root: {description: Where it was read. Not V(/) means a recording or a stand-in., type: str, sample: /}
        gaps:
          description: What could not be read, one sentence each.
          type: list
          elements: str
          sample: ["/scratch: its filesystem did not answer in 5 s"]
        epoch_seconds:
          description: The host's clock in seconds since 1970, UTC.
          type: float
          sample: 1795485600.25
        clock_offset_seconds:
          description:
            - How far in seconds the host's clock is, at least, ahead of the controller's, or behind it if negative.
            - The controller looks at its own clock before and after the task; V(0.0) means that the host's time lies
              between the two.
          type: float
          sample: 0.0
        clock_synchronized:
          description: Whether anything keeps the clock right, as the kernel knows it. Null where it may not be asked.
          type: bool
          sample: true
        container:
          description: Kind of container that this is, such as V(docker). Null if there is no sign of one.
          type: str
          sample: docker
        virtual_machine:
          description: Whether this is a virtual machine. Null where the processor does not say.
          type: bool
          sample: false
        hypervisor:
          description: >-
            V(kvm), V(vmware), V(hyperv), V(xen), V(virtualbox), V(nitro) or V(google). Null on metal, and for others.
          type: str
          sample: kvm
        processors:
          description: Processors that are online.
          type: dict
          contains:
            model: {description: Name., type: str, sample: Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz}
            sockets: {description: Sockets in use., type: int, sample: 2}
            cores: {description: Cores., type: int, sample: 40}
            logical: {description: Logical processors., type: int, sample: 80}
        kernel:
          description: The running kernel and the others.
          type: dict
          contains:
            release: {description: Release of the running kernel., type: str, sample: 6.1.0-28-amd64}
            headers:
              description: Whether the headers of the running kernel are there, so that modules can be built for it.
              type: bool
              sample: true
            newest_installed:
              description: >-
                Release of the newest installed kernel. Of two flavours of one version it is the running one. Null in a
                container.
              type: str
              sample: 6.1.0-28-amd64
            installed:
              description: Installed kernels.
              type: list
              elements: dict
              contains:
                release: {description: Release., type: str, sample: 6.1.0-28-amd64}
                headers: {description: Whether its headers are there., type: bool, sample: true}
        reboot_required:
          description: Whether a package has left the note that the host is to be rebooted (Debian and Ubuntu).
          type: bool
          sample: false
        reboot_required_by:
          description: Packages that asked for it.
          type: list
          elements: str
          sample: [linux-image-6.1.0-28-amd64]
        filesystems:
          description: For each of O(paths) the filesystem that holds it, or will hold it once it is there.
          type: list
          elements: dict
          contains:
            path: {description: The path that was asked for., type: str, sample: /var}
            exists: {description: Whether it is there., type: bool, sample: true}
            mountpoint: {description: Where its filesystem is mounted., type: str, sample: /}
            fstype: {description: Kind of filesystem., type: str, sample: ext4}
            read_only: {description: Whether it is mounted read-only., type: bool, sample: false}
            noexec: {description: Whether programs on it may not be started., type: bool, sample: false}
            size_bytes: {description: Its size in bytes., type: int, sample: 105089261568}
            free_bytes: {description: What an ordinary user may still write in bytes., type: int, sample: 62184996864}
            inodes: {description: Files that it can hold. Null without such a limit., type: int, sample: 6553600}
            free_inodes: {description: Files that it can still take., type: int, sample: 6203410}
        packages:
          description: What keeps packages from being changed.
          type: dict
          contains:
            manager:
              description: V(dpkg) or V(rpm), whichever keeps the host's packages.
              type: str
              sample: dpkg
            interrupted:
              description: Packages that dpkg has not brought to an end.
              type: list
              elements: dict
              contains:
                name: {description: Package., type: str, sample: nvidia-dkms-580}
                version: {description: Version., type: str, sample: 580.126.16-1}
                state:
                  description: Where dpkg stopped. With V(installed), the package has to be installed again.
                  type: str
                  sample: half-configured
            journal:
              description: Files in which a dpkg that was cut off left notes.
              type: list
              elements: str
              sample: ["0003"]
            lock_pid:
              description: Process that holds dpkg's lock now. Null if none is seen; a container may not see it.
              type: int
              sample: 4711
            held: {description: Packages on hold., type: list, elements: str, sample: [nvidia-driver-535]}
            held_by_roles:
              description: Those of them that roles of this collection put on hold, and lift when they have to.
              type: list
              elements: str
              sample: [nvidia-driver-535]
            unattended_upgrades:
              description: Whether the host upgrades itself. Null without apt.
              type: bool
              sample: true
            blacklisted:
              description: Regular expressions of packages that unattended upgrades leave alone.
              type: list
              elements: str
              sample: ["nvidia-.*"]
            excluded:
              description: Packages and patterns that dnf or yum leaves out.
              type: list
              elements: str
              sample: ["kernel*"]
            version_locked:
              description: Packages that dnf or yum holds at a version.
              type: list
              elements: str
              sample: ["kernel-0:5.14.0-503.11.1.el9_5.*"]
        fabric_manager: {description: Whether NVIDIA's Fabric Manager is installed., type: bool, sample: false}
        apt_sources:
          description: Sources of packages in the order in which apt reads them, those that are switched off left out.
          type: list
          elements: dict
          contains:
            file: {description: File that names it., type: str, sample: /etc/apt/sources.list.d/cuda.list}
            line: {description: Line in the file. Null in a file of the deb822 form., type: int, sample: 1}
            type: {description: V(deb) or V(deb-src)., type: str, sample: deb}
            uri:
              description: Where it leads, without the account in it.
              type: str
              sample: https://mirror.example.org/compute/cuda/repos/debian12/x86_64/
            suite: {description: Suite. One that ends with C(/) is a folder without components., type: str, sample: /}
            components: {description: Components., type: list, elements: str, sample: [main]}
            architectures:
              description: Architectures that it is limited to.
              type: list
              elements: str
              sample: [amd64]
            signed_by:
              description: Key that it is bound to. Null if any trusted key will do.
              type: str
              sample: /usr/share/keyrings/cuda-archive-keyring.gpg
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._system import collect


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "paths": {"type": "list", "elements": "path", "default": ["/", "/boot", "/var", "/tmp"]},  # noqa: S108 (looked at)
            "timeout": {"type": "float", "default": 5},
        },
        supports_check_mode=True,
    )
    options = module.params
    module.exit_json(ansible_facts={"host": collect(Host(options["root"]), options["paths"], options["timeout"])})


if __name__ == "__main__":
    main()
