# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvidia_driver decides: which packages, files and words. Private to the collection.

Pure: text and data in, data out. What touches the host stands in _driver_run.py, _apt.py and _dnf.py.
"""

import re
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed, Package, upstream
from ansible_collections.gpufleet.workstation.plugins.module_utils._repository import (
    debian_architecture,
    origin_pin,
    repository_entry,
)

STATE = "/var/lib/gpufleet/nvidia_driver.json"
HOLDS = "/var/lib/gpufleet/holds/nvidia_driver"
ARCHIVES = "/var/lib/gpufleet/nvidia_driver"  # what is kept for going back is no cache
MODPROBE = "/etc/modprobe.d/gpufleet-nvidia.conf"
MODULES_LOAD = "/etc/modules-load.d/gpufleet-nvidia.conf"
UNATTENDED = "/etc/apt/apt.conf.d/52gpufleet-nvidia"
SOURCES = "/etc/apt/sources.list.d/gpufleet-nvidia-driver.sources"
PREFERENCES = "/etc/apt/preferences.d/gpufleet-nvidia-driver"
KEYRING = "/usr/share/keyrings/gpufleet-nvidia-driver.asc"
LOGIN = "/etc/apt/auth.conf.d/gpufleet-nvidia-driver.conf"
PERSISTENCE_UNIT = "nvidia-persistenced.service"
CONTAINER_TOOLKIT = "nvidia-container-toolkit"
DCGM_UNIT = "nvidia-dcgm.service"
PERSISTENCE = f"/etc/systemd/system/{PERSISTENCE_UNIT}.d/gpufleet.conf"
HEADER = "Written by gpufleet.workstation.nvidia_driver; changes are lost at its next run."

# The driver's packages in the archives of Debian, Ubuntu and NVIDIA. Not the toolkit, nor the container toolkit.
FAMILY = re.compile(
    r"(nvidia-(?!cuda-(?!drivers)|container|docker|cudnn|nccl|visual|profiler|opencl-dev|openjdk|texture|settings-)"
    r"|libnvidia-(?!container)|libcuda1|libcudadebugger|libnvcuvid|libnvoptix|libxnvctrl|lib(egl|gl1|gles\w*|glx)-nvidia"
    r"|linux-(modules|objects|signatures)-nvidia-|firmware-nvidia-|xserver-xorg-video-nvidia|cuda-drivers|cuda-compat"
    r"|kmod-nvidia|xorg-x11-(drv|nvidia)|dkms-nvidia|glx-(alternative-nvidia|diversions)$)"
)
# What carries the kernel modules, and which flavour they are of.
KERNEL_PACKAGE = re.compile(
    r"nvidia(?:-(?:tesla|legacy)(?:-\w+)?)?-(?:kernel-)?(?P<open>open-kernel-|kernel-open-)?(?:kernel-)?dkms(?P<branch>-\d+)?"
    r"(?P<server>-server)?(?P<open2>-open)?$|nvidia-open-kernel-dkms$|nvidia-kernel-open-dkms$"
)
DEBIAN_OPEN = "nvidia-open-kernel-dkms"
SHARED = "nvidia-modprobe"  # every driver needs it and takes any; security updates give it the version of one
PREBUILT = re.compile(r"linux-modules-nvidia-(?P<branch>\d+)(?P<server>-server)?(?P<open>-open)?-(?P<kernel>\S+)$")
DRIVER_VERSION = re.compile(r"\d{3}\.\d{1,3}(\.\d{1,3})?$")
SUFFIXED_UNTIL = 580  # the last branch whose packages in NVIDIA's repository carry its number
LOG_LINES = 10
LOG_ERRORS = 5
LINE_LIMIT = 240
# Modules that are unloaded, each before what it uses.
MODULES = ("nvidia_peermem", "nvidia_fs", "gdrdrv", "nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia")
# Services of ours that keep the GPU open; they are stopped for a reload and started again.
SERVICES = ("nvidia-persistenced", "nvidia-fabricmanager", "nvidia-dcgm", "dcgm")
KEEPERS = ("nvidia-persiste", "nv-fabricmanage", "nv-hostengine")  # their processes, as the kernel cuts the names


class System(NamedTuple):
    """The operating system: C(debian), C(ubuntu) or C(el), and its version."""

    name: str
    version: str
    codename: str
    pretty: str


class Driver(NamedTuple):
    """A driver that is installed."""

    version: str
    flavor: str
    kernel_packages: List[str]


class Choice(NamedTuple):
    """What to install: packages of the kernel's side and of the programs' side, in order."""

    kernel: List[str]
    user: List[str]


def parse_os_release(text: str) -> System:
    """Return what system this is from C(/etc/os-release); Failed for one that is not known."""
    fields = dict(re.findall(r"^(\w+)=[\"']?([^\"'\n]*)", text, re.MULTILINE))
    ids = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    pretty = fields.get("PRETTY_NAME") or fields.get("ID") or "an unknown system"
    for name, of in (("ubuntu", ["ubuntu"]), ("debian", ["debian"]), ("el", ["rhel", "centos", "rocky", "almalinux"])):
        if ids[0] in of or (name != "debian" and set(of) & set(ids)):
            version = fields.get("VERSION_ID", "")
            if name != "ubuntu":
                version = version.split(".")[0]
            return System(name, version, fields.get("VERSION_CODENAME", ""), pretty)
    raise Failed(f"packages are known for Debian, Ubuntu and Enterprise Linux, and this is {pretty}")


# ---- packages ----


def debian_stem(branch: str, packages: Dict[str, Package], candidates: Dict[str, Any]) -> str:
    """Return how the packages of a branch are called in Debian: its main driver has no number, the others have.

    What is installed decides before what could be, so that a run that changes nothing asks nobody.
    """
    versions = {name: package.version for name, package in packages.items()}
    offered = {name: candidate for name, (candidate, _all) in candidates.items() if candidate}
    for known in (versions, offered):
        for stem in ("", f"-tesla-{branch}"):
            for name in (f"nvidia{stem}-kernel-dkms", DEBIAN_OPEN):
                if upstream(known.get(name, "")).split(".")[0] == branch:
                    return stem if name != DEBIAN_OPEN else ""
    raise Failed(
        f"Debian's archive has no driver of branch {branch} for this release"
        + (": it has " + ", ".join(sorted(upstream(one) for one in offered.values())) if offered else "")
        + ". Choose another branch or source (nvidia_driver_branch, nvidia_driver_source)"
    )


def debian_candidates(branch: str) -> List[str]:
    """Return the packages whose versions debian_stem has to know."""
    return ["nvidia-kernel-dkms", DEBIAN_OPEN, f"nvidia-tesla-{branch}-kernel-dkms"]


def debian_packages(stem: str, flavor: str, headless: bool, persistence: bool) -> Choice:
    """Return the packages of Debian's own driver."""
    if flavor == "open" and stem:
        raise Failed(f"Debian's driver nvidia{stem} has no open kernel modules; choose the proprietary ones")
    kernel = [DEBIAN_OPEN if flavor == "open" else f"nvidia{stem}-kernel-dkms"]
    if headless:
        library = f"libnvidia{stem}-" if stem else "lib"
        user = [f"nvidia{stem}-smi", f"{library}cuda1", f"libnvidia{stem}-cfg1", f"libnvidia{stem}-ml1"]
    else:
        user = [f"nvidia{stem}-driver"]
    return Choice(kernel, user + (["nvidia-persistenced"] if persistence else []))


