#!/usr/bin/env python3
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build package repositories of stand-ins: real names, real versions and real dependencies, but nothing in them.

    repositories.py FOLDER

apt verifies their signatures, resolves and pins as it does with the real ones. A "build" of a kernel module copies a
file of 500 bytes that modinfo can read. What a package does on demand, for tests of what goes wrong:

    /etc/gpufleet-fail-build     its text is a version whose build fails, with a log where DKMS leaves it
    /etc/gpufleet-fail-early     runfiles fail before they change anything
    /etc/gpufleet-fail-cuda      CUDA toolkits fail in their postinst
    /etc/gpufleet-slow           its text is the number of seconds that each kernel package sleeps in its postinst

FOLDER/debian     a Debian archive: dists bookworm (and bookworm-updates with newer drivers; bookworm-security too, but
                  as in the real one without the open modules), bullseye, trixie
FOLDER/ubuntu     an Ubuntu archive: dists jammy
FOLDER/deadsnakes an archive of Pythons for Ubuntu: dists jammy
FOLDER/nvidia     NVIDIA's flat repositories: ubuntu2204/x86_64, debian12/x86_64
FOLDER/container  the flat repository of the container toolkit
FOLDER/runfiles   installers that behave as NVIDIA's .run files do, with a .sha256 beside each
FOLDER/keys       first.asc, second.asc (as after a rotation), and their fingerprints in *.fingerprint
"""

from __future__ import annotations

import base64
import fcntl
import gzip
import hashlib
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

MTIME = 1_700_000_000
BUILD = """#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
[ ! -e /etc/gpufleet-slow ] || sleep "$(cat /etc/gpufleet-slow)"
for build in /lib/modules/*/build; do
    [ -e "$build" ] || continue
    kernel=$(basename "$(dirname "$build")")
    tree=/var/lib/dkms/{name}/{version}
    mkdir -p "$tree/build"
    if [ "$(cat /etc/gpufleet-fail-build 2>/dev/null)" = "{version}" ]; then
        echo "DKMS make.log for {name}-{version} for kernel $kernel (x86_64)" >"$tree/build/make.log"
        echo "nv-linux.h:1: error: unknown type name" >>"$tree/build/make.log"
        echo "Error! Bad return status for module build on kernel: $kernel (x86_64)" >&2
        exit 10
    fi
    mkdir -p "$tree/$kernel/x86_64/module" "/lib/modules/$kernel/updates/dkms"
    cp /usr/src/{name}-{version}/nvidia.ko "/lib/modules/$kernel/updates/dkms/{file}.ko"
    ln -sfn "{version}/$kernel/x86_64" "/var/lib/dkms/{name}/kernel-$kernel-x86_64"
done
"""
VOLTA = ("7.0", "7.5", "8.0")
NVCC = """#!/usr/bin/python3
import struct, sys
if "--version" in sys.argv:
    print("Cuda compilation tools, V{release}")
    sys.exit()
arch = [word[6:] for word in sys.argv if word.startswith("-arch=")][0]
if arch not in {known}:
    sys.exit("nvcc fatal   : Unsupported gpu architecture '%s'" % arch)
header = bytearray(64)
header[:4], header[8] = b"\\x7fELF", 8
struct.pack_into("<H", header, 18, 190)
struct.pack_into("<I", header, 48, int(arch[3:]) << 8)
open(sys.argv[sys.argv.index("-o") + 1], "wb").write(header)
"""
UNBUILD = """#!/bin/sh
rm -rf /var/lib/dkms/{name} /lib/modules/*/updates/dkms/{file}.ko
"""
AUTOINSTALL = """#!/bin/sh
for script in /var/lib/dpkg/info/nvidia*-dkms.postinst; do [ ! -e "$script" ] || sh "$script" configure; done
for build in /usr/src/nvidia-*/runfile-build; do [ ! -e "$build" ] || [ "$1" != autoinstall ] || sh "$build" "$3"; done
"""
# NVIDIA's installer is a shell script with an archive behind it, unpacked below TMPDIR and run from there. It refuses
# options that it does not know, removes the driver before it builds the new one, and builds for one kernel.
RUNFILE = """#!/bin/sh
label="NVIDIA Accelerated Graphics Driver for Linux-x86_64 {version}"
targetdir="NVIDIA-Linux-x86_64-{version}"
known="{known}"
fail() {{
    echo "ERROR: $1" >>/var/log/nvidia-installer.log
    echo "ERROR: $1" >&2
    exit 1
}}
if [ "$1" = --advanced-options ]; then
    echo "This program will install the $label"
    for name in $known; do printf '  %s\n      Words about it.\n\n' "$name"; done
    exit 0
