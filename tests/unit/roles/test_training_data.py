"""Where the training program gets its data: whole archives are believed, everything else is named. Needs no PyTorch."""

import contextlib
import hashlib
import http.server
import io
import os
import pickle
import socketserver
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "roles" / "training_check" / "files"))
from training_check import data as program


class Payload:
    """What a malicious archive would hold."""

    def __reduce__(self):
        return print, ("this must never be printed",)


def archive(poison=None, leave_out=None):
    """Return a small archive in CIFAR-10's published layout."""
    chance = numpy.random.RandomState(0)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ["data_batch_1", "data_batch_2", "test_batch", "readme.html"]:
            batch = {
                b"data": chance.randint(0, 256, (20, 3072)).astype("uint8"),
                b"labels": [int(label) for label in chance.randint(0, 10, 20)],
            }
            if name == poison:
                batch[b"extra"] = Payload()
            if name == leave_out:
                continue
            content = pickle.dumps(batch, protocol=2)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sha256(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.fixture
def serve():
    """Serve one answer after the other on loopback; the last one again and again."""
    servers = []

    def start(*answers):
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, content, length = answers[min(len(asked), len(answers) - 1)]
                asked.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_words):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def options(tmp_path, **words):
    return {"cache_dir": str(tmp_path / "cache"), **words}


def whole(content):
    return 200, content, len(content)


def test_a_whole_archive_is_read_in_its_published_layout(tmp_path, serve):
    content = archive()
    url, asked = serve(whole(content))
    told, arrays = program.load(options(tmp_path, data=url, checksum=sha256(content)))
    assert told == {
        "name": "cifar10",
        "words": f"CIFAR-10 from {url}",
        "substitute_for": None,
        "train_images": 40,
        "test_images": 20,
    }
    assert [part.shape for part in arrays] == [(40, 3, 32, 32), (40,), (20, 3, 32, 32), (20,)]
    assert arrays[0].dtype == "uint8" and arrays[1].dtype == "int64"
    program.load(options(tmp_path, data=url, checksum=sha256(content)))
    assert len(asked) == 1  # the second time it comes from the cache


def test_an_archive_that_was_cut_off_is_fetched_once_more(tmp_path, serve, capsys):
    content = archive()
    url, asked = serve((200, content[: len(content) // 2], len(content)), whole(content))
    program.load(options(tmp_path, data=url, checksum=sha256(content)))
    assert len(asked) == 2
    assert "fetching it once more" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["cut", "other"])
def test_an_archive_that_stays_wrong_is_named_and_not_kept(tmp_path, serve, wrong):
    content = archive()
    url, asked = serve((200, content[:100], len(content)) if wrong == "cut" else whole(b"<html>gone</html>"))
    with pytest.raises(program.DataError, match=r"(cut off after|expected [0-9a-f]{64}).*\(fetched twice\)"):
        program.load(options(tmp_path, data=url, checksum=sha256(content)))
    assert len(asked) == 2
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_file_in_the_cache_is_replaced(tmp_path, serve):
    content = archive()
    url, asked = serve(whole(content))
    words = {"data": url, "checksum": sha256(content)}
    program.load(options(tmp_path, **words))
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(b"damaged")
    program.load(options(tmp_path, **words))
    assert len(asked) == 2


def test_an_archive_is_never_allowed_to_run_code(tmp_path, capsys):
    content = archive(poison="data_batch_2")
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(content)
    with pytest.raises(program.DataError, match=r"print, which CIFAR-10 does not.*not to be trusted"):
        program.load(options(tmp_path, data=str(path), checksum=sha256(content)))
    assert "this must never be printed" not in capsys.readouterr().out


def test_an_archive_without_its_test_images_is_named(tmp_path):
    content = archive(leave_out="test_batch")
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(content)
    with pytest.raises(program.DataError, match="does not have CIFAR-10's layout"):
        program.load(options(tmp_path, data=str(path), checksum=sha256(content)))


def test_a_path_with_the_wrong_file_names_both_checksums(tmp_path):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(b"something else")
    with pytest.raises(program.DataError, match=r"its md5 is [0-9a-f]{32}, expected c58f30108f71"):
        program.load(options(tmp_path, data=str(path)))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"data": "/nonexistent.tar.gz"}, "/nonexistent.tar.gz is not there"),
        ({"data": "http://127.0.0.1:9/cifar.tar.gz"}, "could not be fetched"),
        ({"data": "/etc/hostname", "checksum": "crc:1"}, "not of the form"),
        ({"data": "/"}, "/cifar-10-python.tar.gz is not there"),
    ],
)
def test_data_that_somebody_named_and_cannot_be_had_are_no_reason_for_other_data(tmp_path, words, sentence):
    with pytest.raises(program.DataError, match=sentence):
        program.load(options(tmp_path, **words))