def kernel_metas(kernels: Sequence[str], packages: Iterable[str]) -> List[str]:
    """Return what brings kernels to come of the flavours of these: C(generic), or C(generic-hwe-22.04) where that does.

    ``packages`` are those of the host. The modules for another one of them would be for kernels that never come.
    """
    found = set()
    for flavor in {release.rsplit("-", 1)[-1] for release in kernels if "-" in release}:
        name = "(?:generic|virtual)" if flavor == "generic" else re.escape(flavor)
        image = re.compile(rf"linux-image-{name}((?:(?:-hwe|-lts)?-\d\d\.\d\d\w*(?:-edge)?)?)$")
        found |= {flavor + match.group(1) for match in map(image.match, packages) if match} or {flavor}
    return sorted(found)


def ubuntu_packages(
    branch: str, flavor: str, headless: bool, kernels: Sequence[str], prebuilt: bool, packages: Iterable[str] = ()
) -> Choice:
    """Return the packages of Ubuntu's server branches; the modules that Canonical built and signed, or DKMS.

    ``packages`` are those of the host.
    """
    name = f"{branch}-server" + ("-open" if flavor == "open" else "")
    if prebuilt:
        kernel = [f"linux-modules-nvidia-{name}-{release}" for release in kernels]
        kernel += [f"linux-modules-nvidia-{name}-{meta}" for meta in kernel_metas(kernels, packages)]
    else:
        kernel = [f"nvidia-dkms-{name}"]
    user = [
        f"nvidia-headless-no-dkms-{name}" if headless else f"nvidia-driver-{name}",
        f"nvidia-utils-{branch}-server",
        f"nvidia-compute-utils-{branch}-server",
    ]
    return Choice(kernel, user)


