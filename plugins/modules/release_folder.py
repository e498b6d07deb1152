#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Download, verify and unpack a release aside, and swap it in."""

DOCUMENTATION = r"""
module: release_folder
short_description: Install a downloaded release aside and swap it in
version_added: 0.2.0
author:
  - The gpufleet authors (@gpufleet)
description:
  - Downloads an archive or single files, compares their checksums, puts them into a folder of its own, and only then
    points the link C(current) at it. Until that moment, and after any failure, the previous release is the one in use.
  - A download that was cut is taken up where it was cut, by this run from the same source or the next one, or by the
    next run.
  - An archive is unpacked without its outermost folder. One with a member that leads out of the folder, also through a
    link, with a device or the like is refused.
  - A release whose files were altered or removed by hand is installed anew. Files that were added to it are no harm.
  - A run that has nothing to do looks at the sizes of the files, and needs no network.
attributes:
  check_mode:
    description: Predicts without the network.
    support: full
  diff_mode:
    description: Shows what C(current) leads to, before and after.
    support: full
  platform:
    description: Systems with POSIX links.
    support: full
    platforms: linux
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
options:
  name:
    description: Name of what is released, a folder below O(root).
    type: str
    required: true
  root:
    description: Folder of everything that is installed so.
    type: path
    default: /opt/gpufleet
  version:
    description: Name of the release's own folder. A second build of the same version gets C(-2) behind it.
    type: str
    default: ""
  state:
    description:
      - V(present) has the release that the other options describe in use.
      - V(previous) takes the release that was in use before the current one into use again, without the network. Done
        twice, it is as before.
    type: str
    choices: [present, previous]
    default: present
  sources:
    description:
      - URLs that the paths of O(files) lie below, V(https), V(http) or V(file), asked in this order. The mirror comes
        first, the archive of old releases last.
      - A login in a URL is kept out of every output, file and redirection.
    type: list
    elements: str
    default: []
  checksum_sources:
    description: URLs that checksum files lie below, where these are not to come from O(sources).
    type: list
    elements: str
    default: []
  files:
    description: What is downloaded.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path below a source.
        type: str
        required: true
      checksum:
        description:
          - V(sha512:...), V(sha256:...) or V(sha1:...), or the name of a checksum file beside the file. Empty means the
            file's name with C(.sha512) behind it.
          - Checksum files may have the style of sha512sum, of BSD or of gpg.
        type: str
        default: ""
      unpack:
        description: Whether it is an archive to be unpacked.
        type: bool
        default: false
      dest:
        description: Folder inside the release for an archive; path for a file, a folder if it ends with V(/).
        type: str
        default: ""
      exclude:
        description: Patterns of paths in the archive, without the outermost folder, that are left out.
        type: list
        elements: str
        default: []
  contents:
    description: Files that the release gets besides, written from text.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Path inside the release.
        type: str
        required: true
      content:
        description: The text.
        type: str
        required: true
      mode:
        description: Permissions, in octal digits.
        type: str
        default: "0644"
  cache_dir:
    description: Folder for downloads. What is installed is removed from it, what was cut is kept.
    type: path
    default: /var/cache/gpufleet/releases
  ca_file:
    description: Bundle of CA certificates in PEM form for downloads. Without it, the host's own.
    type: path
  keep:
    description: How many earlier releases are kept for going back.
    type: int
    default: 1
  minimum_free_bytes:
    description:
      - Free space needed, before anything is downloaded, on each of the filesystems of O(root) and O(cache_dir).
      - What the server and the archive say about their sizes is looked at in any case.
    type: int
    default: 0
  timeout:
    description: Seconds that the whole may take.
    type: int
    default: 1800
"""

EXAMPLES = r"""
- name: Install Spark
  gpufleet.workstation.release_folder:
    name: spark
    version: 4.2.1
    sources:
      - https://dlcdn.apache.org
      - https://archive.apache.org/dist
    checksum_sources:
      - https://downloads.apache.org
      - https://archive.apache.org/dist
    files:
      - path: spark/spark-4.2.1/spark-4.2.1-bin-hadoop3.tgz
        unpack: true

- name: Go back to the Spark before
  gpufleet.workstation.release_folder:
    name: spark
    state: previous
"""

RETURN = r"""
reason:
  description: Why the release in use is not left as it is. Empty if it is.
  returned: success
  type: str
  sample: "other version than 4.1.4 was made from"
path:
  description: Folder of the release in use. In check mode, of the one that would be.
  returned: success
  type: str
  sample: /opt/gpufleet/spark/4.2.1
current:
  description: The link that leads to the release in use. Give this one to users.
  returned: success
  type: str
  sample: /opt/gpufleet/spark/current
version:
  description: Version in use.
  returned: success
  type: str
  sample: 4.2.1
previous:
  description: Folder that O(state=previous) would go back to. Empty if there is none.
  returned: success
  type: str
  sample: /opt/gpufleet/spark/4.1.4
downloads:
  description: What was downloaded now.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the file.
      type: str
      sample: spark-4.2.1-bin-hadoop3.tgz
    checksum:
      description: The checksum that it has.
      type: str
      sample: "sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"
    source:
      description: URL that its last byte came from. Empty if it was in O(cache_dir).
      type: str
      sample: https://dlcdn.apache.org/spark/spark-4.2.1/spark-4.2.1-bin-hadoop3.tgz
    bytes:
      description: Bytes that came over the network in this run.
      type: int
      sample: 543210987
removed:
  description: Folders of earlier releases and of interrupted runs that were removed.
  returned: success
  type: list
  elements: str
  sample: [/opt/gpufleet/spark/4.0.5]
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 0.012
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._release import Wanted, ensure
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused, hide_logins, redact


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "root": {"type": "path", "default": "/opt/gpufleet"},
            "version": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["present", "previous"], "default": "present"},
            "sources": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "checksum_sources": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "str", "required": True},
                    "checksum": {"type": "str", "default": ""},
                    "unpack": {"type": "bool", "default": False},
                    "dest": {"type": "str", "default": ""},
                    "exclude": {"type": "list", "elements": "str", "default": []},
                },
            },
            "contents": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "dest": {"type": "str", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                },
            },
            "cache_dir": {"type": "path", "default": "/var/cache/gpufleet/releases"},
            "ca_file": {"type": "path"},
            "keep": {"type": "int", "default": 1},
            "minimum_free_bytes": {"type": "int", "default": 0},
            "timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    hide_logins(module, [*module.params["sources"], *module.params["checksum_sources"]])
    try:
        module.exit_json(**ensure(Wanted(**module.params), check_mode=module.check_mode))
    except Refused as exc:
        module.fail_json(msg=f"{os.uname().nodename}: {redact(str(exc))}.")


if __name__ == "__main__":
    main()
