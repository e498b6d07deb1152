# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases from a server on loopback that cuts, lies, redirects and asks for a login; archives that would break out."""

import base64
import contextlib
import hashlib
import io
import os
import resource
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _release as release
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused

PAYLOAD = os.urandom(3 << 20)  # does not compress, so that a cut falls into the middle
SHA512 = "cafe" * 32


class Mirror:
    """A server with files by path, and for each path what goes wrong with it."""

    def __init__(self):
        self.files, self.cut, self.status, self.redirect, self.login = {}, {}, {}, {}, None
        self.requests, self.ranges = [], True
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                mirror.answer(self)

            def log_message(self, *_words):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, handler):
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked, handler.headers.get("Authorization")))
        if self.login and handler.headers.get("Authorization") != "Basic " + base64.b64encode(self.login).decode():
            return handler.send_error(401)
        if handler.path in self.redirect:
            handler.send_response(302)
            handler.send_header("Location", self.redirect[handler.path])
            handler.send_header("Content-Length", "0")
            return handler.end_headers()
        if handler.path in self.status:
            return handler.send_error(self.status[handler.path])
        data = self.files.get(handler.path)
        if data is None:
            return handler.send_error(404)
        begin = int(asked[len("bytes=") : -1]) if asked and self.ranges else 0
        if begin and begin >= len(data):
            return handler.send_error(416)
        handler.send_response(206 if begin else 200)
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - begin))
        handler.end_headers()
        end = self.cut.get(handler.path, [len(data)])
        handler.wfile.write(data[begin : end.pop(0) if len(end) > 1 else end[0]])
        return None

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def mirror():
    server = Mirror()
    yield server
    server.close()


