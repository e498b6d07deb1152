# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA toolkits side by side: built from wheels or found where packages put them, proven, one of them the default.

Private to the collection. ``<root>/<version>/`` is a folder of builds as in C(_versioned); ``<root>/state.json`` says
which builds and which default are in use, which were before, and what was proven of toolkits that packages brought.
"""

import fnmatch
import json
import os
import re
import shutil
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from ansible_collections.gpufleet.workstation.plugins.module_utils import _environment as env
from ansible_collections.gpufleet.workstation.plugins.module_utils._cuda_packages import (
    Repository,
    bring,
    settle_repository,
    system_of,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._cuda_proof import prove
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import (
    Refused,
    builds,
    current,
    fresh_name,
    held,
    key_of,
    listdir,
    read,
    read_marker,
    refuse_without_room,
    remove,
    swap,
    umask,
    unfinished,
    write_file,
    write_marker,
)

LAYOUT = 1  # raised when lay_out() makes something else of the same wheels
WHEELS = "wheels"  # the folder that keeps each wheel's metadata and licence
COMMAND_SECONDS = 60

_VERSION = re.compile(r"\d+\.\d+$")
_SHARED = re.compile(r"(lib.+?\.so)\.\d[\d.]*$")
_PROFILE = """# Written by gpufleet.workstation: CUDA for login shells. Libraries are found without LD_LIBRARY_PATH.
case ":$PATH:" in
  *:{place}/bin:*) ;;
  *) PATH={place}/bin:$PATH ;;
esac
CUDA_HOME={place}
export PATH CUDA_HOME
"""


class Toolkit(NamedTuple):
    """One toolkit that is wanted."""

    version: str
    pins: Sequence[str] = ()  # wheels; without them, packages bring the toolkit
    lock: str = ""
    packages: Sequence[str] = ()
    prefix: Optional[str] = None
    nvcc: Optional[str] = None


class Wanted(NamedTuple):
    """What was asked for; the module's options under their own names."""

    toolkits: Sequence[Toolkit]
    default: str
    root: str
    link: Optional[str]
    profile: Optional[str]
    architectures: Sequence[str]
    run: bool
    wheels: env.Wanted  # how wheels are fetched, the same for every toolkit
    repository: Repository = Repository()
    state: str = "present"


# What is there


def folder_of(wanted: Wanted, version: str) -> str:
    """Return the folder of the builds of a version."""
    return os.path.join(wanted.root, version)


def place_of(wanted: Wanted, toolkit: Toolkit) -> str:
    """Return the folder that users find a toolkit in, whatever build it is."""
    return toolkit.prefix or os.path.join(folder_of(wanted, toolkit.version), "current")


def inputs(wanted: Wanted, toolkit: Toolkit) -> Dict[str, Any]:
    """Return what makes one build differ from another."""
    fetched = env.inputs(wanted.wheels._replace(packages=toolkit.pins, lock=toolkit.lock))
    names = ("packages", "lock", "index_url", "extra_index_urls", "use_index", "find_links")
    return {"layout": LAYOUT, **{name: fetched[name] for name in names if name in fetched}}


def contents(prefix: str) -> Dict[str, int]:
    """Return the size of every program and library, and of the files at the top of include, by path."""
    found = {}
    for part in ("bin", "lib", "nvvm", "include"):
        for folder, folders, files in os.walk(os.path.join(prefix, part)):
            for name in files:
                path = os.path.join(folder, name)
                found[os.path.relpath(path, prefix)] = os.lstat(path).st_size
            if part == "include":
                del folders[:]
    return found


def drift(prefix: str, marker: Dict[str, Any]) -> List[str]:
    """Return one phrase for each difference between a build and what was noted when it was finished."""
    noted, found = marker["packages"], env.distributions(os.path.join(prefix, WHEELS))
    altered = [name for name in sorted(noted) if found.get(name) != noted[name]]
    return [f"{name} is {found.get(name, 'gone')} instead of {noted[name]}" for name in altered] + changed(
        prefix, marker
    )


