# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs cut into instances (MIG) as a layout says. Private to the collection.

Functions are pure, and deeds are Layout's. A GPU that is as it should be is not touched, and one in use neither.
"""

import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver_load, _gpu_smi
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver import processes_words
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host, Result
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused, put_file

HEADER = "Written by gpufleet.workstation.mig_layout; changes are lost at its next run."
UNIT_NAME = "gpufleet-mig.service"
UNIT = "/etc/systemd/system/" + UNIT_NAME
SCRIPT = "/usr/local/sbin/gpufleet-mig"
ALL = "all"
# What watches GPUs and would keep a change of the mode waiting. NVSwitches' fabric manager is not among them.
WATCHERS = ("nvidia-dcgm", "dcgm", "nvidia-persistenced")
SERVICE_SECONDS = 60


class Profile(NamedTuple):
    """A size that a GPU can be cut into, and how many of it are possible at most."""

    name: str
    number: int
    total: int


class Instance(NamedTuple):
    """A part of a GPU, and where in its memory it begins."""

    name: str
    number: int
    start: int


class Place(NamedTuple):
    """Where instances of a profile can begin, and how many parts of the memory one takes."""

    starts: List[int]
    size: int


# ---- words in, data out ----


def parse_profiles(text: str) -> List[Profile]:
    """Return the profiles in what C(nvidia-smi mig -lgip) prints of one GPU."""
    rows = re.findall(r"^\|\s+\d+\s+MIG (\S+)\s+(\d+)\s+\d+/(\d+)\s", text, re.MULTILINE)
    return [Profile(name, int(number), int(total)) for name, number, total in rows]


def parse_places(text: str) -> Dict[int, Place]:
    """Return the places of each profile, by its number, in what C(nvidia-smi mig -lgipp) prints of one GPU."""
    rows = re.findall(r"^GPU\s+\d+ Profile ID\s+(\d+) Placements?\s*:\s*\{([\d,\s]*)\}:(\d+)", text, re.MULTILINE)
    return {
        int(number): Place([int(start) for start in starts.split(",") if start.strip()], int(size))
        for number, starts, size in rows
    }


def parse_instances(text: str) -> List[Instance]:
    """Return the instances in what C(nvidia-smi mig -lgi) prints of one GPU."""
    rows = re.findall(r"^\|\s+\d+\s+MIG (\S+)\s+\d+\s+(\d+)\s+(\d+):\d+\s", text, re.MULTILINE)
    return [Instance(name, int(number), int(start)) for name, number, start in rows]


def wishes(layout: Dict[Any, Any], gpus: Sequence[Dict[str, Any]]) -> Dict[str, List[str]]:
    """Return the profiles that each GPU is to have, by its UUID; GPUs that the layout does not name are left out."""
    found = {}  # type: Dict[str, List[str]]
    named = {}  # type: Dict[str, str]
    for key in sorted(layout, key=lambda key: str(key) != ALL):  # what names a GPU counts more
        value = layout[key]
        if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
            raise Refused(
                f"the layout of {key} is {value!r}; write a list of profiles such as [3g.20gb, 3g.20gb], or []"
            )
        profiles = [re.sub(r"^MIG\s+", "", name.strip()) for name in value]
        chosen = [gpu for gpu in gpus if str(key) in (ALL, str(gpu["index"]), gpu["uuid"])]
        if not chosen and str(key) != ALL:
            there = ", ".join(f"{gpu['index']} ({gpu['uuid']})" for gpu in gpus)
            raise Refused(f"the layout names GPU {key}, and there is {there or 'none'}")
        for gpu in chosen:
            if not gpu["uuid"]:
                raise Refused(f"GPU {gpu['index']} does not say its UUID, so it is not well; see gpu_facts")
            if str(key) != ALL and named.setdefault(gpu["uuid"], str(key)) != str(key):
                raise Refused(f"the layout names GPU {gpu['index']} twice, as {named[gpu['uuid']]} and as {key}")
            found[gpu["uuid"]] = profiles
    return found


def misfit(profiles: Sequence[str], known: Sequence[Profile], places: Dict[int, Place]) -> Optional[str]:
    """Return why a GPU cannot be cut so, or None."""
    by_name = {profile.name: profile for profile in known}
    unknown = sorted({name for name in profiles if name not in by_name})
    if unknown:
        return f"has no profile {', '.join(unknown)}, but {', '.join(by_name) or 'none at all'}"
    for name in sorted(set(profiles)):
        if profiles.count(name) > by_name[name].total:
            return f"can have {name} {by_name[name].total} times at most, and not {profiles.count(name)} times"
    if all(by_name[name].number in places for name in profiles):
        rows = [places[by_name[name].number] for name in ordered(profiles, known, places)]
        if not _placed(rows, set()):
            return f"has no room for {', '.join(profiles)} side by side"
    return None


def _placed(rows: Sequence[Place], taken: Any) -> bool:
    """Say whether there is a place for each, without two in one."""
    if not rows:
        return True
    for start in rows[0].starts:
        parts = set(range(start, start + rows[0].size))
        if not parts & taken and _placed(rows[1:], taken | parts):
            return True
    return False


def ordered(profiles: Sequence[str], known: Sequence[Profile], places: Dict[int, Place]) -> List[str]:
    """Return the profiles in an order in which each finds its place: what can lie in the fewest places comes first."""
    number = {profile.name: profile.number for profile in known}

    def key(name: str) -> Any:
        place = places.get(number[name], Place([], 0))
        return (-place.size, len(place.starts), name)

    return sorted(profiles, key=key)


def words(mode: Optional[bool], names: Sequence[str]) -> str:
    """Return a GPU's layout as a person says it."""
    return (", ".join(sorted(names)) or "MIG without instances") if mode else "MIG off"


