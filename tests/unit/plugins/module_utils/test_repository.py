# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files make a repository one of apt's or dnf's, who has it, which key is trusted, and where a login stands."""

import base64
import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler

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


@pytest.mark.parametrize(
    ("file", "ours", "others"),
    [
        ("/etc/apt/sources.list", f"deb [arch=amd64] {URL}/ /\n", "deb http://deb.example.org/ a main\n# mine\n"),
        ("/x/a.sources", f"Types: deb\nURIs: {URL}\nSuites: /\n\n", "Types: deb\nURIs: http://x.org\nSuites: a\n"),
        ("/x/a.repo", f"[cuda]\nname=x\nbaseurl={URL}\n", "[base]\nname=y\nbaseurl=http://x.org/\n"),
    ],
)
def test_a_repository_that_goes_from_a_file_leaves_the_others_in_it(file, ours, others):
    assert repository.without_source(file, ours + others, URL) == others
    assert repository.without_source(file, "# mine\n" + ours, URL) == ""


def test_a_login_is_taken_out_of_an_address_and_decoded():
    assert repository.split_login(WITH_LOGIN) == (URL, "lab@site", "p%s@s")
    assert repository.split_login(URL) == (URL, "", "")
    assert repository.split_login("file:/srv/nvidia@home/x") == ("file:/srv/nvidia@home/x", "", "")
    assert repository.split_login("https://example.org/a@b") == ("https://example.org/a@b", "", "")


def test_apt_is_told_a_login_beside_the_entry_and_only_for_its_address():
    words = "login lab@site password p%s@s\n"
    assert repository.apt_login(WITH_LOGIN) == f"machine {URL}/ {words}machine {URL[8:]}/ {words}"
    assert repository.apt_login(URL) == ""
    assert "@" not in repository.repository_entry(WITH_LOGIN, "x86_64", "/key")
    assert 'origin "mirror.example.org"' in repository.origin_pin(WITH_LOGIN, 50)
    for login in ("user:two%20words", ":password"):
        with pytest.raises(Failed, match=r"^the login for https://example\.org has white space in it or no user"):
            repository.apt_login(f"https://{login}@example.org")


@pytest.mark.parametrize(
    ("url", "other", "words"),
    [
        (URL, "http://deb.example.org/debian", 'origin "mirror.example.org"'),
        (WITH_LOGIN, URL.replace("https", "http") + "/", 'origin "mirror.example.org"'),  # the repository itself
        (URL, "http://mirror.example.org:8080/debian", "release l=NVIDIA CUDA"),
        (WITH_LOGIN, "http://other@mirror.example.org/debian", "release l=NVIDIA CUDA"),
        ("http://[fd00::1]:8080/cuda/", "http://[fd00::2]:8080/debian", 'origin "fd00::1"'),
        ("http://[fd00::1]:8080/cuda/", "http://[fd00::1]/debian", "release l=NVIDIA CUDA"),
        ("file:/srv/cuda", "http://deb.example.org/debian", 'origin ""'),
        ("file:///srv/cuda", "file:/srv/debian", "release l=NVIDIA CUDA"),
    ],
)
def test_a_priority_is_for_nvidias_repository_alone_also_where_a_mirror_has_the_systems_too(url, other, words):
    text = repository.origin_pin(url, 50, [source(other, "bookworm", ["main"])])
    assert text == f"Package: *\nPin: {words}\nPin-Priority: 50\n"


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


BODY = b"\4" + b"a key of version 4"
FINGERPRINT = hashlib.sha1(b"\x99" + len(BODY).to_bytes(2, "big") + BODY).hexdigest().upper()  # noqa: S324
KEY = (
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n"
    + base64.b64encode(bytes([0x98, len(BODY)]) + BODY).decode("ascii")
    + "\n-----END PGP PUBLIC KEY BLOCK-----\n"
)


