# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python environments that are built aside and swapped in.

``<root>/<name>/`` holds one folder for each environment, named after what it was made from, and ``current``, a link to
the one in use. The marker in a folder is written last: a folder without it is what an interrupted run left behind.
"""

import os
import re
import shutil
import signal
import stat
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from ansible_collections.gpufleet.workstation.plugins.module_utils._drift import (
    Altered,
    altered,
    fingerprint,
    normal_name,
    phrases,
    site_packages,
    wrong_sizes,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import (
    MARKER,
    Refused,
    builds,
    current,
    digest,
    fresh_name,
    held,
    key_of,
    listdir,
    mount_of,
    others,
    read,
    read_marker,
    redact,
    refuse_without_room,
    remove,
    superfluous,
    swap,
    umask,
    unfinished,
    unoccupied,
    write_marker,
)

LOCKED = "gpufleet.lock"  # the packages that were installed, with hashes; a rebuild installs exactly these

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[A-Za-z0-9._, -]*\])?==([A-Za-z0-9][A-Za-z0-9.!+_-]*)$")
_LOCKED_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)")
_PROVE_IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as exc:
        said = " ".join(str(exc).split())[:800]  # what an exception says may have many lines
        sys.exit("%s cannot be imported (%s: %s)" % (name, type(exc).__name__, said))
"""

# Read by every Python of the environment when it starts. A program that came by C(current) would take what it imports
# later from the environment that C(current) leads to by then. sys.executable stays: Spark hands it to other hosts.
_STAYING = {
    "_gpufleet.py": """
import os, sys
def stay():
    linked, real = sys.prefix, os.path.realpath(sys.prefix)
    sys.prefix = sys.exec_prefix = real
    paths = [real + path[len(linked):] if path.startswith(linked + os.sep) else path for path in sys.path]
    sys.path[:] = dict.fromkeys(paths)  # site comes by twice, and adds the real folder then
""",
    "zz_gpufleet.pth": "import _gpufleet; _gpufleet.stay()\n",
}


class Wanted(NamedTuple):
    """What was asked for; the module's options under their own names."""

    name: str
    root: str
    python: str
    packages: Sequence[str]
    constraints: Sequence[str] = ()
    lock: str = ""
    index_url: str = ""
    extra_index_urls: Sequence[str] = ()
    use_index: bool = True
    find_links: Optional[str] = None
    build: bool = False
    uv: Optional[str] = None
    cache_dir: str = "/var/cache/gpufleet/uv"
    python_mirror: str = ""
    python_downloads: bool = False
    ca_file: Optional[str] = None
    imports: Sequence[str] = ()
    checks: Sequence[Dict[str, Any]] = ()
    keep: int = 1
    minimum_free_bytes: int = 0
    timeout: int = 1800
    state: str = "present"
    on_drift: str = "repair"

    @property
    def folder(self) -> str:
        """Return the folder of all environments of this name."""
        return os.path.join(self.root, self.name)


# What is asked for


def pins(packages: Sequence[str]) -> Dict[str, str]:
    """Return version by name, or refuse what is not an exact pin."""
    versions = {}
    for package in packages:
        match = _PIN.match(package.strip())
        if not match:
            raise Refused(f"packages: {redact(package)!r} is not an exact pin; write it as name==version")
        name, version = normal_name(match.group(1)), match.group(2)
        if versions.get(name, version) != version:
            raise Refused(f"packages: {name} is pinned to {versions[name]} and to {version}; keep one of the two")
        versions[name] = version
    return versions


def inputs(wanted: Wanted) -> Dict[str, Any]:
    """Return what makes one environment differ from another; logins and the way to the packages do not."""
    made_from = {
        "python": wanted.python,
        "packages": sorted(package.strip() for package in wanted.packages),
        "build": wanted.build,
        "imports": sorted(wanted.imports),
        "checks": [[digest(check["code"]), *(check.get("args") or [])] for check in wanted.checks],
    }
    if wanted.lock:  # its hashes say which files, wherever they come from
        made_from["lock"] = digest(wanted.lock)
    else:
        made_from.update(
            index_url=redact(wanted.index_url),
            extra_index_urls=[redact(url) for url in wanted.extra_index_urls],
            use_index=wanted.use_index,
            find_links=redact(wanted.find_links or ""),
            constraints=sorted(wanted.constraints),
        )
    return made_from