def archive(members, folder="spark-4.2.1-bin-hadoop3/"):
    """Return a gzipped archive; a member is a text, or a function that alters its TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(folder + name)
            data = b""
            if callable(content):
                content(info)
            else:
                data = content if isinstance(content, bytes) else content.encode()
                info.size = len(data)
                info.mode = 0o755 if name.startswith("bin/") else 0o644
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


SPARK = archive(
    {"bin/spark-submit": "#!/bin/sh\n", "jars/core.jar": PAYLOAD, "README.md": "spark", "docs/a/b.html": "x"}
)


def publish(mirror, data, path="/spark/s.tgz", style="{digest}  {name}\n"):
    mirror.files[path] = data
    digest = hashlib.sha512(data).hexdigest()
    mirror.files[path + ".sha512"] = style.format(digest=digest, name=os.path.basename(path)).encode()


@pytest.fixture
def want(tmp_path, mirror):
    """Return a maker of what a task asks for."""

    def make(**changes):
        given = {
            "name": "spark",
            "root": str(tmp_path / "opt"),
            "version": "4.2.1",
            "sources": [mirror.url],
            "files": [{"path": "spark/s.tgz", "unpack": True}],
            "cache_dir": str(tmp_path / "cache"),
            "timeout": 60,
        }
        given.update(changes)
        return release.Wanted(**given)

    return make


@pytest.fixture
def installed(mirror, want):
    """Return a wish that is already fulfilled, by 4.1.4."""
    publish(mirror, archive({"bin/spark-submit": "old"}), "/spark/old.tgz")
    old = want(version="4.1.4", files=[{"path": "spark/old.tgz", "unpack": True}])
    release.ensure(old)
    mirror.requests.clear()
    return old


def in_use(wanted):
    return os.readlink(os.path.join(wanted.folder, "current"))


def content(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def listing(folder):
    return sorted(name for name in os.listdir(folder) if name != ".lock")


# Checksums

GROUPS = " ".join(("cafe" * 32)[start : start + 8].upper() for start in range(0, 128, 8))


@pytest.mark.parametrize(
    "text",
    [
        SHA512,
        SHA512 + "\n",
        f"{SHA512}  s.tgz\n",
        f"{SHA512.upper()} *s.tgz",
        f"SHA512 (s.tgz) = {SHA512}\n",
        f"SHA512 (hadoop-3.3.6-RC1.tar.gz) = {SHA512}\n",
        f"s.tgz: {GROUPS}\n",
        "s.tgz:\n" + GROUPS.replace(" ", "\n       ") + "\n",
        f"{'0' * 128}  other.tgz\n{SHA512}  s.tgz\n",
        f"# a comment\n{SHA512}  dist/s.tgz\r\n",
    ],
)
def test_every_style_of_checksum_file_is_read(text):
    assert release.parse_checksum(text, "s.tgz") == ("sha512", SHA512)


@pytest.mark.parametrize(
    "text",
    ["", "\n", "<html>404</html>", "cafe", f"{SHA512}0", f"{SHA512}  a\n{'0' * 128}  b\n", "s.tgz: not hex", "d" * 32],
)
def test_what_is_no_checksum_of_the_file_is_none(text):
    assert release.parse_checksum(text, "s.tgz") is None


def test_a_short_inline_checksum_is_refused(want):
    with pytest.raises(Refused, match="'sha256:abc' is no checksum"):
        release.ensure(want(files=[{"path": "a", "checksum": "sha256:abc"}]))


# What is asked for


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"name": "../etc"}, "cannot name a folder"),
        ({"version": "a/b"}, "cannot name a folder"),
        ({"version": ""}, "cannot name a folder"),
        ({"version": "current"}, "cannot name a folder"),
        ({"files": []}, "nothing to install"),
        ({"sources": []}, "can come from nowhere"),
        ({"sources": ["ftp://mirror"]}, "is no URL"),
        ({"sources": ["mirror.example.org"]}, "is no URL"),
        ({"files": [{"path": "a.jar", "dest": "../../etc/"}]}, "leads out of the folder"),
        ({"contents": [{"dest": "/etc/passwd", "content": ""}]}, "leads out of the folder"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(tmp_path, mirror, want, changes, sentence):
    with pytest.raises(Refused, match=sentence):
        release.ensure(want(**changes))
    assert mirror.requests == [] and not (tmp_path / "opt").exists()


# Installing


def test_a_release_is_installed_and_a_second_run_asks_nobody(mirror, want):
    publish(mirror, SPARK)
    first = release.ensure(want())
    assert first["changed"] and first["reason"] == "there is no release in use yet"
    assert content(first["current"], "jars", "core.jar") == PAYLOAD
    assert os.access(os.path.join(first["path"], "bin", "spark-submit"), os.X_OK)
    assert first["downloads"][0]["bytes"] == len(SPARK) and first["version"] == "4.2.1"
    assert os.listdir(want().cache_dir) == []
    mirror.requests.clear()
    second = release.ensure(want())
    assert (second["changed"], second["reason"], mirror.requests) == (False, "", [])


def test_another_mirror_is_no_other_release(mirror, want):
    publish(mirror, SPARK)
    release.ensure(want())
    assert not release.ensure(want(sources=["http://other.example.org"]))["changed"]


def test_single_files_and_texts_become_a_folder(mirror, want):
    mirror.files["/m2/api.jar"], mirror.files["/m2/run.jar"] = b"api", b"run"
    mirror.files["/m2/run.jar.sha1"] = b"df6ad19037c97987c4ff9792810c0e145356717c  run.jar"
    files = [
        {"path": "m2/api.jar", "checksum": "sha256:" + hashlib.sha256(b"api").hexdigest(), "dest": "lib/"},
        {"path": "m2/run.jar", "checksum": "run.jar.sha1", "dest": "lib/runtime.jar"},
    ]
    contents = [{"dest": "bin/hdfs", "content": "#!/bin/sh\n", "mode": "0755"}]
    path = release.ensure(want(files=files, contents=contents))["path"]
    assert listing(os.path.join(path, "lib")) == ["api.jar", "runtime.jar"]
    assert os.access(os.path.join(path, "bin", "hdfs"), os.X_OK)
    again = release.ensure(want(files=files, contents=[{**contents[0], "content": "#!/bin/bash\n"}]))
    assert again["reason"] == "other contents than 4.2.1 was made from" and again["path"].endswith("/4.2.1-2")


def test_what_is_excluded_is_not_there(mirror, want):
    publish(mirror, SPARK)
    path = release.ensure(want(files=[{"path": "spark/s.tgz", "unpack": True, "exclude": ["docs", "*.md"]}]))["path"]
    assert [name for name in listing(path) if not name.startswith(".")] == ["bin", "jars"]


def test_the_next_source_is_asked_where_the_first_has_it_no_more(mirror, want):
    publish(mirror, SPARK, "/dist/spark/s.tgz")
    result = release.ensure(want(sources=[mirror.url, mirror.url + "/dist"]))
    assert result["downloads"][0]["source"] == mirror.url + "/dist/spark/s.tgz"


def test_nobody_has_it(mirror, want):
    mirror.status["/spark/s.tgz.sha512"] = 500
    with pytest.raises(Refused, match=r"the checksum of s.tgz could not be had: .* answered 500"):
        release.ensure(want())
    publish(mirror, SPARK)
    del mirror.status["/spark/s.tgz.sha512"], mirror.files["/spark/s.tgz"]
    with pytest.raises(Refused, match=r"s.tgz could not be had: http://127.0.0.1:\d+/spark/s.tgz does not have it"):
        release.ensure(want())


def test_a_server_that_is_gone_is_named(want):
    with pytest.raises(Refused, match=r"http://127.0.0.1:9/spark/s.tgz.sha512 Connection refused"):
        release.ensure(want(sources=["http://127.0.0.1:9"]))


# Downloads that go wrong


def test_a_cut_download_goes_on_where_it_was_cut(mirror, want):
    publish(mirror, SPARK)
    mirror.cut["/spark/s.tgz"] = [1000000, len(SPARK)]
    result = release.ensure(want())
    assert [asked for path, asked, _login in mirror.requests if path == "/spark/s.tgz"] == [None, "bytes=1000000-"]
    assert result["changed"]


def test_a_download_that_is_always_cut_keeps_the_release_and_what_came(mirror, want, installed):
    publish(mirror, SPARK)
    mirror.cut["/spark/s.tgz"] = [1000000]
    with pytest.raises(Refused, match=r"broke off after 0 of \d+ bytes.*current still leads to 4.1.4"):
        release.ensure(want())
    assert in_use(installed) == "4.1.4" and listing(installed.folder) == ["4.1.4", "current"]
    mirror.cut.clear()
    mirror.requests.clear()
    release.ensure(want())
    assert ("/spark/s.tgz", "bytes=1000000-", None) in mirror.requests
    assert in_use(installed) == "4.2.1"


def test_a_server_without_ranges_gives_the_whole_again(mirror, want):
    publish(mirror, SPARK)
    mirror.ranges, mirror.cut["/spark/s.tgz"] = False, [1000000, len(SPARK)]
    assert release.ensure(want())["downloads"][0]["bytes"] == len(SPARK)


def test_what_another_host_fetches_into_the_same_folder_is_left_alone(mirror, want, tmp_path):
    publish(mirror, SPARK)
    (tmp_path / "cache").mkdir()
    theirs = tmp_path / "cache" / (hashlib.sha512(SPARK).hexdigest()[:12] + "-s.tgz.other-host.part")
    theirs.write_bytes(b"on its way")
    assert release.ensure(want())["downloads"][0]["bytes"] == len(SPARK)
    assert theirs.read_bytes() == b"on its way"


def test_what_another_host_is_unpacking_is_not_removed(mirror, want, tmp_path, monkeypatch):
    """Hosts that share the folder for downloads install at the same time."""
    publish(mirror, SPARK)
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(nodename="other-host"))
    theirs = release.download(want(), want().files[0], time.monotonic() + 60)["path"]
    monkeypatch.undo()
    release.ensure(want())
    assert content(theirs) == SPARK


def test_a_download_that_trickles_ends_in_time(want, monkeypatch):
    """As behind a proxy that looks for viruses and sends a byte now and then."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    monkeypatch.setattr(release, "find_checksum", lambda _wanted, _entry: ("sha512", SHA512))

    def trickle():
        connection = listener.accept()[0]
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _byte in range(100):
                connection.sendall(b"x")
                time.sleep(0.1)

    threading.Thread(target=trickle, daemon=True).start()
    began = time.monotonic()
    with listener, pytest.raises(Refused, match="was not downloaded in time"):
        release.ensure(want(sources=[f"http://127.0.0.1:{listener.getsockname()[1]}"], timeout=1))
    assert time.monotonic() - began < 5