def script(layouts: Dict[str, List[str]]) -> str:
    """Return the program that makes the instances again after a start of the host, which does not keep them."""
    lines = [f"lay_out {uuid} {','.join(profiles)}" for uuid, profiles in sorted(layouts.items()) if profiles]
    return (
        f"""#!/bin/sh
# {HEADER}
# Instances do not outlive a start of the host, on later GPUs the mode neither. A GPU that has instances is left alone.
set -u
failed=0
lay_out() {{
    mode=$(nvidia-smi --query-gpu=mig.mode.current --format=csv,noheader -i "$1")
    [ "$mode" = Enabled ] || nvidia-smi -i "$1" -mig 1 || failed=1
    nvidia-smi mig -lgi -i "$1" | grep -q ' MIG ' && return
    nvidia-smi mig -cgi "$2" -C -i "$1" || failed=1
}}
"""
        + "\n".join(lines)
        + "\nexit $failed\n"
    )


def unit() -> str:
    """Return the unit that runs the program, before what hands GPUs to jobs."""
    return (
        f"# {HEADER}\n[Unit]\nDescription=GPUs cut into instances (MIG)\n"
        "After=nvidia-persistenced.service nvidia-fabricmanager.service\n"
        "Before=nvidia-dcgm.service docker.service kubelet.service slurmd.service\n\n"
        f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={SCRIPT}\n\n[Install]\nWantedBy=multi-user.target\n"
    )


# ---- deeds ----


def forget(change: Callable[[str, str], bool], host: Host, check_mode: bool) -> None:
    """Have no instances made any more, for the driver goes; C(change) writes a file, or removes it."""
    _disable(host, check_mode)
    for path in (UNIT, SCRIPT):
        change(path, "")


def _disable(host: Host, check_mode: bool) -> None:
    """Have systemd forget the unit before its file goes."""
    if host.exists(UNIT) and host.exists("/run/systemd/system") and not check_mode:
        host.run(["systemctl", "disable", UNIT_NAME], SERVICE_SECONDS)


