# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files make packages available, and which key is trusted. What apt does with them is seen in the scenarios."""

import shutil
import subprocess

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _cuda_packages as packages
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver import System
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


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """Return a new armored key and its fingerprint, as gpg sees it."""
    if not shutil.which("gpg"):
        pytest.skip("there is no gpg to make a key with")
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)

    def gpg(*words):
        return subprocess.check_output(["gpg", "--homedir", str(home), "--batch", *words], universal_newlines=True)

    gpg("--passphrase", "", "--quick-gen-key", "stand-in", "rsa2048", "sign", "never")
    listed = gpg("--with-colons", "--list-keys")
    found = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    return gpg("--armor", "--export"), found


def test_another_key_than_the_one_named_is_refused(key):
    other = packages.Repository(url=URL, key=key[0], fingerprint="EB693B3035CD5710E231E123A4B469963BF863CC")
    with pytest.raises(Refused, match=f"has the fingerprint {key[1]}, and EB693B3035CD5710E231E123A4B469963BF863CC is"):
        packages.files_for(other, DEBIAN, [MAIN], "x86_64")
    with pytest.raises(Refused, match="is not a whole fingerprint"):
        packages.files_for(other._replace(fingerprint="3BF863CC"), DEBIAN, [MAIN], "x86_64")


def test_a_repository_comes_with_its_key_and_gives_only_what_is_asked_for(key):
    files = packages.files_for(packages.Repository(url=URL, key=key[0], fingerprint=key[1]), DEBIAN, [MAIN], "x86_64")
    assert f"URIs: {URL}/\nSuites: /\nArchitectures: amd64\nSigned-By: {packages.KEYRING}\n" in files[packages.SOURCES]
    assert files[packages.KEYRING].startswith("-----BEGIN PGP")
    assert 'Pin: origin "mirror.example.org"\nPin-Priority: 50' in files[packages.PREFERENCES]


def test_a_repository_that_another_file_names_stays_that_files():
    theirs = {
        **MAIN,
        "file": "/etc/apt/sources.list.d/cuda.list",
        "uri": URL.replace("https", "http") + "/",
        "suite": "/",
    }
    assert packages.files_for(packages.Repository(url=URL), DEBIAN, [MAIN, theirs], "x86_64") == {}


def test_non_free_is_added_where_it_is_missing_and_only_there():
    files = packages.files_for(packages.Repository(non_free=True), DEBIAN, [MAIN], "x86_64")
    assert "Components: contrib non-free non-free-firmware" in files[packages.SOURCES]
    whole = {**MAIN, "components": ["main", "contrib", "non-free", "non-free-firmware"]}
    assert packages.files_for(packages.Repository(non_free=True), DEBIAN, [whole], "x86_64") == {}
    # What this module wrote itself earlier does not count, or it would be taken away again.
    ours = {**whole, "file": packages.SOURCES}
    assert packages.SOURCES in packages.files_for(packages.Repository(non_free=True), DEBIAN, [MAIN, ours], "x86_64")


def test_a_pattern_becomes_a_version_that_is_offered():
    policy = {
        "libnccl2": ("2.33.1-1+cuda13.0", ["2.33.1-1+cuda13.0", "2.32.3-1+cuda13.0", "2.32.3-1+cuda12.9"]),
        "g++": ("4:12.2.0-3", ["4:12.2.0-3"]),
        "cuda-toolkit-12-9": (None, []),
    }
    assert packages.exact(["libnccl2=2.32.3-*+cuda12.*", "g++"], policy) == ["libnccl2=2.32.3-1+cuda12.9", "g++"]
    with pytest.raises(Refused, match=r"has cuda-toolkit-12-9$"):
        packages.exact(["cuda-toolkit-12-9"], policy)
    with pytest.raises(Refused, match=r"has libnccl2=2.31.\*; it has 2.33.1-1\+cuda13.0, "):
        packages.exact(["libnccl2=2.31.*"], policy)
