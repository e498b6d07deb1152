# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each component could be on a host, best first, and what stands against it. Pure; private to the collection.

Every component is a function that yields its options in order of preference. An option that cannot be is yielded as
well, with the reason in C(against): a plan says with it why nothing newer was taken, a refusal why nothing fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._versions import (
    LONG_TERM,
    NEWEST,
    fits,
    number,
    runs_on,
)

MACHINE = "x86_64"
ELSEWHERE = "elsewhere"
OPEN_BY_DEFAULT_FROM = 560  # the first branch whose open modules NVIDIA installs unless told otherwise
SUFFIXED_UNTIL = 580  # the last branch whose packages in NVIDIA's repository carry the branch in their names
NVCC_IN_WHEELS = 13  # the first major version of CUDA whose wheels bring nvcc
SUPPORTED = ("LTSB", "PB", "NFB")


class Question(NamedTuple):
    """One host, what is wished for it, and the data."""

    host: dict[str, Any]
    wishes: dict[str, Any]
    data: dict[str, Any]

    @property
    def system(self) -> str:
        return self.host["system"]

    @property
    def glibc(self) -> str:
        return self.data["python"]["systems"][self.system]["glibc"]

    def limits(self) -> dict[str, dict[str, Any]]:
        """Return what the data says of each GPU architecture in the host, by its name."""
        known = self.data["gpus"]["architectures"]
        return {gpu["architecture"]: known[gpu["architecture"]] for gpu in self.host["gpus"]}

    def has(self, source: str) -> bool:
        return source in self.wishes["sources"]


class Option(NamedTuple):
    """Something that a component could be: its version, where from, and what stands against it (None: nothing)."""

    version: str
    source: str
    against: str | None
    detail: dict[str, Any]


class Interpreter(NamedTuple):
    """A Python that the host has, or that deadsnakes' archive or uv can bring."""

    version: str
    source: str


# ---- driver --------------------------------------------------------------------------------------


def drivers(question: Question) -> Iterator[Option]:
    """Yield the NVIDIA drivers that the host could have.

    C(detail) has C(branch), C(type), C(end_of_life), C(flavor) and C(packages).
    """
    host, wishes = question.host, question.wishes
    loaded = _loaded(question) if host.get("driver_version") else None
    if loaded and not wishes["driver_managed"]:
        yield loaded
        return
    found = []
    for row in question.data["drivers"]["branches"]:
        if not fits(row["branch"], wishes["driver_branch"]) and not fits(row["latest"] or "0", wishes["driver_branch"]):
            continue
        for source, version, packages, flavors, missing in _driver_sources(question, row):
            for flavor in _flavors(question, row):
                against = _against_driver(question, row, flavor) or missing
                if not against and flavor not in flavors:
                    against = f"is not known to be had from {source} for {question.system} with {flavor} modules"
                names = _driver_packages(question, row, flavor, source, packages)
                detail = {name: row[name] for name in ("branch", "type", "end_of_life")}
                detail.update(flavor=flavor, packages=names)
                found.append((_driver_rank(question, row, source), Option(version, source, against, detail)))
    yield from (option for _rank, option in sorted(found, key=lambda pair: pair[0]))
    if loaded:
        yield loaded


def _loaded(question: Question) -> Option:
    """Return the driver that is loaded."""
    version, wish = question.host["driver_version"], question.wishes["driver_branch"]
    branch = version.split(".", maxsplit=1)[0]
    against = _against_driver(question, {"branch": branch, "latest": version}, None)
    if not against and not fits(version, wish):
        against = f"is loaded, and stack_driver_branch asks for {wish}"
    detail = {"branch": branch, "flavor": None, "packages": [], "type": None, "end_of_life": None}
    return Option(version, "loaded", against, detail)


