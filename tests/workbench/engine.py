#!/usr/bin/env python3
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the demo and the tests a Docker Engine and the images of bare hosts.

    engine.py up IMAGE...   an engine that answers, and these images (debian11, debian12, debian13, ubuntu2204)
    engine.py down          end the engine, if it was this program that started it
    engine.py clean         remove the demo's containers, volumes and images, then do what "down" does

Nothing here knows about GPUs or about the collection: it is what a person would type.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import CHECKOUT, elevate, find, give_up, install, must, run, say

HERE = Path(__file__).resolve().parent
STATE = CHECKOUT / ".cache" / "engine"
LABEL = "gpufleet"

# name: (image that an ordinary machine pulls, debootstrap's name for the same release)
BASES = {
    "debian11": ("debian:11", "bullseye"),
    "debian12": ("debian:12", "bookworm"),
    "debian13": ("debian:13", "trixie"),
    "ubuntu2204": ("ubuntu:22.04", None),
}
PULL_SECONDS = 300
START_SECONDS = 60


def answers() -> bool:
    """Say whether an engine answers."""
    return find("docker") is not None and run("docker", "info").returncode == 0


def ensure_engine() -> None:
    """Return with an engine that answers, or end saying exactly what to do."""
    if answers():
        return
    by_hand = (
        "no Docker Engine answers, and this user may not install or start one. Install Docker (Debian and Ubuntu: "
        "sudo apt-get install docker.io), start it (sudo systemctl start docker), add yourself to its group "
        "(sudo usermod -aG docker $USER, then log in again), and run this again."
    )
    if not find("dockerd"):
        # With its recommended packages: on Debian 13 the command-line client is one of them.
        install("docker.io", by_hand)
    root = elevate()
    if root is None:
        give_up(by_hand)
    start_engine(root)


def start_engine(root: list[str]) -> None:
    """Start the engine the way this machine starts services."""
    if Path("/run/systemd/system").is_dir():
        say("starting the Docker Engine (systemctl start docker)")
        must(*root, "systemctl", "start", "docker", what="the start of Docker")
    else:
        say("starting the Docker Engine (dockerd, by hand: this machine has no systemd)")
        STATE.mkdir(parents=True, exist_ok=True)
        with (STATE / "dockerd.log").open("w", encoding="utf-8") as log:
            daemon = subprocess.Popen(
                [*root, "dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        (STATE / "dockerd.pid").write_text(str(daemon.pid), encoding="utf-8")
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if time.monotonic() > deadline:
            give_up(
                f"the Docker Engine did not answer within {START_SECONDS} s of its start. "
                f"Its log: {STATE / 'dockerd.log'} or journalctl -u docker. "
                "If it runs but is not yours to use: sudo usermod -aG docker $USER, then log in again."
            )
        time.sleep(0.5)


def stop_engine() -> None:
    """End the engine that start_engine started by hand, and only that one."""
    pid_file = STATE / "dockerd.pid"
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text(encoding="utf-8"))
    pid_file.unlink()
    command = Path(f"/proc/{pid}/cmdline")
    if command.exists() and b"dockerd" in command.read_bytes():
        say("ending the Docker Engine that was started for this")
        os.kill(pid, signal.SIGTERM)


def image_exists(name: str) -> bool:
    """Say whether the engine has this image."""
    return run("docker", "image", "inspect", name).returncode == 0


def ensure_image(name: str) -> None:
    """Return with the image of a bare host: systemd, but no Python."""
    tag = f"gpufleet/bare:{name}"
    if image_exists(tag):
        return
    pulled, suite = BASES[name]
    base = pulled if image_exists(pulled) or pull(pulled) else bootstrap_base(name, suite)
    say(f"building {tag}: {base} with systemd")
    must("docker", "build", "--build-arg", f"BASE={base}", "--tag", tag, str(HERE), what=f"the build of {tag}")


def pull(image: str) -> bool:
    """Try to pull an image; False where no registry answers."""
    say(f"pulling {image}")
    try:
        return run("docker", "pull", image, timeout=PULL_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def bootstrap_base(name: str, suite: str | None) -> str:
    """Make a Debian base image from its packages, for machines that reach no container registry."""
    root = elevate()
    otherwise = (
        f"no container registry answers, and the base image for {name} can only be built from packages by root "
        "on a Debian or Ubuntu machine. Give this machine a registry (a mirror goes into /etc/docker/daemon.json), "
        "or run as root."
    )
    if suite is None or root is None:
        give_up(otherwise)
    say(f"no container registry answers: building the base image {suite} with debootstrap (under a minute)")
    if not find("debootstrap"):
        install("debootstrap", otherwise)
    local = f"gpufleet/base:{name}"
    with tempfile.TemporaryDirectory(prefix="gpufleet-") as folder:
        target = Path(folder) / suite
        try:
            must(*root, "debootstrap", "--variant=minbase", suite, str(target), what=f"debootstrap of {suite}")
            archive = subprocess.Popen([*root, "tar", "-C", str(target), "-c", "."], stdout=subprocess.PIPE)
            must("docker", "import", "-", local, what="docker import", stdin=archive.stdout)
            if archive.wait():
                give_up(f"reading {target} with tar failed with status {archive.returncode}.")
        finally:
            must(*root, "rm", "-rf", str(target), what=f"the removal of {target}")
    return local


def clean() -> None:
    """Remove what the demo and the tests made in the engine."""
    if answers():
        for kind, listing, removal in (
            ("containers", ["ps", "--all", "--quiet", f"--filter=label={LABEL}"], ["rm", "--force", "--volumes"]),
            ("volumes", ["volume", "ls", "--quiet", f"--filter=label={LABEL}"], ["volume", "rm"]),
            # By name: "bare" goes before the "base" that it was built from.
            (
                "images",
                ["images", "--format={{.Repository}}:{{.Tag}}", "--filter=reference=gpufleet/*"],
                ["rmi", "--force"],
            ),
        ):
            found = sorted(must("docker", *listing, what=f"the list of {kind}").split())
            if found:
                say(f"removing {len(found)} {kind}")
                must("docker", *removal, *found, what=f"the removal of {kind}")
    stop_engine()


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    if arguments[:1] == ["up"] and arguments[1:] and set(arguments[1:]) <= set(BASES):
        ensure_engine()
        for name in arguments[1:]:
            ensure_image(name)
    elif arguments == ["down"]:
        stop_engine()
    elif arguments == ["clean"]:
        clean()
    else:
        sys.exit(f"usage: engine.py up {{{','.join(BASES)}}}... | down | clean")


if __name__ == "__main__":
    main(sys.argv[1:])
