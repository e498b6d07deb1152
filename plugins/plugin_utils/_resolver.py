# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions work on a host, and why: (host, wishes, data) in, a plan or a refusal out.

Pure; private to the collection. Everything that the world decides stands in the data; what a component could be stands
in _options.py. Here is chosen: the driver first, then everything that has to live with it. A component that is not
wanted and cannot be had is planned as C(None), with the reason; one that is wanted makes the host refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._options import (
    MACHINE,
    NVCC_IN_WHEELS,
    Interpreter,
    Option,
    Question,
    drivers,
    fabric_manager,
    hadoops,
    interpreters,
    library,
    pytorches,
    repository,
    science,
    sm,
    sparks,
    tensorflows,
    toolkits,
)
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._versions import (
    LONG_TERM,
    NEWEST,
    fits,
    number,
    refuse_float,
)

SOURCES = ("distribution", "nvidia", "pypi", "pytorch", "uv", "apache")
# A last resort, a site's own repository, and one person's archive: only where they are named.
OPTIONAL_SOURCES = ("runfile", "maven", "deadsnakes")
COMPONENTS = ("nvidia_driver", "cuda", "pytorch", "tensorflow", "hadoop_client", "spark")
WISHES = {
    "sources": list(SOURCES),
    "components": ["pytorch"],
    "driver_branch": "",
    "driver_flavor": "auto",
    "cuda_version": "",
    "python_version": "auto",
    "pytorch_version": NEWEST,
    "pytorch_variant": "",
    "tensorflow_version": NEWEST,
    "java_version": "",
    "hadoop_version": NEWEST,
    "spark_version": NEWEST,
}
# A wish for a version makes its component wanted. Not so the driver's: to want nvidia_driver is to let it be changed.
COMPONENT_OF = {
    "cuda_version": "cuda",
    "pytorch_version": "pytorch",
    "pytorch_variant": "pytorch",
    "tensorflow_version": "tensorflow",
    "hadoop_version": "hadoop_client",
    "spark_version": "spark",
}
PART_OF = {"nvidia_driver": "driver"}  # where a component stands in the plan, if not under its own name
HAVE_LONG_TERM = ("driver_branch", "spark_version")
COMPONENT_ELEMENT = "stack_components with "
LOADED_ELEMENT = "stack_components without nvidia_driver, which keeps the loaded "
MOST_WAYS_OUT = 3
MOST_IN_CONFLICT = 3  # a conflict between more wishes is named by one minimal set, not by the smallest


