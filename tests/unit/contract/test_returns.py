"""RETURN is a contract: what the facts modules document is what they return, neither more nor less."""

import importlib
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.workstation.plugins.module_utils import _gpu, _memory, _nvme, _system
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import gpu_models

sys.path.insert(0, str(Path(__file__).parent))
from returns import TYPES, mismatches

EMULATION = Path(__file__).resolve().parents[2] / "emulation"
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


def collect_gpu(root):
    return _gpu.collect(Host(str(root)), gpu_models(), str(root / "bin" / "nvidia-smi"), 20)


COLLECT = {
    "gpu": collect_gpu,
    "memory": lambda root: _memory.collect(Host(str(root))),
    "nvme": lambda root: _nvme.collect(Host(str(root))),
    "host": lambda root: _system.collect(Host(str(root)), ["/", "/boot", "/opt/gpufleet"]),
}


def documented(name):
    module = importlib.import_module(f"ansible_collections.gpufleet.workstation.plugins.modules.{name}_facts")
    return yaml.safe_load(module.RETURN)["ansible_facts"]["contains"][name]


@pytest.mark.parametrize("machine", ["v100", "a100"])
@pytest.mark.parametrize("name", sorted(COLLECT))
def test_what_is_documented_is_what_is_returned(name, machine):
    assert list(mismatches(documented(name), COLLECT[name](EMULATION / machine), name)) == []


@pytest.mark.parametrize("machine", sorted(path.name for path in (FIXTURES / "host").iterdir()))
def test_what_is_documented_of_a_host_is_what_is_returned(machine):
    assert list(mismatches(documented("host"), COLLECT["host"](FIXTURES / "host" / machine), "host")) == []


def test_a_wrong_type_and_a_forgotten_key_are_noticed():
    wrong = documented("memory")
    wrong["contains"]["total_bytes"]["type"] = "str"
    wrong["contains"]["forgotten"] = {"type": "str"}
    found = list(mismatches(wrong, COLLECT["memory"](EMULATION / "v100"), "memory"))
    assert found == ["memory.forgotten: only documented", "memory.total_bytes: documented str, returned int"]


def malformed(entry, where):
    """Yield one line for each entry of a RETURN block whose keys or whose sample are not what they should be."""
    unknown = set(entry) - {"description", "type", "elements", "contains", "sample"}
    if unknown:  # an unquoted comma in a description ends it there, and the rest becomes a key
        yield f"{where}: {', '.join(sorted(unknown))}"
    sample = entry.get("sample")
    if "contains" not in entry and (sample is None or not isinstance(sample, TYPES[entry["type"]])):
        yield f"{where}: the sample {sample!r} is no {entry['type']}"
    for name, part in entry.get("contains", {}).items():
        yield from malformed(part, f"{where}.{name}")


@pytest.mark.parametrize("name", sorted(COLLECT))
def test_every_field_is_documented_with_a_sample_of_its_type(name):
    assert list(malformed(documented(name), name)) == []


def test_a_comma_that_ends_a_description_and_a_wrong_sample_are_noticed():
    entry = yaml.safe_load("{description: Fast, slow., type: int, sample: '3'}")
    assert list(malformed(entry, "gears")) == ["gears: slow.", "gears: the sample '3' is no int"]