def unlocked(wanted: Wanted) -> List[str]:
    """Return the pins that are asked for and that the lock does not have, each with what it has instead."""
    locked = {
        normal_name(match.group(1)): match.group(2)
        for match in map(_LOCKED_PIN.match, wanted.lock.splitlines())
        if match
    }
    missing = []
    for name, version in sorted(pins(wanted.packages).items()):
        there = locked.get(name, "none")
        if version not in (there, there.partition("+")[0]):  # 0.25.0+cu126 is a build of 0.25.0
            missing.append(f"{name}=={version} (the lock has {there})")
    return missing


# What is there


def distributions(folder: Optional[str]) -> Dict[str, str]:
    """Return version by name, read from the names of the *.dist-info folders in a folder."""
    versions = {}
    for entry in listdir(folder):
        name, _dash, version = entry[: -len(".dist-info")].partition("-")
        if entry.endswith(".dist-info") and version:
            versions[normal_name(name)] = version
    return versions


def installed(environment: str) -> Dict[str, str]:
    """Return version by name of what is installed in an environment."""
    return distributions(site_packages(environment))


def interpreter(environment: str) -> str:
    """Return the path of the interpreter behind an environment, whether it still exists or not."""
    return os.path.realpath(os.path.join(environment, "bin", "python"))


def closed(path: str) -> str:
    """Return the folder on the way to a path that root alone may enter, or nothing."""
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        state = os.stat(path)
        if not state.st_mode & (0o011 if state.st_gid else 0o001):
            return path
    return ""


def let_users_read(environment: str) -> None:
    """Make every file of an environment readable; uv run by hand leaves files in the cache with root's own umask."""
    for folder, _folders, names in os.walk(environment):
        for path in (os.path.join(folder, name) for name in names):
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) and not mode & 0o004:
                os.chmod(path, stat.S_IMODE(mode) | (0o555 if mode & 0o100 else 0o444))


def python_version(environment: str) -> Optional[str]:
    """Return the version that the environment was made for."""
    for line in read(os.path.join(environment, "pyvenv.cfg")).splitlines():
        name, _equals, value = line.partition("=")
        if name.strip() in ("version_info", "version"):
            return ".".join(value.strip().split(".")[:3])
    return None


def _minor(version: Optional[str]) -> List[str]:
    return (version or "").split(".")[:2]


def drift(environment: str, marker: Dict[str, Any]) -> List[Altered]:
    """Return each difference between an environment and what was noted when it was finished."""
    noted, found = marker["packages"], installed(environment)
    differences = []
    for name in sorted(set(noted) | set(found)):
        if name not in found:
            differences.append(Altered(name, f"{name} {noted[name]} is gone", False))
        elif name not in noted:
            differences.append(Altered(name, f"{name} {found[name]} was added", False))
        elif noted[name] != found[name]:
            differences.append(Altered(name, f"{name} is {found[name]} instead of {noted[name]}", False))
    python = interpreter(environment)
    if not os.path.exists(python):
        differences.append(Altered("", f"its interpreter {python} is gone", False))
    elif python != marker.get("interpreter"):
        differences.append(Altered("", f"its interpreter is {python} instead of {marker.get('interpreter')}", False))
    if marker.get("locked", _locked_digest(environment)) != _locked_digest(environment):
        differences.append(Altered("", f"its list {LOCKED} was altered", False))
    if "files" in marker:
        told = {difference.package for difference in differences}
        differences += [one for one in altered(environment, marker["files"]) if one.package not in told]
    return differences


class Survey(NamedTuple):
    """What there is of an environment: the one in use, how it was altered, and the builds that would do."""

    used: Optional[str]
    alike: bool  # the one in use was made from what is wanted now
    drift: Sequence[Altered]
    ready: Sequence[str]