@pytest.fixture
def speak():
    """Answer every connection on loopback with what a function writes, HTTP or not."""
    servers = []

    def start(write):
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                self.rfile.readline()
                with contextlib.suppress(OSError):  # the other side has given up
                    write(self.wfile)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/cifar-10-python.tar.gz"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf", "data.cut"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "data.unreachable"),
    ],
)
def test_what_breaks_http_is_told_as_what_it_is(tmp_path, speak, said, code):
    url = speak(lambda file: file.write(said))
    with pytest.raises(program.DataError, match=r"\(fetched twice\)") as raised:
        program.load(options(tmp_path, data=url, checksum=sha256(b"")))
    assert raised.value.code == code


def test_a_published_url_behind_a_portal_that_speaks_no_http_means_digits(tmp_path, speak, monkeypatch):
    monkeypatch.setattr(program, "PUBLISHED_URL", speak(lambda file: file.write(b"SSH-2.0-OpenSSH_9.2\r\n")))
    monkeypatch.setattr(program, "read_digits", lambda: [numpy.zeros((5, 3, 32, 32), "uint8"), [0] * 5] * 2)
    assert program.load(options(tmp_path))[0]["substitute_for"] == "cifar10"


def test_a_server_that_trickles_is_given_up_before_the_worker_is(tmp_path, speak):
    """Or the worker were killed: no digits in its place, and the partial download left behind."""

    def trickle(file):
        file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            file.write(b"x")
            time.sleep(0.05)

    begin = time.monotonic()
    with pytest.raises(program.DataError, match=r"only \d+ bytes had come when the time for it was over$") as raised:
        program.load(options(tmp_path, data=speak(trickle), checksum=sha256(b""), limit=1))
    assert (raised.value.code, time.monotonic() - begin < 5) == ("data.unreachable", True)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_check_left_of_a_download_is_removed(tmp_path, serve):
    content = archive()
    url, _asked = serve(whole(content))
    target = Path(program.kept(options(tmp_path), sha256(content)))
    target.parent.mkdir()
    old, new = (target.with_name(f"{target.name}.{pid}.part") for pid in (1, 2))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    program.load(options(tmp_path, data=url, checksum=sha256(content)))
    assert sorted(target.parent.iterdir()) == [target, new]


def test_a_published_archive_that_is_here_already_needs_no_network(tmp_path, monkeypatch):
    """Or a host trained on other images whenever the network was down, at another throughput."""
    content = archive()
    monkeypatch.setattr(program, "PUBLISHED_URL", "http://127.0.0.1:9/cifar.tar.gz")
    monkeypatch.setattr(program, "PUBLISHED_MD5", hashlib.md5(content).hexdigest())  # noqa: S324
    target = Path(program.kept(options(tmp_path), "md5:" + program.PUBLISHED_MD5))
    target.parent.mkdir()
    target.write_bytes(content)
    assert program.load(options(tmp_path))[0]["name"] == "cifar10"


