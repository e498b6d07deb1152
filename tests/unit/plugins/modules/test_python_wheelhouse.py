# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wheelhouse that is filled by pip from wheels that the tests make, and what a host installs from it; no network."""

import functools
import hashlib
import http.server
import os
import shutil
import sys
import threading

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _environment as env
from ansible_collections.gpufleet.workstation.plugins.module_utils import _wheelhouse as house
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_python_environment import UV, make_wheel

pytestmark = pytest.mark.skipif(sys.version_info < (3, 8), reason="the pip of this Python knows one platform only")


@pytest.fixture
def upstream(tmp_path):
    """Return a folder that stands for the index: alpha, which needs beta."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    for version in ("1.0", "2.0"):
        make_wheel(folder, "alpha", version, "import beta", requires=["beta"])
    make_wheel(folder, "beta", "1.0")
    make_wheel(folder, "other", "1.0", tag="cp27-cp27m-win32")
    return folder


def locked(upstream, *names, **changes):
    """Return a lock of wheels, each with its hash."""
    lines = []
    for name in names:
        (wheel,) = upstream.glob("{}-{}-*.whl".format(*name.split("==")))
        lines.append(f"{name} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return house.Lock("".join(lines), changes.get("python", "3.11"), changes.get("glibc", "2.36"))


@pytest.fixture
def want(tmp_path, upstream):
    """Return a maker of what a task asks for: alpha 1.0 and beta 1.0, unless told otherwise."""

    def make(*names, **changes):
        given = {"path": str(tmp_path / "wheelhouse"), "use_index": False, "find_links": str(upstream), "timeout": 120}
        given.update(changes)
        if "locks" not in given:
            given["locks"] = (locked(upstream, *(names or ("alpha==1.0", "beta==1.0"))),)
        return house.Wanted(**given)

    return make


def ensure(wanted, **more):
    return house.ensure(Host(), wanted, **more)


def wheels(wanted):
    return sorted(name for name in os.listdir(wanted.path) if name.endswith(".whl"))


def test_what_the_lock_names_is_fetched_once_and_a_second_run_needs_nothing(want, upstream):
    foretold = ensure(want(), check_mode=True)
    assert foretold["changed"] and not os.path.exists(want().path)
    first = ensure(want())
    assert first["changed"] and first["fetched"] == ["alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"]
    assert first["wheels"] == 2 and first["bytes"] > 0
    assert sorted(os.listdir(want().path)) == [house.NOTES, ".lock", *first["fetched"]]
    wanted = want()
    shutil.rmtree(str(upstream))
    again = ensure(wanted._replace(python_command=["/no/python"]))
    assert (again["changed"], again["fetched"], again["wheels"]) == (False, [], 2)
    assert again["seconds"] < 0.5


def test_another_lock_fetches_only_what_is_new_and_what_nobody_names_goes(want, upstream):
    path = ensure(want())["path"]
    (upstream / "beta-1.0-py3-none-any.whl").rename(upstream / "away")
    both = (locked(upstream, "alpha==1.0"), locked(upstream, "alpha==2.0"))
    assert ensure(want(locks=both, prune=False))["fetched"] == ["alpha-2.0-py3-none-any.whl"]
    open(os.path.join(path, "of-the-site.whl"), "w").close()
    last = ensure(want("alpha==2.0"))
    assert last["removed"] == ["alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"] and last["fetched"] == []
    assert wheels(want("alpha==2.0")) == ["alpha-2.0-py3-none-any.whl", "of-the-site.whl"]


@pytest.fixture
def index(tmp_path, upstream):
    """Return the URL of an index, which says checksums beforehand, and the wheels that it was asked for."""
    asked = []

    class Index(Quiet):
        def do_GET(self):
            if self.path.endswith(".whl"):
                asked.append(os.path.basename(self.path))
            super().do_GET()

    for wheel in upstream.glob("*.whl"):
        page = tmp_path / "simple" / wheel.name.split("-")[0] / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(wheel), str(page.parent))
        with page.open("a") as file:
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            file.write(f'<!DOCTYPE html><a href="{wheel.name}#sha256={digest}">{wheel.name}</a>\n')
    handler = functools.partial(Index, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple", asked
    server.shutdown()
    server.server_close()


def test_what_an_earlier_lock_brought_is_not_asked_of_an_index_again(want, upstream, index):
    url, asked = index
    source = {"use_index": True, "find_links": None, "index_url": url}
    ensure(want(**source))
    asked.clear()
    both = (locked(upstream, "alpha==1.0", "beta==1.0"), locked(upstream, "alpha==2.0", "beta==1.0", python="3.13"))
    assert ensure(want(locks=both, **source))["fetched"] == asked == ["alpha-2.0-py3-none-any.whl"]
    asked.clear()
    least = want(locks=(locked(upstream, "beta==1.0"),), python_command=["/no/python"], **source)
    assert ensure(least)["wheels"] == 1 and asked == []


def test_the_rest_of_a_run_that_the_power_left_is_replaced(want, upstream, index):
    wanted = want(use_index=True, find_links=None, index_url=index[0])
    os.makedirs(wanted.path)
    rest = os.path.join(wanted.path, "beta-1.0-py3-none-any.whl")
    open(rest, "w").close()
    ensure(wanted)
    with open(rest, "rb") as file:
        assert file.read() == (upstream / "beta-1.0-py3-none-any.whl").read_bytes()


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", True),
        ("numpy-2.4.6-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", False),
        ("numpy-2.4.6-cp311-cp311-manylinux_2_39_x86_64.whl", False),
        ("numpy-2.4.6-cp311-cp311-manylinux_2_28_aarch64.whl", False),
        ("nvidia_nccl_cu12-2.27.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", True),
        ("safetensors-0.7.0-cp38-abi3-manylinux2014_x86_64.whl", True),
        ("future-1.0-cp312-abi3-manylinux2014_x86_64.whl", False),
        ("free-1.0-cp311-cp311t-manylinux2014_x86_64.whl", False),
        ("six-1.17.0-py2.py3-none-any.whl", True),
    ],
)
def test_a_wheel_serves_the_locks_of_machines_that_it_is_for(name, runs):
    assert house.runs_on(name, house.Lock("", "3.11.2", "2.36")) is runs


def test_a_damaged_wheel_is_fetched_again(want):
    ensure(want())
    path = os.path.join(want().path, "beta-1.0-py3-none-any.whl")
    with open(path, "ab") as file:
        file.write(b"x")
    assert ensure(want(), check_mode=True)["changed"]
    assert ensure(want())["changed"]
    assert not ensure(want())["changed"]
    os.utime(path, (1, 1))  # a time alone is no damage
    assert not ensure(want())["changed"]


def test_a_wheel_with_another_hash_is_refused_and_nothing_is_left_of_it(want, upstream):
    wanted = want()
    make_wheel(upstream, "beta", "1.0", "print('somebody else made this')")
    with pytest.raises(Refused, match="does not have the checksum that the lock names"):
        ensure(wanted)
    assert wheels(wanted) == [] and not os.path.exists(os.path.join(wanted.path, ".new"))


def test_a_pin_that_is_gone_from_the_index_is_named(want, upstream):
    wanted = want()
    (upstream / "beta-1.0-py3-none-any.whl").unlink()
    with pytest.raises(Refused, match=r"the index does not offer beta==1\.0.* for Python 3\.11 and glibc 2\.36; make"):
        ensure(wanted)


def test_an_index_that_cannot_be_reached_is_named_without_its_login(want):
    wanted = want(use_index=True, find_links=None, index_url="https://me:canary@127.0.0.1:9/simple")
    with pytest.raises(Refused, match="the index could not be reached") as caught:
        ensure(wanted)
    assert "canary" not in str(caught.value)
    wanted = wanted._replace(find_links="https://me:canary@127.0.0.1:9/wheels/")
    assert "canary" not in " ".join(house.command(wanted, wanted.locks[0], "list", "dest"))
    assert house.environment_of_pip(wanted, wanted.locks[0], "scratch")["PIP_FIND_LINKS"] == wanted.find_links


def test_a_python_without_pip_is_named(want, tmp_path):
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$0: No module named pip" >&2; exit 1\n')
    fake.chmod(0o755)
    with pytest.raises(Refused, match="has no pip; install python3-pip"):
        ensure(want(python_command=[str(fake)]))


def test_too_little_space_is_said_before_anything_is_fetched(want):
    with pytest.raises(Refused, match="are needed; free some space"):
        ensure(want(minimum_free_bytes=10**18))


@pytest.mark.skipif(UV is None, reason="there is no uv to build with")
@pytest.mark.parametrize("served", [False, True], ids=["folder", "http"])
def test_a_second_host_installs_from_it_with_the_index_unreachable(want, tmp_path, served):
    ensure(want())
    handler = functools.partial(Quiet, directory=want().path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        place = f"http://127.0.0.1:{server.server_port}/" if served else want().path
        host = env.Wanted(
            name="lab",
            root=str(tmp_path / "envs"),
            python=sys.executable,
            packages=["alpha==1.0"],
            lock=want().locks[0].lock,
            index_url="https://127.0.0.1:9/simple",
            use_index=False,
            find_links=place,
            uv=UV,
            cache_dir=str(tmp_path / "the second host's"),
            imports=["alpha"],
        )
        assert env.ensure(Host(), host)["changed"]
        # Another way to the same files makes no other environment.
        assert not env.ensure(Host(), host._replace(use_index=True, find_links=None))["changed"]
        os.unlink(os.path.join(want().path, "beta-1.0-py3-none-any.whl"))
        with pytest.raises(
            Refused, match=r"the wheelhouse .* does not offer beta.*fill it with the playbook wheelhouse"
        ):
            env.ensure(Host(), host._replace(name="late", cache_dir=str(tmp_path / "the third host's")))
    finally:
        server.shutdown()
        server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder as the role's service does, and writes nothing."""

    def log_message(self, format, *args):
        """Keep the output of the tests clean."""


def test_the_locks_of_a_fleet_are_taken_once_each():
    kept = {"plan": {}, "locks": {"pytorch": "a==1\n"}, "targets": {"pytorch": {"python": "3.11", "glibc": "2.36"}}}
    assert house.locks_of({"classes": {"one": kept, "two": kept}}) == [house.Lock("a==1\n", "3.11", "2.36")]
    with pytest.raises(Refused, match="does not say which Python and glibc one has; make it anew"):
        house.locks_of({"classes": {"one": {"locks": {"pytorch": "a==1\n"}}}})


@pytest.mark.parametrize(
    ("glibc", "first", "last"), [("2.36", "manylinux_2_36_x86_64", 38), ("2.17", "manylinux_2_17_x86_64", 17)]
)
def test_wheels_are_chosen_for_the_glibc_of_the_hosts(glibc, first, last):
    tags = house.platforms(glibc)
    assert (tags[0], tags[-1]) == (first, "linux_x86_64")
    assert "manylinux2014_x86_64" in tags and "manylinux1_x86_64" in tags
    assert len(tags) <= last
