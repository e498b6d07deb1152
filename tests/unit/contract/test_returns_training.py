"""RETURN of training_check, for a host that passes, one that fails in training, and those that never come that far."""

import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.workstation.plugins.module_utils._training import empty
from ansible_collections.gpufleet.workstation.plugins.modules import gpu_facts, training_check

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "module_utils"))
from returns import mismatches
from test_returns import malformed
from test_training import PROBE, WHOLE, Program, healthy
from test_training_judge import WANTED, changed

DOCUMENTED = yaml.safe_load(training_check.RETURN)["ansible_facts"]["contains"]["training"]
# Keyed by what happened, so without fixed contents.
SHARES = DOCUMENTED["contains"]["pytorch"]["contains"]["devices"]["contains"]["clocks"]["contains"]["shares"]


def facts():
    """Return what the module would return, by what happened."""
    slow = changed(WHOLE, (("devices", 1, "outcome", "result", "fast", "images_per_second"), 1000.0))
    hung = changed(WHOLE, (("devices", 0, "outcome"), None))
    blind = changed(PROBE, (("environment", "result", "gpus"), []))
    return {
        "passed": Program(*healthy()).check(),
        "failed": Program({"probe": PROBE}, slow).check(),
        "out of time": Program({"probe": PROBE}, hung).check(),
        "no GPU": Program({"probe": blind}).check(),
        "no environment": Program((None, "not found", None, "")).check(environments={"tensorflow": "/x"}),
        "check mode": empty(),
    }


@pytest.mark.parametrize(("what", "fact"), list(facts().items()))
def test_what_is_documented_is_what_is_returned(what, fact):
    assert SHARES["type"] == "dict"
    SHARES["contains"] = {}
    for framework in ("pytorch", "tensorflow"):
        for device in (fact[framework] or {}).get("devices") or []:
            device["clocks"]["shares"] = {}
    assert list(mismatches(DOCUMENTED, fact, "training")) == [], what


def test_a_host_that_fails_has_the_fields_of_one_that_passes():
    known = facts()
    assert set(known["failed"]["pytorch"]) == set(known["passed"]["pytorch"]) == set(known["no GPU"]["pytorch"])
    assert {one["code"] for one in known["failed"]["findings"]} == {"speed.straggler"}


def test_the_facts_that_are_judged_with_are_those_that_gpu_facts_returns():
    documented = yaml.safe_load(gpu_facts.RETURN)["ansible_facts"]["contains"]["gpu"]["contains"]["pci"]["contains"]
    assert set(WANTED["gpus"][0]) <= set(documented)


def test_every_field_is_documented_with_a_sample_of_its_type():
    assert list(malformed(DOCUMENTED, "training")) == []