def _driver_sources(
    question: Question, row: dict[str, Any]
) -> Iterator[tuple[str, str, list[str], list[str], str | None]]:
    """Yield source, version, packages and flavours of a branch, and why the host cannot have it from there.

    First the sources that have it, then "elsewhere".
    """
    both = ["open", "proprietary"]
    tables, branch = question.data["drivers"]["sources"], row["branch"]
    if question.has("distribution"):
        for there in tables["distribution"].get(question.system, []):
            if there["branch"] == branch:
                late = there.get("security_updates") and not question.host["security_updates"]
                missing = "is among the security updates, and the host's apt has no source of them" if late else None
                yield "distribution", there["version"], there["packages"], there["flavors"], missing
    span = tables["nvidia"].get(question.system)
    if (
        question.has("nvidia")
        and span
        and row["latest"]
        and int(span["first"]) <= int(branch) <= int(span["last"] or 9999)
    ):
        yield "nvidia", row["latest"], [], span.get("flavors", both), None
    if question.has("runfile") and row["latest"]:
        yield "runfile", row["latest"], [], both, None
    if "nvidia_driver" not in question.wishes["components"]:
        yield ELSEWHERE, row["latest"] or "", [], both, None


def _driver_rank(question: Question, row: dict[str, Any], source: str) -> tuple[int, int, int]:
    """Return a key to sort drivers by: supported long-term branches, then production, then others; the newest first."""
    supported = (row["end_of_life"] or "9") >= question.data["drivers"]["as_of"][: len(row["end_of_life"] or "9")]
    rank = SUPPORTED.index(row["type"]) if supported and row["type"] in SUPPORTED else len(SUPPORTED)
    if question.wishes["driver_branch"] not in ("", LONG_TERM):
        rank = 0
    order = ["distribution", "nvidia", "runfile", ELSEWHERE]
    return (rank, -int(row["branch"]), order.index(source))


def _flavors(question: Question, row: dict[str, Any]) -> list[str]:
    """Return the flavours of a branch's kernel modules to consider, the preferred one first."""
    wish = question.wishes["driver_flavor"]
    if wish != "auto":
        return [wish]
    needs = {limit["open_modules"] for limit in question.limits().values()}
    if "unsupported" in needs:
        return ["proprietary"]
    if "required" in needs or (row["open"] and int(row["branch"]) >= OPEN_BY_DEFAULT_FROM):
        return ["open"] if "required" in needs or not row["proprietary"] else ["open", "proprietary"]
    return ["proprietary"] if row["proprietary"] else ["open"]


def _against_driver(question: Question, row: dict[str, Any], flavor: str | None) -> str | None:
    for name, limit in question.limits().items():
        if flavor == "open" and limit["open_modules"] == "unsupported":
            return f"has open modules, and {_models(question, name)} needs the proprietary ones"
        if flavor == "proprietary" and limit["open_modules"] == "required":
            return f"has proprietary modules, and {_models(question, name)} needs the open ones"
    for name, limit in question.limits().items():
        if limit["last_driver"] and int(row["branch"]) > limit["last_driver"]:
            return f"does not run {_models(question, name)}, which ends with branch {limit['last_driver']}"
    if flavor and not row[flavor]:
        return f"has no {flavor} modules"
    for gpu in question.host["gpus"]:
        if gpu.get("first_driver") and int(row["branch"]) < gpu["first_driver"]:
            return f"does not run {gpu['model']}, which begins with branch {gpu['first_driver']}"
    floor = _kernel_floor(question, row)
    if floor and number(question.host["kernel"])[:2] < number(floor):
        return f"needs kernel {floor}, and {question.host['kernel']} runs here"
    return None if row["latest"] else "has no release that is known"


def _kernel_floor(question: Question, row: dict[str, Any]) -> str | None:
    """Return the oldest kernel for a branch; where it is not known, that of the next older branch: it never falls."""
    for other in question.data["drivers"]["branches"]:
        if other["kernel_floor"] and int(other["branch"]) <= int(row["branch"]):
            return other["kernel_floor"]
    return None


