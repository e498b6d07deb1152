"""Builds the machine that test_machine.py starts: a Debian cloud kernel and a root with Python and the NVMe tools.

All comes from Debian by apt. Nothing is installed but qemu itself, and only where it is missing; the packages of the
machine's root are downloaded and unpacked. The result lies in .cache/machine and is kept until this file changes.

    python3 tests/machine/build.py
"""

from __future__ import annotations

import hashlib
import lzma
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache" / "machine"
QEMU = "qemu-system-x86_64"
KERNEL = "linux-image-cloud-amd64"
PACKAGES = ["python3-minimal", "libpython3-stdlib", "nvme-cli", "smartmontools", "dmsetup", "e2fsprogs"]
PROGRAMS = re.compile(r"usr/s?bin/(python3(\.\d+)?|nvme|smartctl|dmsetup|mke2fs)$")
LIBRARIES = re.compile(r"usr/lib(64)?/(?!.*(perl|gconv|/test/|/idlelib/|/ensurepip/|/lib2to3/|/systemd/|/udev/))")
APT = ["-o", "APT::Sandbox::User=root", "-o", "DPkg::Lock::Timeout=120"]
MODULES = ["dm-mod", "configfs", "nvmet-tcp", "nvme-tcp"]  # NVMe on PCI and ext4 are part of this kernel


def why_not() -> str | None:
    """Say why the machine cannot be built here, or None where it can."""
    if built():
        return None
    release = Path("/etc/os-release")
    if platform.machine() != "x86_64" or not release.exists() or "ID=debian" not in release.read_text().splitlines():
        return "it is built from Debian's packages, on Debian on x86_64 only"
    if os.geteuid() != 0 and not shutil.which(QEMU):
        return f"{QEMU} is not installed, and only root can install it"
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return "apt-get or dpkg-deb is missing"
    return None


def key() -> str:
    return hashlib.sha256(Path(__file__).read_bytes() + Path("/etc/os-release").read_bytes()).hexdigest()


def built() -> bool:
    """Say whether the machine is there already, from this very script."""
    stamp = CACHE / "stamp"
    return bool(shutil.which(QEMU)) and stamp.exists() and stamp.read_text() == key()


def apt(*words: str, cwd: Path = CHECKOUT) -> None:
    """Run apt-get; where it fails, once more after an update."""
    command = ["apt-get", "-qq", "-y", "--no-install-recommends", *APT, *words]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False).returncode:
        subprocess.run(["apt-get", "-qq", "update"], env=environment, check=True)
        subprocess.run(command, cwd=cwd, env=environment, check=True, stdout=sys.stderr)


def download(folder: Path) -> None:
    """Download the kernel, and the packages of the root with all that they need, as if nothing were installed."""
    (folder / "partial").mkdir(parents=True)
    (folder / "status").touch()
    nothing = ["-o", f"Dir::State::status={folder}/status", "-o", f"Dir::Cache::archives={folder}"]
    apt(*nothing, "--download-only", "install", *PACKAGES)
    said = subprocess.run(["apt-cache", "depends", KERNEL], check=True, capture_output=True, text=True).stdout
    (image,) = re.findall(r"Depends: (linux-image-\S+)", said)
    apt("download", image, cwd=folder)


def members(deb: Path) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """Yield a package's files with their places in a root where /bin, /sbin and /lib are links into /usr."""
    unpack = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
    with unpack, tarfile.open(fileobj=unpack.stdout, mode="r|") as archive:
        for member in archive:
            yield place(member.name), member, archive


def place(name: str) -> str:
    name = os.path.normpath(name)
    return "usr/" + name if re.match(r"(s?bin|lib(64)?)(/|$)", name) else name


class Cpio:
    """Writes an archive in the form that the kernel unpacks into its first root."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.names: set[str] = set()

    def add(self, name: str, mode: int, data: bytes = b"") -> None:
        """Add a file, a link or a folder, with the folders around it."""
        parent = os.path.dirname(name)
        if parent and parent not in self.names:
            self.add(parent, stat.S_IFDIR | 0o755)
        if name in self.names:
            return
        self.names.add(name)
        self._write(name, mode, data, len(self.names))

    def close(self) -> None:
        self._write("TRAILER!!!", 0, b"", 0)

    def _write(self, name: str, mode: int, data: bytes, number: int) -> None:
        path = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0]
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
        for part in (head, data):
            self.file.write(part + b"\0" * (-len(part) % 4))


def build() -> Path:
    """Return the folder with kernel and root, built if they are not there yet."""
    if built():
        return CACHE
    shutil.rmtree(CACHE, ignore_errors=True)
    if not shutil.which(QEMU):
        apt("install", "qemu-system-x86")
    download(CACHE / "packages")
    modules: dict[str, bytes] = {}
    with (CACHE / "root.cpio").open("wb") as file:
        root = Cpio(file)
        for name in ("bin", "sbin", "lib", "lib64"):
            root.add(name, stat.S_IFLNK | 0o777, f"usr/{name}".encode())
        for name in ("dev", "proc", "sys", "run", "tmp", "mnt"):
            root.add(name, stat.S_IFDIR | 0o755)
        for deb in sorted((CACHE / "packages").glob("*.deb")):
            take(deb, root, modules)
        for name, data in in_order(modules):
            root.add(f"modules/{len(root.names):05d}-{name}.ko", stat.S_IFREG | 0o644, data)
        root.close()
    shutil.rmtree(CACHE / "packages")
    (CACHE / "stamp").write_text(key())
    return CACHE


def take(deb: Path, root: Cpio, modules: dict[str, bytes]) -> None:
    """Add what the machine needs of one package to its root; keep its kernel and its modules."""
    for name, member, archive in members(deb):
        if name.startswith("boot/vmlinuz-"):
            (CACHE / "vmlinuz").write_bytes(archive.extractfile(member).read())
        elif re.search(r"\.ko(\.xz)?$", name) and re.search(r"/(nvme|configfs|md|lib)/", name):
            data = archive.extractfile(member).read()
            stem = os.path.basename(name).partition(".")[0].replace("-", "_")
            modules[stem] = lzma.decompress(data) if name.endswith(".xz") else data
        elif PROGRAMS.match(name) or (LIBRARIES.match(name) and not deb.name.startswith("linux-")):
            if member.issym():
                root.add(name, stat.S_IFLNK | 0o777, member.linkname.encode())
            elif member.isfile():
                root.add(name, stat.S_IFREG | member.mode, archive.extractfile(member).read())


def in_order(modules: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """Return the modules that are wanted, each after those that it needs."""
    ordered: dict[str, bytes] = {}

    def need(name: str) -> None:
        if name in modules and name not in ordered:
            said = re.search(rb"\0depends=([^\0]*)\0", modules[name])
            for other in said.group(1).decode().split(",") if said else []:
                need(other.replace("-", "_"))
            ordered[name] = modules[name]

    for name in MODULES:
        need(name.replace("-", "_"))
    return list(ordered.items())


if __name__ == "__main__":
    reason = why_not()
    if reason:
        sys.exit(f"The machine cannot be built here: {reason}")
    print(build())
