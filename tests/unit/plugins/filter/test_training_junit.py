"""Results of the training check as a CI server reads them."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ansible_collections.gpufleet.workstation.plugins.filter.training_junit import FilterModule

sys.path.insert(0, str(Path(__file__).parents[1] / "module_utils"))
from test_training import PROBE, WHOLE, Program, healthy
from test_training_judge import changed


def read(hosts):
    text = FilterModule().filters()["training_junit"](hosts)
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n<testsuites name="training_check"')
    return ElementTree.fromstring(text)  # noqa: S314 (our own)


def counted(element):
    return [int(element.get(name)) for name in ("tests", "failures", "errors", "skipped")]


def test_a_healthy_host_has_a_case_for_each_device_and_no_failure():
    root = read({"gpu01": Program(*healthy()).check()})
    assert counted(root) == [5, 0, 0, 0]
    assert [case.get("name") for case in root.iter("testcase")] == [
        "pytorch host",
        "pytorch GPU 0",
        "pytorch GPU 1",
        "pytorch GPU 2",
        "pytorch all together",
    ]
    assert {case.get("classname") for case in root.iter("testcase")} == {"gpu01"}
    assert root[0][1].get("time") == "3.500"


def test_a_failure_stands_at_its_device_with_sentence_and_advice():
    bad = changed(
        WHOLE,
        (("devices", 1, "outcome", "result", "plain", "accuracy"), 0.3),
        (("devices", 2, "clocks", "power_limit_watts"), 100.0),
        (("together", "outcomes", 0, "result", "all_reduce_gb_per_second"), 1.0),
    )
    root = read({"gpu01": Program({"probe": PROBE}, bad).check()})
    assert counted(root) == [5, 2, 0, 0]
    (failure,) = root[0][2]
    assert failure.get("type") == "training.inaccurate"
    assert failure.get("message").startswith("GPU 1 reached an accuracy of 0.300")
    assert "computes wrongly" in failure.text
    assert "warn: the power limit of GPU 2 is 100 W" in root[0][3][0].text
    assert root[0][4][0].get("type") == "speed.all_reduce"


def test_a_host_that_never_trained_fails_as_a_whole():
    blind = changed(PROBE, (("environment", "result", "gpus"), []))
    root = read({"gpu01": Program({"probe": blind}).check()})
    assert counted(root) == [1, 1, 0, 0]
    assert root[0][0].get("name") == "pytorch host"


@pytest.mark.parametrize(
    ("fact", "kind", "words"),
    [
        (None, "error", "there is no result"),
        ({"result": "failed", "reason": "no gpu_facts"}, "failure", "no gpu_facts"),
        ({"result": "not run: check mode", "reason": ""}, "skipped", "not run: check mode"),
    ],
)
def test_a_host_without_a_training_is_no_success(fact, kind, words):
    root = read({"gpu01": fact})
    assert counted(root)[0] == 1 and sum(counted(root)[1:]) == 1
    assert words in root.find(f".//{kind}").get("message")


def test_hosts_are_sorted_and_what_xml_cannot_write_is_replaced():
    root = read({"b": None, "a": {"result": "failed", "reason": "CUDA \x1b[31merror\x00 <&>"}})
    assert [suite.get("name") for suite in root] == ["a", "b"]
    assert root.find(".//failure").text == "CUDA ?[31merror? <&>"
    assert counted(root) == [2, 1, 1, 0]
