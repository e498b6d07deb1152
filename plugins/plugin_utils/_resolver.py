# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions work on a host, and why: (host, wishes, data) in, a plan out. Pure; private to the collection.

Everything that the world decides stands in the data; this file only compares. The order of the decisions is
driver, then Python and PyTorch together, because the driver bounds the wheels and the wheels bound the Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

SOURCES = ("pypi", "pytorch", "uv")
WISHES = {
    "sources": list(SOURCES),
    "pytorch_version": "newest",
    "pytorch_variant": "",
    "python_version": "auto",
    "driver_branch": "",
    "driver_managed": False,
}
MACHINE = "x86_64"


class Refusal(Exception):
    """No plan is possible; the text says what stands against it and what to do."""


class Wheel(NamedTuple):
    """One build of one release of PyTorch."""

    release: dict[str, Any]
    variant: str
    source: str

    def label(self) -> str:
        """Return what people call it, such as C(torch 2.10.0 (cu128))."""
        return f"torch {self.release['version']} ({self.variant})"


class Interpreter(NamedTuple):
    """One Python that the host can have, with the scientific packages that go with it."""

    version: str
    source: str


def number(version: str | int) -> tuple[int, ...]:
    """Return a version as numbers to compare; text within is left out: C("5.15.0-91-generic") is C((5, 15, 0))."""
    head = str(version).split("-", maxsplit=1)[0].split("+", maxsplit=1)[0]
    return tuple(int(part) for part in head.split(".") if part.isdigit())