def changed(prefix: str, marker: Dict[str, Any]) -> List[str]:
    """Return one phrase for each file that is gone or has another size."""
    now = contents(prefix)
    noted = sorted((marker.get("contents") or {}).items())
    return [f"{name} {'was changed' if name in now else 'is gone'}" for name, size in noted if now.get(name) != size]


def built(folder: str, key: str) -> Optional[str]:
    """Return the finished build of a key that nobody has altered, the one in use before others, or None."""
    used = current(folder)
    for name in sorted(builds(folder), key=lambda name: name != used):
        marker = read_marker(os.path.join(folder, name))
        if marker and marker.get("key") == key and not drift(os.path.join(folder, name), marker):
            return name
    return None


def read_state(root: str) -> Dict[str, Any]:
    """Return what was noted at the end of the last run."""
    try:
        state = json.loads(read(os.path.join(root, "state.json")))
    except ValueError:
        state = {}
    return {"now": None, "before": None, "proven": {}, **(state if isinstance(state, dict) else {})}


def installed_packages(host, names: Sequence[str]) -> Dict[str, str]:
    """Return version by name of those packages that are installed, as dpkg or rpm says."""
    if not names:
        return {}
    if system_of(host).name != "el":
        argv = ["dpkg-query", "--show", "--showformat", "${Package} ${Version} ${db:Status-Status}\\n", *names]
    else:
        argv = ["rpm", "--query", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE} installed\\n", *names]
    words = [line.split() for line in host.run(argv, timeout=COMMAND_SECONDS).stdout.splitlines()]
    return {line[0]: line[1] for line in words if len(line) == 3 and line[2] == "installed"}


def satisfied(package: str, versions: Dict[str, str]) -> bool:
    """Say whether a package is installed, in the version that may stand behind its name (name=9.10.2*)."""
    name, equals, version = package.partition("=")
    return name in versions and (not equals or fnmatch.fnmatchcase(versions[name], version))


def noted_packages(toolkit: Toolkit, versions: Dict[str, str]) -> Dict[str, str]:
    """Return version by name of a toolkit's own packages."""
    names = [package.partition("=")[0] for package in toolkit.packages]
    return {name: versions[name] for name in names if name in versions}


def leads_to(link: str) -> Optional[str]:
    """Return where the default link leads, through the alternatives, or None; refuse what is not a link."""
    if os.path.islink(link):
        target = os.readlink(link)
        return os.readlink(target) if os.path.islink(target) and "/alternatives/" in target else target
    if os.path.lexists(link):
        raise Refused(f"{link} is not a link, so no package and no role made it; move it away and run this again")
    return None


def is_chosen(host) -> bool:
    """Say whether the alternative was chosen; otherwise the next package to be installed may change it."""
    texts = [read(host.path(folder + "/cuda")) for folder in ("/var/lib/dpkg/alternatives", "/var/lib/alternatives")]
    return any(text.startswith("manual") for text in texts)


# What is to be done


class Step(NamedTuple):
    """A toolkit, the build that is to be used (None: it has to be made), and why anything is to be done."""

    toolkit: Toolkit
    name: Optional[str]
    reason: str
    prove: bool


def step_for(wanted: Wanted, toolkit: Toolkit, versions: Dict[str, str], state: Dict[str, Any]) -> Step:
    """Return what has to be done for one toolkit."""
    if not toolkit.pins:
        noted = state["proven"].get(place_of(wanted, toolkit)) or {}
        fresh = noted.get("packages") != noted_packages(toolkit, versions)
        compiler = toolkit.nvcc or os.path.join(place_of(wanted, toolkit), "bin", "nvcc")
        deleted = noted.get("compiler") == "nvcc" and not os.path.exists(compiler)
        unproven = fresh or deleted or not enough(wanted, noted)
        return Step(toolkit, None, f"CUDA {toolkit.version} is not proven yet" if unproven else "", unproven)
    folder = folder_of(wanted, toolkit.version)
    key, used = key_of(inputs(wanted, toolkit)), current(folder)
    name = built(folder, key)
    if name is None:
        return Step(toolkit, None, why(wanted, toolkit, used), True)
    proof = (read_marker(os.path.join(folder, name)) or {}).get("proof") or {}
    unproven = not enough(wanted, proof)
    reason = "" if name == used else f"CUDA {toolkit.version} is at hand as {name}"
    return Step(toolkit, name, reason or (f"CUDA {toolkit.version} is not proven yet" if unproven else ""), unproven)


