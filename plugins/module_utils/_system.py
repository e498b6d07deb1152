# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What host_facts knows of packages, apt's sources, kernels, filesystems and the clock. Private to the collection.

The parsers are pure: text in, data out, and no input makes them raise. What a host does not say is None.
"""

import ctypes
import re
import time
from itertools import islice, product
from typing import Any, Dict, Iterator, List, Optional, Tuple

STATUS = "/var/lib/dpkg/status"
STATUS_LIMIT = 64 << 20
JOURNAL = "/var/lib/dpkg/updates"
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock")
# States in which dpkg leaves a package when it is cut off, as against installed, config-files and not-installed.
INTERRUPTED = ("half-installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending")
SOURCES = "/etc/apt/sources.list"
SCOPES_LIMIT = 20
SOURCES_LIMIT = 2000  # of one file
APT_NO = ("no", "false", "without", "off", "disable", "0")
DNF_FILES = ("/etc/dnf/dnf.conf", "/etc/yum.conf")
# Each role that puts packages on hold writes their names into a file of its name, one a line.
OUR_HOLDS = "/var/lib/gpufleet/holds"
VERSION_LOCKS = (
    "/etc/dnf/plugins/versionlock.list",
    "/etc/yum/pluginconf.d/versionlock.list",
    "/etc/dnf/versionlock.toml",
)
CPUS = "/sys/devices/system/cpu"
CPU_LIMIT = 8192
CPUINFO_LIMIT = 16384  # the first processor speaks for the others
MODULES = "/lib/modules"
TIMEX_UNSYNCHRONIZED_US = 16 * 1000 * 1000  # the kernel's largest error: nothing has set the clock; so does systemd
HYPERVISORS = (
    ("vmware", "vmware"),
    ("virtualbox", "virtualbox"),
    ("innotek", "virtualbox"),
    ("microsoft", "hyperv"),
    ("xen", "xen"),
    ("amazon", "nitro"),
    ("google", "google"),
    ("qemu", "kvm"),
    ("kvm", "kvm"),
    ("openstack", "kvm"),
    ("red hat", "kvm"),
)


def stanzas(text: str) -> Iterator[Dict[str, str]]:
    """Yield the paragraphs of a Debian control file, field names in lower case, continuation lines joined by newlines.

    A line that is no field, and a comment, is skipped. Of a field that stands twice, the last one counts.
    """
    fields, name = {}, ""  # type: Dict[str, List[str]], str
    for line in [*text.splitlines(), ""]:
        if not line.strip():
            if fields:
                yield {field: "\n".join(lines) for field, lines in fields.items()}
            fields, name = {}, ""
        elif line.startswith("#"):
            continue
        elif line[0] in " \t":
            if name:
                fields[name].append(line.strip())
        else:
            name, colon, value = line.partition(":")
            name = name.strip().lower() if colon else ""
            if name:
                fields[name] = [value.strip()]


def parse_dpkg_status(text: str) -> Tuple[List[Dict[str, Any]], List[str]]:
    """Return the packages that dpkg left half done, and the names of those on hold, from its status file.

    What it noted in its journal is to follow the file: of a package that stands there twice, the last word counts.
    Only four fields are looked at, for the file has some thousand paragraphs.
    """
    packages = {}  # type: Dict[Tuple[str, str], Tuple[str, ...]]
    for paragraph in text.split("\n\n"):
        status = re.search(r"^Status: (\S+) (\S+) (\S+)[ \t]*$", paragraph, re.MULTILINE)
        name = _field(paragraph, "Package")
        if status and name:
            packages[name, _field(paragraph, "Architecture") or ""] = (
                *status.groups(),
                _field(paragraph, "Version") or "",
            )
    broken = [
        {"name": name, "version": version or None, "state": state}
        for (name, _architecture), (_want, flag, state, version) in packages.items()
        if state in INTERRUPTED or flag == "reinstreq"
    ]
    return broken, sorted({name for (name, _architecture), row in packages.items() if row[0] == "hold"})


def _field(paragraph: str, name: str) -> Optional[str]:
    match = re.search("^" + name + r": (\S+)[ \t]*$", paragraph, re.MULTILINE)
    return match.group(1) if match else None


def parse_locks(text: str, identity: Tuple[int, int, int]) -> Optional[int]:
    """Return the process that C(/proc/locks) shows with a write lock on this file, or None."""
    for line in text.splitlines():
        match = re.match(r"\d+: \w+\s+\w+\s+WRITE\s+(\d{1,10}) ([0-9a-f]{1,8}):([0-9a-f]{1,8}):(\d{1,20}) ", line)
        if match:
            place = (int(match.group(2), 16), int(match.group(3), 16), int(match.group(4)))
            if place == identity:
                return int(match.group(1))
    return None


def apt_tokens(text: str) -> Iterator[Tuple[str, str]]:
    """Yield the words of apt's configuration, each as C(word), C(text) in quotes, or one of C({), C(}) and C(;)."""
    pattern = re.compile(
        r'"(?P<text>[^"\n]*)"|//[^\n]*|/\*.*?(?:\*/|\Z)|#(?!clear\b)[^\n]*|(?P<sign>[{};])|(?P<word>#?[^\s{};"]+)',
        re.DOTALL,
    )
    for match in pattern.finditer(text):
        for kind in ("text", "sign", "word"):
            value = match.group(kind)
            if value is not None:
                yield (value if kind == "sign" else kind), value