@pytest.fixture
def site(tmp_path):
    """Return the address of a key behind the site's own certificate, that certificate, and who asked for it."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make a certificate with")
    key, ca, asked = str(tmp_path / "tls.key"), str(tmp_path / "ca.pem"), []
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", ca]
    subprocess.check_output(command + subject, stderr=subprocess.STDOUT)

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(200)
            self.send_header("Content-Length", str(len(KEY)))  # nobody has to guess where the answer ends
            self.end_headers()
            self.wfile.write(KEY.encode("ascii"))

        def log_message(self, *words):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://lab:p%40ss@127.0.0.1:{server.server_port}/nvidia.asc", ca, asked
    server.shutdown()
    server.server_close()


def key_from(address, ca_file=None, there="/nothing", check_mode=False, fingerprint=FINGERPRINT, fresh=False):
    return repository.repository_key(Host(), there, address, fingerprint, "x", ca_file, check_mode, fresh)


def test_a_key_is_fetched_with_the_sites_certificate_and_its_login_once(site, tmp_path):
    address, ca_file, asked = site
    assert key_from(address, ca_file) == KEY
    assert asked == [("/nvidia.asc", "Basic " + base64.b64encode(b"lab:p@ss").decode("ascii"))]
    there = tmp_path / "there.asc"
    there.write_text(KEY)
    assert key_from(address, ca_file, str(there)) == KEY and key_from(address, "/no/bundle", check_mode=True)
    assert len(asked) == 1
    with pytest.raises(Failed, match=r"and A{40} is trusted"):
        key_from(address, ca_file, str(there), fingerprint="A" * 40)  # another one is wanted than is there


def test_a_key_whose_time_was_extended_is_fetched_again_before_something_is_installed(site, tmp_path):
    address, ca_file, asked = site
    there = tmp_path / "there.asc"
    there.write_text(KEY.replace("BLOCK-----\n\n", "BLOCK-----\nComment: until yesterday\n\n"))
    assert "yesterday" in key_from(address, ca_file, str(there)) and not asked
    assert key_from(address, ca_file, str(there), fresh=True) == KEY and len(asked) == 1
    for gone, bundle in (("http://127.0.0.1:9/key.asc", None), (address, "/no/bundle")):
        assert "yesterday" in key_from(gone, bundle, str(there), fresh=True)


def test_a_certificate_that_is_not_trusted_is_said_without_the_login(site):
    address, _ca, asked = site
    with pytest.raises(Failed, match=r"has a certificate that is not trusted here; name .* in ca_file") as caught:
        key_from(address)
    assert asked == [] and "p%40ss" not in str(caught.value) and "https://127.0.0.1" in str(caught.value)


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(repository, "KEY_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        with pytest.raises(Failed, match=r"cannot be fetched: .* timed out"):
            key_from(f"http://127.0.0.1:{silent.getsockname()[1]}/nvidia.asc")


def test_a_key_from_an_address_names_what_stands_in_the_way(tmp_path):
    with pytest.raises(Failed, match=r"there is no CA bundle at .*/site\.pem"):
        key_from("https://example.org/key.asc", str(tmp_path / "site.pem"))
    with pytest.raises(
        Failed, match=r"^the repository's key cannot be fetched: file:///nothing/key\.asc .*o such file"
    ):
        key_from("file:///nothing/key.asc")
    with pytest.raises(Failed, match=r"cannot be fetched: http://127\.0\.0\.1:9/key\.asc Connection refused") as caught:
        key_from("http://user:secret@127.0.0.1:9/key.asc")
    assert "secret" not in str(caught.value)


def test_what_fails_gives_files_back_with_the_modes_they_had(tmp_path):
    host, theirs, ours = Host(str(tmp_path)), tmp_path / "theirs.list", tmp_path / "ours.list"
    theirs.write_text("deb https://lab:secret@mirror.example.org/cuda /\n")
    theirs.chmod(0o600)
    with pytest.raises(ZeroDivisionError), repository.as_before(host, ["/theirs.list", "/ours.list", ""]):
        theirs.rename(tmp_path / "theirs.list.gpufleet-backup")
        ours.write_text("deb ...")
        raise ZeroDivisionError
    assert "secret" in theirs.read_text() and theirs.stat().st_mode & 0o777 == 0o600
    assert not ours.exists()
