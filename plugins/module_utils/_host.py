# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place where facts modules touch the machine: files below a root, and commands with a timeout.

Private to the collection. What cannot be read becomes a gap, one sentence in ``Host.gaps``, and never a traceback.
"""

import os
import select
import signal
import subprocess
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

FILE_LIMIT = 1 << 20
OUTPUT_LIMIT = 64 << 20
RECORD_LIMIT = 16 << 10
RECORDS_LIMIT = 32 << 20
RECORDS_SECONDS = 5
KILL_WAIT_SECONDS = 2


class Result(NamedTuple):
    """What a command said. ``error`` is None if it ran to its end, whatever its status."""

    rc: Optional[int]
    stdout: str
    stderr: str
    error: Optional[str]


class Host:
    """A machine, or a recording of one below another root than ``/``."""

    def __init__(self, root: str = "/") -> None:
        self.root = root
        self.gaps: List[str] = []

    def path(self, path: str) -> str:
        """Return where a path of the machine lies on this file system."""
        return os.path.join(self.root, path.lstrip("/"))

    def read_bytes(self, path: str, limit: int = FILE_LIMIT, quiet: bool = False) -> bytes:
        """Return at most ``limit`` bytes of a file; empty, and a gap unless ``quiet``, where it cannot be read."""
        try:
            with open(self.path(path), "rb") as file:
                return file.read(limit)
        except (OSError, ValueError) as error:
            if not quiet:
                self.gaps.append("{}: {}".format(path, getattr(error, "strerror", None) or error))
            return b""

    def read_text(self, path: str, limit: int = FILE_LIMIT, quiet: bool = False) -> str:
        """Return a file's text without white space around it; empty where it cannot be read."""
        return self.read_bytes(path, limit, quiet).decode("utf-8", "replace").strip()

    def listdir(self, path: str, quiet: bool = False) -> List[str]:
        """Return the sorted names in a folder; none where it cannot be read."""
        try:
            return sorted(os.listdir(self.path(path)))
        except OSError as error:
            if not quiet:
                self.gaps.append(f"{path}: {error.strerror}")
            return []

    def readlink(self, path: str) -> Optional[str]:
        """Return what a link points to, as it stands there, or None where there is no link."""
        try:
            return os.readlink(self.path(path))
        except (OSError, ValueError):
            return None

    def readlink_name(self, path: str) -> Optional[str]:
        """Return the last part of what a link points to, or None where there is no link."""
        return os.path.basename((self.readlink(path) or "").rstrip("/")) or None

    def exists(self, path: str) -> bool:
        """Say whether a path is there."""
        return os.path.exists(self.path(path))

    def read_records(self, path: str, limit: int = RECORDS_LIMIT) -> Tuple[str, Optional[str]]:
        """Return what a file such as C(/dev/kmsg) has now, and why there is nothing or not all of it.

        The kernel gives one record a read, would wait for the next at the end, and says EPIPE for what it overwrote.
        """
        data = []  # type: List[bytes]
        size, deadline = 0, time.monotonic() + RECORDS_SECONDS
        try:
            file = os.open(self.path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            return "", str(getattr(error, "strerror", None) or error)
        complaint = None
        try:
            while size < limit and time.monotonic() < deadline:
                try:
                    record = os.read(file, RECORD_LIMIT)
                except BrokenPipeError:
                    continue
                if not record:
                    break
                data.append(record)
                size += len(record)
            else:
                complaint = f"only its first {size} bytes were read"
        except BlockingIOError:
            pass  # the end of what there is
        except OSError as error:
            complaint = error.strerror
        finally:
            os.close(file)
        return _text(b"".join(data)), complaint

    def leads_somewhere(self, path: str) -> bool:
        """Say whether a path is there, a link to an absolute path being followed below the root."""
        try:
            target = os.readlink(self.path(path))
        except OSError:
            return self.exists(path)
        return self.exists(target if os.path.isabs(target) else os.path.join(os.path.dirname(path), target))

    def identity(self, path: str) -> Optional[Tuple[int, int, int]]:
        """Return the device, major and minor, and the inode of a file, or None where there is none."""
        try:
            entry = os.stat(self.path(path))
        except OSError:
            return None
        return os.major(entry.st_dev), os.minor(entry.st_dev), entry.st_ino

    def space(self, path: str, timeout: float) -> Optional[Tuple[str, Any, bool]]:
        """Return the nearest folder that exists on the way to a path, statvfs of it, and whether it is the path itself.

        None, and a gap, where the filesystem does not answer.

        A network filesystem whose server is gone answers never, and no signal helps: the question is left behind
        in a thread that nobody waits for.
        """
        answer = []  # type: List[Tuple[str, Any, bool]]
        trouble = []  # type: List[str]

        def ask() -> None:
            place = self.path(path)
            try:
                while not os.path.exists(place) and place != os.path.dirname(place):
                    place = os.path.dirname(place)
                there = place == self.path(path)
                answer.append((self._below(os.path.realpath(place), path), os.statvfs(place), there))
            except (OSError, ValueError) as error:
                trouble.append(str(getattr(error, "strerror", None) or error))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(timeout)
        if not answer:
            self.gaps.append("{}: {}".format(path, (trouble or [f"its filesystem did not answer in {timeout:g} s"])[0]))
            return None
        return answer[0]

    def _below(self, place: str, path: str) -> str:
        """Return a real path as the machine calls it, or ``path`` where a link led out of the recording."""
        root = os.path.realpath(self.root)
        if root == os.sep:
            return place
        return place[len(root) :] or os.sep if place == root or place.startswith(root + os.sep) else path

    def run(
        self, argv: List[str], timeout: float, env: Optional[Dict[str, str]] = None, pass_fds: Sequence[int] = ()
    ) -> Result:
        """Run a command in a process group of its own, in the C locale; give it up after ``timeout`` seconds.

        A wedged driver leaves nvidia-smi in a sleep that no signal ends. The group is killed, and then this
        does not wait for it: ``subprocess.run(timeout=)`` and ``timeout(1)`` would.
        """
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C", **(env or {})},
                pass_fds=pass_fds,
            )
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            return Result(None, "", "", "not found" if missing else str(getattr(error, "strerror", None) or error))
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            stdout, stderr = _abandon(process)
            return Result(None, _text(stdout), _text(stderr), f"timed out after {timeout:g} s")
        return Result(process.returncode, _text(stdout), _text(stderr), None)

    def in_child(self, function: Callable[[], bytes], timeout: float) -> Tuple[Optional[bytes], Optional[str]]:
        """Return what a function returns, or None and why not; give it up after ``timeout`` seconds.

        For a call into a driver that can hang where no signal reaches it: a child process makes the call. The child
        holds none of this process's pipes, or whoever reads those would wait for it. An answer has at most 4096 bytes.
        """
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _let_go()
                os.write(writer, b"+" + function())
            except Exception as error:
                os.write(writer, b"-" + str(getattr(error, "strerror", None) or error).encode("utf-8", "replace"))
            finally:
                os._exit(0)
        os.close(writer)
        answered = bool(select.select([reader], [], [], timeout)[0])
        answer = os.read(reader, select.PIPE_BUF) if answered else b""
        os.close(reader)
        if not answered:
            os.kill(child, signal.SIGKILL)
        _reap(child)
        if not answered:
            return None, f"timed out after {timeout:g} s"
        if answer[:1] == b"+":
            return answer[1:], None
        return None, _text(answer[1:]) or "no answer"


def _let_go() -> None:
    """Leave the session and the standard streams that a child shares with whoever started it."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)


def _reap(child: int) -> None:
    """Wait for a child that has ended or been killed, but no longer than KILL_WAIT_SECONDS for one that cannot end."""
    end = time.monotonic() + KILL_WAIT_SECONDS
    while os.waitpid(child, os.WNOHANG)[0] == 0 and time.monotonic() < end:
        time.sleep(0.001)


def _abandon(process):
    """Kill a command's group and return what it had said, waiting no longer than KILL_WAIT_SECONDS."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        pass  # it ended in between
    try:
        return process.communicate(timeout=KILL_WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        for pipe in (process.stdout, process.stderr):
            pipe.close()
        process.returncode = -signal.SIGKILL  # or the interpreter would wait for it at its own end
        return b"", b""


def _text(data: bytes) -> str:
    return data[:OUTPUT_LIMIT].decode("utf-8", "replace")