def parse_apt_conf(text: str) -> List[Tuple[str, Optional[str]]]:
    """Return apt's settings in their order: the full name in lower case and the value.

    The value is None for what C(#clear) takes back. Names of list entries end with C(::). What is nested deeper than
    anybody nests, and what follows it, is left out: each name repeats the names of all that it lies in.
    """
    settings = []  # type: List[Tuple[str, Optional[str]]]
    scope, words = [], []  # type: List[str], List[Tuple[str, str]]

    def full(name: str) -> str:
        return "::".join([part for part in scope if part] + [name]).lower()

    for kind, value in apt_tokens(text):
        if kind == "{" and len(scope) == SCOPES_LIMIT:
            break
        if kind == "{":
            scope.append(words[0][1].strip(":") if words else "")
            words = []
        elif kind == "}":
            del scope[-1:]
            words = []
        elif kind == ";":
            if len(words) == 1 and words[0][0] == "text":
                settings.append((full("") if scope else "::", words[0][1]))
            elif len(words) > 1 and words[0][1].lower() == "#clear":
                settings.extend((full(word.strip(":")), None) for _kind, word in words[1:])
            elif len(words) > 1:
                settings.append((full(words[0][1]), words[1][1]))
            words = []
        else:
            words.append((kind, value))
    return settings


def apt_list(settings: List[Tuple[str, Optional[str]]], name: str) -> List[str]:
    """Return the entries of one of apt's lists."""
    entries = []  # type: List[str]
    for key, value in settings:
        if value is None and (name + "::").startswith(key + "::"):
            entries = []
        elif value is not None and key.startswith(name + "::"):
            entries.append(value)
    return entries


def apt_switch(settings: List[Tuple[str, Optional[str]]], name: str, default: bool) -> bool:
    """Return whether one of apt's settings is on."""
    values = [value for key, value in settings if key == name]
    return default if not values or values[-1] is None else values[-1].lower() not in ("", *APT_NO)


def without_password(uri: str) -> str:
    """Return a URI without the account in it: facts go into reports."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/]*@", r"\1", uri)


def _source(file: str, line: Optional[int], kind: str, uri: str, suite: str, rest: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "file": file,
        "line": line,
        "type": kind,
        "uri": uri,
        "suite": suite,
        "components": rest.get("components") or [],
        "architectures": rest.get("architectures") or [],
        "signed_by": rest.get("signed_by") or None,
    }


def parse_source_list(text: str, file: str) -> List[Dict[str, Any]]:
    """Return apt's sources in the one-line form; a line that is none is skipped."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?((?:\[[^\]]*\]|[^\s\[])+)\s+(\S+)\s*([^#]*)", line)
        if not match or match.group(4).startswith("#"):
            continue
        kind, options, uri, suite, components = match.groups()
        # Only where a name begins, or a long word would be tried again from each of its letters.
        named = re.findall(r"(?<![A-Za-z-])([A-Za-z-]+)\+?=\"?([^\s\"]*)\"?", options or "")
        values = {name.lower(): value for name, value in named}
        rest = {
            "components": components.split(),
            "architectures": [word for word in values.get("arch", "").split(",") if word],
            "signed_by": values.get("signed-by"),
        }
        found.append(_source(file, number, kind, uri, suite, rest))
    return found


