# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files make packages available, and which versions fit. What apt and dnf do with them, tests/packages sees."""

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _cuda_packages as packages
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver import System
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host, Result
from ansible_collections.gpufleet.workstation.plugins.module_utils._repository import CUDA_APT
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused

DEBIAN = System("debian", "12", "bookworm", "Debian GNU/Linux 12 (bookworm)")
MAIN = {
    "file": "/etc/apt/sources.list",
    "type": "deb",
    "uri": "http://deb.example.org/debian",
    "suite": "bookworm",
    "components": ["main"],
    "signed_by": None,
}
URL = "https://mirror.example.org/cuda/repos/debian12/x86_64"


KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"


def files_for(repository, sources):
    """Return the files that have to be there, with what has a text."""
    files = packages.apt_files(repository, DEBIAN, sources, "x86_64", KEY)
    assert sorted(files) == sorted(CUDA_APT)
    return {path: text for path, text in files.items() if text}


def test_a_repository_comes_with_its_key_and_gives_only_what_is_asked_for():
    files = files_for(packages.Repository(url=URL), [MAIN])
    assert f"URIs: {URL}/\nSuites: /\nArchitectures: amd64\nSigned-By: {CUDA_APT.key}\n" in files[CUDA_APT.entry]
    assert files[CUDA_APT.key] == KEY and CUDA_APT.login not in files
    assert 'Pin: origin "mirror.example.org"\nPin-Priority: 50' in files[CUDA_APT.pin]


POLICY = """Package files:
 100 /var/lib/dpkg/status
     release a=now
 500 http://mirror.example.org/debian bookworm/main amd64 Packages
     release o=Debian,l=Debian,c=main
     origin mirror.example.org
 {priority:>3} https://mirror.example.org/cuda/repos/debian12/x86_64  Packages
     release o=NVIDIA,l=NVIDIA CUDA,c=
"""


class Mirrored(Host):
    """A host whose mirror has the system's packages too; apt is played."""

    def __init__(self, root, priority):
        Host.__init__(self, str(root))
        self.policy = POLICY.format(priority=priority)

    def run(self, argv, timeout, env=None, pass_fds=()):
        return Result(0, self.policy if argv == ["apt-cache", "policy"] else "", "", None)


@pytest.mark.parametrize("priority", [50, 500])
def test_a_mirror_on_the_systems_host_has_to_keep_the_name_that_nvidia_gave_it(tmp_path, priority):
    shared = {**MAIN, "uri": "http://mirror.example.org/debian"}
    text = files_for(packages.Repository(url=URL), [shared])[CUDA_APT.pin]
    assert "Pin: release l=NVIDIA CUDA\nPin-Priority: 50" in text
    (tmp_path / CUDA_APT.pin[1:]).parent.mkdir(parents=True)
    (tmp_path / CUDA_APT.pin[1:]).write_text(text)
    side = packages.AptSide(Mirrored(tmp_path, priority), packages.Repository(url=URL), str(tmp_path / "kept"))
    if priority == 50:
        side.refresh()
        return
    with pytest.raises(Refused, match=r"does not call itself NVIDIA CUDA, .* a host name of its own"):
        side.refresh()


def test_a_repository_that_another_file_names_stays_that_files():
    theirs = {
        **MAIN,
        "file": "/etc/apt/sources.list.d/cuda.list",
        "uri": URL.replace("https", "http") + "/",
        "suite": "/",
    }
    assert files_for(packages.Repository(url=URL.replace("//", "//lab:secret@")), [MAIN, theirs]) == {}


def test_non_free_is_added_where_it_is_missing_and_only_there():
    files = files_for(packages.Repository(non_free=True), [MAIN])
    assert "Components: contrib non-free non-free-firmware" in files[CUDA_APT.entry]
    whole = {**MAIN, "components": ["main", "contrib", "non-free", "non-free-firmware"]}
    assert files_for(packages.Repository(non_free=True), [whole]) == {}
    # What this module wrote itself earlier does not count, or it would be taken away again.
    ours = {**whole, "file": CUDA_APT.entry}
    assert CUDA_APT.entry in files_for(packages.Repository(non_free=True), [MAIN, ours])


def test_a_pattern_becomes_a_version_that_is_offered():
    policy = {
        "libnccl2": ("2.33.1-1+cuda13.0", ["2.33.1-1+cuda13.0", "2.32.3-1+cuda13.0", "2.32.3-1+cuda12.9"]),
        "g++": ("4:12.2.0-3", ["4:12.2.0-3"]),
        "cuda-toolkit-12-9": (None, []),
    }
    assert packages.exact(["libnccl2=2.32.3-*+cuda12.*", "g++"], policy) == {"libnccl2": "2.32.3-1+cuda12.9", "g++": ""}
    with pytest.raises(Refused, match=r"has cuda-toolkit-12-9$"):
        packages.exact(["cuda-toolkit-12-9"], policy)
    with pytest.raises(Refused, match=r"has libnccl2=2.31.\*; it has 2.33.1-1\+cuda13.0, "):
        packages.exact(["libnccl2=2.31.*"], policy)