def nvidia_packages(branch: str, version: str, flavor: str) -> Choice:
    """Return the packages of NVIDIA's network repository, whose names lost the branch after 580."""
    if int(branch) <= SUFFIXED_UNTIL:
        return Choice([], [f"cuda-drivers-{branch}" if flavor == "proprietary" else f"nvidia-open-{branch}"])
    pinning = f"nvidia-driver-pinning-{version or branch}"
    return Choice([], [pinning, "cuda-drivers" if flavor == "proprietary" else "nvidia-open"])


def described(record: Dict[str, Any]) -> str:
    """Return how a driver that is remembered is called in a sentence."""
    return f"driver {record['version']} ({record['flavor']})"


def dcgm_package(branch: str) -> str:
    """Return DCGM's package for the CUDA that a driver branch brings, whose major version is in the name."""
    number = int(branch)
    return "datacenter-gpu-manager-4-cuda" + ("11" if number < 525 else "12" if number < 580 else "13")


def prebuilt_names(branch: str, flavor: str, kernels: Sequence[str], packages: Iterable[str]) -> List[str]:
    """Return the packages that must exist before prebuilt modules can be chosen."""
    return ubuntu_packages(branch, flavor, True, kernels, True, packages).kernel


def to_hold(packages: Iterable[str]) -> List[str]:
    """Return those of the packages that are to be held: not what brings modules for the kernels to come.

    That one needs the driver's own version, so it changes no driver; held, it would leave the next kernel without one.
    """
    modules = {name: PREBUILT.match(name) for name in family(packages)}
    return [name for name, match in modules.items() if not match or match.group("kernel")[0].isdigit()]


def family(packages: Iterable[str]) -> List[str]:
    """Return those of the packages that belong to a driver."""
    return sorted(name for name in packages if FAMILY.match(name))


def flavor_of(name: str) -> Optional[str]:
    """Return the flavour of the kernel modules that a package carries, None where it carries none."""
    match = KERNEL_PACKAGE.match(name) or PREBUILT.match(name)
    if not match:
        return None
    return "open" if "open" in name else "proprietary"


def installed_driver(packages: Dict[str, Package]) -> Optional[Driver]:
    """Return the driver that is installed. Of several, the newest, with the packages of all."""
    carriers = [name for name in packages if flavor_of(name)]
    found = []
    for name in carriers:
        version = upstream(packages[name].version)
        if PREBUILT.match(name):
            branch = PREBUILT.match(name).group("branch")
            version = next(
                (
                    upstream(package.version)
                    for other, package in sorted(packages.items())
                    if re.match(rf"(nvidia-utils|libnvidia-compute)-{branch}\b", other)
                ),
                branch,
            )
        version = re.sub(r"[-+~].*$", "", version)
        found.append((tuple(int(part) for part in re.findall(r"\d+", version)), version, flavor_of(name)))
    if not found:
        return None
    _key, version, flavor = max(found)
    return Driver(version, flavor or "proprietary", sorted(carriers))


def branch_of(name: str, package: Package) -> str:
    """Return the branch of a package that carries kernel modules."""
    match = PREBUILT.match(name)
    return match.group("branch") if match else upstream(package.version).split(".")[0]


