# -*- coding: utf-8 -*-
"""Files below a root and commands with a timeout: what cannot be had is a gap, never a traceback."""

import os
import sys
import time

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host


def test_a_file_is_read_below_the_root(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "version").write_text("  Linux 6.1\n")
    host = Host(str(tmp_path))
    assert host.read_text("/proc/version") == "Linux 6.1"
    assert host.gaps == []


def test_a_missing_file_is_a_gap_that_names_it(tmp_path):
    host = Host(str(tmp_path))
    assert host.read_text("/proc/absent") == ""
    assert host.read_text("/proc/optional", quiet=True) == ""
    assert host.gaps == ["/proc/absent: No such file or directory"]


def test_no_more_than_the_limit_is_read(tmp_path):
    (tmp_path / "long").write_bytes(b"x" * 100)
    assert len(Host(str(tmp_path)).read_bytes("/long", limit=10)) == 10


def test_a_folder_that_is_not_there_lists_nothing(tmp_path):
    host = Host(str(tmp_path))
    assert host.listdir("/sys/class/nvme", quiet=True) == []
    assert host.gaps == []


def test_a_link_is_known_by_the_last_part_of_its_target(tmp_path):
    (tmp_path / "driver").symlink_to("../../drivers/nvidia")
    host = Host(str(tmp_path))
    assert host.readlink_name("/driver") == "nvidia"
    assert host.readlink_name("/absent") is None


def test_a_link_is_told_as_it_stands_there(tmp_path):
    (tmp_path / "source").symlink_to("/usr/src/nvidia-580")
    assert Host(str(tmp_path)).readlink("/source") == "/usr/src/nvidia-580"
    assert Host(str(tmp_path)).readlink("/absent") is None


def test_records_are_read_to_the_end_of_a_file(tmp_path):
    (tmp_path / "kmsg").write_text("6,0,0,-;one\n" * 5000)
    text, complaint = Host(str(tmp_path)).read_records("/kmsg")
    assert (text.count("one"), complaint) == (5000, None)


def test_records_have_a_limit_that_is_told(tmp_path):
    (tmp_path / "kmsg").write_text("6,0,0,-;one\n" * 5000)
    text, complaint = Host(str(tmp_path)).read_records("/kmsg", limit=100)
    assert 100 <= len(text) < 60000
    assert complaint == f"only its first {len(text)} bytes were read"


def test_records_that_nobody_writes_are_not_waited_for(tmp_path):
    os.mkfifo(str(tmp_path / "kmsg"))
    reader = os.open(str(tmp_path / "kmsg"), os.O_RDWR)  # a writer that says nothing, as the kernel at the log's end
    begin = time.time()
    assert Host(str(tmp_path)).read_records("/kmsg") == ("", None)
    os.write(reader, b"6,0,0,-;one\n")
    assert Host(str(tmp_path)).read_records("/kmsg") == ("6,0,0,-;one\n", None)
    os.close(reader)
    assert time.time() - begin < 5


def test_records_that_cannot_be_read_say_why(tmp_path):
    assert Host(str(tmp_path)).read_records("/absent") == ("", "No such file or directory")
    assert Host(str(tmp_path)).read_records("/") == ("", "Is a directory")


def test_a_command_answers_in_the_c_locale():
    result = Host().run([sys.executable, "-c", "import os; print(os.environ['LC_ALL'])"], 20)
    assert (result.rc, result.stdout.strip(), result.error) == (0, "C", None)


def test_a_command_that_is_not_there_is_an_error_and_not_an_exception():
    assert Host().run(["/nonexistent/nvidia-smi"], 1).error == "not found"


def test_a_command_that_hangs_is_given_up_with_all_that_it_started():
    begin = time.time()
    code = "import signal as s, subprocess; s.signal(s.SIGTERM, s.SIG_IGN); subprocess.call(['sleep', '60'])"
    result = Host().run([sys.executable, "-c", code], 0.5)
    assert result.error == "timed out after 0.5 s"
    assert time.time() - begin < 10


def test_a_child_that_no_kill_reaches_is_not_waited_for():
    # It stands for nvidia-smi in a sleep that no signal ends: in its own session it outlives the kill, and holds on.
    begin = time.time()
    code = "import subprocess; subprocess.call(['sleep', '15'], start_new_session=True)"
    result = Host().run([sys.executable, "-c", code], 0.5)
    assert result.error == "timed out after 0.5 s"
    assert time.time() - begin < 8


def test_output_that_is_no_text_does_not_stop_it():
    result = Host().run([sys.executable, "-c", "import os; os.write(1, bytes([255, 254, 65]))"], 20)
    assert result.stdout.endswith("A")


def test_the_default_root_is_the_machine_itself():
    assert os.path.samefile(Host().path("/proc"), "/proc")


def test_a_child_gives_back_what_its_function_returns():
    assert Host().in_child(lambda: b"\0\1log", 10) == (b"\0\1log", None)


def refused():
    raise PermissionError(1, "Operation not permitted")


def broken():
    raise KeyError("x")


def gone():
    os._exit(3)


@pytest.mark.parametrize(
    ("function", "error"), [(refused, "Operation not permitted"), (broken, "'x'"), (gone, "no answer")]
)
def test_a_child_that_fails_says_why(function, error):
    assert Host().in_child(function, 10) == (None, error)


def test_a_child_that_hangs_is_given_up_and_gone(tmp_path):
    def hang():
        (tmp_path / "child").write_text(str(os.getpid()))
        time.sleep(60)

    begin = time.time()
    assert Host().in_child(hang, 0.5) == (None, "timed out after 0.5 s")
    assert time.time() - begin < 3
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "child").read_text()), 0)


def test_a_child_that_hangs_does_not_keep_the_output_open():
    # Ansible waits for the end of a module's output: a child in the kernel must not hold it.
    code = (
        f"import os, sys, time; sys.path[:0] = {sys.path!r}\n"
        "from ansible_collections.gpufleet.workstation.plugins.module_utils import _host\n"
        "_host.os.kill = lambda *_: None  # no signal reaches it\n"
        "_host.KILL_WAIT_SECONDS = 0.1\n"
        "print(_host.Host().in_child(lambda: time.sleep(8), 0.3))"
    )
    begin = time.time()
    result = Host().run([sys.executable, "-c", code], 20)
    assert result.stdout.strip() == "(None, 'timed out after 0.3 s')"
    assert time.time() - begin < 6