def resolve(host: dict[str, Any], wishes: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the plan for one host, or raise Refusal.

    ``host``: C(gpus) (each C(model), C(architecture), C(compute_capability), C(id)), C(system) such as C(debian12),
    C(python) such as C(3.11), C(kernel), C(machine), C(driver_version) or None, C(emulated). ``wishes``: see WISHES.
    """
    wishes = _checked(wishes)
    _check_host(host, data)
    driver = choose_driver(host, wishes, data)
    interpreter, wheel = choose_pytorch(host, wishes, data, driver)
    science = _science(interpreter.version, wheel, data)
    companions = {**wheel.release, **wheel.release.get("exceptions", {}).get(interpreter.version, {})}
    from_vendor = wheel.source == "pytorch"
    local = f"+{wheel.variant}" if from_vendor else ""
    return {
        "host_class": " ".join([_gpu_words(host), "on", host["system"]]),
        "emulated": bool(host.get("emulated")),
        "driver": driver,
        "cuda": _cuda(host, driver, data),
        "python": {
            "version": interpreter.version,
            "source": interpreter.source,
            "reason": _python_reason(host, interpreter, wheel),
        },
        "pytorch": {
            "version": wheel.release["version"],
            "variant": wheel.variant,
            "requirement": f"torch=={wheel.release['version']}{local}",
            "torchvision": companions["torchvision"],
            "torchaudio": companions["torchaudio"],
            "source": wheel.source,
            "index_url": data["pytorch"]["vendor_index"].format(variant=wheel.variant) if from_vendor else "",
            "architectures": wheel.release["variants"][wheel.variant],
            "reason": _pytorch_reason(host, wishes, data, driver, interpreter, wheel),
            "would_change": _would_change(host, wishes, data, driver, wheel),
        },
        "science": {**science["packages"], "reason": f"the newest with wheels for Python {interpreter.version}"},
    }


def _checked(wishes: dict[str, Any]) -> dict[str, Any]:
    for name in wishes:
        if name not in WISHES:
            raise Refusal(f"stack does not know the wish {name!r}; there are {', '.join(WISHES)}")
    wishes = {**WISHES, **wishes}
    unknown = [source for source in wishes["sources"] if source not in SOURCES]
    if unknown or not set(wishes["sources"]) & {"pypi", "pytorch"}:
        raise Refusal(
            f"stack_sources is {wishes['sources']}; name at least one of pypi and pytorch, "
            f"and otherwise only {', '.join(SOURCES)}"
        )
    return wishes


def _check_host(host: dict[str, Any], data: dict[str, Any]) -> None:
    for gpu in host["gpus"]:
        if gpu["architecture"] not in data["gpus"]["architectures"]:
            raise Refusal(
                f"the GPU {gpu['id']} is not in the GPU table; update the collection, or add a row to its "
                "plugins/plugin_utils/data/gpus.yml"
            )
    if host["system"] not in data["python"]["systems"]:
        known = ", ".join(data["python"]["systems"])
        raise Refusal(f"the operating system {host['system']} is outside the matrix, which has {known}")
    if host["machine"] != MACHINE:
        raise Refusal(f"the processor architecture {host['machine']} is outside the matrix, which has {MACHINE}")


def _architectures(host: dict[str, Any], data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the data says of each architecture in the host, by name."""
    return {gpu["architecture"]: data["gpus"]["architectures"][gpu["architecture"]] for gpu in host["gpus"]}


def choose_driver(host: dict[str, Any], wishes: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return branch, flavor, version (that wheels may count on) and reason; None for a host without a GPU."""
    if not host["gpus"]:
        return {"branch": None, "flavor": None, "version": None, "reason": "no NVIDIA GPU"}
    architectures = _architectures(host, data)
    open_modules = {name: row["open_modules"] for name, row in architectures.items()}
    closed = [name for name, need in open_modules.items() if need == "unsupported"]
    opened = [name for name, need in open_modules.items() if need == "required"]
    if closed and opened:
        raise Refusal(
            f"{closed[0]} needs the proprietary kernel modules and {opened[0]} the open ones: "
            "no driver runs both GPUs in one host; move one of them to another host"
        )
    ceiling = min((row["last_driver"] for row in architectures.values() if row["last_driver"]), default=None)
    why = f"{closed[0]} ends with branch {ceiling}" if ceiling and closed else "the newest long-term branch"
    branch = _branch(host, wishes, data, ceiling)
    flavor = "proprietary" if closed or not branch["open"] else "open"
    if closed:
        why += " and needs the proprietary modules"
    version, loaded = branch["latest"], host.get("driver_version")
    if not wishes["driver_managed"] and loaded:
        version = loaded
        why += f"; wheels are chosen for the loaded {loaded}"
    elif not loaded:
        why += "; none is loaded now"
    return {"branch": branch["branch"], "flavor": flavor, "version": version, "reason": why}


def _branch(host: dict[str, Any], wishes: dict[str, Any], data: dict[str, Any], ceiling: int | None) -> dict[str, Any]:
    rows = data["drivers"]["branches"]
    wish = str(wishes["driver_branch"])
    if wish:
        row = next((row for row in rows if row["branch"] == wish), None)
        if row is None:
            raise Refusal(f"stack_driver_branch is {wish!r}; known are {', '.join(row['branch'] for row in rows)}")
        if ceiling and int(wish) > ceiling:
            names = ", ".join(sorted({gpu["model"] for gpu in host["gpus"]}))
            raise Refusal(f"stack_driver_branch is {wish}, but this host has {names}, which ends with branch {ceiling}")
        rows = [row]
    for row in rows:
        if not wish and (row["type"] != "LTSB" or row["latest"] is None or (ceiling and int(row["branch"]) > ceiling)):
            continue
        if row["kernel_floor"] and number(host["kernel"])[:2] < number(row["kernel_floor"]):
            continue
        return row
    raise Refusal(
        f"no driver branch builds for kernel {host['kernel']} and runs this host's GPUs; install a newer kernel"
    )


def _cuda(host: dict[str, Any], driver: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    if not driver["branch"]:
        return {"toolkit": None, "reason": "no NVIDIA GPU"}
    native = next(row["native_cuda"] for row in data["drivers"]["branches"] if row["branch"] == driver["branch"])
    ends = {name: row["last_cuda"] for name, row in _architectures(host, data).items() if row["last_cuda"]}
    for name, last in sorted(ends.items()):
        if native is None or number(last) < number(native):
            return {"toolkit": last, "reason": f"the last with {name}"}
    return {"toolkit": native, "reason": f"native to driver branch {driver['branch']}"}


def runs_on(built_for: list[str], capability: str) -> bool:
    """Say whether a wheel has machine code for a GPU: built for its major version, and no newer minor version."""
    major, minor = number(capability)
    return any(number(built)[0] == major and number(built)[1] <= minor for built in built_for)


def wheels(data: dict[str, Any], sources: list[str]) -> Iterator[Wheel]:
    """Yield every wheel that the sources have, newest release first; within a release the index' own one first."""
    for release in data["pytorch"]["releases"]:
        if "pypi" in sources:
            yield Wheel(release, release["pypi"], "pypi")
        if "pytorch" in sources:
            for variant in release["variants"]:
                yield Wheel(release, variant, "pytorch")


def interpreters(host: dict[str, Any], wishes: dict[str, Any], data: dict[str, Any]) -> list[Interpreter]:
    """Return the Pythons that the host has or can have, the preferred one first."""
    own = [Interpreter(host["python"], "distribution")] if host.get("python") else []
    glibc = data["python"]["systems"][host["system"]]["glibc"]
    managed = [Interpreter(version, "uv") for version in data["python"]["managed"]]
    if "uv" not in wishes["sources"] or number(glibc) < number(data["python"]["managed_glibc"]):
        managed = []
    wish = wishes["python_version"]
    if wish == "auto":
        return own + managed
    if wish == "distribution":
        return own
    found = [interpreter for interpreter in own + managed if interpreter.version == wish]
    if not found:
        there = ", ".join(interpreter.version for interpreter in own + managed) or "none"
        raise Refusal(f"stack_python_version is {wish!r}; this host can have {there}")
    return found[:1]


def against(
    wheel: Wheel, interpreter: Interpreter, host: dict[str, Any], data: dict[str, Any], driver: dict[str, Any]
) -> str | None:
    """Return what stands against a wheel on this host with this Python, or None."""
    release = wheel.release
    glibc = data["python"]["systems"][host["system"]]["glibc"]
    for gpu in host["gpus"]:
        if not runs_on(release["variants"][wheel.variant], gpu["compute_capability"]):
            return f"has no {_sm(gpu['compute_capability'])} ({gpu['model']})"
    floor = data["pytorch"]["driver_floors"][wheel.variant]
    if driver["version"] and number(driver["version"]) < number(floor):
        return f"needs driver {floor}, and {driver['version']} is the one to count on"
    if interpreter.version not in release["python"]:
        return f"has no wheel for Python {interpreter.version}"
    if number(glibc) < number(release["glibc"]):
        return f"needs glibc {release['glibc']}, and {host['system']} has {glibc}"
    science = _science(interpreter.version, wheel, data)
    if science is None or number(glibc) < number(science["glibc"]):
        return f"has no scientific packages beside it for Python {interpreter.version} on {host['system']}"
    return None


def choose_pytorch(
    host: dict[str, Any], wishes: dict[str, Any], data: dict[str, Any], driver: dict[str, Any]
) -> tuple[Interpreter, Wheel]:
    """Return the Python and the wheel: the newest release, and for it the preferred Python."""
    pythons = interpreters(host, wishes, data)
    wanted = [wheel for wheel in wheels(data, wishes["sources"]) if _is_wished(wheel, wishes)]
    if not wanted:
        known = ", ".join(release["version"] for release in data["pytorch"]["releases"])
        pin = " ".join(filter(None, [wishes["pytorch_version"], wishes["pytorch_variant"]]))
        raise Refusal(f"PyTorch {pin} is not among the releases known from {' and '.join(wishes['sources'])}: {known}")
    for wheel in wanted:
        for interpreter in pythons:
            if against(wheel, interpreter, host, data, driver) is None:
                return interpreter, wheel
    reasons = [
        f"{wheel.label()} {against(wheel, interpreter, host, data, driver)}"
        for wheel in wanted[:1]
        for interpreter in pythons[:1]
    ]
    there = ", ".join(interpreter.version for interpreter in pythons) or "none"
    raise Refusal(
        f"no PyTorch fits {_gpu_words(host)} on {host['system']} with Python {there}: "
        f"{'; '.join(reasons) or 'the host has no Python'}. {_way_out(host, wishes, data, driver)}"
    )


def _is_wished(wheel: Wheel, wishes: dict[str, Any]) -> bool:
    version, variant = wishes["pytorch_version"], wishes["pytorch_variant"]
    return version in ("newest", wheel.release["version"]) and variant in ("", wheel.variant)


def _way_out(host: dict[str, Any], wishes: dict[str, Any], data: dict[str, Any], driver: dict[str, Any]) -> str:
    """Return the wish whose loosening makes a plan possible."""
    for loosened, words in (
        ({"sources": list(SOURCES)}, f"Allow stack_sources {list(SOURCES)}"),
        ({"python_version": "auto"}, "Set stack_python_version to auto"),
        (
            {"python_version": "auto", "sources": list(SOURCES)},
            "Let stack_python_version be auto and allow all stack_sources",
        ),
        ({"pytorch_version": "newest", "pytorch_variant": ""}, "Set stack_pytorch_version to newest"),
    ):
        asked = {**wishes, **loosened}
        if asked == wishes:
            continue
        for wheel in wheels(data, asked["sources"]):
            for interpreter in interpreters(host, asked, data):
                if _is_wished(wheel, asked) and against(wheel, interpreter, host, data, driver) is None:
                    return f"{words}: {wheel.label()} with Python {interpreter.version} would fit."
    return "Nothing that could be wished for changes that."


def _science(python: str, wheel: Wheel, data: dict[str, Any]) -> dict[str, Any] | None:
    rows = data["python"]["science"]
    row = rows.get(python)
    if row and number(row["packages"]["numpy"])[0] >= 2 and _is_older(wheel, data["pytorch"]["numpy2_from"]):
        return data["python"]["science_numpy1"].get(python)
    return row


def _is_older(wheel: Wheel, version: str) -> bool:
    return number(wheel.release["version"]) < number(version)


def _sm(capability: str) -> str:
    return "sm_" + capability.replace(".", "")


def _gpu_words(host: dict[str, Any]) -> str:
    names = [gpu["model"] for gpu in host["gpus"]]
    return " + ".join(f"{names.count(name)} x {name}" for name in sorted(set(names))) or "no GPU"


def _python_reason(host: dict[str, Any], interpreter: Interpreter, wheel: Wheel) -> str:
    if interpreter.source == "distribution":
        return f"what {host['system']} brings, and {wheel.label()} has a wheel for it"
    return f"{host['system']} brings {host.get('python') or 'none'}, for which {wheel.label()} has no wheel"


def _pytorch_reason(host, wishes, data, driver, interpreter, wheel) -> str:
    if wishes["pytorch_version"] != "newest":
        return "as stack_pytorch_version asks"
    needs = " and ".join(sorted({_sm(gpu["compute_capability"]) for gpu in host["gpus"]})) or "no GPU needed"
    text = f"the newest from {' and '.join(s for s in wishes['sources'] if s != 'uv')} with {needs}"
    for newer in wheels(data, wishes["sources"]):
        if newer.release is wheel.release:
            break
        return f"{text}; {newer.label()} {against(newer, interpreter, host, data, driver)}"
    return text


def _would_change(host, wishes, data, driver, wheel) -> str:
    """Return the shortest step to a newer release, or an empty string."""
    everything = {**wishes, "sources": list(SOURCES), "python_version": "auto", "pytorch_version": "newest"}
    for step in ({"sources": everything["sources"]}, {"python_version": "auto"}, everything):
        asked = {**wishes, **step}
        if asked == wishes:
            continue
        try:
            _interpreter, better = choose_pytorch(host, asked, data, driver)
        except Refusal:
            continue
        if number(better.release["version"]) > number(wheel.release["version"]):
            named = ", ".join(f"stack_{name} {value}" for name, value in asked.items() if value != wishes[name])
            return f"{better.label()} with {named}"
    return ""