def _driver_packages(
    question: Question, row: dict[str, Any], flavor: str, source: str, packages: list[str]
) -> list[str]:
    names = question.data["drivers"]["packages"]
    if source == "distribution":
        family = names["ubuntu" if question.system.startswith("ubuntu") else "debian"]
        if flavor == "open":
            return [name + family["open_suffix"] for name in packages] + family.get("extra_open", [])
        return packages
    if source == "nvidia":
        return [name.format(branch=row["branch"]) for name in names[_nvidia_family(question, row["branch"])][flavor]]
    return []


def _nvidia_family(question: Question, branch: str) -> str:
    if not question.system.startswith("el"):
        return "nvidia_deb" if int(branch) <= SUFFIXED_UNTIL else "nvidia_deb_590"
    return "nvidia_el" if question.system in ("el8", "el9") else f"nvidia_{question.system}"


def repository(question: Question) -> dict[str, Any]:
    """Return NVIDIA's repository for the host: its address, where its key lies, and the key's fingerprint if known."""
    cuda = question.data["cuda"]
    system = cuda["systems"][question.system]
    url = cuda["repository"].format(folder=system["folder"], machine=question.host["machine"])
    key = cuda["keys"].get(system["key"] or "", {"id": None, "fingerprint": None})
    return {
        "url": url,
        "key": f"{url}{key['id'].lower()}.pub" if key["id"] else None,
        "fingerprint": key["fingerprint"],
    }


def fabric_manager(question: Question, driver: Option) -> dict[str, Any]:
    """Return whether the host needs the fabric manager, of exactly the driver's version, and its package's name."""
    always = [gpu["model"] for gpu in question.host["gpus"] if gpu.get("fabric_manager") == "always"]
    if not always and not question.host.get("nvswitches"):
        return {"wanted": False, "package": None, "reason": "no NVSwitch"}
    names, package = question.data["drivers"]["packages"], None
    if driver.source == "distribution":
        package = names["ubuntu" if question.system.startswith("ubuntu") else "debian"]["fabric_manager"]
    elif driver.source == "nvidia":
        package = names[_nvidia_family(question, driver.detail["branch"])]["fabric_manager"]
    why = f"{always[0]} needs it" if always else f"{question.host['nvswitches']} NVSwitch"
    package = package.format(branch=driver.detail["branch"]) if package else None
    return {"wanted": True, "package": package, "reason": f"{why}; its version must be the driver's, {driver.version}"}


# ---- CUDA toolkit, cuDNN, NCCL -------------------------------------------------------------------


def toolkits(question: Question, driver: Option) -> Iterator[Option]:
    """Yield CUDA toolkits, the newest first; C(detail) has C(toolkit) (major and minor version) and C(packages)."""
    wish = question.wishes["cuda_version"]
    for row in question.data["cuda"]["toolkits"]:
        if not fits(row["latest"], wish) and not fits(row["version"], wish):
            continue
        against = _against_toolkit(question, driver, row, bool(wish) and wish != NEWEST)
        sources = list(_toolkit_sources(question, row))
        if "cuda" not in question.wishes["components"]:
            sources.append((ELSEWHERE, row["latest"], []))
        for source, version, packages in sources:
            yield Option(version, source, against, {"toolkit": row["version"], "packages": packages})