def test_a_rest_of_another_file_is_thrown_away(mirror, want, tmp_path):
    publish(mirror, SPARK)
    (tmp_path / "cache").mkdir()
    name = f"{hashlib.sha512(SPARK).hexdigest()[:12]}-s.tgz.{os.uname().nodename}.part"
    for rest in (b"rubbish", b"x" * (len(SPARK) + 5)):  # one that is resumed and found wrong, one that is too long
        (tmp_path / "cache" / name).write_bytes(rest)
        assert release.ensure(want())["path"]
        release.remove_all(want().folder, release.finished(want().folder))


def test_a_wrong_checksum_keeps_the_release(mirror, want, installed):
    publish(mirror, SPARK)
    mirror.files["/spark/s.tgz"] = SPARK[:-9] + b"123456789"
    with pytest.raises(Refused, match=r"gives a file with another sha512 than .*still leads to 4.1.4"):
        release.ensure(want())
    assert in_use(installed) == "4.1.4" and os.listdir(installed.cache_dir) == []


def test_a_good_source_makes_up_for_a_bad_one(mirror, want):
    publish(mirror, SPARK, "/good/spark/s.tgz")
    publish(mirror, SPARK)
    mirror.files["/spark/s.tgz"] = b"<html>please log in</html>"
    assert release.ensure(want(sources=[mirror.url, mirror.url + "/good"]))["downloads"][0]["source"].startswith(
        mirror.url + "/good"
    )