class Refusal(Exception):
    """No plan is possible. ``conflict`` and ``ways_out`` say the same as the text, as lists of sentences."""

    def __init__(self, text: str, conflict: Iterable[str] = (), ways_out: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.conflict = list(conflict)
        self.ways_out = list(ways_out)


def resolve(host: dict[str, Any], wishes: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the plan for one host, or raise Refusal with the smallest set of wishes that cannot hold together.

    ``host``: C(gpus) (each C(model), C(architecture), C(compute_capability), C(id), C(first_driver),
    C(fabric_manager)), C(nvswitches), C(system) such as C(debian12), C(python) such as C(3.11), C(kernel), C(machine),
    C(driver_version) or None, C(emulated). ``wishes``: see WISHES. ``data``: what _data.load_all returns.
    """
    wishes = checked(wishes)
    _check_host(host, data)
    question = Question(host, wishes, data)
    try:
        plan = _plan(question)
    except Refusal as refusal:
        raise _explained(question, refusal) from None
    _say_what_would_change(question, plan)
    return plan


def possible(host: dict[str, Any], wishes: dict[str, Any], data: dict[str, Any]) -> bool:
    """Return whether there is a plan; quicker than to make one."""
    return not _why_not(Question(host, checked(wishes), data))


def checked(wishes: dict[str, Any]) -> dict[str, Any]:
    """Return all wishes, those that were not given at their defaults. Refusal names one that makes no sense."""
    for name in wishes:
        if name not in WISHES:
            raise Refusal(f"stack does not know the wish {name!r}; there are {', '.join(WISHES)}")
    wishes = {**WISHES, **wishes}
    for name, known in (("sources", SOURCES + OPTIONAL_SOURCES), ("components", COMPONENTS)):
        if not isinstance(wishes[name], (list, tuple)):
            raise Refusal(f"stack_{name} is {wishes[name]!r}; it is a list of {', '.join(known)}")
        for one in wishes[name]:
            if one not in known:
                raise Refusal(f"stack_{name} has {one!r}; there are {', '.join(known)}")
    if not set(wishes["sources"]) & {"pypi", "pytorch"}:
        raise Refusal(f"stack_sources is {wishes['sources']}; name at least one of pypi and pytorch")
    if wishes["driver_flavor"] not in ("auto", "open", "proprietary"):
        raise Refusal(f"stack_driver_flavor is {wishes['driver_flavor']!r}; use auto, open or proprietary")
    for name in (*COMPONENT_OF, "driver_branch", "python_version", "java_version"):
        try:
            refuse_float(f"stack_{name}", wishes[name])
        except ValueError as error:
            raise Refusal(str(error)) from None
        value = wishes[name] = str(wishes[name])
        if name == "pytorch_variant" or (name == "python_version" and value in ("auto", "distribution")):
            continue
        if value == LONG_TERM and name not in HAVE_LONG_TERM:
            raise Refusal(
                f"stack_{name} is {value!r}, and there are no such releases; use {NEWEST}, a version or a range"
            )
        try:
            fits("0", value)
        except ValueError as error:
            raise Refusal(f"stack_{name}: {error}") from None
    wanted = [component for name, component in COMPONENT_OF.items() if wishes[name] != WISHES[name]]
    wishes["components"] = [component for component in COMPONENTS if component in {*wishes["components"], *wanted}]
    return {**wishes, "driver_managed": "nvidia_driver" in wishes["components"]}


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
    needs = {data["gpus"]["architectures"][gpu["architecture"]]["open_modules"]: gpu["model"] for gpu in host["gpus"]}
    if "unsupported" in needs and "required" in needs:
        raise Refusal(
            f"{needs['unsupported']} needs the proprietary kernel modules and {needs['required']} the open ones: "
            "no driver runs both GPUs in one host; move one of them to another host"
        )


# ---- choosing ------------------------------------------------------------------------------------


def _plan(question: Question) -> dict[str, Any]:
    """Return the plan with the preferred driver, or with the newest where only that one serves what is wanted."""
    if not question.host["gpus"]:
        return _plan_with(question, None, [])
    options = list(drivers(question))
    usable = [option for option in options if not option.against]
    if not usable:
        raise Refusal(f"no driver fits: {_against_words('driver', options) or _no_source(question, 'driver')}")
    newest = max(usable, key=lambda option: number(option.version))
    try:
        return _plan_with(question, usable[0], options)
    except Refusal:
        if newest is usable[0]:
            raise
        return _plan_with(question, newest, options)


def _plan_with(question: Question, driver: Option | None, others: list[Option]) -> dict[str, Any]:
    host, wishes = question.host, question.wishes
    plan: dict[str, Any] = {
        "host_class": " ".join([gpu_words(host), "on", host["system"]]),
        "emulated": bool(host.get("emulated")),
        "driver": _driver(question, driver, others),
        "cuda": _cuda(question, driver),
    }
    torch, torch_why = _best(question, "pytorch", pytorches(question, driver))
    python = torch.detail["python"] if torch else next(iter(interpreters(question)), None)
    flow, flow_why = _best(question, "tensorflow", tensorflows(question, driver, python))
    spark, spark_why = _best(question, "spark", sparks(question, python))
    hadoop, hadoop_why = _best(question, "hadoop_client", hadoops(question))
    plan["python"] = _python(question, python, torch)
    plan["pytorch"] = _pytorch(question, torch, torch_why)
    plan["tensorflow"] = _tensorflow(question, flow, flow_why)
    plan["science"] = _science(question, python, torch.detail["numpy"] if torch else "")
    plan["java"] = _java(question, spark, hadoop)
    plan["hadoop_client"] = _big(question, "hadoop", hadoop, hadoop_why)
    plan["spark"] = {**_big(question, "spark", spark, spark_why), **_spark_parts(spark)}
    plan["controller"] = _controller(host, question.data)
    plan["wanted"] = wishes["components"]
    return plan


def _best(question: Question, component: str, options: Iterable[Option]) -> tuple[Option | None, str]:
    """Return the first option that nothing stands against, and why nothing newer; Refusal if a wanted one is none."""
    seen = []
    for option in options:
        if not option.against:
            newer = [one for one in seen if number(one.version) > number(option.version)]
            return option, _against_words(component, newer)
        seen.append(option)
    words = _against_words(component, seen) or _no_source(question, component)
    if component in question.wishes["components"]:
        raise Refusal(f"no {component} fits: {words}")
    return None, words


def _against_words(component: str, options: list[Option]) -> str:
    """Return what stands against the first option: the best one that was not taken."""
    return f"{_label(component, options[0])} {options[0].against}" if options else ""


def _no_source(question: Question, component: str) -> str:
    asked = [
        f"stack_{name} {question.wishes[name]}"
        for name, of in COMPONENT_OF.items()
        if of.startswith(component) and question.wishes[name] != WISHES[name]
    ]
    known = " and ".join(question.wishes["sources"])
    return f"none is known from {known} for {question.system}" + (f" with {' and '.join(asked)}" if asked else "")


def _label(component: str, option: Option) -> str:
    if component == "pytorch":
        return f"torch {option.version} ({option.detail['variant']})"
    if component == "driver":
        flavor = option.detail.get("flavor")
        return f"driver {option.version or option.detail['branch']}" + (f" ({flavor})" if flavor else "")
    name = {"cuda": "CUDA", "hadoop_client": "hadoop"}.get(component, component)
    return f"{name} {option.version}"


# ---- the parts of a plan -------------------------------------------------------------------------


def _driver(question: Question, driver: Option | None, others: list[Option]) -> dict[str, Any]:
    if not driver:
        nothing = {"wanted": False, "package": None, "reason": "no NVSwitch"}
        keys = ("branch", "flavor", "version", "source", "end_of_life", "repository")
        return {**dict.fromkeys(keys), "packages": [], "fabric_manager": nothing, "reason": "no NVIDIA GPU"}
    why = []
    for name, limit in question.limits().items():
        if limit["last_driver"]:
            why.append(f"{name} ends with branch {limit['last_driver']} and needs the proprietary modules")
    if driver.source == "loaded":
        why.append("loaded now, and nothing is to change it; wheels are chosen for it")
    else:
        why.append(_driver_kind(question, driver))
        better = next((option for option in others if option is driver or option.against), driver)
        if better.detail["branch"] != driver.detail["branch"] and len(why) == 1:
            why.append(_against_words("driver", [better]))
        if driver.source == "elsewhere":
            why.append("somebody else has to bring it")
        if not question.host.get("driver_version"):
            why.append("none is loaded now")
            if not question.wishes["driver_managed"] and driver.source != "elsewhere":
                why[-1] += ", and stack_components without nvidia_driver brings none"
    return {
        "branch": driver.detail["branch"],
        "flavor": driver.detail["flavor"],
        "version": driver.version,
        "source": driver.source,
        "end_of_life": driver.detail["end_of_life"],
        "packages": driver.detail["packages"],
        "repository": repository(question) if driver.source == "nvidia" else None,
        "fabric_manager": fabric_manager(question, driver),
        "reason": "; ".join(why),
    }


def _driver_kind(question: Question, driver: Option) -> str:
    if question.wishes["driver_branch"] not in ("", LONG_TERM, NEWEST):
        return f"as stack_driver_branch asks ({question.wishes['driver_branch']})"
    kind = {"LTSB": "long-term", "PB": "production"}.get(driver.detail["type"], "new-feature")
    end, today = driver.detail["end_of_life"], question.data["drivers"]["as_of"]
    return f"the newest {kind} branch" + (f", whose support ended in {end}" if end < today[: len(end)] else "")


def _cuda(question: Question, driver: Option | None) -> dict[str, Any]:
    keys = ("toolkit", "version", "source", "cudnn", "nccl")
    if not driver:
        return {**dict.fromkeys(keys), "packages": [], "reason": "no NVIDIA GPU"}
    option, why = _best(question, "cuda", toolkits(question, driver))
    if not option:
        return {**dict.fromkeys(keys), "packages": [], "reason": why}
    toolkit = option.detail["toolkit"]
    ends = [name for name, limit in question.limits().items() if limit["last_cuda"] == toolkit]
    reason = f"the last with {ends[0]}" if ends else f"the newest for driver {driver.version}"
    if option.source == "pypi" and number(toolkit)[0] < NVCC_IN_WHEELS:
        reason += ", whose wheels bring NVRTC and no nvcc"
    return {
        "toolkit": toolkit,
        "version": option.version,
        "source": option.source,
        "packages": option.detail["packages"],
        "cudnn": library(question, "cudnn", toolkit),
        "nccl": library(question, "nccl", toolkit),
        "reason": f"{reason}; {why}" if why else reason,
    }


def _python(question: Question, python: Interpreter | None, torch: Option | None) -> dict[str, Any]:
    if not python:
        return {"version": None, "source": None, "reason": "the host has none, and uv is not among stack_sources"}
    wheel = _label("pytorch", torch) if torch else "everything"
    if python.source == "distribution":
        reason = f"what {question.system} brings, and {wheel} has a wheel for it"
    elif question.wishes["python_version"] != "auto":
        reason = f"as stack_python_version asks; {question.system} brings {question.host.get('python') or 'none'}"
    else:
        reason = f"{question.system} brings {question.host.get('python') or 'none'}, for which {wheel} has no wheel"
    return {"version": python.version, "source": python.source, "reason": reason}


def _science(question: Question, python: Interpreter | None, numpy: str) -> dict[str, Any]:
    packages = science(question, python.version, numpy) if python else None
    if not packages:
        return {"reason": "no wheels for this Python and this system"}
    bound = f" and NumPy {numpy}" if numpy else ""
    return {**packages, "reason": f"the newest with wheels for Python {python.version}{bound}"}


def _pytorch(question: Question, option: Option | None, why: str) -> dict[str, Any]:
    if not option:
        keys = (
            "version",
            "variant",
            "requirement",
            "torchvision",
            "torchaudio",
            "source",
            "python",
            "driver_floor",
            "build",
        )
        return {**dict.fromkeys(keys), "index_url": "", "architectures": [], "reason": why}
    row, variant, python = option.detail["row"], option.detail["variant"], option.detail["python"]
    companions = {**row, **row.get("exceptions", {}).get(python.version, {})}
    from_vendor = option.source == "pytorch"
    return {
        "version": option.version,
        "variant": variant,
        "build": "cuda" if variant.startswith("cu") else "cpu",
        "requirement": f"torch=={option.version}" + (f"+{variant}" if from_vendor else ""),
        "torchvision": companions["torchvision"],
        "torchaudio": companions["torchaudio"],
        "source": option.source,
        "index_url": question.data["pytorch"]["vendor_index"].format(variant=variant) if from_vendor else "",
        "architectures": option.detail["architectures"],
        "driver_floor": question.data["pytorch"]["driver_floors"][variant],
        "python": python._asdict(),
        "reason": _reason(question, "pytorch", ["pypi", "pytorch"], why),
    }


def _tensorflow(question: Question, option: Option | None, why: str) -> dict[str, Any]:
    if not option:
        keys = ("version", "requirement", "libraries", "cuda", "cudnn", "source", "python", "driver_floor", "build")
        return {**dict.fromkeys(keys), "constraints": [], "science": {}, "reason": why}
    row, hold, python = option.detail["row"], option.detail["cudnn"], option.detail["python"]
    gpus = bool(question.host["gpus"])
    name = "tensorflow-cpu"
    if gpus:
        name = "tensorflow[and-cuda]" if row["libraries"] == "wheels" else "tensorflow"
    reason = _reason(question, "tensorflow", ["pypi"], why)
    if hold:
        reason += f"; cuDNN is held at {hold}, the last with kernels for this host's GPUs"
    return {
        "version": option.version,
        "build": "cuda" if gpus else "cpu",
        "requirement": f"{name}=={option.version}",
        "libraries": row["libraries"] if gpus else None,
        "cuda": row["cuda"] if gpus else None,
        "cudnn": hold or row["cudnn"] if gpus else None,
        "driver_floor": row["driver_floor"],
        "constraints": row["constraints"] + ([f"nvidia-cudnn-cu12=={hold}"] if hold else []),
        "source": option.source,
        "python": python._asdict(),
        "science": science(question, python.version, row["numpy"]),
        "reason": reason,
    }


def _reason(question: Question, component: str, sources: list[str], why: str) -> str:
    version = question.wishes[f"{component}_version"]
    if version != NEWEST:
        return f"as stack_{component}_version asks ({version})" + (f"; {why}" if why else "")
    needs = " and ".join(sorted({sm(gpu["compute_capability"]) for gpu in question.host["gpus"]})) or "no GPU needed"
    text = f"the newest from {' and '.join(source for source in sources if question.has(source))} with {needs}"
    return f"{text}; {why}" if why else text


def _java(question: Question, spark: Option | None, hadoop: Option | None) -> dict[str, Any]:
    found = sorted({option.detail["java"] for option in (spark, hadoop) if option}, key=int)
    if not found:
        return {"version": None, "package": None, "reason": "nothing needs it, or none is known"}
    there = question.data["bigdata"]["java"].get(question.system, {})
    known = found[-1] in there.get("versions", [])
    return {
        "version": found[-1],
        "package": there["package"].format(version=found[-1]) if known else None,
        "reason": f"the newest of {question.system} for Spark and Hadoop" if known else "as stack_java_version asks",
    }


def _big(question: Question, name: str, option: Option | None, why: str) -> dict[str, Any]:
    if not option:
        return {"version": None, "source": None, "java": None, "reason": why}
    wish = question.wishes[f"{name}_version"]
    text = "the newest" if wish == NEWEST else f"as stack_{name}_version asks ({wish})"
    java = option.detail["java"]
    return {
        "version": option.version,
        "source": option.source,
        "java": java,
        "reason": f"{text} that runs on Java {java}" + (f"; {why}" if why else ""),
    }


def _spark_parts(option: Option | None) -> dict[str, Any]:
    if not option:
        return dict.fromkeys(("python", "pandas", "hadoop", "hive", "scala"))
    row = option.detail["row"]
    parts = {name: row[name] for name in ("pandas", "hadoop", "hive", "scala")}
    return {"python": option.detail["python"]._asdict(), **parts}


def _controller(host: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return which ansible-core manages the host with its own Python."""
    python = host.get("python")
    cores = [
        row["core"]
        for row in data["ansible"]["cores"]
        if python and number(row["target"][0]) <= number(python) <= number(row["target"][1])
    ]
    if not cores:
        return {"ansible_core": [], "reason": f"no ansible-core of the matrix manages Python {python}"}
    return {"ansible_core": cores, "reason": f"those that manage Python {python}"}


def gpu_words(host: dict[str, Any]) -> str:
    """Return the GPUs of a host in words: C("2 x A100 80GB PCIe")."""
    names = [gpu["model"] for gpu in host["gpus"]]
    return " + ".join(f"{names.count(name)} x {name}" for name in sorted(set(names))) or "no GPU"


# ---- refusals, and what would change a plan ------------------------------------------------------


def _elements(question: Question) -> dict[str, Callable[[dict[str, Any]], None]]:
    """Return each wish that could be dropped: how it reads, and what puts it on top of no wishes at all."""
    wishes = question.wishes
    elements: dict[str, Callable[[dict[str, Any]], None]] = {}
    for name, value in wishes.items():
        if name in ("sources", "components", "driver_managed") or value == WISHES[name]:
            continue
        elements[f"stack_{name} {value}"] = lambda loose, name=name, value=value: loose.update({name: value})
    for source in SOURCES + OPTIONAL_SOURCES:
        if source not in wishes["sources"]:
            elements[f"stack_sources without {source}"] = lambda loose, source=source: loose["sources"].remove(source)
    for component in wishes["components"]:
        elements[f"{COMPONENT_ELEMENT}{component}"] = lambda loose, one=component: loose["components"].append(one)
    if _keeps_its_driver(question):
        elements[f"{LOADED_ELEMENT}{question.host['driver_version']}"] = lambda loose: loose.update(
            driver_managed=False
        )
    return elements


def _keeps_its_driver(question: Question) -> bool:
    return bool(question.host["gpus"] and question.host.get("driver_version") and not question.wishes["driver_managed"])


def _with(question: Question, elements: dict[str, Any], names: Iterable[str]) -> Question:
    """Return the same question with only some of the wishes."""
    names = list(names)
    loose = {**WISHES, "sources": [*SOURCES, *OPTIONAL_SOURCES], "components": [], "driver_managed": True}
    for name in names:
        elements[name](loose)
    wanted = {component for name, component in COMPONENT_OF.items() if loose[name] != WISHES[name]}
    loose["components"] = [one for one in COMPONENTS if one in wanted.union(loose["components"])]
    return question._replace(wishes=loose)


def _without(question: Question, elements: dict[str, Any], dropped: Iterable[str]) -> Question:
    """Return the question as it is once its owner has dropped some wishes: nvidia_driver alone changes a driver."""
    rest = _with(question, elements, [name for name in elements if name not in dropped])
    if _keeps_its_driver(question) and rest.wishes["driver_managed"]:
        rest.wishes["components"] = ["nvidia_driver", *rest.wishes["components"]]
    rest.wishes["driver_managed"] = "nvidia_driver" in rest.wishes["components"]
    return rest


def _why_not(question: Question) -> str | None:
    """Return why there is no plan, or None if there is one."""
    if not set(question.wishes["sources"]) & {"pypi", "pytorch"} and "pytorch" in question.wishes["components"]:
        return "no pytorch fits: none is known without pypi and pytorch"
    try:
        _plan(question)
    except Refusal as refusal:
        return str(refusal)
    return None


def _explained(question: Question, refusal: Refusal) -> Refusal:
    """Return the refusal with the smallest set of wishes that cannot hold together, and the nearest sets that can."""
    elements = _elements(question)
    where = f"{gpu_words(question.host)} on {question.system} with Python {question.host.get('python') or 'none'}"
    conflict = _conflict(question, elements)
    if not conflict:
        return Refusal(f"{refusal} ({where}). Nothing that could be wished for changes that.")
    reason = _why_not(_with(question, elements, conflict)) or str(refusal)
    ways_out = _ways_out(question, elements)
    if not ways_out:
        ways_out = ["nothing that could be wished for otherwise changes that"]
    cannot = "cannot hold together" if len(conflict) > 1 else "cannot hold"
    text = f"{' and '.join(conflict)} {cannot} for {where}: {reason}. Ways out: {'; or '.join(ways_out)}."
    return Refusal(text, conflict, ways_out)


def _conflict(question: Question, elements: dict[str, Any]) -> list[str]:
    """Return the smallest set of wishes that no plan fulfils; empty if not even no wishes have a plan."""
    for size in range(MOST_IN_CONFLICT + 1):
        for names in combinations(elements, size):
            if _why_not(_with(question, elements, names)):
                return list(names)
    names = list(elements)
    for name in elements:
        fewer = [one for one in names if one != name]
        if _why_not(_with(question, elements, fewer)):
            names = fewer
    return names


def _ways_out(question: Question, elements: dict[str, Any]) -> list[str]:
    """Return the smallest sets of wishes to drop after which there is a plan, and that plan in short."""
    kept = [name for name in elements if not name.startswith(COMPONENT_ELEMENT)]
    for droppable in (kept, elements):
        for size in range(1, MOST_IN_CONFLICT + 1):
            words = []
            for names in combinations(droppable, size):
                rest = _without(question, elements, names)
                if not _why_not(rest):
                    words.append(f"{' and '.join(map(_dropped, names))} gives {_short(_plan(rest))}")
            if words:
                return words[:MOST_WAYS_OUT]
    return []


def _dropped(element: str) -> str:
    """Return how dropping a wish reads."""
    for begins, instead in (
        ("stack_sources without ", "add {} to stack_sources"),
        (COMPONENT_ELEMENT, "take {} out of stack_components"),
        (LOADED_ELEMENT, "add nvidia_driver to stack_components"),
    ):
        if element.startswith(begins):
            return instead.format(element[len(begins) :])
    return f"leave out {element}"


def _short(plan: dict[str, Any]) -> str:
    parts = []
    if plan["driver"]["version"]:
        parts.append(f"driver {plan['driver']['version']}")
    if plan["pytorch"]["version"]:
        parts.append(f"torch {plan['pytorch']['version']} ({plan['pytorch']['variant']})")
    for name in ("tensorflow", "spark"):
        if plan[name]["version"] and name in plan["wanted"]:
            parts.append(f"{name} {plan[name]['version']}")
    if plan["python"]["version"]:
        parts.append(f"Python {plan['python']['version']}")
    return ", ".join(parts)


def _say_what_would_change(question: Question, plan: dict[str, Any]) -> None:
    """Write into each component of a plan C(would_change): one or two wishes to drop for a newer version, if any."""
    elements = _elements(question)
    droppable = [
        name
        for name in elements
        if not name.startswith(COMPONENT_ELEMENT)
        and name.removeprefix("stack_sources without ") not in OPTIONAL_SOURCES
    ]
    for component in COMPONENTS:
        plan[PART_OF.get(component, component)]["would_change"] = ""
    best: dict[str, tuple[int, ...]] = {}
    for size in (1, 2):
        for names in combinations(droppable, size):
            try:
                other = _plan(_without(question, elements, names))
            except Refusal:
                continue
            _compare(plan, other, " and ".join(map(_dropped, names)), best)
        best = dict.fromkeys(best, (9**9,))  # one wish to drop counts for more than a newer version with two


def _compare(plan: dict[str, Any], other: dict[str, Any], step: str, best: dict[str, tuple[int, ...]]) -> None:
    """Write C(would_change) into each component of a plan that is newer in the other one than in any before."""
    for component in COMPONENTS:
        now, then = plan[PART_OF.get(component, component)], other[PART_OF.get(component, component)]
        newest = number(then["version"] or "0")
        if newest <= number(now["version"] or "0") or (now["would_change"] and newest <= best.get(component, ())):
            continue
        best[component] = newest
        words = {"nvidia_driver": "driver", "cuda": "CUDA", "pytorch": "torch", "hadoop_client": "hadoop"}
        variant = f" ({then['variant']})" if component == "pytorch" else ""
        now["would_change"] = f"{words.get(component, component)} {then['version']}{variant}: {step}"
