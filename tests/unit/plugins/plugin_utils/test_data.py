"""The compatibility data keeps its form: a schema for every table, a source for every row, nothing stands twice."""

import re

import pytest
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import SUBJECTS, gpu_figures, gpu_models, load
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._versions import fits, number

VERSION = re.compile(r"\d+(\.\d+)*$")
PYTHON = re.compile(r"3\.\d+$")
DATE = re.compile(r"\d{4}-\d\d(-\d\d)?$|n/a$")
ARCHITECTURE = re.compile(r"(sm|compute)_\d+$")
CAPABILITY = re.compile(r"\d+\.\d$")
FLAVORS = ("open", "proprietary")


def either(*kinds):
    return lambda value: any(holds(kind, value) for kind in kinds)


def many(kind):
    return lambda value: isinstance(value, list) and all(holds(kind, one) for one in value)


def table(kind):
    return lambda value: (
        isinstance(value, dict) and all(isinstance(key, str) and holds(kind, value[key]) for key in value)
    )


def holds(kind, value):
    """Return whether a value is of a kind: a pattern, a type, a set of values, a form of a mapping, or a function."""
    if isinstance(kind, re.Pattern):
        return isinstance(value, str) and bool(kind.match(value))
    if isinstance(kind, tuple):
        return value in kind
    if isinstance(kind, dict):
        optional = {name.rstrip("?") for name in kind if name.endswith("?")}
        forms = {name.rstrip("?"): form for name, form in kind.items()}
        return (
            isinstance(value, dict)
            and set(value) <= set(forms)
            and set(forms) - optional <= set(value)
            and all(holds(forms[name], value[name]) for name in value)
        )
    if isinstance(kind, type):
        return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    return value is None if kind is None else kind(value)


TEXT = re.compile(r".*\S")
SPAN = {"first": VERSION, "last": either(VERSION, None), "flavors?": many(FLAVORS), "source": TEXT}
# Where each table stands, and the form of its rows.
SCHEMA = {
    "ansible": {
        "cores": {
            "core": VERSION,
            "controller": many(PYTHON),
            "target": many(PYTHON),
            "end_of_life": DATE,
            "source": TEXT,
        }
    },
    "bigdata": {
        "spark": {
            **dict.fromkeys(("version", "hadoop", "hive", "scala"), VERSION),
            "java": many(VERSION),
            "python": PYTHON,
            "pandas": either(VERSION, None),
            "long_term": bool,
            "end_of_life": either(DATE, None),
            "source": TEXT,
        },
        "rapids": {"version": VERSION, "spark": many(VERSION), "cuda": table(VERSION), "source": TEXT},
        "hadoop": {"version": VERSION, "java": many(VERSION), "source": TEXT},
        "java": {"versions": many(VERSION), "package": re.compile(r".*\{version\}"), "source": TEXT},
    },
    "cuda": {
        "toolkits": {
            "version": re.compile(r"\d+\.\d+$"),
            "latest": VERSION,
            "native_driver": either(VERSION, None),
            "driver_floor": VERSION,
            "pypi": bool,
            "source": TEXT,
        },
        "systems": {**SPAN, "folder": TEXT, "key": either(TEXT, None)},
        "keys": {
            "id": re.compile(r"[0-9A-F]{8}$"),
            "fingerprint": either(re.compile(r"[0-9A-F]{40}$"), None),
            "note": str,
            "source": TEXT,
        },
        "distribution": {
            **dict.fromkeys(("version", "latest"), VERSION),
            **dict.fromkeys(("prefix", "nvcc"), re.compile(r"/usr/")),
            "packages": many(TEXT),
            "source": TEXT,
        },
        "cudnn": {"version": VERSION, "cuda": many(VERSION), "source": TEXT},
        "nccl": {"version": VERSION, "cuda": many(VERSION), "source": TEXT},
    },
    "drivers": {
        "branches": {
            "branch": re.compile(r"\d{3}$"),
            "type": ("LTSB", "PB", "NFB", "dev"),
            "end_of_life": DATE,
            "latest": either(VERSION, None),
            "native_cuda": either(VERSION, None),
            "kernel_floor": either(VERSION, None),
            **dict.fromkeys(("proprietary", "open", "volta"), bool),
            "source": TEXT,
        },
        "packages": {
            "open_suffix?": str,
            "extra_open?": many(TEXT),
            "proprietary?": many(TEXT),
            "open?": many(TEXT),
            "fabric_manager": either(TEXT, None),
            "source": TEXT,
        },
    },
    "gpus": {
        "architectures": {
            "compute_capability": CAPABILITY,
            **dict.fromkeys(("first_cuda", "last_cuda", "last_cudnn"), either(VERSION, None)),
            "last_driver": either(int, None),
            "open_modules": ("supported", "unsupported", "required"),
            "source": TEXT,
        },
        "gpus": {
            **dict.fromkeys(("key", "name", "architecture", "form", "source"), TEXT),
            "vendor_id": ("10de",),
            "device_ids": many(re.compile(r"[0-9a-f]{4}$")),
            "memory_gib": int,
            "mig": bool,
            "fabric_manager": ("never", "nvswitch_only", "always"),
            "first_driver": int,
        },
    },
    "performance": {
        "figures": {
            "key": TEXT,
            "names": many(TEXT),
            **dict.fromkeys(("fp32", "fp16", "memory"), either(int, float)),
            **dict.fromkeys(("tf32", "all_reduce"), either(int, float, None)),
            "images_per_second": dict.fromkeys(("pytorch", "tensorflow"), either(int, float, None)),
            "least": {f"{name}?": float for name in ("matmul", "memory", "all_reduce", "training")},
            "source": TEXT,
        }
    },
    "python": {
        "systems": {
            "glibc": VERSION,
            "python": either(VERSION, None),
            "kernel": either(VERSION, None),
            "end_of_life": DATE,
            "source": TEXT,
        },
        "science": {
            "python": PYTHON,
            "packages": dict.fromkeys(("numpy", "pandas", "matplotlib", "scikit-learn"), VERSION),
            "glibc": VERSION,
            "source": TEXT,
        },
    },
    "pytorch": {
        "releases": {
            **dict.fromkeys(("version", "glibc", "torchvision"), VERSION),
            "date": DATE,
            "python": many(PYTHON),
            "torchaudio": either(VERSION, None),
            "exceptions?": table(dict.fromkeys(("torchvision", "torchaudio"), VERSION)),
            "pypi": TEXT,
            "cudnn": either(VERSION, None),
            "variants": table(many(CAPABILITY)),
            "source": TEXT,
        }
    },
    "tensorflow": {
        "releases": {
            **dict.fromkeys(("version", "glibc", "cuda", "driver_floor"), VERSION),
            "date": DATE,
            "python": many(PYTHON),
            "cudnn": re.compile(r"[<>=]"),
            "libraries": ("wheels", "system"),
            "architectures": many(ARCHITECTURE),
            "numpy": str,
            "constraints": many(TEXT),
            "source": TEXT,
        }
    },
}