def leftovers(packages: Dict[str, Package], coming: Iterable[str], branch: str, flavor: str) -> List[str]:
    """Return the packages of another driver, or of the other flavour, that have to go when this one comes."""
    coming = {SHARED, *coming}
    carriers = [name for name in packages if flavor_of(name) and name not in coming]
    gone = {name for name in carriers if flavor_of(name) != flavor or branch_of(name, packages[name]) != branch}
    built = {bool(PREBUILT.match(name)) for name in coming if flavor_of(name)}
    gone |= {name for name in carriers if built and bool(PREBUILT.match(name)) not in built}  # DKMS beside these
    foreign = {packages[name].version for name in gone if branch_of(name, packages[name]) != branch}
    for name, package in packages.items():
        if FAMILY.match(name) and name not in coming and package.version in foreign:
            gone.add(name)
    return sorted(gone)


def headers(
    system: System, packages: Iterable[str], kernels: Sequence[str], machine: str
) -> Tuple[List[str], List[str]]:
    """Return the header packages of each kernel, and those that bring the headers of the kernels to come."""
    meta = sorted(
        name.replace("linux-image-", "linux-headers-", 1)
        for name in packages
        if re.match(r"linux-image-(?!\d|unsigned|dbg)(?!.*-dbg)", name)
    )
    if not meta and not kernels:
        meta = ["linux-headers-" + (debian_architecture(machine) if system.name == "debian" else "generic")]
    return [f"linux-headers-{release}" for release in kernels], meta


def compiler(config: str) -> Optional[str]:
    """Return the package of the compiler that a kernel was built with, from its configuration."""
    match = re.search(r'^CONFIG_CC_VERSION_TEXT="\S*gcc(?:-(\d+))? \([^)\n]*\) (\d+)\.', config, re.MULTILINE)
    return f"gcc-{match.group(1) or match.group(2)}" if match else None


# ---- sources ----


def non_free(system: System) -> List[str]:
    """Return the components of Debian that the driver's packages lie in."""
    return ["contrib", "non-free"] + (["non-free-firmware"] if int(system.version or 0) >= 12 else [])


def non_free_sources(system: System, sources: Sequence[Dict[str, Any]]) -> str:
    """Return a file with the components that are missing, for each of Debian's own sources that the host uses.

    ``sources`` are those of all other files, each address with whatever account is in it. An empty text: nothing is
    missing.
    """
    components = {}  # type: Dict[Tuple[str, str], List[str]]
    keys = {}  # type: Dict[Tuple[str, str], Optional[str]]
    for source in sources:
        place = (source["uri"].rstrip("/"), source["suite"])
        if source["type"] == "deb" and re.match(rf"{system.codename}(-updates|-security|/updates)?$", source["suite"]):
            components.setdefault(place, []).extend(source["components"])
            keys.setdefault(place, source["signed_by"])
    paragraphs = []
    for (uri, suite), there in components.items():
        missing = [name for name in non_free(system) if name not in there]
        if "main" in there and missing:
            lines = ["Types: deb", f"URIs: {uri}", f"Suites: {suite}", "Components: " + " ".join(missing)]
            key = keys[uri, suite]
            if key and "in the file itself" not in key:
                lines.append("Signed-By: " + key)
            paragraphs.append("\n".join(lines) + "\n")
    if not components:
        raise Failed(
            f"apt has no source for {system.codename} with the component main, so the driver's component non-free "
            "cannot be added beside it. Give the host a source of its own distribution, or choose another "
            "(nvidia_driver_source)"
        )
    return f"# {HEADER}\n" + "\n".join(paragraphs) if paragraphs else ""


def repository_sources(url: str, machine: str) -> str:
    """Return the file that makes NVIDIA's repository, or a mirror of it, one of apt's sources."""
    return f"# {HEADER}\n" + repository_entry(url, machine, KEYRING)


def pin(url: str, branch: str, version: str) -> str:
    """Return apt's preferences; empty where nothing has to be preferred.

    One version or branch of the driver, above 1000 or a newer one would stay; its dependencies with it. From NVIDIA's
    repository comes nothing else, unless it is asked for.
    """
    names = (
        "nvidia-* libnvidia-* cuda-drivers* libcuda1* libcudadebugger* libnvcuvid* libxnvctrl* "
        "xserver-xorg-video-nvidia* firmware-nvidia*"
    )
    parts = []
    if url:
        parts.append(origin_pin(url, 100))
    if url or version:
        parts.append(f"Package: {names}\nPin: version {version or branch + '.'}*\nPin-Priority: 1001\n")
    return f"Explanation: {HEADER}\n" + "\n".join(parts) if parts else ""