def enough(wanted: Wanted, proof: Dict[str, Any]) -> bool:
    """Say whether a toolkit was proven for what is asked, and on the GPUs as soon as there is a driver for it."""
    compiled = set(wanted.architectures) <= set(proof.get("architectures") or [])
    return compiled and not (wanted.run and proof.get("ran") is None)


def why(wanted: Wanted, toolkit: Toolkit, used: Optional[str]) -> str:
    """Return the phrase that says why a toolkit has to be built."""
    if not used:
        return f"there is no CUDA {toolkit.version} yet"
    path = os.path.join(folder_of(wanted, toolkit.version), used)
    marker = read_marker(path)
    if marker is None:
        return f"{path} is unfinished or gone"
    altered = drift(path, marker)
    if altered:
        return f"{path} was altered: {', '.join(altered[:5])}"
    return f"other packages for CUDA {toolkit.version} than {used} was made from"


def unpinned_default(wanted: Wanted) -> Toolkit:
    """Return the toolkit that is to be the default."""
    for toolkit in wanted.toolkits:
        if toolkit.version == wanted.default:
            return toolkit
    raise Refused(f"default: CUDA {wanted.default} is not among the toolkits; name one of them")


def check_words(wanted: Wanted) -> None:
    """Refuse what cannot be meant."""
    versions = [toolkit.version for toolkit in wanted.toolkits]
    for toolkit in wanted.toolkits:
        if not _VERSION.match(toolkit.version) or versions.count(toolkit.version) > 1:
            raise Refused(f"toolkits: {toolkit.version!r} is no version such as 12.9, or stands there twice")
        if bool(toolkit.pins) == bool(toolkit.prefix):
            raise Refused(f"toolkits: CUDA {toolkit.version} needs either pins of wheels or the prefix of its packages")
        env.pins(toolkit.pins)
    if wanted.toolkits:
        unpinned_default(wanted)


# What changes it


def lay_out(environment: str, prefix: str) -> None:
    """Move what each wheel has in a folder of its own under one prefix, and its metadata and licence beside it."""
    packages = env.site_packages(environment) or environment
    for part in listdir(os.path.join(packages, "nvidia")):
        below = os.path.join(packages, "nvidia", part)
        for folder, _folders, files in os.walk(below):
            for name in files:
                target = os.path.join(prefix, os.path.relpath(os.path.join(folder, name), below))
                if not name.endswith(".py") and not os.path.lexists(target):
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    os.rename(os.path.join(folder, name), target)
    for name in listdir(packages):
        if name.endswith(".dist-info"):
            os.rename(os.path.join(packages, name), os.path.join(prefix, WHEELS, name))
    library = os.path.join(prefix, "lib")
    for name in listdir(library):
        match = _SHARED.match(name)
        if match and not os.path.lexists(os.path.join(library, match.group(1))):
            os.symlink(name, os.path.join(library, match.group(1)))  # what the linker looks for
    if os.path.isdir(library) and not os.path.lexists(os.path.join(prefix, "lib64")):
        os.symlink("lib", os.path.join(prefix, "lib64"))


