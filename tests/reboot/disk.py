"""Builds the disk of the machine that test_reboot.py starts: Debian with a kernel, systemd, ssh, Python and no more.

The machine has no GPU. QEMU's test device stands in for one: kernel modules that are called nouveau and nvidia claim
it, udev loads them for it as it does the real ones, and a service of the machine lays NVIDIA's number over its own.
The packages of the driver are stand-ins too (tests/workbench/repositories.py), but for the module in them, which loads.
The result lies in .cache/reboot and is kept until one of these files changes.

    python3 tests/reboot/disk.py
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = CHECKOUT / "tests" / "reboot"
sys.path[:0] = [str(CHECKOUT / "tests" / "workbench"), str(CHECKOUT / "tests" / "machine")]
import build as machine  # noqa: E402
import repositories  # noqa: E402

CACHE = CHECKOUT / ".cache" / "reboot"
SUITE = "bookworm"
VERSION = "535.247.01"  # of the driver that the repository has for this suite
PACKAGES = "systemd-sysv,dbus,udev,kmod,openssh-server,python3,initramfs-tools,linux-base,zstd,iproute2,gpgv"
TOOLS = ("debootstrap", "mkfs.ext4", "debugfs", "gcc-12", "make", "gpg", "ssh-keygen")
DISK_MB = 2000
GPU = """#!/bin/sh
# Lay the number and the class of NVIDIA's GPUs over those of the test device.
for device in /sys/bus/pci/devices/*; do
    [ "$(cat "$device/vendor" "$device/device" | tr -d '\\n')" = 0x1b360x0005 ] || continue
    mkdir -p /run/gpu
    echo 0x10de >/run/gpu/vendor
    echo 0x030200 >/run/gpu/class
    for file in vendor class; do mount --bind "/run/gpu/$file" "$(readlink -f "$device")/$file"; done
done
"""
FILES = {
    "etc/hostname": "gpu01\n",
    "etc/hosts": "127.0.0.1 localhost gpu01\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/systemd/network/any.network": "[Match]\nName=en*\n[Network]\nDHCP=ipv4\n",
    "etc/initramfs-tools/conf.d/small": "MODULES=list\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\n",
    "etc/apt/sources.list": f"deb [signed-by=/repositories/keys/first.asc] file:/repositories/debian {SUITE} main\n",
    # As Debian's package does it: the file has another name than the module.
    "etc/modprobe.d/nvidia.conf": "install nvidia modprobe -i nvidia-current-open\n",
    "etc/systemd/system/gpu.service": (
        "[Service]\nType=oneshot\nExecStart=/usr/local/sbin/gpu\n[Install]\nWantedBy=multi-user.target\n"
        "[Unit]\nBefore=ssh.service\n"
    ),
    "usr/local/sbin/gpu": GPU,
    # nouveau is in the first root as where a splash screen wants it; it is loaded there for a device, not by its name.
    "etc/initramfs-tools/hooks/gpu": (
        '#!/bin/sh\n[ "$1" != prereqs ] || exit 0\n'
        ". /usr/share/initramfs-tools/hook-functions\nmanual_add_modules nouveau\n"
    ),
}


def why_not() -> str | None:
    """Say why the disk cannot be built here, or None where it can."""
    if built():
        return None
    reason = machine.why_not()
    if reason is None and f"VERSION_CODENAME={SUITE}" not in Path("/etc/os-release").read_text():
        reason = f"it is built on Debian {SUITE}"
    missing = [name for name in TOOLS if not shutil.which(name)]
    if reason is None and missing:
        reason = f"{', '.join(missing)}: not installed"
    return reason or (None if os.geteuid() == 0 else "only root can build a root filesystem")


def key() -> str:
    """Return what the disk is made from, as a number."""
    files = sorted([*HERE.glob("modules/*"), HERE / "disk.py", Path(repositories.__file__)])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def built() -> bool:
    """Say whether the disk is there already, from these very files."""
    stamp = CACHE / "stamp"
    return bool(shutil.which(machine.QEMU)) and stamp.exists() and stamp.read_text() == key()


def run(*words: str | Path, **options) -> None:
    """Run a command; what it says is shown where it fails."""
    done = subprocess.run([str(word) for word in words], check=False, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{words[0]} failed with status {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def build() -> Path:
    """Return the folder with the disk, built if it is not there yet."""
    if built():
        return CACHE
    shutil.rmtree(CACHE, ignore_errors=True)
    CACHE.mkdir(parents=True)
    if not shutil.which(machine.QEMU):
        machine.apt("install", "qemu-system-x86")
    with tempfile.TemporaryDirectory(prefix="reboot-") as name:
        scratch, root = Path(name), Path(name) / "root"
        kernel = download(scratch)
        modules = compile_modules(scratch, kernel)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, root)
        for path, text in FILES.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
            (root / path).chmod(0o755 if text.startswith("#!") else 0o644)
        make_repository(root / "repositories", kernel, (modules / "nvidia.ko").read_bytes())
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", CACHE / "key")
        (root / "root" / ".ssh").mkdir(mode=0o700, exist_ok=True)
        shutil.copy(CACHE / "key.pub", root / "root" / ".ssh" / "authorized_keys")
        (image,) = scratch.glob("linux-image-*.deb")
        shutil.copy(image, root / "kernel.deb")
        run("chroot", root, "dpkg", "--install", "/kernel.deb")
        (root / "kernel.deb").unlink()
        place = root / "lib" / "modules" / kernel / "kernel" / "drivers" / "nouveau.ko"
        shutil.copy(modules / "nouveau.ko", place)
        run("chroot", root, "depmod", kernel)
        run("chroot", root, "update-initramfs", "-u", "-k", kernel)
        run("chroot", root, "systemctl", "enable", "gpu.service", "ssh.service", "systemd-networkd.service")
        shutil.rmtree(root / "var" / "cache" / "apt" / "archives")
        run("mkfs.ext4", "-q", "-d", root, CACHE / "disk", f"{DISK_MB}M")
    (CACHE / "kernel").write_text(kernel)
    (CACHE / "stamp").write_text(key())
    return CACHE


def download(scratch: Path) -> str:
    """Download the kernel and its headers, unpack the headers, and return the kernel's release."""
    said = subprocess.run(["apt-cache", "depends", machine.KERNEL], check=True, capture_output=True, text=True).stdout
    (kernel,) = re.findall(r"Depends: linux-image-(\S+)", said)
    headers = subprocess.run(
        ["apt-cache", "depends", f"linux-headers-{kernel}"], check=True, capture_output=True, text=True
    ).stdout
    needed = re.findall(r"Depends: (linux-(?:headers|kbuild)-\S+)", headers)
    machine.apt("download", f"linux-image-{kernel}", f"linux-headers-{kernel}", *needed, cwd=scratch)
    for deb in scratch.glob("*.deb"):
        if not deb.name.startswith("linux-image-"):
            run("dpkg-deb", "--extract", deb, scratch / "headers")
    return kernel


def compile_modules(scratch: Path, kernel: str) -> Path:
    """Compile the kernel modules and return the folder with them."""
    source = scratch / "headers" / "usr" / "src" / f"linux-headers-{kernel}"
    makefile = source / "Makefile"
    makefile.write_text(makefile.read_text().replace("include /usr/", f"include {scratch}/headers/usr/"))
    modules = scratch / "modules"
    shutil.copytree(HERE / "modules", modules)
    run("make", "-C", source, f"M={modules}", f"VERSION={VERSION}", "modules")
    return modules


def make_repository(folder: Path, kernel: str, module: bytes) -> None:
    """Build the stand-ins of the driver's packages for the machine's kernel, with a module that loads."""
    repositories.KERNEL[SUITE] = kernel
    plain, build = repositories.module_file, repositories.BUILD
    repositories.module_file = lambda version, licence: (
        module if (version, licence) == (VERSION, "Dual MIT/GPL") else plain(version, licence)
    )
    repositories.BUILD = build.replace("    ln -sfn", '    depmod "$kernel"\n    ln -sfn')
    folder.mkdir()
    repositories.build(folder)
    for name in ("nvidia", "ubuntu", "rotated"):
        shutil.rmtree(folder / name)


if __name__ == "__main__":
    reason = why_not()
    if reason:
        sys.exit(f"The disk cannot be built here: {reason}")
    print(build())