def no_packages() -> str:
    """Return preferences that keep the driver's packages out, where a runfile installed the driver.

    A package that needs libcuda1 would else bring it, over the files of the runfile.
    """
    names = (
        "nvidia-driver* nvidia-kernel* nvidia-open* nvidia-dkms* nvidia-tesla* nvidia-headless* nvidia-utils* "
        "nvidia-smi nvidia-alternative libnvidia-compute* libnvidia-ml1 libcuda1* cuda-drivers* "
        "linux-modules-nvidia-* xserver-xorg-video-nvidia*"
    )
    return f"Explanation: {HEADER}\nPackage: {names}\nPin: release *\nPin-Priority: -1\n"


# ---- files ----


def modprobe_conf() -> str:
    """Return what keeps nouveau off the GPU."""
    return f"# {HEADER}\nblacklist nouveau\noptions nouveau modeset=0\n"


def modules_load(peermem: bool) -> str:
    """Return what is loaded at each start: nvidia_uvm, which CUDA needs and nothing else asks for."""
    return f"# {HEADER}\nnvidia\nnvidia_uvm\n" + ("nvidia_peermem\n" if peermem else "")


def unattended_conf() -> str:
    """Return what keeps unattended upgrades away from the driver, beside the holds."""
    names = ["nvidia-", "libnvidia-", "libcuda1", "cuda-drivers", "firmware-nvidia-"]
    entries = "".join(f'  "^{name}";\n' for name in names)
    return f"// {HEADER}\nUnattended-Upgrade::Package-Blacklist {{\n{entries}}};\n"


def persistence_conf(unit: str) -> str:
    """Return a drop-in that turns persistence mode on, where the unit of the package turns it off; else nothing."""
    command = re.search(r"^ExecStart=(.*--no-persistence-mode.*)$", unit, re.MULTILINE)
    if not command:
        return ""
    line = re.sub(r"\s*--no-persistence-mode\b", "", command.group(1))
    return f"# {HEADER}\n[Service]\nExecStart=\nExecStart={line}\n"


# ---- words ----


def log_tail(text: str) -> str:
    """Return the end of a build's log, and before it the errors that stand further up: builds run side by side."""
    lines = [line.rstrip()[:LINE_LIMIT] for line in text.splitlines() if line.strip()]
    end = lines[-LOG_LINES:]
    errors = [line for line in lines[:-LOG_LINES] if re.search(r"(?:^|[: ])(?:fatal )?error:", line)]
    return "\n".join(errors[:LOG_ERRORS] + end)


def processes_words(processes: Sequence[Dict[str, Any]]) -> str:
    """Return the programs on the GPU as a person names them. Of each only the name: a command line may hold secrets."""
    shown = [f"{process['name']} ({process['pid']})" for process in processes[:8]]
    return ", ".join(shown) + (f" and {len(processes) - 8} more" if len(processes) > 8 else "")


def secure_boot_verdict(enforced: bool, prebuilt: bool, enrolled: Optional[bool]) -> Optional[str]:
    """Return why a driver cannot be loaded here, or None. ``enrolled``: whether the key that DKMS signs with is."""
    if not enforced or prebuilt or enrolled:
        return None
    return (
        "Secure Boot is on and the firmware does not trust the key that DKMS signs modules with, so the kernel would "
        "refuse the driver. Choose: modules that the distribution signs (Ubuntu: nvidia_driver_modules=prebuilt); or a "
        "key of yours that is enrolled (nvidia_driver_signing_key and nvidia_driver_signing_certificate); or enrol the "
        "key (`mokutil --import /var/lib/dkms/mok.pub`, on Ubuntu /var/lib/shim-signed/mok/MOK.der, then "
        "confirm it on the console at the next start); or turn Secure Boot off in the firmware. Nothing was changed"
    )


def mismatch(loaded: Optional[str], loaded_flavor: Optional[str], version: str, flavor: Optional[str]) -> Optional[str]:
    """Return how the loaded driver differs from the installed one, or None."""
    if loaded is None:
        return None
    if loaded != version:
        return f"driver {loaded} is loaded and {version} is installed"
    if flavor and loaded_flavor and flavor != loaded_flavor:
        return f"the {loaded_flavor} modules are loaded and the {flavor} ones are installed"
    return None