def build(host, wanted: Wanted, toolkit: Toolkit, lock: int) -> str:
    """Build a toolkit from wheels, prove it, and return its name."""
    folder = folder_of(wanted, toolkit.version)
    wheels = wanted.wheels._replace(name=toolkit.version, packages=toolkit.pins, lock=toolkit.lock)
    made_from, used = inputs(wanted, toolkit), current(folder)
    key = key_of(made_from)
    for rest in unfinished(folder):
        remove(os.path.join(folder, rest))
    refuse_without_room([wanted.root, wheels.cache_dir], wheels.minimum_free_bytes, wheels.ca_file)
    name = fresh_name(folder, key)
    prefix = os.path.join(folder, name)
    before = (read_marker(os.path.join(folder, used)) if used else None) or {}
    model = os.path.join(folder, used) if used and before.get("key") == key else None
    # uv's cache shares its files with a build: what was changed here was changed there as well.
    tainted = sorted(before["packages"]) if model and changed(model, before) else []
    try:
        with env.scratch_space(wheels) as scratch:
            uv, environment = env.Uv(host, wheels, scratch, lock), os.path.join(scratch, "environment")
            uv("venv", "--quiet", "--no-project", "--python", wheels.python, environment)
            os.makedirs(os.path.join(prefix, WHEELS))
            uv.install(environment, os.path.join(prefix, env.LOCKED), model, tainted)
            lay_out(environment, prefix)
            proof = prove(host, prefix, os.path.join(prefix, "bin", "nvcc"), wanted.architectures, scratch, wanted.run)
        os.sync()
        write_marker(
            prefix,
            {
                "key": key,
                "inputs": made_from,
                "built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "packages": env.distributions(os.path.join(prefix, WHEELS)),
                "contents": contents(prefix),
                "proof": proof,
            },
        )
    except BaseException:
        shutil.rmtree(prefix, ignore_errors=True)
        raise
    return name


def prove_again(host, wanted: Wanted, step: Step, versions: Dict[str, str], state: Dict[str, Any]) -> None:
    """Prove a toolkit that is there, and note it beside what was proven of it before."""
    toolkit = step.toolkit
    place = place_of(wanted, toolkit)
    path = os.path.join(folder_of(wanted, toolkit.version), step.name) if step.name else place
    nvcc = toolkit.nvcc or os.path.join(path, "bin", "nvcc")
    with env.scratch_space(wanted.wheels) as scratch:
        proof = prove(host, path, nvcc, wanted.architectures, scratch, wanted.run)
    if step.name:
        write_marker(path, {**(read_marker(path) or {}), "proof": proof})
    else:
        state["proven"][place] = {**proof, "packages": noted_packages(toolkit, versions)}


def choose(host, link: str, place: str, version: str) -> None:
    """Make a toolkit the default by the system's alternatives, so that packages that know them agree."""
    if os.path.islink(link) and "/alternatives/" not in os.readlink(link):
        os.unlink(link)  # one that an installer made by hand
    priority = "{}{}".format(*version.split("."))
    for words in (["--install", link, "cuda", place, priority], ["--set", "cuda", place]):
        result = host.run(["update-alternatives", *words], timeout=COMMAND_SECONDS)
        if result.error or result.rc:
            raise Refused(
                f"update-alternatives could not make {place} the default: {result.error or result.stderr.strip()}"
            )


@contextmanager
def default_kept(host, link: Optional[str]) -> Iterator[None]:
    """Have the default be the one that it was, if what is done meanwhile fails: packages move it by themselves."""
    led = leads_to(link) if link else None
    text = os.readlink(link) if led else ""
    try:
        yield
    except BaseException:
        if led and leads_to(link) != led:
            if "/alternatives/" in text:
                host.run(["update-alternatives", "--set", "cuda", led], timeout=COMMAND_SECONDS)
            else:
                if os.path.lexists(link):
                    os.unlink(link)
                os.symlink(text, link)
        raise


def prune(host, wanted: Wanted, paths: Sequence[str]) -> None:
    """Remove builds, and with a version's last one all that is left of the version."""
    for path in paths:
        remove(path)
        folder = os.path.dirname(path)
        if builds(folder):
            continue
        if wanted.link:
            place = os.path.join(folder, "current")
            host.run(["update-alternatives", "--remove", "cuda", place], timeout=COMMAND_SECONDS)
        shutil.rmtree(folder)


# The whole


def ensure(host, wanted: Wanted, check_mode: bool = False) -> Dict[str, Any]:
    """Make the toolkits so, or in check mode say what would be done; return the module's result."""
    began = time.time()
    check_words(wanted)
    if check_mode:
        with default_kept(host, wanted.link):
            result = decide(host, wanted, None)
    else:
        try:
            with umask(0o022), held(wanted.root, wanted.wheels.timeout) as lock, default_kept(host, wanted.link):
                result = decide(host, wanted, lock)
        except OSError as exc:
            raise Refused(f"{exc.filename or wanted.root}: {exc.strerror}; mend that and run this again") from None
    result["seconds"] = round(time.time() - began, 3)
    return result