def test_a_login_reaches_its_server_and_no_other(mirror, want):
    other = Mirror()
    try:
        publish(other, SPARK, "/s.tgz")
        publish(mirror, SPARK)
        mirror.login = b"lab:s3cret/word"
        mirror.redirect["/spark/s.tgz"] = other.url + "/s.tgz"
        result = release.ensure(want(sources=[mirror.url.replace("//", "//lab:s3cret%2Fword@")]))
        assert [login for _path, _asked, login in other.requests] == [None]
        assert "s3cret" not in str(result)
    finally:
        other.close()


def test_a_login_is_in_no_message(mirror, want):
    mirror.login = b"lab:right"
    with pytest.raises(Refused, match="asks for a login") as failure:
        release.ensure(want(sources=[mirror.url.replace("//", "//lab:s3cret@")]))
    assert "s3cret" not in str(failure.value)


def test_a_run_that_was_killed_while_unpacking_leaves_the_release(mirror, want, installed, tmp_path):
    publish(mirror, archive({f"jars/{number}.jar": PAYLOAD for number in range(8)}))
    code = """if True:
        import os, sys
        from ansible_collections.gpufleet.workstation.plugins.module_utils import _release as release
        place = release.place
        def slowly(tar, member, name, folder):
            place(tar, member, name, folder)
            if name == "jars/3.jar":
                os.kill(os.getpid(), 9)
        release.place = slowly
        release.ensure(release.Wanted(**eval(sys.argv[1])))
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run(
        [sys.executable, "-c", code, repr(dict(want()._asdict()))], env=environment, check=False
    ).returncode
    assert killed == -signal.SIGKILL
    assert listing(installed.folder) == ["4.1.4", "4.2.1", "current"] and in_use(installed) == "4.1.4"
    mirror.requests.clear()
    result = release.ensure(want())
    assert result["removed"] == [os.path.join(installed.folder, "4.2.1")] and in_use(installed) == "4.2.1"
    assert [path for path, _asked, _login in mirror.requests] == ["/spark/s.tgz.sha512"]  # the archive was whole


def test_a_disk_that_becomes_full_keeps_the_release(mirror, want, installed):
    publish(mirror, SPARK)
    release.ensure(want(state="present", files=[{"path": "spark/old.tgz", "unpack": True}], version="4.1.5"))
    part = release.download(want(), want().files[0], time.monotonic() + 60)  # the download is there, unpacking fails
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(Refused, match=r"File too large.*mend that and run this again.*still leads to 4.1.5"):
            release.ensure(want())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "4.2.1" not in listing(installed.folder) and os.path.exists(part["path"])


def test_a_disk_without_room_is_refused_before_the_download(mirror, want, installed):
    publish(mirror, SPARK)
    with pytest.raises(Refused, match="are needed; free some space"):
        release.ensure(want(minimum_free_bytes=1 << 60))
    assert mirror.requests == [] and in_use(installed) == "4.1.4"


def test_gzip_knows_how_much_it_unpacks_to(tmp_path):
    path = tmp_path / "zeros.tgz"
    path.write_bytes(archive({"zeros": b"\0" * 5000000}))
    assert 5000000 < release.unpacked_size(str(path)) < 5100000
    path.write_bytes(b"plain")
    assert release.unpacked_size(str(path)) == 5


# Archives that would break out


def link(kind, target):
    def alter(info):
        info.type, info.linkname = kind, target

    return alter


def device(info):
    info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3


@pytest.mark.parametrize(
    "members, folder",
    [
        ({"../../evil": "x"}, "a/"),
        ({"etc/evil": "x"}, "/"),
        ({"link": link(tarfile.SYMTYPE, "/etc")}, "a/"),
        ({"b/link": link(tarfile.SYMTYPE, "../../../etc")}, "a/"),
        ({"hard": link(tarfile.LNKTYPE, "../../etc/passwd")}, "a/"),
        ({"hard": link(tarfile.LNKTYPE, "/etc/passwd")}, "a/"),
        ({"null": device}, "a/"),
        ({"fifo": link(tarfile.FIFOTYPE, "")}, "a/"),
        ({"b/x": "x", "link": link(tarfile.SYMTYPE, "b"), "link/evil": "x"}, "a/"),
    ],
    ids=[
        "dots",
        "absolute",
        "link out",
        "link up",
        "hard link up",
        "hard link out",
        "device",
        "fifo",
        "through a link",
    ],
)
def test_an_archive_that_would_break_out_is_refused(tmp_path, mirror, want, installed, members, folder):
    publish(mirror, archive(members, folder))
    with pytest.raises(Refused, match=r"was not unpacked: .*still leads to 4.1.4"):
        release.ensure(want())
    assert listing(installed.folder) == ["4.1.4", "current"]
    assert not list(tmp_path.rglob("evil"))


def test_links_inside_and_modes_are_kept_safe(mirror, want):
    def setuid(info):
        info.mode = 0o6777

    members = {
        "bin/tool": "x",
        "lib/here": link(tarfile.SYMTYPE, "../bin/tool"),
        "lib/hard": link(tarfile.LNKTYPE, "a/bin/tool"),
        "suid": setuid,
    }
    publish(mirror, archive(members, "a/"))
    path = release.ensure(want())["path"]
    assert content(path, "lib", "here") == content(path, "lib", "hard") == b"x"
    assert os.stat(os.path.join(path, "suid")).st_mode & 0o7777 == 0o755


def test_what_is_no_archive_is_named(mirror, want, installed):
    publish(mirror, b"PK\x03\x04 no tarball at all")
    with pytest.raises(Refused, match=r"s.tgz cannot be unpacked .*still leads to 4.1.4"):
        release.ensure(want())


def test_an_archive_that_ends_too_early_is_named(mirror, want, installed):
    publish(mirror, SPARK[: len(SPARK) // 2])
    with pytest.raises(Refused, match=r"s.tgz cannot be unpacked .*although its checksum is right"):
        release.ensure(want())
    assert in_use(installed) == "4.1.4"


# Later


def test_upgrade_and_back_and_forth(mirror, want, installed):
    publish(mirror, SPARK)
    upgraded = release.ensure(want())
    assert upgraded["previous"].endswith("/4.1.4")
    mirror.requests.clear()
    back = release.ensure(want(state="previous", version="", files=[], sources=[]))
    assert (back["changed"], back["version"], in_use(installed)) == (True, "4.1.4", "4.1.4")
    assert back["diff"]["before"] == "4.2.1\n" and back["diff"]["after"] == "4.1.4\n"
    release.ensure(want(state="previous"))
    assert in_use(installed) == "4.2.1"
    assert mirror.requests == []


def test_there_is_nothing_to_go_back_to(installed):
    with pytest.raises(Refused, match=r"keeps no release before 4.1.4"):
        release.ensure(installed._replace(state="previous"))


def test_a_previous_release_that_was_altered_is_not_gone_back_to(mirror, want, installed):
    publish(mirror, SPARK)
    release.ensure(want())
    os.unlink(os.path.join(installed.folder, "4.1.4", "bin", "spark-submit"))
    with pytest.raises(Refused, match=r"4.1.4 was altered \(bin/spark-submit is gone\)"):
        release.ensure(want(state="previous"))
    assert in_use(installed) == "4.2.1"


def test_only_so_many_are_kept(mirror, want):
    for number in range(4):
        publish(mirror, archive({"bin/x": str(number)}), f"/{number}.tgz")
        result = release.ensure(want(version=f"4.{number}", files=[{"path": f"{number}.tgz", "unpack": True}], keep=1))
    assert listing(want().folder) == ["4.2", "4.3", "current"]
    assert [os.path.basename(path) for path in result["removed"]] == ["4.1"]


def test_an_altered_release_is_installed_anew(mirror, want):
    publish(mirror, SPARK)
    path = release.ensure(want())["path"]
    with open(os.path.join(path, "conf-of-mine"), "w"):
        pass
    assert not release.ensure(want())["changed"]
    os.truncate(os.path.join(path, "jars", "core.jar"), 7)
    again = release.ensure(want())
    assert again["reason"] == f"{path} was altered: jars/core.jar has 7 bytes instead of {len(PAYLOAD)}"
    assert again["path"] == path + "-2" and again["previous"] == "" and os.path.isdir(path)


def test_a_release_that_was_altered_does_not_cost_the_one_to_go_back_to(mirror, want, installed):
    publish(mirror, SPARK)
    path = release.ensure(want())["path"]
    os.unlink(os.path.join(path, "jars", "core.jar"))
    again = release.ensure(want())
    assert listing(installed.folder) == ["4.1.4", "4.2.1", "4.2.1-2", "current"]  # jobs may run from the altered one
    assert again["previous"].endswith("/4.1.4")
    second = release.ensure(want())
    assert (second["changed"], second["previous"]) == (False, again["previous"])
    release.ensure(want(state="previous"))
    assert in_use(installed) == "4.1.4"


def test_check_mode_changes_nothing_and_asks_nobody(tmp_path, mirror, want, installed):
    publish(mirror, SPARK)
    result = release.ensure(want(), check_mode=True)
    assert (result["changed"], result["reason"]) == (True, "other files, version than 4.1.4 was made from")
    assert result["diff"]["before"] == "4.1.4\n" and result["diff"]["after"] == "4.2.1\n"
    assert mirror.requests == [] and listing(installed.folder) == ["4.1.4", "current"]
    assert not release.ensure(installed, check_mode=True)["changed"]


def test_check_mode_does_not_wait_for_certificates_that_a_task_before_would_install(want):
    assert release.ensure(want(ca_file="/nowhere/ca.pem"), check_mode=True)["changed"]
    with pytest.raises(Refused, match="no CA bundle at /nowhere"):
        release.ensure(want(ca_file="/nowhere/ca.pem"))


def test_a_folder_that_somebody_else_made_is_left_alone(tmp_path, mirror, want):
    publish(mirror, SPARK)
    foreign = tmp_path / "opt" / "spark" / "4.2.1"
    foreign.mkdir(parents=True)
    (foreign / "mine").write_text("x")
    assert release.ensure(want())["path"] == str(foreign) + "-2"
    assert (foreign / "mine").exists()


def test_a_current_that_is_no_link_is_refused(tmp_path, mirror, want):
    (tmp_path / "opt" / "spark" / "current").mkdir(parents=True)
    with pytest.raises(Refused, match="is not a link"):
        release.ensure(want())