class Layout:
    """The GPUs of a host, and how they are cut."""

    def __init__(self, host: Host, nvidia_smi: str, timeout: float, check_mode: bool) -> None:
        self.host = host
        self.nvidia_smi = nvidia_smi
        self.timeout = timeout
        self.check_mode = check_mode
        self.reasons = []  # type: List[str]
        self.diff = []  # type: List[Dict[str, str]]
        self.waiting = []  # type: List[Dict[str, Any]]
        self.stopped = []  # type: List[str]
        self.version = None  # type: Optional[str]
        self.known = {}  # type: Dict[str, Any]  # profiles and places, by UUID

    # ---- looking ----

    def _ask(self, *argv: str) -> Result:
        return self.host.run([self.nvidia_smi, *argv], self.timeout)

    def _must(self, gpu: Dict[str, Any], *argv: str) -> str:
        answer = self._ask(*argv, "-i", gpu["uuid"])
        if answer.rc != 0:
            said = answer.error or " ".join((answer.stdout + answer.stderr).split())[-400:] or f"status {answer.rc}"
            raise Refused(f"`nvidia-smi {' '.join(argv)}` failed for GPU {gpu['index']}: {said}")
        return answer.stdout

    def gpus(self) -> List[Dict[str, Any]]:
        """Return the GPUs, each with its mode and its instances."""
        answer = self._ask("-q", "-x")
        smi = _gpu_smi.parse_smi(answer.stdout)[0] if answer.rc == 0 else None
        if not smi:
            said = answer.error or " ".join((answer.stdout + answer.stderr).split())[:200]
            raise Refused(
                f"nvidia-smi does not say which GPUs there are: {said}; role nvidia_driver installs the driver"
            )
        self.version = smi["driver_version"]
        for gpu in smi["gpus"]:
            told = self._ask("mig", "-lgi", "-i", gpu["uuid"]) if gpu["mig_mode"] else None
            gpu["instances"] = parse_instances(told.stdout) if told and told.rc == 0 else []
        return smi["gpus"]

    def _again(self, gpu: Dict[str, Any]) -> Dict[str, Any]:
        return next(one for one in self.gpus() if one["uuid"] == gpu["uuid"])

    @staticmethod
    def _is(gpu: Dict[str, Any], profiles: Sequence[str]) -> bool:
        """Say whether a GPU is cut so; an instance with none or several compute instances is not whole."""
        if not profiles:
            return not gpu["mig_mode"] and not gpu["mig_mode_pending"]
        devices = [device["gpu_instance_id"] for device in gpu["mig_devices"] or []]
        return (
            bool(gpu["mig_mode"] and gpu["mig_mode_pending"])
            and sorted(one.name for one in gpu["instances"]) == sorted(profiles)
            and sorted(devices) == sorted(one.number for one in gpu["instances"])
        )

    def _misfit(self, gpu: Dict[str, Any], profiles: Sequence[str]) -> Optional[str]:
        known, places = self._profiles(gpu)
        return misfit(profiles, known, places)

    def _profiles(self, gpu: Dict[str, Any]) -> Any:
        """Return the profiles of a GPU whose mode is on, and their places; it is asked once."""
        uuid = gpu["uuid"]
        if uuid not in self.known:
            self.known[uuid] = parse_profiles(self._must(gpu, "mig", "-lgip")), self._places(uuid)
        return self.known[uuid]

    def _places(self, uuid: str) -> Dict[int, Place]:
        answer = self._ask("mig", "-lgipp", "-i", uuid)
        return parse_places(answer.stdout if answer.rc == 0 else "")

    # ---- the whole ----

    def ensure(self, layout: Dict[str, Any]) -> Dict[str, Any]:
        """Make the GPUs be cut as the layout says, and return what the module returns."""
        if self.check_mode and self._ask("-q", "-x").rc != 0:
            self.reasons.append("how the GPUs are cut is not known before their driver is there")
            return self._result([])
        gpus = self.gpus()
        wanted = wishes(layout, gpus)
        due = [gpu for gpu in gpus if gpu["uuid"] in wanted and not self._is(gpu, wanted[gpu["uuid"]])]
        for gpu in due:  # whatever can be refused is, before the first change
            self._refuse(gpu, wanted[gpu["uuid"]])
        for gpu in due:
            after = words(bool(wanted[gpu["uuid"]]), wanted[gpu["uuid"]])
            before = words(gpu["mig_mode"], [one.name for one in gpu["instances"]])
            self.reasons.append(f"GPU {gpu['index']} has {before}, and {after} is wanted")
            head = f"GPU {gpu['index']} ({gpu['uuid']})"
            self.diff.append(
                {"before_header": head, "after_header": head, "before": before + "\n", "after": after + "\n"}
            )
        if due and not self.check_mode:
            self._stop()
            try:
                for gpu in due:
                    self._cut(gpu, wanted[gpu["uuid"]])
            finally:
                for name in reversed(self.stopped):
                    self.host.run(["systemctl", "start", name], SERVICE_SECONDS)
        self._remember({uuid: profiles for uuid, profiles in wanted.items() if profiles})
        now = self.gpus() if due and not self.check_mode else gpus
        return self._result([gpu for gpu in now if gpu["uuid"] in wanted])

    def _result(self, gpus: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
        names = ", ".join(str(gpu["index"]) for gpu in self.waiting)
        return {
            "changed": bool(self.reasons),
            "reasons": self.reasons,
            "version": self.version,
            "gpus": [
                {"index": gpu["index"], "uuid": gpu["uuid"], "instances": sorted(one.name for one in gpu["instances"])}
                for gpu in gpus
            ],
            "reboot": {
                "needed": bool(self.waiting),
                "reason": f"the MIG mode of GPU {names} changes with a reset that is not possible" if names else "",
                "processes": _driver_load.users(self.host) if names else [],
            },
            "diff": self.diff,
        }

    def _refuse(self, gpu: Dict[str, Any], profiles: Sequence[str]) -> None:
        name = f"GPU {gpu['index']} ({gpu['name']})"
        if gpu["mig_mode"] is None:
            raise Refused(f"{name} has no MIG; name only GPUs that have it (nvidia_driver_mig). Nothing was changed")
        users = _driver_load.users(self.host, gpu["minor_number"])
        if users:
            raise Refused(
                f"{processes_words(users)} use {name}, so it is left as it is; run this again when they have ended. "
                "Nothing was changed"
            )
        why = self._misfit(gpu, profiles) if profiles and gpu["mig_mode"] else None
        if why:
            raise Refused(f"{name} {why}. Nothing was changed")

    def _stop(self) -> None:
        """Stop what watches the GPUs, for as long as they are changed."""
        if self.host.exists("/run/systemd/system"):
            for name in WATCHERS:
                if self.host.run(["systemctl", "is-active", "--quiet", name], SERVICE_SECONDS).rc == 0:
                    self.host.run(["systemctl", "stop", name], SERVICE_SECONDS)
                    self.stopped.append(name)

    def _cut(self, gpu: Dict[str, Any], profiles: Sequence[str]) -> None:
        """Cut one GPU; what was there comes back if that fails."""
        try:
            self._clear(gpu)
            now = self._mode(gpu, bool(profiles))
            if bool(now["mig_mode"]) != bool(profiles):
                self.waiting.append(now)
                return
            if not profiles:
                return
            why = None if gpu["mig_mode"] else self._misfit(gpu, profiles)  # unknown as long as the mode was off
            if why:
                raise Refused(f"GPU {gpu['index']} ({gpu['name']}) {why}")
            self._must(gpu, "mig", "-cgi", ",".join(ordered(profiles, *self._profiles(gpu))), "-C")
            now = self._again(gpu)
            if not self._is(now, profiles):
                got = words(now["mig_mode"], [one.name for one in now["instances"]])
                raise Refused(f"nvidia-smi reported success, and GPU {gpu['index']} has {got}")
        except Refused as refusal:
            raise Refused(f"{refusal}. {self._take_back(gpu)}") from refusal

    def _clear(self, gpu: Dict[str, Any]) -> None:
        """Remove the instances of a GPU."""
        if gpu["mig_mode"] and gpu["mig_devices"]:
            self._must(gpu, "mig", "-dci")
        if gpu["mig_mode"] and gpu["instances"]:
            self._must(gpu, "mig", "-dgi")

    def _mode(self, gpu: Dict[str, Any], on: bool) -> Dict[str, Any]:
        """Turn a GPU's mode on or off, with a reset where it waits for one; return how it is then."""
        if bool(gpu["mig_mode"]) == on == bool(gpu["mig_mode_pending"]):
            return gpu
        self._must(gpu, "-mig", "1" if on else "0")
        now = self._again(gpu)
        if bool(now["mig_mode"]) != on:
            self._ask("--gpu-reset", "-i", gpu["uuid"])
            now = self._again(gpu)
        return now

    def _take_back(self, before: Dict[str, Any]) -> str:
        """Cut a GPU as it was, and return a sentence about it."""
        try:
            self._clear(self._again(before))
            self._mode(self._again(before), bool(before["mig_mode"]))
            if before["instances"]:
                places = ",".join(f"{one.name}:{one.start}" for one in before["instances"])
                if self._ask("mig", "-cgi", places, "-C", "-i", before["uuid"]).rc != 0:  # an older one knows no places
                    self._clear(self._again(before))
                    names = ordered([one.name for one in before["instances"]], *self._profiles(before))
                    self._must(before, "mig", "-cgi", ",".join(names), "-C")
            now = self._again(before)
        except Refused as refusal:
            return f"It could not be taken back: {refusal}"
        got = words(now["mig_mode"], [one.name for one in now["instances"]])
        return f"It was taken back: GPU {before['index']} has {got}"

    # ---- what outlives a start of the host ----

    def _remember(self, layouts: Dict[str, List[str]]) -> None:
        """Have the instances made again at each start, in the order in which they fit; or no more."""
        noted = re.findall(r"^lay_out (\S+) (\S+)$", self.host.read_text(SCRIPT, quiet=True), re.MULTILINE)
        there = {uuid: names.split(",") for uuid, names in noted}
        for uuid, profiles in layouts.items():
            same = sorted(there.get(uuid, [])) == sorted(profiles)
            layouts[uuid] = there[uuid] if same else self._order(uuid, profiles)
        if not layouts:
            _disable(self.host, self.check_mode)
        changed = [
            self._file(SCRIPT, script(layouts) if layouts else "", 0o755),
            self._file(UNIT, unit() if layouts else "", 0o644),
        ]
        if not self.host.exists("/run/systemd/system") or self.check_mode:
            return
        if any(changed):
            self.host.run(["systemctl", "daemon-reload"], SERVICE_SECONDS)
        if layouts and self.host.run(["systemctl", "is-enabled", "--quiet", UNIT_NAME], SERVICE_SECONDS).rc != 0:
            self.reasons.append(f"{UNIT_NAME} is enabled")
            answer = self.host.run(["systemctl", "enable", UNIT_NAME], SERVICE_SECONDS)
            if answer.rc != 0:
                raise Refused(f"`systemctl enable {UNIT_NAME}` failed: {answer.error or answer.stderr.strip()}")

    def _order(self, uuid: str, profiles: List[str]) -> List[str]:
        if uuid not in self.known:
            answer = self._ask("mig", "-lgip", "-i", uuid)
            self.known[uuid] = parse_profiles(answer.stdout if answer.rc == 0 else ""), self._places(uuid)
        known, places = self.known[uuid]
        if {profile.name for profile in known} >= set(profiles):
            return ordered(profiles, known, places)
        return sorted(profiles, reverse=True)  # not known before the reboot; the larger ones first

    def _file(self, path: str, text: str, mode: int) -> bool:
        diff = put_file(self.host.path(path), path, text, self.check_mode, mode)
        if diff is None:
            return False
        self.reasons.append(f"{path} is written" if text else f"{path} is removed")
        self.diff.append(diff)
        return True