def decide(host, wanted: Wanted, lock: Optional[int]) -> Dict[str, Any]:
    """Compare what is wanted with what is there, and without a lock only say so."""
    state = read_state(wanted.root)
    before = describe(wanted, state["now"])
    if wanted.state == "previous":
        return go_back(host, wanted, lock, state, before)
    packages = list(dict.fromkeys(package for toolkit in wanted.toolkits for package in toolkit.packages))
    versions = installed_packages(host, [package.partition("=")[0] for package in packages])
    missing = [package for package in packages if not satisfied(package, versions)]
    lacking = [f"packages are missing: {', '.join(missing)}"] if missing else []
    archives = os.path.join(wanted.root, ".packages")
    if not missing:
        lacking = settle_repository(host, list(versions), wanted.repository, archives, lock is None)
    elif missing and lock is not None:
        bring(host, missing, wanted.repository, archives)
        versions = installed_packages(host, [package.partition("=")[0] for package in packages])
        left = [package for package in missing if not satisfied(package, versions)]
        if left:
            raise Refused(f"{', '.join(left)} is not there, though the package manager reported success")
    elif missing:
        after = before + [f"package {name}" for name in missing]
        return outcome(wanted, state["now"], lacking, [], missing, before, after)
    steps = [step_for(wanted, toolkit, versions, state) for toolkit in wanted.toolkits]
    reasons = lacking + [step.reason for step in steps if step.reason]
    chosen = {}  # type: Dict[str, str]
    for step in steps:
        name = step.name
        if lock is not None and step.toolkit.pins and name is None:
            name = attempt(host, wanted, step, lock)
        elif lock is not None and step.prove:
            prove_again(host, wanted, step, versions, state)
        if step.toolkit.pins:
            chosen[step.toolkit.version] = name or ""
    now = {
        "default": wanted.default if wanted.toolkits else None,
        "builds": chosen,
        "places": {toolkit.version: place_of(wanted, toolkit) for toolkit in wanted.toolkits},
    }
    after = describe(wanted, now, steps)
    reasons += settle(host, wanted, now, False)
    if now != state["now"]:
        state = {**state, "now": now, "before": state["now"] or None}
        reasons = reasons or ["the toolkits in use are noted anew"]
    removed = superfluous(wanted, state)
    if lock is not None:
        if reasons:  # noted first: cut off from here on, this run is completed by the next or gone back from
            write_file(os.path.join(wanted.root, "state.json"), json.dumps(state, indent=2, sort_keys=True) + "\n")
        settle(host, wanted, now, True)
        prune(host, wanted, removed)
    return outcome(wanted, now, reasons, removed, [], before, after)


def attempt(host, wanted: Wanted, step: Step, lock: int) -> str:
    """Build a toolkit; a refusal says what stays in use."""
    try:
        return build(host, wanted, step.toolkit, lock)
    except Refused as exc:
        used = current(folder_of(wanted, step.toolkit.version))
        kept = f"{place_of(wanted, step.toolkit)} still leads to {used}" if used else "nothing was changed"
        raise Refused(f"CUDA {step.toolkit.version} was not taken into use: {exc}; {kept}") from None


def settle(host, wanted: Wanted, now: Dict[str, Any], really: bool) -> List[str]:
    """Take builds and default into use; return one phrase for each change."""
    reasons = []
    for version, name in sorted(now["builds"].items()):
        if name != current(folder_of(wanted, version)) and really:
            swap(folder_of(wanted, version), name)
    version = now["default"]
    if version is None:
        return reasons
    place = now["places"][version]
    if wanted.link and (leads_to(wanted.link) != place or not is_chosen(host)):
        reasons.append(f"{wanted.link} is to lead to {place}")
        if really:
            choose(host, wanted.link, place, version)
    text = _PROFILE.format(place=wanted.link or place)
    if wanted.profile and read(wanted.profile) != text:
        reasons.append(f"{wanted.profile} is to name {wanted.link or place}")
        if really:
            write_file(wanted.profile, text)
    return reasons


