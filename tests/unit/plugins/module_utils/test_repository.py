# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files make a repository one of apt's or dnf's, who has it, which key is trusted, and where a login stands."""

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _repository as repository
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

URL = "https://mirror.example.org/cuda/repos/debian12/x86_64"
WITH_LOGIN = "https://lab%40site:p%25s@s@mirror.example.org/cuda/repos/debian12/x86_64"


def source(uri, suite, components):
    return {"file": "/etc/apt/sources.list", "type": "deb", "uri": uri, "suite": suite, "components": components}


def test_a_repository_is_one_whether_it_is_called_http_or_https():
    rows = [source("http://user@developer.example.org/cuda/", "/", [])]
    assert repository.owners("https://developer.example.org/cuda", rows) == ["/etc/apt/sources.list"]
    assert repository.owners("https://developer.example.org/other", rows) == []


def test_only_a_key_with_the_full_fingerprint_is_trusted():
    with pytest.raises(Failed, match="not known by its full fingerprint"):
        repository.trusted_key("", "3BF863CC", "x_fingerprint")
    with pytest.raises(Failed, match="the repository's key is no key"):
        repository.trusted_key("<html>", "A" * 40, "x_fingerprint")


@pytest.mark.parametrize("text", ["", "rubbish", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ!!\n-----END PGP"])
def test_what_is_no_key_has_no_fingerprint(text):
    assert repository.fingerprints(text) == []


def test_another_file_with_the_same_repository_is_found_whatever_the_scheme():
    files = {"/a.repo": "[cuda]\nbaseurl=http://u@mirror.example.org/rhel9/\n", "/b.repo": "baseurl = x\n"}
    assert repository.dnf_owners("https://mirror.example.org/rhel9", files) == ["/a.repo"]


def test_a_login_is_taken_out_of_an_address_and_decoded():
    assert repository.split_login(WITH_LOGIN) == (URL, "lab@site", "p%s@s")
    assert repository.split_login(URL) == (URL, "", "")
    assert repository.split_login("file:/srv/nvidia@home/x") == ("file:/srv/nvidia@home/x", "", "")
    assert repository.split_login("https://example.org/a@b") == ("https://example.org/a@b", "", "")


def test_apt_is_told_a_login_beside_the_entry_and_only_for_its_address():
    assert repository.apt_login(WITH_LOGIN) == f"machine {URL}/ login lab@site password p%s@s\n"
    assert repository.apt_login(URL) == ""
    assert "@" not in repository.repository_entry(WITH_LOGIN, "x86_64", "/key")
    assert 'origin "mirror.example.org"' in repository.origin_pin(WITH_LOGIN, 50)
    for login in ("user:two%20words", ":password"):
        with pytest.raises(Failed, match=r"^the login for https://example\.org has white space in it or no user"):
            repository.apt_login(f"https://{login}@example.org")


def test_dnf_is_told_a_login_by_options_in_a_file_for_root():
    text = repository.dnf_entry("x", "X", WITH_LOGIN, "/key", "ours")
    assert f"\nbaseurl={URL}/\n" in text and "\nusername=lab@site\npassword=p%s@s\n" in text
    assert repository.mode_of(text) == 0o600
    assert repository.mode_of(repository.apt_login(WITH_LOGIN)) == 0o600
    assert repository.mode_of(repository.dnf_entry("x", "X", URL, "/key", "ours")) == 0o644
    with pytest.raises(Failed, match=r"^the password for https://example\.org has a dollar sign"):
        repository.dnf_entry("x", "X", "https://u:a$basearch@example.org", "/key", "ours")


def test_an_entry_goes_and_what_else_is_in_its_file_stays():
    non_free = "Types: deb\nURIs: http://deb.example.org/debian\nSuites: bookworm\nComponents: contrib\n"
    entry = repository.repository_entry(URL, "x86_64", "/key")
    assert repository.without_repository(f"# ours\n{non_free}\n{entry}", WITH_LOGIN) == f"# ours\n{non_free}"
    assert repository.without_repository(f"# ours\n{entry}", URL) == ""
    assert repository.without_repository(f"# ours\n{non_free}", URL) == f"# ours\n{non_free}"


def test_a_key_from_an_address_names_what_stands_in_the_way(tmp_path):
    def fetch(address, ca_file=None):
        return repository.repository_key(Host(str(tmp_path)), "/key", address, "A" * 40, "x", ca_file, False)

    with pytest.raises(Failed, match=r"there is no CA bundle at /etc/site\.pem"):
        fetch("https://example.org/key.asc", "/etc/site.pem")
    with pytest.raises(
        Failed, match=r"^the repository's key cannot be fetched: file:///nothing/key\.asc .*o such file"
    ):
        fetch("file:///nothing/key.asc")
    with pytest.raises(Failed, match=r"cannot be fetched: http://127\.0\.0\.1:9/key\.asc Connection refused") as caught:
        fetch("http://user:secret@127.0.0.1:9/key.asc")
    assert "secret" not in str(caught.value)