def rows(subject, name):
    found = load(subject)[name]
    return found if isinstance(found, list) else list(found.values())


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_row_has_its_form_and_a_source(subject):
    for name, form in SCHEMA[subject].items():
        assert rows(subject, name), name
        for row in rows(subject, name):
            assert holds(form, row), (name, row, [key for key in form if key in row and not holds(form[key], row[key])])


def test_a_row_of_another_form_is_noticed():
    good = rows("cuda", "toolkits")[0]
    assert holds(SCHEMA["cuda"]["toolkits"], good)
    for bad in ({**good, "latest": 12.9}, {**good, "more": 1}, {name: good[name] for name in good if name != "source"}):
        assert not holds(SCHEMA["cuda"]["toolkits"], bad)


@pytest.mark.parametrize("source", ["nvidia", "distribution"])
def test_every_source_of_drivers_has_its_form(source):
    branches = {row["branch"] for row in load("drivers")["branches"]}
    package = {
        "branch": re.compile(r"\d{3}$"),
        "version": VERSION,
        "packages": many(TEXT),
        "flavors": many(FLAVORS),
        "security_updates?": bool,
        "source": TEXT,
    }
    for system, found in load("drivers")["sources"][source].items():
        assert system in load("python")["systems"]
        assert holds(SPAN, found) if source == "nvidia" else holds(many(package), found), (system, found)
        assert source == "nvidia" or {row["branch"] for row in found} <= branches


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_data_says_of_what_day_it_is(subject):
    assert re.match(r"\d{4}-\d\d-\d\d$", load(subject)["as_of"])


def test_no_pci_id_stands_for_two_gpus():
    ids = [(row["vendor_id"], row["device_id"]) for row in gpu_models()]
    assert len(ids) == len(set(ids))
    assert all(re.match(r"[0-9a-f]{4}$", part) for pair in ids for part in pair)


def test_every_row_of_figures_is_of_a_known_gpu():
    keys = [row["key"] for row in load("performance")["figures"]]
    assert set(keys) <= {row["key"] for row in load("gpus")["gpus"]}
    assert len(keys) == len(set(keys))


def test_what_a_site_knows_better_overrides_value_by_value():
    rows = {row["key"]: row for row in gpu_figures([{"key": "t4", "memory": 300}, {"key": "own", "fp32": 1}])}
    assert rows["t4"]["memory_gb_per_second"] == 300
    assert rows["t4"]["matmul_tflops"] == {"fp32": 8.1, "tf32": None, "fp16": 65}
    assert rows["t4"]["least"] == {"matmul": 0.3, "memory": 0.6, "all_reduce": 0.3, "training": 0.7}
    assert rows["own"]["memory_gb_per_second"] is None


def test_every_gpu_is_of_a_known_architecture():
    data = load("gpus")
    assert {row["architecture"] for row in data["gpus"]} <= set(data["architectures"])


@pytest.mark.parametrize(
    ("subject", "name", "key"),
    [
        ("pytorch", "releases", "version"),
        ("tensorflow", "releases", "version"),
        ("drivers", "branches", "branch"),
        ("cuda", "toolkits", "version"),
        ("bigdata", "spark", "version"),
        ("bigdata", "hadoop", "version"),
        ("bigdata", "rapids", "version"),
        ("ansible", "cores", "core"),
    ],
)
def test_the_newest_stands_first_and_nothing_stands_twice(subject, name, key):
    order = [number(row[key]) for row in rows(subject, name)]
    assert order == sorted(order, reverse=True)
    assert len(order) == len(set(order))


def test_every_variant_has_a_driver_floor():
    for release in rows("pytorch", "releases"):
        assert release["pypi"] in release["variants"], release["version"]
        assert set(release["variants"]) <= set(load("pytorch")["driver_floors"]), release["version"]


def test_every_toolkit_has_a_driver_branch_that_came_with_it():
    natives = {row["native_cuda"] for row in rows("drivers", "branches")}
    for row in rows("cuda", "toolkits"):
        assert row["native_driver"] is None or row["version"] in natives, row["version"]


def test_every_framework_has_scientific_packages_for_each_of_its_pythons():
    for release in rows("tensorflow", "releases"):
        for python in release["python"]:
            sets = [row for row in rows("python", "science") if row["python"] == python]
            assert any(fits(row["packages"]["numpy"], release["numpy"]) for row in sets), (release["version"], python)
