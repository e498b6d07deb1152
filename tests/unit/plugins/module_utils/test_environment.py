# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments as folders: what is read from them, what is kept, what a failure is called. Nothing is built here."""

import errno
import mmap
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _drift
from ansible_collections.gpufleet.workstation.plugins.module_utils import _environment as env
from ansible_collections.gpufleet.workstation.plugins.module_utils import _versioned as versioned
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

KEY = "0123456789abcdef" * 4


def wanted(tmp_path, **changes):
    """Return what a task asks for, with every path below tmp_path."""
    given = {
        "name": "pytorch",
        "root": str(tmp_path / "envs"),
        "python": "3.12",
        "packages": ["torch==2.10.0", "numpy==2.4.6"],
        "uv": str(tmp_path / "no-uv"),
        "cache_dir": str(tmp_path / "cache"),
    }
    given.update(changes)
    return env.Wanted(**given)


def environment(folder, name, packages, finished=True, key=KEY, used_at=None):
    """Make the folder of an environment as uv leaves it, and its marker."""
    path = folder / name
    library = path / "lib" / "python3.12" / "site-packages"
    for distribution, version in packages.items():
        (library / "{}-{}.dist-info".format(distribution.replace("-", "_"), version)).mkdir(parents=True)
        (library / distribution.replace("-", "_")).mkdir()
    (path / "bin").mkdir()
    (path / "bin" / "python").symlink_to(sys.executable)
    (path / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.12.16\n")
    if finished:
        versioned.write_marker(
            str(path),
            {
                "key": key,
                "packages": env.installed(str(path)),
                "files": env.fingerprint(str(path)),
                "interpreter": env.interpreter(str(path)),
                "python_version": env.python_version(str(path)),
                "inputs": {},
            },
        )
    if used_at is not None:
        os.utime(str(path / versioned.MARKER), (used_at, used_at))
    return path


def altered(path):
    """Return how an environment differs from its own marker."""
    return env.phrases(env.drift(str(path), versioned.read_marker(str(path))))


# What is asked for


def test_a_pin_may_name_a_build_and_extras():
    assert env.pins(["torch==2.14.1+cu126", "Scikit_Learn[alldeps]==1.9.1"]) == {
        "torch": "2.14.1+cu126",
        "scikit-learn": "1.9.1",
    }


@pytest.mark.parametrize(
    "package", ["numpy", "numpy>=2", "numpy==2.*", "numpy==1,!=1.2", "", "--index-url x==1", "a==1 b==2"]
)
def test_what_is_no_exact_pin_is_refused_by_name(package):
    with pytest.raises(env.Refused, match="is not an exact pin"):
        env.pins([package])


def test_two_pins_for_one_package_are_refused():
    with pytest.raises(env.Refused, match=r"numpy is pinned to 2.4.6 and to 2.5.5"):
        env.pins(["numpy==2.4.6", "NumPy==2.5.5"])


def test_the_order_of_pins_makes_no_other_environment(tmp_path):
    one, other = wanted(tmp_path), wanted(tmp_path, packages=["numpy==2.4.6", "torch==2.10.0"])
    assert env.key_of(env.inputs(one)) == env.key_of(env.inputs(other))


@pytest.mark.parametrize(
    "change",
    [
        {"python": "3.11"},
        {"packages": ["torch==2.10.0"]},
        {"index_url": "https://mirror.example.org/simple"},
        {"imports": ["torch"]},
        {"checks": [{"code": "import torch", "args": ["7.0"]}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_input_makes_another_environment(tmp_path, change):
    assert env.key_of(env.inputs(wanted(tmp_path, **change))) != env.key_of(env.inputs(wanted(tmp_path)))


@pytest.mark.parametrize(
    "change",
    [{"timeout": 5}, {"keep": 9}, {"ca_file": "/ca"}, {"cache_dir": "/c"}, {"uv": "/uv"}],
    ids=lambda change: next(iter(change)),
)
def test_the_way_to_the_packages_makes_no_other_environment(tmp_path, change):
    assert env.key_of(env.inputs(wanted(tmp_path, **change))) == env.key_of(env.inputs(wanted(tmp_path)))


def test_a_build_of_the_version_that_is_asked_for_is_in_the_lock(tmp_path):
    lock = "torch==2.10.0+cu126 \\\n    --hash=sha256:0\n"
    assert env.unlocked(wanted(tmp_path, packages=["torch==2.10.0"], lock=lock)) == []
    assert env.unlocked(wanted(tmp_path, packages=["torch==2.10.0+cu126"], lock=lock)) == []
    assert env.unlocked(wanted(tmp_path, packages=["torch==2.10.0+cu128", "numpy==2.4.6"], lock=lock)) == [
        "numpy==2.4.6 (the lock has none)",
        "torch==2.10.0+cu128 (the lock has 2.10.0+cu126)",
    ]


# Secrets


def test_a_new_password_makes_no_other_environment_and_is_never_written(tmp_path):
    one = env.inputs(wanted(tmp_path, index_url="https://me:canary@mirror.example.org/simple"))
    other = env.inputs(wanted(tmp_path, index_url="https://me:changed@mirror.example.org/simple"))
    assert one == other
    assert "canary" not in str(one)


@pytest.mark.parametrize(
    "text",
    ["https://me:canary@host/simple", "https://canary@host", "error at http://a:b@canary@host/x and ftp://canary:@h"],
)
def test_logins_are_taken_out_of_text(text):
    assert "canary" not in versioned.redact(text)
    assert "://***@h" in versioned.redact(text)


def test_a_path_with_an_at_sign_is_no_login():
    assert versioned.redact("https://host/simple/@scope") == "https://host/simple/@scope"


def test_a_password_is_known_as_written_and_decoded():
    assert versioned.secrets(["https://me:p%40ss@host/", "https://token@host/", "https://host/", ""]) == [
        "p%40ss",
        "p@ss",
        "token",
    ]


def test_a_login_is_not_on_the_command_line_of_uv(tmp_path):
    variables = env.environment_of_uv(wanted(tmp_path, index_url="https://me:canary@host/simple"), "/scratch")
    assert variables["UV_DEFAULT_INDEX"] == "https://me:canary@host/simple"
    assert variables["TMPDIR"] == "/scratch"


# Drift


def test_an_environment_that_nobody_touched_has_not_drifted(tmp_path):
    assert altered(environment(tmp_path, "a", {"numpy": "2.4.6", "scikit-learn": "1.9.1"})) == []


def test_what_somebody_added_removed_or_changed_is_named(tmp_path):
    path = environment(tmp_path, "a", {"numpy": "2.4.6", "scikit-learn": "1.9.1"})
    library = path / "lib" / "python3.12" / "site-packages"
    (library / "numpy-2.4.6.dist-info").rename(library / "numpy-2.4.5.dist-info")
    (library / "scikit_learn-1.9.1.dist-info").rmdir()
    (library / "six-1.17.0.dist-info").mkdir()
    assert altered(path) == ["numpy is 2.4.5 instead of 2.4.6", "scikit-learn 1.9.1 is gone", "six 1.17.0 was added"]


def record(path, *files):
    """Write what the wheel of numpy 2.4.6 says of its files, and the files; return site-packages."""
    library = path / "lib" / "python3.12" / "site-packages"
    lines = []
    for name, text in files:
        (library / name).write_text(text)
        lines.append(f"{name},sha256={_drift.sha256(str(library / name))},{len(text)}\n")
    lines.append("numpy/__pycache__/init.cpython-312.pyc,,\n")
    (library / "numpy-2.4.6.dist-info" / "RECORD").write_text("".join(lines) + "numpy-2.4.6.dist-info/RECORD,,\n")
    marker = versioned.read_marker(str(path))
    versioned.write_marker(str(path), dict(marker, files=env.fingerprint(str(path))))
    return library


def test_a_removed_file_is_noticed_although_the_package_is_still_listed(tmp_path):
    path = environment(tmp_path, "a", {"numpy": "2.4.6"})
    library = record(path, ("numpy/init.py", "x = 1"))
    assert altered(path) == []
    (library / "numpy" / "init.py").unlink()
    assert altered(path) == ["numpy/init.py is gone"]


def test_a_removed_folder_is_noticed_with_some_of_its_files(tmp_path):
    path = environment(tmp_path, "a", {"numpy": "2.4.6"})
    library = record(path, *((f"numpy/{letter}.py", letter) for letter in "abcde"))
    shutil.rmtree(str(library / "numpy"))
    assert altered(path) == ["numpy/a.py is gone, numpy/b.py is gone, numpy/c.py is gone and 2 more"]


def test_a_change_that_keeps_the_size_is_noticed(tmp_path):
    path = environment(tmp_path, "a", {"numpy": "2.4.6"})
    library = record(path, ("numpy/init.py", "x = 1"))
    os.utime(str(library / "numpy" / "init.py"), (1, 1))
    assert altered(path) == []  # a time alone is none
    (library / "numpy" / "init.py").write_text("x = 2")
    assert altered(path) == ["numpy/init.py was changed"]


def test_a_file_that_was_put_beside_the_packages_or_into_one_is_noticed(tmp_path):
    path = environment(tmp_path, "a", {"numpy": "2.4.6"})
    library = record(path, ("numpy/init.py", "x = 1"))
    (library / "sitecustomize.py").write_text("")
    (library / "numpy" / "more.py").write_text("")
    assert altered(path) == ["numpy/more.py was added", "sitecustomize.py was added"]


def test_a_file_that_shares_its_bytes_with_the_cache_is_told_apart(tmp_path):
    path = environment(tmp_path, "a", {"numpy": "2.4.6"})
    library = record(path, ("numpy/init.py", "x = 1"), ("numpy/own.py", "y = 1"))
    os.link(str(library / "numpy" / "init.py"), str(tmp_path / "in the cache"))
    (library / "numpy" / "own.py").write_text("y = 22")
    (only,) = env.drift(str(path), versioned.read_marker(str(path)))
    assert only == ("numpy", "numpy/own.py was changed", False)
    (library / "numpy" / "init.py").write_text("x = 22")
    (both,) = env.drift(str(path), versioned.read_marker(str(path)))
    assert both.shared


def test_an_altered_list_of_packages_is_noticed(tmp_path):
    path = environment(tmp_path, "a", {"numpy": "2.4.6"})
    versioned.write_marker(str(path), dict(versioned.read_marker(str(path)), locked=versioned.digest("")))
    assert altered(path) == []
    (path / env.LOCKED).write_text("numpy==2.4.5")
    assert altered(path) == ["its list gpufleet.lock was altered"]


@pytest.mark.parametrize("line", ["", "\n", "a,b", "a,b,c,d", "numpy/init.py,md5=x,many", "\0,,"])
def test_a_record_that_cannot_be_read_ends_in_no_traceback(tmp_path, line):
    path = environment(tmp_path, "a", {"numpy": "2.4.6"})
    library = record(path, ("numpy/init.py", "x = 1"))
    (library / "numpy-2.4.6.dist-info" / "RECORD").write_text(line)
    (library / "numpy" / "init.py").write_text("x = 22")
    assert isinstance(altered(path), list)
    assert isinstance(_drift.wrong_sizes(str(path)), list)


def test_bytecode_is_no_drift(tmp_path):
    path = environment(tmp_path, "a", {"numpy": "2.4.6"})
    (path / "lib" / "python3.12" / "site-packages" / "__pycache__").mkdir()
    assert altered(path) == []


def test_an_interpreter_that_an_upgrade_took_away_is_noticed(tmp_path):
    path = environment(tmp_path, "a", {"numpy": "2.4.6"})
    (path / "bin" / "python").unlink()
    (path / "bin" / "python").symlink_to("/usr/bin/python3.no-more")
    assert altered(path) == ["its interpreter /usr/bin/python3.no-more is gone"]


def test_a_folder_that_only_its_owner_may_enter_is_found_on_the_way():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.mkdir(os.path.join(folder, "python"))
        assert env.closed(os.path.join(folder, "python", "bin")) == folder
        pathlib.Path(folder).chmod(0o755)
        assert env.closed(os.path.join(folder, "python", "bin")) == ""


# Finished and unfinished


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"packages": []}'])
def test_a_folder_without_a_whole_marker_is_unfinished(tmp_path, text):
    path = environment(tmp_path, KEY[:12], {"numpy": "2.4.6"}, finished=False)
    if text is not None:
        (path / versioned.MARKER).write_text(text)
    assert versioned.unfinished(str(tmp_path)) == [KEY[:12]]
    assert env.survey(wanted(tmp_path, root=str(tmp_path.parent), name=tmp_path.name), KEY).ready == []


def test_what_others_keep_beside_the_environments_is_left_alone(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "0123456789ab.txt").write_text("")
    assert versioned.superfluous(str(tmp_path), None, 0) == []


def test_a_rebuild_gets_a_name_that_is_free(tmp_path):
    assert versioned.fresh_name(str(tmp_path), KEY) == "0123456789ab"
    environment(tmp_path, "0123456789ab", {"numpy": "2.4.6"})
    assert versioned.fresh_name(str(tmp_path), KEY) == "0123456789ab-2"


def test_the_environments_used_last_are_kept(tmp_path):
    for number, name in enumerate(["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"]):
        environment(tmp_path, name, {"numpy": "2.4.6"}, used_at=1000 + number)
    environment(tmp_path, "dddddddddddd", {"numpy": "2.4.6"}, finished=False)
    assert versioned.superfluous(str(tmp_path), "aaaaaaaaaaaa", 1) == ["dddddddddddd", "bbbbbbbbbbbb"]
    assert versioned.superfluous(str(tmp_path), "cccccccccccc", 0) == ["dddddddddddd", "bbbbbbbbbbbb", "aaaaaaaaaaaa"]


def test_a_library_that_a_process_has_loaded_keeps_its_environment(tmp_path):
    name, other = "0123456789ab", "0123456789ab-2"
    library = tmp_path / name / "library.so"
    library.parent.mkdir()
    library.write_text("x")
    with open(str(library), "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        assert versioned.unoccupied(Host(), [name, other]) == [other]
    assert versioned.unoccupied(Host(), [name, other]) == [name, other]


def test_where_the_processes_do_not_answer_nothing_is_removed():
    class Wedged:
        def in_child(self, function, timeout):
            return None, f"timed out after {timeout} s"

    assert versioned.unoccupied(Wedged(), ["0123456789ab"]) == []


def test_swapping_leaves_a_relative_link_and_notes_who_was_used_last(tmp_path):
    environment(tmp_path, "aaaaaaaaaaaa", {"numpy": "2.4.6"}, used_at=1000)
    environment(tmp_path, "bbbbbbbbbbbb", {"numpy": "2.4.6"}, used_at=2000)
    environment(tmp_path, "cccccccccccc", {"numpy": "2.4.6"}, used_at=3000)
    versioned.swap(str(tmp_path), "aaaaaaaaaaaa")
    versioned.swap(str(tmp_path), "bbbbbbbbbbbb")
    assert os.readlink(str(tmp_path / "current")) == "bbbbbbbbbbbb"
    assert versioned.superfluous(str(tmp_path), "bbbbbbbbbbbb", 1) == ["cccccccccccc"]


def test_a_link_that_an_interrupted_swap_left_is_no_obstacle(tmp_path):
    environment(tmp_path, "aaaaaaaaaaaa", {"numpy": "2.4.6"})
    (tmp_path / "current.new").symlink_to("nowhere")
    versioned.swap(str(tmp_path), "aaaaaaaaaaaa")
    assert versioned.current(str(tmp_path)) == "aaaaaaaaaaaa"


def test_a_current_that_is_not_ours_is_refused(tmp_path):
    (tmp_path / "current").mkdir()
    with pytest.raises(env.Refused, match="is not a link"):
        versioned.current(str(tmp_path))


# Space and messages


def test_too_little_space_names_the_mount_and_both_sizes(tmp_path):
    sentence = versioned.lack_of_space([str(tmp_path / "not" / "there" / "yet")], 10**18)
    assert sentence.startswith(versioned.mount_of(str(tmp_path)))
    assert "1000000000.0 GB are needed" in sentence
    assert versioned.lack_of_space([str(tmp_path)], 1) is None


SAID = [
    (
        "cause: Because there is no version of numpy==99.1 and you require",
        "the package index does not offer numpy==99.1",
    ),
    ("cause: Because numpy==1.19.5 has no usable wheels and you", "numpy==1.19.5 has no wheel for Python 3.12"),
    ("cause: Because nosuch was not found in the package registry and", "the package index does not offer nosuch"),
    (
        "error: Failed to download `six==1.17.0`\n  cause: Hash mismatch for `six==1.17.0`",
        "the download of six==1.17.0 does not",
    ),
    ("cause: tcp connect error\n  cause: Connection refused (os error 111)", "the package index could not be reached"),
    (
        "cause: client error (Connect)\n  cause: invalid peer certificate: UnknownIssuer",
        "the certificate of the package index",
    ),
    (
        "error: failed to write\n  cause: No space left on device (os error 28)",
        "the disk became full; free some space on /",
    ),
    ("error: No interpreter found for Python 3.12 in search path", "this host has no usable Python 3.12"),
    ("error: something new in uv 1.0", "uv could not finish (uv: error: something new in uv 1.0)"),
    ("", "uv could not finish (uv: no message)"),
]


@pytest.mark.parametrize("stderr, sentence", SAID, ids=[sentence for _stderr, sentence in SAID])
def test_a_failure_of_uv_becomes_a_sentence(tmp_path, stderr, sentence):
    said = env.explain("Using Python 3.12.16 environment at: x\n" + stderr, wanted(tmp_path))
    assert said.startswith(sentence)
    assert "Using Python" not in said
    assert "\n" not in said


def test_check_mode_needs_neither_uv_nor_a_folder(tmp_path):
    result = env.ensure(None, wanted(tmp_path), check_mode=True)
    assert result["changed"]
    assert [package["name"] for package in result["packages"]] == ["numpy", "torch"]
    assert result["diff"]["after"] == "numpy==2.4.6\ntorch==2.10.0\n"
    assert os.listdir(str(tmp_path)) == []


def test_a_missing_uv_is_named_with_the_way_out(tmp_path):
    with pytest.raises(env.Refused, match=r"there is no program at .*no-uv; role python installs uv"):
        env.ensure(None, wanted(tmp_path))


def test_the_newest_uv_beside_the_environments_is_found(tmp_path):
    for version in ("0.9.30", "0.13.9", ".0.14.0"):
        (tmp_path / "uv" / version / "bin").mkdir(parents=True)
        (tmp_path / "uv" / version / "bin" / "uv").write_text("")
        (tmp_path / "uv" / version / "bin" / "uv").chmod(0o755)
    assert env.find_uv(wanted(tmp_path, uv=None)) == str(tmp_path / "uv" / "0.13.9" / "bin" / "uv")


@pytest.mark.parametrize("name", ["", "..", "a/b", "current", ".hidden", "a b"])
def test_a_name_that_is_no_folder_is_refused(tmp_path, name):
    with pytest.raises(env.Refused, match="cannot name a folder"):
        env.ensure(None, wanted(tmp_path, name=name), check_mode=True)


def test_a_filesystem_that_cannot_lock_is_said_at_once_and_is_no_other_run(tmp_path, monkeypatch):
    def refuse(_descriptor, _how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(versioned.fcntl, "flock", refuse)
    began = time.time()
    with pytest.raises(env.Refused, match="/envs/pytorch: No locks available; mend that"):
        env.ensure(Host(), wanted(tmp_path, timeout=5))
    assert time.time() - began < 5


def test_two_runs_at_once_wait_for_each_other(tmp_path):
    holder = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('held', flush=True); input()"
    )
    (tmp_path / "envs" / "pytorch").mkdir(parents=True)
    lock = str(tmp_path / "envs" / "pytorch" / ".lock")
    other = subprocess.Popen([sys.executable, "-c", holder, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline().strip() == b"held"
        with pytest.raises(env.Refused, match=r"another run has held .*/.lock for 0 seconds"):
            env.ensure(None, wanted(tmp_path, timeout=0))
    finally:
        other.communicate(b"\n")