def test_the_published_checksum_can_be_made_in_fips_mode(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")
    expected, new = hashlib.md5(b"x").hexdigest(), hashlib.new  # noqa: S324

    def strict(kind, usedforsecurity=True):
        if kind == "md5" and usedforsecurity:
            raise ValueError("[digital envelope routines] unsupported")
        return new(kind)

    monkeypatch.setattr(hashlib, "new", strict)
    assert program.digest(str(tmp_path / "file"), "md5") == expected
    monkeypatch.setattr(hashlib, "new", lambda kind: new(kind))  # noqa: PLW0108 (of an older Python)
    assert program.digest(str(tmp_path / "file"), "md5") == expected


def test_a_login_in_a_url_is_refused_and_never_told(tmp_path):
    with pytest.raises(program.DataError) as raised:
        program.load(options(tmp_path, data="https://me:secret@mirror.example.org/cifar-10-python.tar.gz"))
    assert "https://***@mirror.example.org/cifar-10-python.tar.gz has a login in it" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_hdfs_without_a_client_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(program.DataError, match="has no command hdfs"):
        program.load(options(tmp_path, data="hdfs://namenode/cifar-10-python.tar.gz"))


def stand_in_for_hdfs(folder, body):
    """Put a program called hdfs on the search path: a stand-in, the client itself is another role's."""
    client = folder / "hdfs"
    client.write_text(f"#!{sys.executable}\nimport shutil, sys\n{body}\n")
    client.chmod(0o755)
    return str(folder)


def test_hdfs_is_read_through_the_hosts_client(tmp_path, monkeypatch):
    content = archive()
    (tmp_path / "source").write_bytes(content)
    copy = f"assert sys.argv[1:4] == ['dfs', '-get', '-f']\nshutil.copy({str(tmp_path / 'source')!r}, sys.argv[5])"
    monkeypatch.setenv("PATH", stand_in_for_hdfs(tmp_path, copy))
    words = {"data": "hdfs://namenode/cifar-10-python.tar.gz", "checksum": sha256(content)}
    assert program.load(options(tmp_path, **words))[0]["name"] == "cifar10"
    (tmp_path / "cache").joinpath("cifar-10-" + sha256(content).replace(":", "-")[:24] + ".tar.gz").unlink()
    monkeypatch.setenv("PATH", "")
    by_path = options(tmp_path, **words, hdfs=str(tmp_path / "hdfs"))
    assert program.load(by_path)[0]["name"] == "cifar10"


def test_what_hdfs_complains_of_is_quoted(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", stand_in_for_hdfs(tmp_path, "sys.exit('get: No such file or directory: /x')"))
    with pytest.raises(program.DataError, match="No such file or directory: /x"):
        program.load(options(tmp_path, data="hdfs://namenode/x"))


def test_a_folder_that_has_the_archive_is_as_good_as_its_path(tmp_path):
    content = archive()
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(content)
    told, _arrays = program.load(options(tmp_path, data=str(tmp_path), checksum=sha256(content)))
    assert (told["name"], told["words"]) == ("cifar10", f"CIFAR-10 from {tmp_path}")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (whole(b"<html>gone</html>"), "data.wrong"),
        ((200, b"x" * 10, 100), "data.cut"),
        ((404, b"", 0), "data.unreachable"),
    ],
)
def test_each_way_to_lack_data_has_its_finding(tmp_path, serve, answer, code):
    url, _asked = serve(answer)
    with pytest.raises(program.DataError) as raised:
        program.load(options(tmp_path, data=url, checksum="sha256:" + "0" * 64))
    assert raised.value.code == code
    assert url in str(raised.value)


def test_a_host_without_the_published_url_trains_on_digits_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "PUBLISHED_URL", "http://127.0.0.1:9/cifar.tar.gz")
    monkeypatch.setattr(program, "read_digits", lambda: [numpy.zeros((5, 3, 32, 32), "uint8"), [0] * 5] * 2)
    told, _arrays = program.load(options(tmp_path))
    assert (told["name"], told["substitute_for"]) == ("digits", "cifar10")
    assert "CIFAR-10 could not be had" in told["words"]
    told, _arrays = program.load(options(tmp_path, dataset="digits"))
    assert (told["substitute_for"], "could not" in told["words"]) == (None, False)
    with pytest.raises(program.DataError, match="could not be fetched"):
        program.load(options(tmp_path, dataset="cifar10"))


def test_the_workers_read_what_was_saved(tmp_path):
    arrays = [
        numpy.full((2, 3, 32, 32), 51, "uint8"),
        numpy.array([1, 2]),
        numpy.zeros((1, 3, 32, 32)),
        numpy.array([3]),
    ]
    program.save(str(tmp_path / "arrays.npz"), arrays)
    again, mean, spread = program.read(str(tmp_path / "arrays.npz"))
    assert all((one == other).all() for one, other in zip(arrays, again))
    assert (mean, spread) == (0.2, 1.0)