def survey(wanted: Wanted, key: str) -> Survey:
    """Return what is there of an environment; the first that is ready is to be used."""
    folder = wanted.folder
    used, alike, differences = current(folder), False, []  # type: Optional[str], bool, List[Altered]
    ready = []
    for name in builds(folder):
        marker = read_marker(os.path.join(folder, name))
        if not marker or marker.get("key") != key:
            continue
        found = drift(os.path.join(folder, name), marker)
        if name == used:
            alike, differences = True, found
            if wanted.on_drift == "report":
                found = []
        if not found:
            ready.append(name)
    return Survey(used, alike, differences, sorted(ready, key=lambda name: name != used))


def previous(folder: str, used: Optional[str]) -> str:
    """Return the environment that was in use before, or refuse where none is left that nobody has altered."""
    why_not = ""
    for name in others(folder, used):
        environment = os.path.join(folder, name)
        differences = phrases(drift(environment, read_marker(environment) or {"packages": {}}))
        if not differences:
            return name
        why_not = why_not or f"; {name} was altered: {', '.join(differences)}"
    raise Refused(f"there is no environment in {folder} to go back to, beside {used or 'none in use'}{why_not}")


# What changes it


# What uv says

_USELESS = re.compile(
    r"Using |Resolved |Prepared |Installed |Creating |Activate "
    r"|\s*(Downloaded|Downloading|Building|Built) |\s*[+~-] "
)
_PACKAGE = re.compile(r"(?:Because (?:there is no version of )?|[Nn]o version of |`)([A-Za-z0-9._-]+(?:==[^\s`]+)?)")
# The first that is found in uv's message names the cause.
_CAUSES = [
    (r"No space left on device|os error 28\)", "the disk became full; free some space on {mounts}"),
    (
        r"Hash mismatch",
        "the download of {package} does not have the checksum that the index or the lock names, so it is damaged or "
        "was replaced; {again}",
    ),
    (
        r"failed to extract|unable to extract|invalid zip|zip file|corrupt|unexpected end of file|unexpected EOF",
        "the download of {package} is damaged; {again}",
    ),
    (
        r"invalid peer certificate|UnknownIssuer",
        "the certificate of the package index is not trusted here; name the CA bundle of your site in ca_file",
    ),
    (
        r"401 Unauthorized|403 Forbidden|407 Proxy|status code: 40[137]",
        "the package index or the proxy refuses the login; correct it in the index URL or the proxy's",
    ),
    (
        r"no usable wheels|no wheels with a matching|only has wheels|don't have a source distribution",
        "{package} has no wheel for Python {python} on this platform; choose another version of it or another Python",
    ),
    (
        r"no versions? of|was not found in the package registry|was not found in the provided package locations",
        "{source} does not offer {package}; correct the pin or {way_out}",
    ),
    (r"No solution found|unsatisfiable", "the pins cannot be installed together; correct them"),
    (
        r"No interpreter found|No download found|Failed to inspect Python|Python interpreter not found",
        "this host has no usable Python {python}; install it, name another, or let uv fetch one with python_downloads",
    ),
    (
        r"dns error|error sending request|tcp connect|Connection refused|timed out|Network is unreachable"
        r"|Failed to fetch|Failed to download",
        "{source} could not be reached; check the network, the proxy and the URL",
    ),
    (r"", "uv could not finish"),
]


def last_words(text: str) -> str:
    """Return what matters in a tool's error output, in one line and without logins."""
    lines = [line.strip() for line in redact(text).splitlines() if line.strip() and not _USELESS.match(line)]
    starts = [number for number, line in enumerate(lines) if line.startswith("error:")]
    words = lines[starts[-1] :] if starts else lines[-6:]
    return " ".join(words[:8])[:1000]