def go_back(host, wanted: Wanted, lock: Optional[int], state: Dict[str, Any], before: List[str]) -> Dict[str, Any]:
    """Take into use what was in use before; nothing is built and nothing removed."""
    previous = state["before"]
    if not previous:
        raise Refused(f"{wanted.root} notes no earlier toolkits, so there is nothing to go back to")
    for version, name in sorted(previous["builds"].items()):
        path = os.path.join(folder_of(wanted, version), name)
        marker = read_marker(path)
        altered = drift(path, marker) if marker else ["it is gone"]
        if altered:
            raise Refused(f"CUDA {version} cannot go back to {path}: {', '.join(altered[:5])}")
    for version, place in sorted(previous["places"].items()):
        if version in previous["builds"]:
            continue
        names = list((state["proven"].get(place) or {}).get("packages") or {})
        if not os.path.isdir(place) or len(installed_packages(host, names)) < len(names):
            raise Refused(f"CUDA {version} cannot go back to {place}: its packages were removed; install them again")
    settle(host, wanted, previous, lock is not None)
    if lock is not None:
        state = {**state, "now": previous, "before": state["now"]}
        write_file(os.path.join(wanted.root, "state.json"), json.dumps(state, indent=2, sort_keys=True) + "\n")
    reason = f"CUDA {previous['default']} was the default before"
    return outcome(wanted, previous, [reason], [], [], before, describe(wanted, previous))


def superfluous(wanted: Wanted, state: Dict[str, Any]) -> List[str]:
    """Return the builds that are neither in use nor were before."""
    kept = [noted["builds"] for noted in (state["now"], state["before"]) if noted]
    found = []
    for version in filter(_VERSION.match, listdir(wanted.root)):
        folder = folder_of(wanted, version)
        found += [
            os.path.join(folder, name) for name in builds(folder) if not any(one.get(version) == name for one in kept)
        ]
    return found


def describe(wanted: Wanted, noted: Optional[Dict[str, Any]], steps: Sequence[Step] = ()) -> List[str]:
    """Return lines that say what is in use, or would be."""
    lines = []
    to_build = {step.toolkit.version: step.toolkit for step in steps if step.toolkit.pins and not step.name}
    for version, place in sorted((noted or {}).get("places", {}).items()):
        lines.append(f"CUDA {version} at {place}" + (", the default" if version == noted["default"] else ""))
        name = noted["builds"].get(version)
        marker = read_marker(os.path.join(folder_of(wanted, version), name)) if name else None
        if marker:
            lines += [f"  {package}=={release}" for package, release in sorted(marker["packages"].items())]
        elif version in to_build:
            lines += [f"  {pin}" for pin in sorted(to_build[version].pins)]
    return lines


def outcome(
    wanted: Wanted,
    now: Optional[Dict[str, Any]],
    reasons: List[str],
    removed: List[str],
    missing: List[str],
    before: List[str],
    after: List[str],
) -> Dict[str, Any]:
    """Return the module's result."""
    state = read_state(wanted.root)
    toolkits = []
    for version, place in sorted((now or {}).get("places", {}).items()):
        name = now["builds"].get(version)
        path = os.path.join(folder_of(wanted, version), name) if name else place
        proof = (read_marker(path) or {}).get("proof") if version in now["builds"] else state["proven"].get(place)
        proof = proof or {}
        toolkits.append(
            {
                "version": version,
                "path": place,
                "release": proof.get("release"),
                "compiler": proof.get("compiler"),
                "architectures": proof.get("architectures") or [],
                "ran": proof.get("ran") or 0,
            }
        )
    return {
        "changed": bool(reasons or removed),
        "reason": "; ".join(reasons),
        "toolkits": toolkits,
        "default": now["default"] if now else None,
        "missing": missing,
        "removed": removed,
        "diff": {
            "before_header": wanted.root,
            "before": "".join(line + "\n" for line in before),
            "after_header": wanted.root,
            "after": "".join(line + "\n" for line in after),
        },
    }