def _toolkit_sources(question: Question, row: dict[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    cuda = question.data["cuda"]
    there = cuda["systems"].get(question.system)
    if question.has("nvidia") and there and in_repository(there, row["version"]):
        yield "nvidia", row["latest"], [f"cuda-toolkit-{row['version'].replace('.', '-')}"]
    own = cuda["distribution"].get(question.system)
    if question.has("distribution") and own and own["version"] == row["version"]:
        yield "distribution", own["latest"], own["packages"]
    if question.has("pypi") and row["pypi"]:
        yield "pypi", row["latest"], [f"cuda-toolkit[all]=={row['latest']}"]


def in_repository(there: dict[str, Any], toolkit: str) -> bool:
    """Return whether NVIDIA's repository of a system has a toolkit."""
    newest = there["last"] is None or number(toolkit) <= number(there["last"])
    return number(there["first"]) <= number(toolkit) and newest


def _against_toolkit(question: Question, driver: Option, row: dict[str, Any], asked_for: bool) -> str | None:
    against = against_cuda(question, driver.version, row)
    if against or not driver.version:
        return against
    native = row["native_driver"]
    if not asked_for and (native is None or number(driver.version) < number(native)):
        made_for = f"is made for driver {native}" if native else "is made for a driver that is not known"
        return f"{made_for}, and {driver.version} is the one to count on"
    return None


def against_cuda(question: Question, driver: str | None, row: dict[str, Any]) -> str | None:
    """Return why a toolkit cannot work for the host's GPUs or with a driver (None: not known), or None."""
    version = number(row["version"])
    for name, limit in question.limits().items():
        if limit["last_cuda"] and version > number(limit["last_cuda"]):
            return f"cannot compile for {_models(question, name)}, whose last is {limit['last_cuda']}"
        if limit["first_cuda"] and version < number(limit["first_cuda"]):
            return f"cannot compile for {_models(question, name)}, whose first is {limit['first_cuda']}"
    if driver and number(driver) < number(row["driver_floor"]):
        return f"needs driver {row['driver_floor']}, and {driver} is the one to count on"
    return None


def against_cudnn(question: Question, version: str) -> str | None:
    """Return why a cuDNN cannot work for the host's GPUs, or None."""
    for name, limit in question.limits().items():
        if limit["last_cudnn"] and number(version) > number(limit["last_cudnn"]):
            return f"has no kernels for {_models(question, name)}, whose last is {limit['last_cudnn']}"
    return None


def library(question: Question, name: str, toolkit: str) -> str | None:
    """Return the newest cuDNN or NCCL for a toolkit that has kernels for every GPU of the host, or None."""
    major = toolkit.split(".", maxsplit=1)[0]
    lasts = [limit["last_cudnn"] for limit in question.limits().values() if limit["last_cudnn"]]
    for row in question.data["cuda"][name]:
        if major not in row["cuda"]:
            continue
        if name == "cudnn" and any(number(row["version"]) > number(last) for last in lasts):
            continue
        return row["version"]
    return None


# ---- Python and the frameworks -------------------------------------------------------------------


def interpreters(question: Question) -> list[Interpreter]:
    """Return the Pythons that the host has or can have and that are wished for, the preferred one first."""
    host, wish = question.host, question.wishes["python_version"]
    python = question.data["python"]
    own = [Interpreter(host["python"], "distribution")] if host.get("python") else []
    if wish == "distribution":
        return own
    further = []
    if question.has("deadsnakes"):
        further += [Interpreter(version, "deadsnakes") for version in python["deadsnakes"].get(question.system, [])]
    if question.has("uv") and number(question.glibc) >= number(python["managed_glibc"]):
        further += [Interpreter(version, "uv") for version in python["managed"]]
    return [interpreter for interpreter in own + further if wish == "auto" or fits(interpreter.version, wish)]


def science(question: Question, python: str, numpy: str) -> dict[str, Any] | None:
    """Return the newest scientific packages for a Python and a range of NumPy that run on the host, or None."""
    for row in question.data["python"]["science"]:
        if row["python"] != python or (numpy and not fits(row["packages"]["numpy"], numpy)):
            continue
        if number(row["glibc"]) <= number(question.glibc):
            return row["packages"]
    return None


def pytorches(question: Question, driver: Option | None) -> Iterator[Option]:
    """Yield wheels of PyTorch with a Python for each: the newest release first, within it the index' own wheel first.

    C(detail) has C(variant), C(architectures), C(python) (an Interpreter), C(numpy) and C(row).
    """
    data, wishes = question.data["pytorch"], question.wishes
    pythons = interpreters(question)
    for row in data["releases"]:
        variants = [(row["pypi"], "pypi")] if question.has("pypi") else []
        variants += [(variant, "pytorch") for variant in row["variants"]] if question.has("pytorch") else []
        numpy = "<2" if number(row["version"]) < number(data["numpy2_from"]) else ""
        for variant, source in variants:
            if not fits(row["version"], wishes["pytorch_version"]) or wishes["pytorch_variant"] not in ("", variant):
                continue
            detail = {"variant": variant, "architectures": row["variants"][variant], "numpy": numpy, "row": row}
            against = _against_wheel(question, driver, row, variant, source)
            if against or not pythons:
                yield Option(row["version"], source, against or "finds no Python", {**detail, "python": None})
                continue
            for python in pythons:
                against = _against_python(question, row, python, numpy)
                yield Option(row["version"], source, against, {**detail, "python": python})


def _against_wheel(
    question: Question, driver: Option | None, row: dict[str, Any], variant: str, source: str
) -> str | None:
    for gpu in question.host["gpus"]:
        if not runs_on(row["variants"][variant], gpu["compute_capability"]):
            return f"has no {sm(gpu['compute_capability'])} ({gpu['model']})"
    for name, limit in question.limits().items():
        if (
            source == "pypi"
            and row["cudnn"]
            and limit["last_cudnn"]
            and number(row["cudnn"]) > number(limit["last_cudnn"])
        ):
            return f"brings cuDNN {row['cudnn']}, which has no kernels for {_models(question, name)}"
    floor = question.data["pytorch"]["driver_floors"][variant]
    return _against_floors(question, driver, floor, row["glibc"])


def _against_floors(question: Question, driver: Option | None, driver_floor: str, glibc: str) -> str | None:
    if driver and driver.version and number(driver.version) < number(driver_floor):
        return f"needs driver {driver_floor}, and {driver.version} is the one to count on"
    if number(question.glibc) < number(glibc):
        return f"needs glibc {glibc}, and {question.system} has {question.glibc}"
    return None


def _against_python(question: Question, row: dict[str, Any], python: Interpreter, numpy: str) -> str | None:
    if python.version not in row["python"]:
        return f"has no wheel for Python {python.version}"
    if science(question, python.version, numpy) is None:
        return f"has no scientific packages beside it for Python {python.version} on {question.system}"
    return None


def tensorflows(question: Question, driver: Option | None, preferred: Interpreter | None) -> Iterator[Option]:
    """Yield wheels of TensorFlow with a Python for each, the newest release first.

    C(detail) has C(python), C(cudnn) (the version to hold, or None), C(numpy) and C(row).
    """
    if not question.has("pypi"):
        return
    pythons = sorted(interpreters(question), key=lambda python: python != preferred)
    for row in question.data["tensorflow"]["releases"]:
        if not fits(row["version"], question.wishes["tensorflow_version"]):
            continue
        against = _against_tensorflow(question, driver, row)
        detail = {"numpy": row["numpy"], "row": row, "cudnn": None if against else _hold_cudnn(question, row)}
        if against or not pythons:
            yield Option(row["version"], "pypi", against or "finds no Python", {**detail, "python": None})
            continue
        for python in pythons:
            against = _against_python(question, row, python, row["numpy"])
            yield Option(row["version"], "pypi", against, {**detail, "python": python})


def _against_tensorflow(question: Question, driver: Option | None, row: dict[str, Any]) -> str | None:
    for gpu in question.host["gpus"]:
        if not runs_on(row["architectures"], gpu["compute_capability"]):
            return f"has no {sm(gpu['compute_capability'])} ({gpu['model']})"
    for name, limit in question.limits().items():
        pinned = row["libraries"] == "system" or row["cudnn"].startswith("==")
        if pinned and limit["first_cuda"] and number(row["cuda"]) < number(limit["first_cuda"]):
            return f"is built with CUDA {row['cuda']}, and {_models(question, name)} begins with {limit['first_cuda']}"
        if limit["last_cudnn"] and not _cudnn_for(row, limit["last_cudnn"]):
            return f"needs cuDNN {row['cudnn']}, and the last for {_models(question, name)} is {limit['last_cudnn']}"
    if question.host["gpus"] and row["libraries"] == "system":
        there = question.data["cuda"]["systems"].get(question.system)
        if not (question.has("nvidia") and there and in_repository(there, row["cuda"])):
            return f"needs CUDA {row['cuda']} beside it, and no source is known to have that for {question.system}"
    return _against_floors(question, driver, row["driver_floor"] if question.host["gpus"] else "0", row["glibc"])


def _cudnn_for(row: dict[str, Any], last: str) -> bool:
    """Return whether a release can be used with some cuDNN that is no newer than C(last)."""
    if row["libraries"] == "wheels" and not row["cudnn"].startswith("=="):
        return fits(last, row["cudnn"])
    pin = row["cudnn"].lstrip("=").rstrip(".*")
    return number(pin) <= number(last)


def _hold_cudnn(question: Question, row: dict[str, Any]) -> str | None:
    lasts = [limit["last_cudnn"] for limit in question.limits().values() if limit["last_cudnn"]]
    floating = row["libraries"] == "wheels" and not row["cudnn"].startswith("==")
    return min(lasts, key=number) if floating and lasts else None


# ---- Java, Spark, Hadoop -------------------------------------------------------------------------


def javas(question: Question) -> list[str]:
    """Return the versions of Java that the host can have and that are wished for, the newest first."""
    wish = question.wishes["java_version"]
    known = question.data["bigdata"]["java"].get(question.system, {}).get("versions", [])
    if wish and wish.isdigit() and wish not in known:
        return [wish]  # the owner's word: the site brings it
    return [version for version in known if question.has("distribution") and fits(version, wish)]


def sparks(question: Question, preferred: Interpreter | None) -> Iterator[Option]:
    """Yield releases of Spark, the newest first; C(detail) has C(java), C(python) and C(row)."""
    wish = question.wishes["spark_version"]
    pythons = sorted(interpreters(question), key=lambda python: python != preferred)
    sources = [source for source in ("apache", "pypi") if question.has(source)]
    for row in question.data["bigdata"]["spark"]:
        if not fits(row["version"], wish) or (wish == LONG_TERM and not row["long_term"]):
            continue
        java = next((version for version in javas(question) if version in row["java"]), None)
        python = next((one for one in pythons if number(one.version) >= number(row["python"])), None)
        against = None
        if not java:
            against = f"needs Java {_either(row['java'])}, and {_java_words(question)}"
        elif not python:
            there = ", ".join(dict.fromkeys(one.version for one in pythons)) or "none"
            against = f"needs Python {row['python']}, and there is {there}"
        for source in sources:
            yield Option(row["version"], source, against, {"java": java, "python": python, "row": row})


def hadoops(question: Question) -> Iterator[Option]:
    """Yield releases of the Hadoop client, the newest first; C(detail) has C(java)."""
    sources = [source for source in ("apache", "maven") if question.has(source)]
    for row in question.data["bigdata"]["hadoop"]:
        if not fits(row["version"], question.wishes["hadoop_version"]):
            continue
        java = next((version for version in javas(question) if version in row["java"]), None)
        against = None if java else f"needs Java {_either(row['java'])}, and {_java_words(question)}"
        for source in sources:
            yield Option(row["version"], source, against, {"java": java})


def _java_words(question: Question) -> str:
    there = javas(question)
    if there:
        return f"{question.system} has {_either(there)}"
    if not question.has("distribution") and question.system in question.data["bigdata"]["java"]:
        return "distribution is not among stack_sources (stack_java_version says what the site brings)"
    return f"no Java is known for {question.system} (stack_java_version says what the site brings)"


# ---- words ---------------------------------------------------------------------------------------


def sm(capability: str) -> str:
    """Return how NVIDIA's tools call a compute capability: C(7.0) is C(sm_70)."""
    return "sm_" + capability.replace(".", "")


def _models(question: Question, architecture: str) -> str:
    return " and ".join(sorted({gpu["model"] for gpu in question.host["gpus"] if gpu["architecture"] == architecture}))


def _either(versions: list[str]) -> str:
    return " or ".join(versions)