def parse_deb822(text: str, file: str) -> List[Dict[str, Any]]:
    """Return apt's sources in the deb822 form, one for each type, URI and suite of a paragraph that is enabled."""
    found = []
    for fields in stanzas(text):
        if fields.get("enabled", "").lower() in APT_NO:
            continue
        signed_by = fields.get("signed-by", "")
        rest = {
            "components": fields.get("components", "").split(),
            "architectures": fields.get("architectures", "").split(),
            "signed_by": "a key in the file itself" if "BEGIN PGP" in signed_by else " ".join(signed_by.split()),
        }
        each = product(*(fields.get(name, "").split() for name in ("types", "uris", "suites")))
        found.extend(_source(file, None, *one, rest) for one in islice(each, SOURCES_LIMIT - len(found)))
    return found


def parse_excludes(text: str) -> List[str]:
    """Return what dnf's or yum's configuration leaves out, in any section; a list may go on in indented lines."""
    found, inside = [], False  # type: List[str], bool
    for line in text.splitlines():
        match = re.match(r"(exclude|excludepkgs)\s*=(.*)$", line)
        if match:
            inside, rest = True, match.group(2)
        elif inside and line[:1] in (" ", "\t"):
            rest = line
        else:
            inside = False
            continue
        found.extend(re.split(r"[\s,]+", rest.strip()))
    return sorted({name for name in found if name})


def parse_version_locks(text: str) -> List[str]:
    """Return what dnf or yum holds at a version, from the list of either or from dnf 5's table."""
    # Never \s after ^: over thousands of blank lines it would begin anew at each of them.
    if re.search(r"^[ \t]*\[\[packages\]\]", text, re.MULTILINE):
        return sorted(set(re.findall(r"^[ \t]*name[ \t]*=[ \t]*[\"']([^\"'\n]+)[\"']", text, re.MULTILINE)))
    lines = [line.strip() for line in text.splitlines()]
    return sorted({line for line in lines if line and line[0] not in "#!"})


def parse_mounts(text: str) -> List[Dict[str, Any]]:
    """Return every mount in C(/proc/self/mounts), the last one mounted last."""
    mounts = []
    for line in text.splitlines():
        words = [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), word) for word in line.split(" ")]
        if len(words) >= 4 and words[1].startswith("/"):
            mounts.append({"mountpoint": words[1], "fstype": words[2], "options": words[3].split(",")})
    return mounts


def mount_of(mounts: List[Dict[str, Any]], path: str) -> Optional[Dict[str, Any]]:
    """Return the mount that holds a path: the one with the longest mount point, and of those the last."""
    best = None  # type: Optional[Dict[str, Any]]
    for mount in mounts:
        point = mount["mountpoint"].rstrip("/") + "/"
        if (path.rstrip("/") + "/").startswith(point) and (
            best is None or len(point) >= len(best["mountpoint"].rstrip("/") + "/")
        ):
            best = mount
    return best


