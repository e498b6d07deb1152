# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver from NVIDIA's installer, a C(.run) file, where no package is to be had. Private to the collection.

The installer removes the driver before it builds the new one, so what was there is kept and comes back where it fails.
"""

import os
import re
import shutil
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple
from urllib.parse import quote, unquote, urlsplit

from ansible_collections.gpufleet.workstation.plugins.module_utils import (
    _driver,
    _driver_load,
    _gpu_kernel,
    _release,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver import described
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_host import Run
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Result
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused, redact

NOTES = "/var/lib/nvidia/log"  # what nvidia-installer installed; the version is its first line
UNINSTALL = "/usr/bin/nvidia-uninstall"
LOG = "/var/log/nvidia-installer.log"
LOG_LIMIT = 16 << 20
DKMS_NAME = "nvidia"
PERSISTENCED = "/usr/bin/nvidia-persistenced"
UNIT = f"/etc/systemd/system/{_driver.PERSISTENCE_UNIT}"
FIRST_OPEN = 515
HEAD = 64 << 10  # the script that a runfile begins with is shorter
HELP_SECONDS = 60
UNINSTALL_SECONDS = 600
VERSION = r"\d{3}\.\d{1,3}(?:\.\d{1,3})?"


class Wish(NamedTuple):
    """A driver from a runfile: where from, its SHA-256, and what it is."""

    url: str
    checksum: str
    version: str
    flavor: str


# ---- words in, data out ----


def wish(url: str, checksum: str, version: str, flavor: str) -> Wish:
    """Return what is wanted, or refuse what cannot be meant."""
    if not url:
        raise Failed(
            "the source runfile needs nvidia_driver_runfile_url, an address or a path on the host, of the installer "
            f"{'of driver ' + version if version else 'that is wanted'}, for none is known; or choose another source "
            "(nvidia_driver_source). Nothing was changed"
        )
    digits = checksum.rsplit("sha256:", maxsplit=1)[-1].strip().lower()
    if not re.match(r"[0-9a-f]{64}$", digits):
        raise Failed(
            "the source runfile needs nvidia_driver_runfile_checksum, the file's SHA-256 (64 hexadecimal digits): what "
            "it installs runs in the kernel"
        )
    if urlsplit(url).scheme not in ("http", "https", "file") and not url.startswith("/"):
        raise Failed(f"nvidia_driver_runfile_url is {redact(url)}, which is neither an address nor a path")
    if urlsplit(url).query:
        raise Failed(
            "nvidia_driver_runfile_url has a query, which may be a secret and would stand in the names of files; put "
            "the file on a mirror, or on the host and write its path"
        )
    named = re.search(rf"-({VERSION})(?:[-.][^/]*)?\.run$", unquote(urlsplit(url).path))
    version = version or (named.group(1) if named else "")
    if not version:
        raise Failed(f"the name of {redact(url)} does not say the driver's version; set nvidia_driver_version")
    if flavor == "open" and int(version.split(".")[0]) < FIRST_OPEN:
        raise Failed(f"driver {version} has no open kernel modules, which begin with branch {FIRST_OPEN}")
    return Wish(url if "://" in url else "file://" + quote(url), digits, version, flavor)


def noted_version(text: str) -> Optional[str]:
    """Return the version that nvidia-installer noted; in old notes it stands in brackets behind another number."""
    found = re.findall(VERSION, text.split("\n", 1)[0])
    return found[-1] if found else None


def identity(head: str) -> Optional[Tuple[str, str]]:
    """Return machine and version of the driver in a runfile, from the script that it begins with."""
    match = re.search(rf"Linux-(\w+?)[ -]({VERSION})", head)
    return (match.group(1), match.group(2)) if match else None


def known_options(text: str) -> Set[str]:
    """Return the options that an installer says it knows; it refuses to do anything with one that it does not."""
    return set(re.findall(r"^ *(?:-\w(?: [A-Z-]+)?, )?(--[a-z0-9-]+)", text, re.MULTILINE)) | set(
        re.findall(r", (--no-[a-z0-9-]+)", text)
    )


def arguments(
    known: Set[str], made: Wish, kernel: Optional[str], headless: bool, temporary: str, beside: bool
) -> List[str]:
    """Return what the installer is called with.

    ``kernel`` is the kernel to build for if it is not the one that runs; ``beside``: the driver before stays loaded.
    """
    argv = ["--silent", "--accept-license", "--dkms", f"--tmpdir={temporary}"]
    # Who uses the GPU was looked for already, nouveau is ours to keep away, and packages are removed before.
    argv += ["--no-x-check", "--no-nouveau-check", "--no-check-for-alternate-installs"]
    if headless:
        argv.append("--no-opengl-files")
        argv += [name for name in ("--no-install-compat32-libs",) if name in known]
    if kernel:
        argv.append(f"--kernel-name={kernel}")
    if "--kernel-module-type" in known:
        argv.append(f"--kernel-module-type={made.flavor}")
    elif made.flavor == "open":  # before 560, where the proprietary ones are what comes unasked
        argv.append("--kernel-module-build-directory=kernel-open")
    argv += [name for name in ("--skip-module-load",) if name in known]
    if beside:
        if "--allow-installation-with-running-driver" not in known:
            raise Failed(
                f"the installer of driver {made.version} does not work while another driver is loaded, and that cannot "
                "be unloaded; reboot the host without anything that uses the GPU, then run this again. Nothing was "
                "changed"
            )
        argv.append("--allow-installation-with-running-driver")
    return argv


def complaint(answer: Result) -> str:
    """Return what an installer said about its failure, in one line."""
    lines = [" ".join(line.split()) for line in (answer.stderr + "\n" + answer.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return " ".join(([answer.error] if answer.error else []) + (errors or lines)[:4]) or f"status {answer.rc}"


def persistence_unit() -> str:
    """Return a unit for the persistence daemon, of which a runfile brings the program only."""
    return (
        f"# {_driver.HEADER}\n[Unit]\nDescription=NVIDIA persistence daemon\nWants=syslog.target\n\n[Service]\n"
        f"Type=forking\nExecStart={PERSISTENCED}\nExecStopPost=/bin/rm -rf /var/run/nvidia-persistenced\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


# ---- deeds ----


class Runfile:
    """A driver that NVIDIA's installer put on the host, or is to; ``packages`` handles those of the system."""

    def __init__(self, run: Run, packages: Any) -> None:
        self.run = run
        self.host = run.host
        self.packages = packages
        self.there = self._look()

    def _look(self) -> Optional[Dict[str, Any]]:
        """Return the driver that an installer put there, as it is remembered; None where there is none."""
        text = self.host.read_text(NOTES, quiet=True)
        version = noted_version(text) if text else None
        if not version or not self.host.exists(UNINSTALL):
            return None
        for name in ("current", "previous"):
            record = self.run.state.get(name) or {}
            if record.get("version") == version and record.get("runfile"):
                return record
        flavors = [_driver_load.module_info(self.host, release)["flavor"] for release in self.run.machine.kernels]
        flavor = next(filter(None, flavors), "proprietary")
        return {"version": version, "flavor": flavor, "packages": {}, "runfile": "", "checksum": ""}

    def _installed(self) -> Optional[Dict[str, Any]]:
        """Return the driver that is installed, from a runfile or packages."""
        driver = self.packages.driver()
        if self.there or not driver:
            return self.there
        return {"version": driver.version, "flavor": driver.flavor, "packages": self.packages.drivers()}

    # ---- making it be there ----

    def present(self) -> Tuple[str, str]:
        """Make the driver be installed; return version and flavour."""
        run, wanted = self.run, self.run.wanted
        made = wish(wanted.runfile_url, wanted.runfile_checksum, wanted.version, wanted.flavor)
        if run.machine.nvswitches:
            raise Failed(
                f"this host has {run.machine.nvswitches} NVSwitch, so CUDA needs the fabric manager of exactly the "
                "driver's version, which a runfile does not have; take the driver from NVIDIA's repository or a mirror "
                "of it"
            )
        self.packages.settle()
        due = self._due(made)
        lacking = [] if due else run.lacking()
        missing = self.packages.missing_to_build() if due or lacking else []
        if due:
            run.refuse_busy(due[0])
            self.packages.refuse_held()
        if due or lacking:
            run.refuse_unsigned(False)
            run.refuse_full()
        run.reasons += due + [f"kernel {release} has no module of it" for release in lacking]
        run.reasons += [f"{name} is not installed" for name in missing]
        run.sign()
        if (due or lacking) and run.check_mode:
            self._predict(made, due)
            return made.version, made.flavor
        cut = self._cut()
        if cut and not due and not run.check_mode:
            self._remember(made, self._fetch(made), cut)
        if due or lacking:
            path = self._fetch(made) if due else ""
            self.packages.require_to_build()
            if due:
                self._change(made, path)
            run.build(run.lacking())  # the installer built for one kernel
            run.prove_modules(made.version, made.flavor)
        self._finish()
        return made.version, made.flavor

    def _cut(self) -> Optional[Dict[str, Any]]:
        """Return the driver that a change began with which was cut off; None where none was."""
        cut = self.run.state.get("changing")
        return cut if cut and cut["version"] else None

    def _due(self, made: Wish) -> List[str]:
        """Return why the installer has to run."""
        there, beside = self.there, sorted(self.packages.drivers())
        old = self._installed()
        if not old and not beside:
            return [f"driver {made.version} ({made.flavor}) is not installed"]
        if not there:
            return [f"{', '.join(beside)} is installed, and driver {made.version} from a runfile is wanted"]
        if there["version"] != made.version:
            return [f"driver {there['version']} is installed, {made.version} is wanted"]
        if there["flavor"] != made.flavor:
            return [f"the {there['flavor']} modules are installed, {made.flavor} ones are wanted"]
        if there["checksum"] not in ("", made.checksum):
            return [f"driver {made.version} was installed from another file"]
        return [f"{', '.join(beside)} stands beside the driver from the runfile"] if beside else []

    def _predict(self, made: Wish, due: List[str]) -> None:
        old = self._installed()
        if due:
            after = f"{made.version} {made.flavor}, runfile\n"
            before = f"{old['version']} {old['flavor']}, {'runfile' if self.there else 'packages'}\n" if old else ""
            self.run.diff.append(
                {"before_header": "driver", "after_header": "driver", "before": before, "after": after}
            )

    def _fetch(self, made: Wish) -> str:
        """Return where the verified runfile lies on the host; it is kept for going back to it."""
        base, name = made.url.rsplit("/", 1)
        wanted = _release.Wanted(
            name="nvidia_driver", root="", sources=[base], cache_dir=self.host.path(_driver.ARCHIVES)
        )
        os.makedirs(wanted.cache_dir, mode=0o755, exist_ok=True)
        entry = {"path": name, "checksum": "sha256:" + made.checksum}
        try:
            path = _release.download(wanted, entry, time.monotonic() + self.run.wanted.timeout)["path"]
        except Refused as refusal:
            raise Failed(f"{refusal}. No driver was changed") from refusal
        with open(path, "rb") as file:
            said = identity(file.read(HEAD).decode("utf-8", "replace"))
        if said != (self.run.machine.arch, made.version):
            what = f"driver {said[1]} for {said[0]}" if said else "no driver of NVIDIA's"
            raise Failed(
                f"{redact(made.url)} is {what}, and driver {made.version} for {self.run.machine.arch} is wanted. No "
                "driver was changed"
            )
        return path

    def _change(self, made: Wish, path: str) -> None:
        """Put a driver in place of what is installed; whatever fails, that comes back."""
        run, was = self.run, self.there
        old = self._cut() or self._installed()  # a change that was cut off began with it
        before = {**(old or {}).get("packages", {}), **self.packages.drivers()}
        self._warn_of_no_way_back(made.version)
        self.packages.keep_drivers(f"driver {made.version}")
        run.refuse_busy(described(made._asdict()))  # somebody may have begun to work since the run began
        # A later run goes on from here if this one is cut off.
        run.remember(changing={**old, "comes": {}} if old else None)
        loaded, obstacle = run.machine.loaded, self._unload()
        try:
            argv = self._arguments(path, made, bool(obstacle))  # what can be refused is, before anything is removed
            if self.packages.drivers():
                self.packages.put_aside()
            self._install(path, made, argv)
            run.build(run.lacking())  # the installer built for one kernel
            run.prove_modules(made.version, made.flavor)
        except Failed as failure:
            problem = self._take_back(made.version, was, before)
            if not problem:
                run.remember(changing=None)
            if loaded and not obstacle:
                problem = problem or _why_not(_driver_load.load, self.host)
            back = f"{described(old)} is installed as before" if old else "no driver is installed, as before"
            head, _newline, tail = str(failure).partition("\n")
            words = f"but {problem}" if problem else back
            raise Failed(f"{head}. It was taken back: {words}" + ("\n" + tail if tail else "")) from failure
        run.machine = _driver_load.look(self.host)
        self._remember(made, path, old)

    def _remember(self, made: Wish, path: str, old: Optional[Dict[str, Any]]) -> None:
        current = {"version": made.version, "flavor": made.flavor, "packages": {}}
        current.update(runfile=path, checksum=made.checksum)
        self.run.remember(current=current, previous=old or self.run.state.get("previous"), changing=None)
        self.packages.tidy()

    def _arguments(self, path: str, made: Any, beside: bool) -> List[str]:
        machine = self.run.machine
        if not machine.kernels:
            raise Failed("no kernel on this host has its headers, so there is none to build the driver for")
        kernel = machine.kernels[-1] if machine.release not in machine.kernels else None
        answer = self.host.run(["sh", path, "--advanced-options"], HELP_SECONDS)
        if answer.rc != 0:
            raise Failed(f"the runfile of driver {made.version} does not say its options: {complaint(answer)}")
        known = known_options(answer.stdout)
        return arguments(known, made, kernel, self.run.wanted.headless, self._temporary(), beside)

    def _temporary(self) -> str:
        """Return a folder that the installer unpacks itself into and runs from: C(/tmp) may run no programs."""
        path = os.path.join(self.host.path(_driver.ARCHIVES), "tmp")
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def _install(self, path: str, made: Any, argv: Sequence[str]) -> None:
        answer = self.host.run(["sh", path, *argv], self.run.wanted.timeout, {"TMPDIR": self._temporary()})
        shutil.rmtree(self._temporary(), ignore_errors=True)
        self.there = self._look()
        if answer.rc != 0:
            raise Failed(f"the installer of driver {made.version} failed: {complaint(answer)}{self._logs()}")
        if not self.there or self.there["version"] != made.version:
            raise Failed(f"the installer of driver {made.version} ended well and installed nothing{self._logs()}")

    def _logs(self) -> str:
        log = self.host.read_text(LOG, LOG_LIMIT, quiet=True)
        return (f"\n{LOG} ends with:\n{_driver.log_tail(log)}" if log else "") + _driver_load.build_log(self.host)

    def _take_back(self, failed: str, was: Optional[Dict[str, Any]], before: Dict[str, str]) -> Optional[str]:
        """Make what was installed be installed again; return what is still wrong, or None."""
        if self.there and was and self.there["version"] == was["version"] != failed and not self.run.lacking():
            return None  # the installer gave up before it removed anything
        problem = _why_not(self._uninstall, failed)
        if was:
            problem = self._reinstall(was)
        if before:
            problem = self.packages.bring_back(before)
        return problem

    def _reinstall(self, record: Dict[str, Any]) -> Optional[str]:
        """Install the driver of a runfile again; return why that is not possible, or None."""
        if not record["runfile"]:
            return f"{described(record)} is gone, for its runfile was not kept"
        made = Wish("", record["checksum"], record["version"], record["flavor"])
        problem = _why_not(
            lambda: self._install(record["runfile"], made, self._arguments(record["runfile"], made, False))
        )
        self.run.build([] if problem else self.run.lacking())
        return problem

    def _finish(self) -> None:
        """Do what stands beside the driver: files, the persistence daemon's unit, the initramfs."""
        run, wanted = self.run, self.run.wanted
        self.packages.leave()
        run.file(_driver.MODPROBE, _driver.modprobe_conf())
        run.file(_driver.MODULES_LOAD, _driver.modules_load(wanted.peermem))
        daemon = wanted.persistence and self.host.exists(PERSISTENCED)
        there = self.host.read_text(UNIT, quiet=True)
        if _driver.HEADER in there or (daemon and not there):  # a unit of somebody else stays
            self._unit(persistence_unit() if daemon else "")
        run.initramfs()

    def _unit(self, text: str) -> None:
        if self.run.file(UNIT, text) and self.host.exists("/run/systemd/system") and not self.run.check_mode:
            self.host.run(["systemctl", "daemon-reload"], HELP_SECONDS)

    # ---- making way, and going ----

    def _unload(self) -> Optional[str]:
        """Unload the driver, the services of ours that use it stopped; return why that is not possible, or None."""
        run = self.run
        if not run.machine.loaded:
            return None
        run.stop_services()
        return _driver_load.unload(self.host, run.machine.modules)

    def _uninstall(self, version: str) -> None:
        """Remove the driver that an installer put there, also one that is there in part."""
        if self.host.exists(UNINSTALL):
            answer = self.host.run([UNINSTALL, "--silent"], UNINSTALL_SECONDS)
            if answer.rc != 0 or self.host.exists(NOTES):
                raise Failed(f"`{UNINSTALL} --silent` failed: {complaint(answer)}{self._logs()}")
        if self.host.exists(f"{_gpu_kernel.DKMS}/{DKMS_NAME}/{version}"):
            self.host.run(["dkms", "remove", f"{DKMS_NAME}/{version}", "--all"], UNINSTALL_SECONDS)
        self.there = self._look()

    def _warn_of_no_way_back(self, version: str) -> None:
        if self.there and not self.there["runfile"]:
            self.run.warnings.append(
                f"the runfile of {described(self.there)} is not there, for this role did not install it; there is no "
                f"way back to it from driver {version}"
            )

    def make_way(self, version: str) -> None:
        """Remove the driver of the runfile for packages, which are there already and only have to be installed."""
        self._warn_of_no_way_back(version)
        self._unload()
        self._uninstall(self.there["version"])

    def come_back(self, record: Dict[str, Any]) -> Optional[str]:
        """Install the driver of the runfile again, because packages failed; return what is still wrong, or None."""
        problem = self._reinstall(record)
        if self.run.machine.loaded:
            problem = problem or _why_not(_driver_load.load, self.host)
        return problem

    def previous(self, record: Dict[str, Any]) -> Tuple[str, str]:
        """Install the driver of the runfile that was there before the last change; no network."""
        run, old = self.run, self._installed()
        self.packages.settle()
        if not self.host.exists(record["runfile"]):
            raise Failed(f"{described(record)} cannot come back: {record['runfile']} is gone. No driver was changed")
        run.refuse_busy(described(record))
        self.packages.refuse_held()
        run.refuse_full()
        run.reasons.append(f"{described(record)} comes back" + (f" in place of {described(old)}" if old else ""))
        if not run.check_mode:
            self.packages.require_to_build()
            self._change(Wish("", record["checksum"], record["version"], record["flavor"]), record["runfile"])
            self._finish()
        return record["version"], record["flavor"]

    def leave(self) -> None:
        """Remove what this role put beside a runfile's driver that is gone; a unit of the package's name comes back."""
        if not self.there and _driver.HEADER in self.host.read_text(UNIT, quiet=True):
            self._unit("")

    def absent(self) -> None:
        """Remove the driver of the runfile; what is beside it goes with the packages."""
        if not self.there:
            return
        self.run.refuse_busy("its removal")
        self.run.reasons.append(f"{described(self.there)}, from a runfile, is removed")
        if not self.run.check_mode:
            obstacle = self._unload()
            if obstacle:
                self.run.warnings.append(f"the driver stays loaded until the next start: {obstacle}")
            self._uninstall(self.there["version"])


def _why_not(deed: Callable[..., Any], *what: Any) -> Optional[str]:
    """Return why something failed, in a phrase, or None."""
    try:
        deed(*what)
    except Failed as failure:
        return str(failure).partition("\n")[0]
    return None