def explain(stderr: str, wanted: Wanted) -> str:
    """Return the sentence for a failure of uv."""
    sentence = next(sentence for pattern, sentence in _CAUSES if re.search(pattern, stderr, re.IGNORECASE))
    package = _PACKAGE.search(stderr)
    said = sentence.format(
        package=package.group(1) if package else "a package",
        python=wanted.python,
        source="the package index" if wanted.use_index else f"the wheelhouse {redact(wanted.find_links or '')}",
        way_out="the index URL" if wanted.use_index else "fill it with the playbook wheelhouse",
        mounts=" or ".join(sorted({mount_of(wanted.root), mount_of(wanted.cache_dir)})),
        again=f"run this again, and if it comes back, first '{wanted.uv} cache clean --cache-dir {wanted.cache_dir}'",
    )
    return f"{said} (uv: {last_words(stderr) or 'no message'})"


# The whole


def find_uv(wanted: Wanted) -> str:
    """Return the path of uv: the one named, or the newest beside the environments, where role python puts it."""
    if wanted.uv:
        if os.path.isfile(wanted.uv) and os.access(wanted.uv, os.X_OK):
            return wanted.uv
        raise Refused(f"there is no program at {wanted.uv}; role python installs uv, or name the path of yours in uv")
    beside = os.path.join(os.path.dirname(wanted.root.rstrip("/")), "uv")
    names = [name for name in listdir(beside) if not name.startswith(".")]
    versions = [name for name in names if os.access(os.path.join(beside, name, "bin", "uv"), os.X_OK)]
    if not versions:
        raise Refused(f"there is no uv below {beside}; role python installs it, or name the path of yours in uv")
    newest = max(versions, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    return os.path.join(beside, newest, "bin", "uv")


def environment_of_uv(wanted: Wanted, scratch: str) -> Dict[str, str]:
    """Return the environment variables for uv. A login stands here: every user could read its command line."""
    variables = {
        "NO_COLOR": "1",
        "TMPDIR": scratch,  # /tmp may be small, or mounted noexec
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": scratch,
        "UV_CACHE_DIR": wanted.cache_dir,
        "UV_LINK_MODE": "hardlink",  # a site's uv.toml may say symlink, and the next clean of the cache would end it
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_INSTALL_DIR": os.path.join(wanted.root, ".python"),  # root's home is closed to users
        "UV_PYTHON_INSTALL_BIN": "0",
        "UV_PYTHON_DOWNLOADS": "automatic" if wanted.python_downloads else "never",
    }
    if wanted.index_url:
        variables["UV_DEFAULT_INDEX"] = wanted.index_url
    if wanted.extra_index_urls:
        variables["UV_INDEX"] = " ".join(wanted.extra_index_urls)
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # a pin may be on any of them, as with pip
    if wanted.find_links:
        variables["UV_FIND_LINKS"] = wanted.find_links
    if wanted.python_mirror:
        variables["UV_PYTHON_INSTALL_MIRROR"] = wanted.python_mirror
    if wanted.ca_file:
        variables["SSL_CERT_FILE"] = wanted.ca_file
    return variables


class Uv:
    """uv at work for one build: within its time, with the index's logins in its environment only.

    ``lock`` is the descriptor of the held lock; uv inherits it, so that a uv that outlives us still keeps others out.
    """

    def __init__(self, host, wanted: Wanted, scratch: str, lock: int) -> None:
        self.host, self.scratch, self.lock = host, scratch, lock
        self.program = find_uv(wanted)
        self.wanted = wanted._replace(uv=self.program)
        self.deadline = time.time() + wanted.timeout
        self.variables = environment_of_uv(wanted, scratch)

    def run(self, argv: List[str], what: str):
        """Run a program and return its result, whatever its status."""
        seconds = max(1, int(self.deadline - time.time()))
        result = self.host.run(argv, timeout=seconds, env=self.variables, pass_fds=(self.lock,))
        if result.error:
            late = f"{what} did not finish within {self.wanted.timeout} seconds; check the network or raise timeout"
            raise Refused(
                late if result.error.startswith("timed out") else f"{what} could not be started: {result.error}"
            )
        return result

    def __call__(self, *words: str) -> str:
        """Return what uv prints."""
        result = self.run([self.program, "--directory", self.scratch, *words], "uv")
        if result.rc != 0:
            raise Refused(explain(result.stderr, self.wanted))
        return result.stdout

    def install(self, environment: str, locked: str, model: Optional[str], tainted: Sequence[str] = ()) -> None:
        """Install the wanted packages into an environment, and leave the list of them, with hashes, in a file.

        ``model`` is a folder with such a list to install again, or None. ``tainted`` are packages that were altered in
        uv's cache too, because an environment shares its files with it.
        """
        python = os.path.join(environment, "bin", "python")
        sources = ["--python", python]
        sources += [] if self.wanted.use_index else ["--no-index"]
        sources += [] if self.wanted.build else ["--only-binary", ":all:"]
        if self.wanted.lock:
            with open(locked, "w", encoding="utf-8") as file:
                file.write(self.wanted.lock)
        elif model and os.path.exists(os.path.join(model, LOCKED)):
            shutil.copyfile(os.path.join(model, LOCKED), locked)
        else:
            asked, bounds = os.path.join(self.scratch, "packages.txt"), os.path.join(self.scratch, "constraints.txt")
            for path, lines in ((asked, self.wanted.packages), (bounds, self.wanted.constraints)):
                with open(path, "w", encoding="utf-8") as file:
                    file.write("".join(line + "\n" for line in lines))
            options = ["--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--output-file", locked]
            self("pip", "compile", *sources, *options, "--constraints", bounds, asked)
        if tainted:
            self("cache", "clean", *tainted)
        if installable(read(locked)):
            install = ["pip", "install", *sources, "--no-deps", "--require-hashes", "--requirements", locked]
            self(*install)
            damaged = wrong_sizes(environment)
            if damaged:  # uv knows no sum of what it has unpacked; once more, from a new download
                self("cache", "clean", *damaged)
                self(*install, *(word for name in damaged for word in ("--reinstall-package", name)))
        agree = self.run([self.program, "pip", "check", "--python", python], "uv")
        if agree.rc != 0:
            raise Refused(f"the packages contradict each other: {last_words(agree.stderr)}; correct the pins")


@contextmanager
def scratch_space(wanted: Wanted) -> Iterator[str]:
    """Give a build an empty folder beside what it makes: /tmp may be small, or mounted noexec."""
    scratch = os.path.join(wanted.folder, ".tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    os.makedirs(wanted.cache_dir, exist_ok=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def build(
    host, wanted: Wanted, environment: str, key: str, lock: int, model: Optional[str], tainted: Sequence[str] = ()
) -> Dict[str, Any]:
    """Build a finished environment in its final place and return its marker; C(Uv) says what the rest means."""
    with scratch_space(wanted) as scratch:
        uv = Uv(host, wanted, scratch, lock)
        python = os.path.join(environment, "bin", "python")

        def prove(code: str, args: List[str]) -> str:
            result = uv.run([python, "-I", "-c", code, *args], "a check of the new environment")
            if result.rc != 0:
                lines = result.stderr.strip().splitlines() or [f"a check ended with status {result.rc}"]
                killed = f"a check was ended by {signal.Signals(-result.rc).name}: " if result.rc < 0 else ""
                raise Refused(f"the new environment was not taken into use: {killed}{redact(lines[-1])}")
            return result.stdout.strip()

        version = uv("--version").split()[1]
        uv("venv", "--quiet", "--no-project", "--python", wanted.python, "--prompt", wanted.name, environment)
        barred = closed(interpreter(environment))
        if barred and not closed(environment):
            raise Refused(
                f"Python {wanted.python} is {interpreter(environment)} here, and users may not enter {barred}; "
                "name another in python, by its path where need be"
            )
        if model and _minor(python_version(environment)) != _minor((read_marker(model) or {}).get("python_version")):
            model = None  # what a package depends on may differ from Python to Python
        uv.install(environment, os.path.join(environment, LOCKED), model, tainted)
        let_users_read(environment)
        for file_name, text in _STAYING.items():
            with open(os.path.join(site_packages(environment) or "", file_name), "w", encoding="utf-8") as file:
                file.write(text)
        if wanted.imports:
            prove(_PROVE_IMPORTS, list(wanted.imports))
        outputs = [prove(check["code"], [str(arg) for arg in check.get("args") or []]) for check in wanted.checks]
        written = uv.run(["sync", "--file-system", environment], "writing to the disk")  # others may hang: a dead NFS
        if written.rc != 0:
            raise Refused(f"the new environment did not reach the disk: {last_words(written.stderr)}")
        marker = {
            "key": key,
            "inputs": inputs(wanted),
            "uv": version,
            "built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "python_version": python_version(environment),
            "interpreter": interpreter(environment),
            "packages": installed(environment),
            "locked": _locked_digest(environment),
            "files": fingerprint(environment),
            "checks": outputs,
        }
        write_marker(environment, marker)
        return marker


def installable(locked: str) -> bool:
    """Return whether a list of locked packages names any."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in locked.splitlines())


def ensure(host, wanted: Wanted, check_mode: bool = False) -> Dict[str, Any]:
    """Make the environment so, or in check mode say what would be done; return the module's result."""
    began = time.time()
    pins(wanted.packages)
    if not re.match(r"[A-Za-z0-9][A-Za-z0-9_-]*$", wanted.name) or wanted.name == "current":
        raise Refused(f"name: {wanted.name!r} cannot name a folder; use letters, digits, '-' and '_'")
    missing = unlocked(wanted) if wanted.lock else []
    if missing:
        raise Refused(f"the lock does not have {', '.join(missing)}; make it anew, or ask for what it has")
    key = key_of(inputs(wanted))
    if wanted.state == "previous" and not os.path.isdir(wanted.folder):
        raise Refused(f"there are no environments in {wanted.folder}, so there is nothing to go back to")
    if check_mode:
        result = go_back(wanted, check_mode) if wanted.state == "previous" else predict(host, wanted, key)
    else:
        try:
            with umask(0o022), held(wanted.folder, wanted.timeout) as lock:
                result = go_back(wanted) if wanted.state == "previous" else apply(host, wanted, key, lock)
        except OSError as exc:
            raise Refused(f"{exc.filename or wanted.folder}: {exc.strerror}; mend that and run this again") from None
    result["seconds"] = round(time.time() - began, 3)
    return result


def leaving(host, wanted: Wanted, state: Survey, name: str) -> List[str]:
    """Return the environments that go when one is in use: one that was altered first, and none that a program needs."""
    altered = state.used if state.drift else None
    return unoccupied(host, superfluous(wanted.folder, name, wanted.keep, altered))


def apply(host, wanted: Wanted, key: str, lock: int) -> Dict[str, Any]:
    """Build what is not there, take it into use, remove what is no longer kept."""
    folder = wanted.folder
    state = survey(wanted, key)
    used, removed = state.used, []
    before = installed(os.path.join(folder, used)) if used else {}
    name = state.ready[0] if state.ready else None
    reason = why(wanted, state) if name is None or name != used else ""
    if name is None:
        for rest in unoccupied(host, [rest for rest in unfinished(folder) if rest != used]):
            remove(os.path.join(folder, rest))
            removed.append(os.path.join(folder, rest))
        name = fresh_name(folder, key)
        model = os.path.join(folder, used) if used and state.alike and _intact_list(folder, used) else None
        tainted = [one.package for one in state.drift if one.shared]
        try:
            refuse_without_room([wanted.root, wanted.cache_dir], wanted.minimum_free_bytes, wanted.ca_file)
            build(host, wanted, os.path.join(folder, name), key, lock, model, tainted)
        except BaseException as exc:
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
            if used and isinstance(exc, Refused):
                raise Refused(f"{exc}; {os.path.join(folder, 'current')} still leads to {used}") from None
            raise
    if name != used:
        swap(folder, name)
        if state.drift:  # it stays what goes first, also where a program that works from it keeps it for now
            os.utime(os.path.join(folder, used or "", MARKER), (0, 0))
    for old in leaving(host, wanted, state, name):
        remove(os.path.join(folder, old))
        removed.append(os.path.join(folder, old))
    return outcome(wanted, name, before, reason, removed, state)


def _intact_list(folder: str, name: str) -> bool:
    """Return whether the list of what was installed is still the one that was written."""
    environment = os.path.join(folder, name)
    return (read_marker(environment) or {}).get("locked") == _locked_digest(environment)


def _locked_digest(environment: str) -> str:
    return digest(read(os.path.join(environment, LOCKED)))


def go_back(wanted: Wanted, check_mode: bool = False) -> Dict[str, Any]:
    """Take the environment into use that was in use before the one that is; nothing is built and nothing removed."""
    folder = wanted.folder
    used = current(folder)
    before = installed(os.path.join(folder, used)) if used else {}
    name = previous(folder, used)
    if not check_mode:
        swap(folder, name)
    return outcome(wanted, name, before, f"{name} was in use before {used or 'any other'}", [])


def predict(host, wanted: Wanted, key: str) -> Dict[str, Any]:
    """Return what apply would, as far as it can be known without the network."""
    folder = wanted.folder
    state = survey(wanted, key)
    used = state.used
    before = installed(os.path.join(folder, used)) if used else {}
    if state.ready:
        name = state.ready[0]
        reason = why(wanted, state) if name != used else ""
        removed = [os.path.join(folder, old) for old in leaving(host, wanted, state, name)]
        return outcome(wanted, name, before, reason, removed, state)
    refuse_without_room([wanted.root, wanted.cache_dir], wanted.minimum_free_bytes, None)  # certificates come before it
    after = dict(before)
    if used and state.alike:
        after = dict((read_marker(os.path.join(folder, used)) or {})["packages"])
    after.update(pins(wanted.packages))
    name = fresh_name(folder, key)
    removed = [os.path.join(folder, old) for old in leaving(host, wanted, state, name)]
    result = outcome(wanted, name, before, why(wanted, state), removed, state, after)
    result["diff"]["after_header"] += " (the pins; what they depend on is known after the installation)"
    return result


def why(wanted: Wanted, state: Survey) -> str:
    """Return the sentence that says why the environment in use is not left as it is."""
    used = state.used
    if not used:
        return "there is no environment in use yet"
    environment = os.path.join(wanted.folder, used)
    marker = read_marker(environment)
    if marker is None:
        return f"{environment} is unfinished or gone"
    if state.drift:
        return f"{environment} was altered: {', '.join(phrases(state.drift))}"
    asked, made_from = inputs(wanted), marker.get("inputs") or {}
    names = sorted(name for name in asked if asked[name] != made_from.get(name))
    return f"other {', '.join(names) or 'inputs'} than {used} was made from" + (
        f"; {state.ready[0]} is at hand" if state.ready else ""
    )


def outcome(
    wanted: Wanted,
    name: str,
    before: Dict[str, str],
    reason: str,
    removed: List[str],
    state: Optional[Survey] = None,
    after: Optional[Dict[str, str]] = None,
) -> Dict[str, Any]:
    """Return the module's result for an environment that is in use, or would be."""
    path = os.path.join(wanted.folder, name)
    marker = read_marker(path) or {}
    after = marker.get("packages", {}) if after is None else after
    link = os.path.join(wanted.folder, "current")
    return {
        "changed": bool(reason or removed),
        "reason": reason,
        "drift": phrases(state.drift) if state else [],
        "path": path,
        "current": link,
        "python_version": marker.get("python_version"),
        "packages": [{"name": name, "version": version} for name, version in sorted(after.items())],
        "checks": marker.get("checks") or [],
        "removed": removed,
        "diff": {
            "before_header": link,
            "before": _lines(before),
            "after_header": link,
            "after": _lines(after),
        },
    }


def _lines(versions: Dict[str, str]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))
