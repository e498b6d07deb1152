# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the making of an environment: our way against "python3 -m venv" and "pip install" of the same lock with hashes.

Both sides get the same lock, the same interpreter and the same network, first fill their own caches in a round that
does not count, and then take turns. pip compiles every file to bytecode, ours what the proof imports: the second row
compares what a host really gets. The third row is a first host, which fetches from the index, against a second one,
which installs from the first one's wheelhouse; both begin with empty caches. With --mbit, the index lies behind a line
of so many megabits a second, and the wheelhouse, which is on the host's side of it, does not. Last, a run that has
nothing to do.

    python3 tests/bench/environments.py [--rounds 3] [--mbit 200] [--without-pip] [--with torch==2.15.0 ...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

CHECKOUT = Path(__file__).resolve().parents[2]
PINS = ["numpy==2.4.6", "pandas==3.1.1", "matplotlib==3.11.2", "scikit-learn==1.9.1"]
IMPORTS = ["numpy", "pandas", "matplotlib", "sklearn"]
GLIBC = "2.31"

sys.path.insert(0, str(CHECKOUT / ".collections"))
from ansible_collections.gpufleet.workstation.plugins.module_utils import (  # noqa: E402
    _environment,
    _host,
    _lock,
    _wheelhouse,
)


class Tunnel(socketserver.BaseRequestHandler):
    """A proxy's answer to CONNECT: bytes both ways, and those of all tunnels together at the server's pace."""

    def handle(self) -> None:
        """Connect the two sides."""
        words = self.request.makefile("rb", buffering=0)
        host, _colon, port = words.readline().split()[1].decode().rpartition(":")
        while words.readline().strip():
            pass
        with socket.create_connection((host, int(port)), timeout=60) as other:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            upwards = threading.Thread(target=self.carry, args=(self.request, other, None), daemon=True)
            upwards.start()
            self.carry(other, self.request, self.server)
            upwards.join()

    @staticmethod
    def carry(source: socket.socket, sink: socket.socket, line: Line | None) -> None:
        """Carry bytes until there are no more."""
        try:
            for data in iter(lambda: source.recv(1 << 16), b""):
                if line:
                    line.wait(len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one side has gone, and the other notices


class Line(socketserver.ThreadingTCPServer):
    """A proxy that lets through so many megabits a second."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, mbit: float) -> None:
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.pace, self.free, self.lock = mbit * 1e6 / 8, 0.0, threading.Lock()

    def wait(self, size: int) -> None:
        """Wait until so many bytes have gone through."""
        with self.lock:
            self.free = max(self.free, time.monotonic()) + size / self.pace
            pause = self.free - time.monotonic()
        time.sleep(max(pause, 0))


@contextmanager
def slow(mbit: float) -> Iterator[None]:
    """Put a slow line between this machine and whatever is asked for by HTTPS; 0 leaves the network as it is."""
    if not mbit:
        yield
        return
    with Line(mbit) as line:
        threading.Thread(target=line.serve_forever, daemon=True).start()
        proxy = f"http://127.0.0.1:{line.server_address[1]}"
        with mock.patch.dict(os.environ, dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY"), proxy)):
            yield
        line.shutdown()


class Bench:
    """What every piece of work needs: the lock, uv, and a place for caches and environments."""

    def __init__(self, scratch: Path, uv: str, pins: list[str]) -> None:
        self.scratch, self.pins = scratch, pins
        self.wanted = _environment.Wanted(
            name="bench",
            root=str(scratch / "environment"),
            python=sys.executable,
            packages=pins,
            uv=uv,
            cache_dir=str(scratch / "uv"),
            timeout=3600,
        )
        self.python = "{}.{}".format(*sys.version_info)
        text = _lock.resolve(_host.Host(), self.wanted, _lock.Target(self.python, GLIBC))
        self.wanted = self.wanted._replace(lock=text)

    def ours(self, **changes) -> dict:
        """Build the environment as the module does: install, prove, write to the disk, swap."""
        return _environment.ensure(_host.Host(), self.wanted._replace(**changes))

    def theirs(self, imports: list[str]) -> None:
        """Build the environment as most playbooks do, from the same lock."""
        folder = self.scratch / "environment"
        python, listed = folder / "bin" / "python", self.scratch / "lock.txt"
        listed.write_text(self.wanted.lock, encoding="utf-8")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--cache-dir", self.scratch / "pip", "install"]
        subprocess.run([*pip, "--quiet", "--only-binary=:all:", "--require-hashes", "-r", listed], check=True)
        if imports:
            subprocess.run([python, "-c", f"import {', '.join(imports)}"], check=True)

    def fill(self) -> None:
        """Fetch the wheelhouse."""
        lock = _wheelhouse.Lock(self.wanted.lock, self.python, GLIBC)
        wanted = _wheelhouse.Wanted(path=str(self.scratch / "wheelhouse"), locks=[lock])
        _wheelhouse.ensure(_host.Host(), wanted)

    def seconds(self, work, *rest, **changes) -> float:
        """Return how long a piece of work takes in a fresh folder."""
        began = time.perf_counter()
        work(*rest, **changes)
        taken = time.perf_counter() - began
        shutil.rmtree(self.scratch / "environment")
        return taken

    def from_empty(self, **changes) -> float:
        """Return how long a host with an empty cache takes."""
        cache = self.scratch / "fresh"
        shutil.rmtree(cache, ignore_errors=True)
        return self.seconds(self.ours, cache_dir=str(cache), **changes)


def row(title: str, times: list[list[float]]) -> None:
    """Print a row of the table."""
    one, other = map(statistics.median, times)
    print(f"| {title} | {one:.2f} | {other:.2f} | {other / one:.1f} |", flush=True)


def against_pip(bench: Bench, rounds: int) -> None:
    """Print the rows that compare with pip."""
    print("| | gpufleet | venv + pip | ratio |\n|---|---|---|---|")
    for title, imports in (("made", []), ("made and proven by importing the four", IMPORTS)):
        times: list[list[float]] = [[], []]
        for turn in range(rounds + 1):
            taken = bench.seconds(bench.ours, imports=imports), bench.seconds(bench.theirs, imports)
            for side in (0, 1) if turn else ():
                times[side].append(taken[side])
        row(title, times)
    print()


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-pip", action="store_true", help="leave out the rows that compare with pip")
    parser.add_argument("--mbit", type=float, default=0, help="of the line to the index; 0 is the network as it is")
    parser.add_argument("--with", dest="more", nargs="*", default=[], help="further pins, such as torch==2.15.0")
    given = parser.parse_args()
    uv = shutil.which("uv", path=f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}")
    if uv is None:
        sys.exit("environments: there is no uv on the search path; make venv installs one")
    pins = PINS + given.more
    print(f"Making an environment with {' '.join(pins)}: Python {sys.version.split()[0]}, {os.cpu_count()} processors,")
    print(f"{given.rounds} rounds by turns, medians in seconds.\n")
    with tempfile.TemporaryDirectory(prefix="gpufleet-bench-") as place:
        bench = Bench(Path(place), uv, pins)
        if not given.without_pip:
            against_pip(bench, given.rounds)
        bench.fill()
        print("| | second host, from the wheelhouse | first host, from the index | ratio |\n|---|---|---|---|")
        times = [[], []]
        for _turn in range(given.rounds):
            times[0].append(bench.from_empty(use_index=False, find_links=str(bench.scratch / "wheelhouse")))
            with slow(given.mbit):
                times[1].append(bench.from_empty())
        row("made, caches empty" + (f", the index behind {given.mbit:g} Mbit/s" if given.mbit else ""), times)
        bench.ours()
        idle = [bench.ours()["seconds"] for _turn in range(given.rounds)]
        print(f"\nA run with nothing to do: {statistics.median(idle):.3f} s in the module (limit 1).")


if __name__ == "__main__":
    main()