def parse_cpu_list(text: str) -> Optional[int]:
    """Return how many processors a list such as C(0-15,32-47) names, or None where it is no such list."""
    if not re.match(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$", text):
        return None
    count = 0
    for part in text.split(","):
        first, _dash, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count if 0 < count <= CPU_LIMIT else None


def kernel_order(release: str) -> List[int]:
    """Return what kernels are ordered by: the numbers that a release begins with, without its flavour."""
    match = re.match(r"\d{1,9}(?:[.\-+~_]\d{1,9})*", release)
    return [int(number) for number in re.findall(r"\d+", match.group(0))] if match else []


def parse_virtualization(cpuinfo: str, dmi: str) -> Tuple[Optional[bool], Optional[str]]:
    """Return whether this is a virtual machine, and whose, from C(/proc/cpuinfo) and from vendor and product in DMI.

    Only x86 processors have the flag; some clouds put the same vendor on machines of metal.
    """
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    virtual = None if not flags else "hypervisor" in flags.group(1).split()
    if not virtual:
        return virtual, None
    return True, next((name for word, name in HYPERVISORS if word in dmi.lower()), None)


def parse_container(environment: str) -> Optional[str]:
    """Return what the first process was told about the container it lives in, or None."""
    match = re.search(r"(?:^|\0)container=([A-Za-z0-9._-]{1,64})(?:\0|$)", environment)
    return match.group(1) if match else None


class _Timex(ctypes.Structure):
    """The head of the kernel's C(struct timex), with room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("largest_error", ctypes.c_long),
        ("rest", ctypes.c_char * 512),
    )


def clock_synchronized() -> Optional[bool]:
    """Return whether anything keeps the clock right, as the kernel knows it; None where it may not be asked."""
    try:
        timex = _Timex()
        if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
            return None
    except (AttributeError, OSError):
        return None
    return timex.largest_error < TIMEX_UNSYNCHRONIZED_US


def _optional(host, path: str) -> str:
    """Return a file's text; it may be missing, but where it is there and cannot be read, that is a gap."""
    return host.read_text(path, quiet=not host.exists(path))


def packages(host) -> Dict[str, Any]:
    """Return what keeps packages from being changed."""
    dpkg = host.exists(STATUS)
    status = host.read_bytes(STATUS, STATUS_LIMIT, quiet=not dpkg).decode("utf-8", "replace")
    journal = [name for name in host.listdir(JOURNAL, quiet=True) if name.isdigit()]
    notes = [host.read_text(JOURNAL + "/" + name, quiet=True) for name in journal]
    broken, held = parse_dpkg_status("\n\n".join([status.strip(), *notes]))
    settings = []  # type: List[Tuple[str, Optional[str]]]
    folder = "/etc/apt/apt.conf.d"
    files = [folder + "/" + name for name in host.listdir(folder, quiet=True) if re.match(r"[\w-]+(\.conf)?$", name)]
    for file in [*files, "/etc/apt/apt.conf"]:
        settings += parse_apt_conf(_optional(host, file))
    repositories = "/etc/yum.repos.d"
    excluding = [repositories + "/" + name for name in host.listdir(repositories, quiet=True) if name.endswith(".repo")]
    locked = [name for file in VERSION_LOCKS for name in parse_version_locks(_optional(host, file))]
    excluded = [name for file in (*DNF_FILES, *excluding) for name in parse_excludes(_optional(host, file))]
    ours = [OUR_HOLDS + "/" + name for name in host.listdir(OUR_HOLDS, quiet=True)]
    rpm = any(host.exists(file) for file in (*DNF_FILES, "/usr/bin/dnf", "/usr/bin/yum"))
    return {
        "manager": "dpkg" if dpkg else "rpm" if rpm else None,
        "interrupted": broken,
        "journal": journal,
        "lock_pid": _lock_holder(host),
        "held": held,
        "held_by_roles": sorted({name for file in ours for name in host.read_text(file, quiet=True).split()} & {*held}),
        "unattended_upgrades": _upgrades_itself(settings) if dpkg else None,
        "blacklisted": apt_list(settings, "unattended-upgrade::package-blacklist"),
        "excluded": sorted(set(excluded)),
        "version_locked": sorted(set(locked)),
    }


def _upgrades_itself(settings: List[Tuple[str, Optional[str]]]) -> bool:
    return apt_switch(settings, "apt::periodic::enable", True) and apt_switch(
        settings, "apt::periodic::unattended-upgrade", False
    )


def _lock_holder(host) -> Optional[int]:
    text = host.read_text("/proc/locks", quiet=True)
    for path in LOCKS:
        identity = host.identity(path)
        holder = identity and parse_locks(text, identity)
        if holder:
            return holder
    return None


def apt_sources(host) -> List[Dict[str, Any]]:
    """Return apt's sources in the order in which apt reads them; that order decides which of two keys is refused.

    The addresses may have an account in them, which is for apt and not for a report.
    """
    found = parse_source_list(_optional(host, SOURCES), SOURCES)
    for name in host.listdir(SOURCES + ".d", quiet=True):
        file = SOURCES + ".d/" + name
        if re.match(r"[A-Za-z0-9_.-]+\.list$", name):
            found += parse_source_list(host.read_text(file), file)
        elif re.match(r"[A-Za-z0-9_.-]+\.sources$", name):
            found += parse_deb822(host.read_text(file), file)
    return found


def filesystems(host, paths: List[str], timeout: float) -> List[Dict[str, Any]]:
    """Return the filesystem that holds each path, or will hold it once it is there."""
    mounts = parse_mounts(host.read_text("/proc/self/mounts", quiet=True))
    found = []
    for path in paths:
        answer = host.space(path, timeout)
        place, numbers, there = answer or (path, None, None)
        mount = mount_of(mounts, place)
        options = mount["options"] if mount else None
        found.append(
            {
                "path": path,
                "exists": there,
                "mountpoint": mount["mountpoint"] if mount else None,
                "fstype": mount["fstype"] if mount else None,
                "read_only": None if options is None else "ro" in options,
                "noexec": None if options is None else "noexec" in options,
                "size_bytes": numbers.f_blocks * numbers.f_frsize if numbers else None,
                "free_bytes": numbers.f_bavail * numbers.f_frsize if numbers else None,
                "inodes": (numbers.f_files or None) if numbers else None,  # btrfs and others have no such number
                "free_inodes": numbers.f_favail if numbers and numbers.f_files else None,
            }
        )
    return found


def kernel(host) -> Dict[str, Any]:
    """Return the running kernel and those that are installed."""
    running = host.read_text("/proc/sys/kernel/osrelease", quiet=True) or None
    installed = []
    for name in host.listdir(MODULES, quiet=True):
        folder = MODULES + "/" + name
        if host.exists("/boot/vmlinuz-" + name) or host.exists(folder + "/vmlinuz"):
            installed.append({"release": name, "headers": host.leads_somewhere(folder + "/build")})
    order = sorted(
        (item["release"] for item in installed), key=lambda name: (kernel_order(name), name == running, name)
    )
    return {
        "release": running,
        "headers": host.leads_somewhere(MODULES + "/" + running + "/build") if running else None,
        "newest_installed": order[-1] if order else None,
        "installed": installed,
    }


def processors(host, cpuinfo: str) -> Dict[str, Any]:
    """Return the processors that are online."""
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    sockets, cores = set(), set()
    for name in host.listdir(CPUS, quiet=True)[:CPU_LIMIT]:
        if re.match(r"cpu\d+$", name):
            ids = [
                host.read_text(CPUS + "/" + name + "/topology/" + file, quiet=True)
                for file in ("physical_package_id", "core_id")
            ]
            if ids[0].isdigit() and ids[1].isdigit():
                sockets.add(ids[0])
                cores.add(tuple(ids))
    return {
        "model": " ".join(model.group(1).split()) if model else None,
        "sockets": len(sockets) or None,
        "cores": len(cores) or None,
        "logical": parse_cpu_list(host.read_text(CPUS + "/online", quiet=True)),
    }


def _container(host) -> Optional[str]:
    told = parse_container(host.read_text("/proc/1/environ", 1 << 16, quiet=True))
    if told:
        return told
    for file, name in (
        ("/run/secrets/kubernetes.io", "kubernetes"),
        ("/.dockerenv", "docker"),
        ("/run/.containerenv", "podman"),
    ):
        if host.exists(file):
            return name
    word = re.match(r"[a-z0-9._-]{1,64}$", host.read_text("/run/systemd/container", 128, quiet=True))
    return word.group(0) if word else None


def collect(host, paths: List[str], timeout: float = 5) -> Dict[str, Any]:
    """Return the C(host) fact."""
    cpuinfo = host.read_text("/proc/cpuinfo", CPUINFO_LIMIT, quiet=True)
    dmi = [host.read_text("/sys/class/dmi/id/" + name, quiet=True) for name in ("sys_vendor", "product_name")]
    virtual, hypervisor = parse_virtualization(cpuinfo, " ".join(dmi))
    note = "/run/reboot-required"
    return {
        "root": host.root,
        "epoch_seconds": time.time(),
        "clock_offset_seconds": None,
        "clock_synchronized": clock_synchronized() if host.root == "/" else None,
        "container": _container(host),
        "virtual_machine": virtual,
        "hypervisor": hypervisor,
        "processors": processors(host, cpuinfo),
        "kernel": kernel(host),
        "reboot_required": host.exists(note),
        "reboot_required_by": sorted(set(host.read_text(note + ".pkgs", quiet=True).split())),
        "filesystems": filesystems(host, paths, timeout),
        "packages": packages(host),
        "apt_sources": [{**source, "uri": without_password(source["uri"])} for source in apt_sources(host)],
        "fabric_manager": host.exists("/usr/bin/nv-fabricmanager"),
        "gaps": host.gaps,
    }