fi
echo "nvidia-installer log file '/var/log/nvidia-installer.log'" >/var/log/nvidia-installer.log
echo "$*" >>/var/log/stand-in-installer-calls
dkms= flavor={default} kernel=$(uname -r)
for word in "$@"; do
    case " $known " in *" ${{word%%=*}} "*) ;; *) fail "Invalid option: $word" ;; esac
    case $word in
        --dkms) dkms=1 ;;
        --kernel-name=*) kernel=${{word#*=}} ;;
        --kernel-module-type=*) flavor=${{word#*=}} ;;
        --kernel-module-build-directory=kernel-open) flavor=open ;;
    esac
done
printf '#!/bin/sh\nexit 0\n' >"${{TMPDIR:-/tmp}}/nvidia-installer"
chmod +x "${{TMPDIR:-/tmp}}/nvidia-installer"
"${{TMPDIR:-/tmp}}/nvidia-installer" || fail "cannot run from ${{TMPDIR:-/tmp}}"
[ ! -e /etc/gpufleet-fail-early ] || fail "Unable to find the kernel source tree."
[ ! -x /usr/bin/nvidia-uninstall ] || /usr/bin/nvidia-uninstall --silent || fail "cannot uninstall"
lib=/usr/lib/x86_64-linux-gnu
mkdir -p /var/lib/nvidia "/usr/src/nvidia-{version}" "$lib"
printf '%s\n%s\n' "{version}" "$label" >/var/lib/nvidia/log
printf '#!/bin/sh\necho "NVIDIA-SMI has failed"; exit 9\n' >/usr/bin/nvidia-smi
printf '#!/bin/sh\nexit 0\n' >/usr/bin/nvidia-persistenced
chmod +x /usr/bin/nvidia-smi /usr/bin/nvidia-persistenced
touch "$lib/libcuda.so.{version}"
ln -sf "libcuda.so.{version}" "$lib/libcuda.so.1"
base64 -d >/usr/src/nvidia-{version}/proprietary.ko <<END
{proprietary}
END
base64 -d >/usr/src/nvidia-{version}/open.ko <<END
{open}
END
cat >/usr/src/nvidia-{version}/runfile-build <<END
tree=/var/lib/dkms/nvidia/{version}
mkdir -p \\$tree/build
if [ "\\$(cat /etc/gpufleet-fail-build 2>/dev/null)" = "{version}" ]; then
    echo "DKMS make.log for nvidia-{version} for kernel \\$1 (x86_64)" >\\$tree/build/make.log
    echo "nv-linux.h:1: error: unknown type name" >>\\$tree/build/make.log
    exit 10
fi
mkdir -p /lib/modules/\\$1/updates/dkms
cp /usr/src/nvidia-{version}/$flavor.ko /lib/modules/\\$1/updates/dkms/nvidia.ko
END
cat >/usr/bin/nvidia-uninstall <<END
#!/bin/sh
[ ! -e /etc/gpufleet-fail-uninstall ] || exit 1
rm -rf /usr/src/nvidia-{version} /var/lib/dkms/nvidia /lib/modules/*/updates/dkms/nvidia.ko /var/lib/nvidia
rm -f /usr/bin/nvidia-smi /usr/bin/nvidia-persistenced $lib/libcuda.so.{version} $lib/libcuda.so.1
rm -f /usr/bin/nvidia-uninstall
END
chmod +x /usr/bin/nvidia-uninstall
[ -n "$dkms" ] || fail "the stand-in builds with DKMS only"
command -v dkms >/dev/null || fail "Failed to find dkms on the system!"
[ -e "/lib/modules/$kernel/build" ] || fail "Unable to find the kernel source tree for the kernel $kernel."
sh /usr/src/nvidia-{version}/runfile-build "$kernel" || fail "Failed to install the kernel module through DKMS."
exit 0
"""
OPTIONS = (
    "--silent --accept-license --dkms --tmpdir --no-x-check --no-nouveau-check --no-check-for-alternate-installs "
    "--no-opengl-files --kernel-name --kernel-module-build-directory --uninstall"
)
LATER_OPTIONS = (
    " --skip-module-load --kernel-module-type --allow-installation-with-running-driver --rebuild-initramfs "
    "--no-rebuild-initramfs"
)
NO_GPU = """#!/bin/sh
echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
exit 9
"""
# Ansible finds it and runs its modules with it.
PYTHON = """#!/bin/sh
[ "$1" = --version ] || exec /usr/bin/python3 "$@"
echo Python 3.12.11
"""
UNIT = """[Unit]
Description=NVIDIA Persistence Daemon (a stand-in)
[Service]
ExecStart=/bin/sleep infinity --no-persistence-mode
[Install]
WantedBy=multi-user.target
"""


@dataclass
class Deb:
    """A package: its fields, files by path, links by path and scripts by name."""

    name: str
    version: str
    depends: str = ""
    files: dict[str, str | bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    arch: str = "amd64"

    def control(self) -> str:
        """Return the control file."""
        lines = [f"Package: {self.name}", f"Version: {self.version}", f"Architecture: {self.arch}"]
        lines += ["Maintainer: nobody <nobody@example.org>"]
        lines += [f"Depends: {self.depends}"] if self.depends else []
        lines += [f"{name}: {value}" for name, value in self.fields.items()]
        return "\n".join([*lines, "Description: a stand-in with nothing in it", ""])

    def build(self) -> bytes:
        """Return the .deb file: an ar archive of three members."""
        inside = {"control": self.control(), **self.scripts}
        members = {
            "debian-binary": b"2.0\n",
            "control.tar.gz": _tar(inside, {}, executable=set(self.scripts)),
            "data.tar.gz": _tar(self.files, self.links, {path for path in self.files if "/bin/" in path}),
        }
        archive = b"!<arch>\n"
        for name, data in members.items():
            archive += (
                f"{name:<16}{MTIME:<12}0     0     100644  {len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
            )
        return archive


def _tar(files, links, executable) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        folders = {str(parent) for path in [*files, *links] for parent in Path(path.lstrip("/")).parents} - {"."}
        for folder in sorted(folders):
            entry = tarfile.TarInfo("./" + folder)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, MTIME
            tar.addfile(entry)
        for path, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            entry = tarfile.TarInfo("./" + path.lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(data), 0o755 if path in executable else 0o644, MTIME
            tar.addfile(entry, io.BytesIO(data))
        for path, target in links.items():
            entry = tarfile.TarInfo("./" + path.lstrip("/"))
            entry.type, entry.linkname, entry.mtime = tarfile.SYMTYPE, target, MTIME
            tar.addfile(entry)
    return gzip.compress(raw.getvalue(), mtime=MTIME)


def module_file(version: str, licence: str) -> bytes:
    """Return the smallest object file that modinfo takes for a kernel module."""
    info = f"version={version}\0license={licence}\0description=a stand-in\0name=nvidia\0".encode()
    names = b"\0.modinfo\0.shstrtab\0"
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 1, 62, 1, 0, 0, 64 + len(info) + len(names), 0, 64, 0, 0, 64, 3, 2
    )

    def section(name: int, kind: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, kind, 2, 0, offset, size, 0, 0, 1, 0)

    table = bytes(64) + section(1, 1, 64, len(info)) + section(10, 3, 64 + len(info), len(names))
    return header + info + names + table


def upstream(version: str) -> str:
    """Return the upstream part of a package's version."""
    return version.rsplit("-", 1)[0]


def dkms(package: str, name: str, version: str, flavor: str, file: str, depends: str = "dkms", **fields: str) -> Deb:
    """Return a package that "builds" the kernel modules."""
    short = upstream(version)
    scripts = {"postinst": BUILD, "prerm": UNBUILD}
    for word, value in (("{name}", name), ("{version}", short), ("{file}", file)):
        scripts = {script: text.replace(word, value) for script, text in scripts.items()}
    licence = "NVIDIA" if flavor == "proprietary" else "Dual MIT/GPL"
    files = {f"/usr/src/{name}-{short}/nvidia.ko": module_file(short, licence)}
    return Deb(package, version, depends, files, scripts=scripts, fields=fields)


def library(package: str, version: str, name: str, depends: str = "") -> Deb:
    """Return a package with one library of the driver."""
    folder, short = "/usr/lib/x86_64-linux-gnu/", upstream(version)
    return Deb(
        package,
        version,
        depends,
        files={f"{folder}{name}.so.{short}": ""},
        links={f"{folder}{name}.so.1": f"{name}.so.{short}"},
    )


def persistenced(version: str, depends: str, name: str = "nvidia-persistenced") -> Deb:
    """Return the persistence daemon, whose unit turns persistence mode off as Ubuntu's does."""
    return Deb(name, version, depends, files={"/lib/systemd/system/nvidia-persistenced.service": UNIT})


# ---- what the archives have ----


def debian_driver(version: str, stem: str = "", opened: bool = True) -> list[Deb]:
    """Return Debian's packages of one driver; a stem such as -tesla-470 for those beside the main one."""
    same = f"(= {version})"
    lib = f"libnvidia{stem}-" if stem else "lib"
    name = f"nvidia{stem}" if stem else "nvidia-current"
    short = upstream(version)
    support = f"nvidia{stem}-kernel-support {same}, dkms"
    made = [
        dkms(
            f"nvidia{stem}-kernel-dkms",
            name,
            version,
            "proprietary",
            name,
            support,
            Provides=f"nvidia{stem}-kernel-{short}, nvidia-kernel-dkms-any (= {short})",
        ),
        Deb(f"nvidia{stem}-kernel-support", version, f"nvidia{stem}-alternative {same}, nvidia-modprobe"),
        Deb(f"nvidia{stem}-alternative", version, "glx-alternative-nvidia"),
        Deb(
            f"nvidia{stem}-smi",
            version,
            f"libnvidia{stem}-ml1 {same}",
            files={f"/usr/lib/nvidia/{name}/bin/nvidia-smi" if stem else "/usr/bin/nvidia-smi": NO_GPU},
        ),
        Deb(
            f"nvidia{stem}-driver",
            version,
            f"nvidia{stem}-kernel-dkms {same} | nvidia-open-kernel-{short}, {lib}cuda1 {same}",
        ),
        Deb(f"{lib}cuda1", version, f"nvidia{stem}-alternative {same}", fields={"Provides": "libcuda1-any"}),
        Deb(
            f"libnvidia{stem}-cfg1",
            version,
            f"nvidia{stem}-alternative {same}",
            fields={"Provides": "libnvidia-cfg1-any"},
        ),
        Deb(f"libnvidia{stem}-ml1", version, f"nvidia{stem}-alternative {same}"),
    ]
    if not stem:
        made[5] = library("libcuda1", version, "libcuda", f"nvidia-alternative {same}")
        made[7] = library("libnvidia-ml1", version, "libnvidia-ml", f"nvidia-alternative {same}")
        if opened:
            made.append(
                dkms(
                    "nvidia-open-kernel-dkms",
                    "nvidia-current-open",
                    version,
                    "open",
                    "nvidia-current-open",
                    support,
                    Provides=f"nvidia-open-kernel-{short}",
                )
            )
    return made


def debian_base(kernel: str) -> list[Deb]:
    """Return what Debian's driver needs beside itself."""
    return [
        Deb("dkms", "3.0.10-8", "build-essential-stand-in", {"/usr/bin/dkms": AUTOINSTALL}, arch="all"),
        Deb("build-essential-stand-in", "1", arch="all"),
        Deb("linux-headers-amd64", "6.1.176-1", f"linux-headers-{kernel}"),
        Deb(
            f"linux-headers-{kernel}",
            "6.1.176-1",
            files={f"/usr/src/linux-headers-{kernel}/Makefile": ""},
            links={f"/lib/modules/{kernel}/build": f"/usr/src/linux-headers-{kernel}"},
        ),
        # Of the driver only by name: it is below it, and on it.
        Deb("glx-alternative-nvidia", "1.2.2", "nvidia-installer-cleanup", arch="all"),
        Deb("nvidia-installer-cleanup", "20220217+3", arch="all"),
    ]


def debian_side(version: str) -> list[Deb]:
    """Return the driver's companions, which have versions of their own."""
    return [persistenced(version, "libnvidia-cfg1 | libnvidia-cfg1-any"), Deb("nvidia-modprobe", version)]


def nvidia_driver(version: str, branch: str) -> list[Deb]:
    """Return NVIDIA's packages of one driver; until branch 580 their names carry it."""
    end = f"-{branch}" if int(branch) <= 580 else ""
    same, short = f"(= {version})", upstream(version)
    made = []
    for flavor, kernel, top in (
        ("proprietary", f"nvidia-dkms{end}", "cuda-drivers"),
        ("open", f"nvidia-dkms{end}-open", "nvidia-open"),
    ):
        other = f"nvidia-dkms{end}-open" if flavor == "proprietary" else f"nvidia-dkms{end}"
        name = "nvidia" if flavor == "proprietary" else "nvidia-open"
        made.append(dkms(kernel, name, version, flavor, "nvidia", Conflicts=f"{other}, nvidia-kernel-dkms"))
        made.append(
            Deb(f"{top}{end}", version, f"{kernel} {same}, nvidia-utils{end} {same}, libnvidia-compute{end} {same}")
        )
    conflict = {"Conflicts": "libcuda1", "Provides": "libcuda1-any"}
    made += [
        Deb(
            f"nvidia-utils{end}",
            version,
            f"libnvidia-compute{end} {same}",
            files={"/usr/bin/nvidia-smi": NO_GPU},
            fields={"Conflicts": "nvidia-smi, nvidia-utils-any", "Provides": "nvidia-utils-any"},
        ),
        Deb(f"libnvidia-compute{end}", version, "", library("x", version, "libcuda").files, fields=conflict),
        Deb(f"nvidia-fabricmanager{'-' + branch if int(branch) < 580 else ''}", version),
    ]
    if int(branch) > 580:
        made += [Deb(f"nvidia-driver-pinning-{pin}", f"{short}-1", arch="all") for pin in (branch, short)]
    return made


def ubuntu_driver(version: str, branch: str, kernels: tuple[str, ...]) -> list[Deb]:
    """Return Ubuntu's packages of a server branch, with modules built and signed for some kernels."""
    same, short, made = f"(= {version})", upstream(version), []
    for end, flavor, licence in (("", "proprietary", "NVIDIA"), ("-open", "open", "Dual MIT/GPL")):
        server = f"{branch}-server{end}"
        made.append(dkms(f"nvidia-dkms-{server}", "nvidia-srv", version, flavor, "nvidia"))
        made.append(Deb(f"nvidia-headless-no-dkms-{server}", version, f"libnvidia-compute-{branch}-server {same}"))
        made.append(Deb(f"nvidia-driver-{server}", version, f"libnvidia-compute-{branch}-server {same}"))
        for kernel in kernels:
            path = f"/lib/modules/{kernel}/kernel/nvidia-{server}/nvidia.ko"
            made.append(
                Deb(
                    f"linux-modules-nvidia-{server}-{kernel}",
                    "5.15.0-119.129+1",
                    f"nvidia-utils-{branch}-server {same}",
                    files={path: module_file(short, licence)},
                )
            )
        made.append(
            Deb(
                f"linux-modules-nvidia-{server}-generic",
                "5.15.0.{0}.{0}".format(kernels[-1].split("-")[1]),
                f"linux-modules-nvidia-{server}-{kernels[-1]}",
            )
        )
    made += [
        Deb(
            f"nvidia-utils-{branch}-server",
            version,
            f"libnvidia-compute-{branch}-server {same}",
            files={"/usr/bin/nvidia-smi": NO_GPU},
            fields={"Conflicts": "nvidia-utils-any", "Provides": "nvidia-utils-any"},
        ),
        library(f"libnvidia-compute-{branch}-server", version, "libcuda"),
        persistenced(version, "", f"nvidia-compute-utils-{branch}-server"),
        Deb(f"nvidia-fabricmanager-{branch}", version),
    ]
    for deb in made[-3:-1]:
        deb.fields |= {"Conflicts": f"{deb.name.split('-5')[0]}-any", "Provides": f"{deb.name.split('-5')[0]}-any"}
    return made


def nvcc(release: str, capabilities: tuple[str, ...]) -> str:
    """Return a compiler that makes the headers of kernels, for some compute capabilities."""
    return NVCC.format(release=release, known=[f"sm_{name.replace('.', '')}" for name in capabilities])


def cuda_toolkit(release: str, capabilities: tuple[str, ...]) -> list[Deb]:
    """Return NVIDIA's packages of one toolkit, which tell the alternatives of it."""
    short = release.rsplit(".", 1)[0]
    end, prefix = short.replace(".", "-"), f"/usr/local/cuda-{short}"
    script = "#!/bin/sh\n[ ! -e /etc/gpufleet-fail-cuda ] || exit 1\n"
    script += f"update-alternatives --install /usr/local/cuda cuda {prefix} {short.replace('.', '')}\n"
    return [
        Deb(
            f"cuda-nvcc-{end}",
            f"{release}-1",
            files={f"{prefix}/bin/nvcc": nvcc(release, capabilities)},
            fields={"Conflicts": "site-nvcc"} if end == "13-0" else {},
        ),
        Deb(f"cuda-toolkit-{end}-config-common", f"{release}-1", arch="all", scripts={"postinst": script}),
        Deb(f"cuda-toolkit-{end}", f"{release}-1", f"cuda-nvcc-{end}, cuda-toolkit-{end}-config-common"),
    ]


def cuda_libraries() -> list[Deb]:
    """Return versions of cuDNN and NCCL that stand side by side in NVIDIA's repository."""
    made = []
    for version in ("9.10.2.21-1", "9.28.0.42-1"):
        made.append(Deb("libcudnn9-cuda-12", version))
        made.append(Deb("libcudnn9-dev-cuda-12", version, f"libcudnn9-cuda-12 (= {version})"))
    for version in ("2.27.3-1+cuda12.9", "2.32.3-1+cuda12.9", "2.32.3-1+cuda13.0"):
        made.append(Deb("libnccl2", version))
        made.append(Deb("libnccl-dev", version, f"libnccl2 (= {version})"))
    return made


KERNEL = {"bullseye": "5.10.0-36-amd64", "bookworm": "6.1.0-50-amd64", "trixie": "6.12.57-amd64"}
UBUNTU_KERNELS = ("5.15.0-118-generic", "5.15.0-119-generic")


def archives() -> dict[str, dict[str, list[Deb]]]:
    """Return the packages by folder and, in an archive with dists, by dist and component."""
    return {
        "debian": {
            "bullseye/main": debian_base(KERNEL["bullseye"]),
            "bullseye/contrib": debian_side("470.103.01-2~deb11u1"),
            "bullseye/non-free": [
                *debian_driver("470.256.02-2", opened=False),
                *debian_driver("460.106.00-17~deb11u1", "-tesla-460"),
            ],
            "bookworm/main": [*debian_base(KERNEL["bookworm"]), Deb("g++", "4:12.2.0-3")],
            "bookworm/contrib": debian_side("535.171.04-1~deb12u1"),
            "bookworm/non-free": [
                *debian_driver("535.247.01-1~deb12u1"),
                Deb(
                    "nvidia-cuda-toolkit",
                    "11.8.89~11.8.0-5",
                    "g++",
                    {"/usr/bin/nvcc": nvcc("11.8.89", VOLTA), "/usr/lib/cuda/nvvm/libdevice": ""},
                ),
                *debian_driver("470.256.02-1~deb12u1", "-tesla-470"),
            ],
            "bookworm/non-free-firmware": [],
            "bookworm-updates/main": [],
            "bookworm-updates/non-free": debian_driver("535.261.03-1"),
            "bookworm-security/main": [],
            "bookworm-security/non-free": [
                *debian_driver("535.309.01-0+deb12u1", opened=False),
                Deb("nvidia-modprobe", "535.309.01-0+deb12u1"),
            ],
            "trixie/main": debian_base(KERNEL["trixie"]),
            "trixie/contrib": debian_side("550.163.01-1"),
            "trixie/non-free": [
                *debian_driver("550.163.01-2"),
                *debian_driver("535.274.02-1~deb13u1", "-tesla-535"),
            ],
            "trixie/non-free-firmware": [],
        },
        "ubuntu": {
            "jammy/main": [
                *debian_base("5.15.0-119-generic")[:2],
                *[
                    Deb(
                        f"linux-headers-{kernel}",
                        "5.15.0-119.129",
                        files={f"/usr/src/linux-headers-{kernel}/Makefile": ""},
                        links={f"/lib/modules/{kernel}/build": f"/usr/src/linux-headers-{kernel}"},
                    )
                    for kernel in UBUNTU_KERNELS
                ],
                Deb("linux-headers-generic", "5.15.0.119.119", "linux-headers-5.15.0-119-generic"),
            ],
            "jammy/restricted": [
                *ubuntu_driver("535.216.01-0ubuntu0.22.04.1", "535", UBUNTU_KERNELS),
                *ubuntu_driver("580.173.02-0ubuntu0.22.04.1", "580", UBUNTU_KERNELS),
            ],
            "jammy-updates/main": [],
            "jammy-updates/restricted": ubuntu_driver("580.173.02-0ubuntu0.22.04.1", "580", ("5.15.0-120-generic",)),
        },
        "deadsnakes": {
            "jammy/main": [Deb("python3.12", "3.12.11-1+jammy1", files={"/usr/bin/python3.12": PYTHON})],
        },
        **{
            f"nvidia/{system}/x86_64": {
                "": [
                    *nvidia_driver("550.163.01-1", "550"),
                    *nvidia_driver("580.126.16-1", "580"),
                    *nvidia_driver("580.178.04-1", "580"),
                    *nvidia_driver("595.91.07-1", "595"),
                    Deb("datacenter-gpu-manager-4-cuda12", "1:4.4.1-1"),
                    Deb("datacenter-gpu-manager-4-cuda13", "1:4.4.1-1"),
                    *cuda_toolkit("12.8.93", VOLTA),
                    *cuda_toolkit("12.9.86", VOLTA),
                    *cuda_toolkit("13.0.88", ("7.5", "8.0")),
                    *cuda_libraries(),
                    Deb("site-nvcc", "1"),
                ],
            }
            for system in ("debian12", "ubuntu2204")
        },
        "container/deb/amd64": {"": [Deb("nvidia-container-toolkit", "1.17.8-1")]},
    }


def runfile(version: str) -> str:
    """Return an installer of the driver as NVIDIA's; from 560 on with a type of modules, open by default."""
    later = int(version.split(".", maxsplit=1)[0]) >= 560
    known = OPTIONS + LATER_OPTIONS * later
    modules = {
        flavor: base64.encodebytes(module_file(version, licence)).decode().strip()
        for flavor, licence in (("proprietary", "NVIDIA"), ("open", "Dual MIT/GPL"))
    }
    return RUNFILE.format(version=version, known=known, default="open" if later else "proprietary", **modules)


# ---- writing them ----


def index(folder: Path, pool: str, packages: list[Deb]) -> str:
    """Write the packages into a pool and return the index of them."""
    paragraphs = []
    for deb in packages:
        path = folder / pool / f"{deb.name}_{deb.version.replace(':', '%3a')}_{deb.arch}.deb"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = deb.build()
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        place = path.relative_to(folder)
        paragraphs.append(f"{deb.control()}Filename: {place}\nSize: {len(data)}\nSHA256: {digest}\n")
    return "\n".join(paragraphs)


def release(folder: Path, name: str, indexes: dict[str, str], key: str, home: str) -> None:
    """Write a Release file over indexes, and sign it."""
    sums = []
    for path, text in indexes.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        for file, data in ((path, text.encode()), (path + ".gz", gzip.compress(text.encode(), mtime=MTIME))):
            (folder / file).write_bytes(data)
            sums.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {file}")
    components = sorted({path.split("/")[0] for path in indexes if "/" in path})
    label = "NVIDIA CUDA" if "nvidia" in folder.parts else "stand-ins"
    head = f"Origin: {name}\nLabel: {label}\nSuite: {name}\nCodename: {name}\nDate: Tue, 14 Nov 2023 22:13:20 UTC\n"
    head += f"Architectures: amd64\nComponents: {' '.join(components)}\n" if components else ""
    (folder / "Release").write_text(head + "SHA256:\n" + "\n".join(sums) + "\n", encoding="utf-8")
    sign(folder, key, home)


def sign(folder: Path, key: str, home: str) -> None:
    """Sign a folder's Release with a key."""
    gpg(
        home,
        "--yes",
        "--local-user",
        key,
        "--clearsign",
        "--output",
        str(folder / "InRelease"),
        str(folder / "Release"),
    )
    gpg(
        home,
        "--yes",
        "--local-user",
        key,
        "--armor",
        "--detach-sign",
        "--output",
        str(folder / "Release.gpg"),
        str(folder / "Release"),
    )


def gpg(home: str, *argv: str) -> str:
    """Run gpg with a home of its own."""
    return subprocess.run(
        ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", *argv],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def main(target: Path) -> None:
    """Build everything, unless this very program did already; tests that start side by side wait for one another."""
    target.mkdir(parents=True, exist_ok=True)
    stamp, mine = target / "built-by", hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    with (target.parent / (target.name + ".lock")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != mine:
            build(target)
            stamp.write_text(mine, encoding="utf-8")


def build(target: Path) -> None:
    """Build everything anew; the folder itself stays, for it may be mounted."""
    for entry in target.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    with tempfile.TemporaryDirectory(prefix="gpg") as home:
        os.chmod(home, 0o700)
        keys = target / "keys"
        keys.mkdir()
        for name in ("first", "second"):
            gpg(home, "--quick-generate-key", f"{name}@example.org", "rsa2048", "sign", "never")
            listing = gpg(home, "--with-colons", "--list-keys", f"{name}@example.org")
            fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
            (keys / f"{name}.fingerprint").write_text(fingerprint, encoding="utf-8")
            (keys / f"{name}.asc").write_text(gpg(home, "--armor", "--export", fingerprint), encoding="utf-8")
        runfiles = target / "runfiles"
        runfiles.mkdir()
        for version in ("535.261.03", "550.163.01", "580.126.16"):
            path = runfiles / f"NVIDIA-Linux-x86_64-{version}.run"
            path.write_text(runfile(version), encoding="utf-8")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            path.with_suffix(".run.sha256").write_text(digest, encoding="utf-8")
        for folder, parts in archives().items():
            place = target / folder
            if "" in parts:
                release(
                    place, folder.split("/")[1], {"Packages": index(place, ".", parts[""])}, "first@example.org", home
                )
                rotated = target / "rotated" / folder
                shutil.copytree(place, rotated)
                sign(rotated, "second@example.org", home)
                continue
            dists: dict[str, dict[str, str]] = {}
            for path, packages in parts.items():
                dist, component = path.split("/")
                text = index(place, f"pool/{dist}/{component}", packages)
                dists.setdefault(dist, {})[f"{component}/binary-amd64/Packages"] = text
            for dist, indexes in dists.items():
                release(place / "dists" / dist, dist, indexes, "first@example.org", home)
        gpg_stop(home)


def gpg_stop(home: str) -> None:
    """End the agent that gpg started for this home."""
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
