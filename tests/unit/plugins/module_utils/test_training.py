# -*- coding: utf-8 -*-
"""What the module training_check believes of the program's answer."""

import json

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils._training import broken_off, command, parse_result

PASSED = {
    "result": "passed",
    "accuracy": 0.97,
    "minimum_accuracy": 0.9,
    "loss_per_epoch": [2.1, 0.4],
    "images_per_second": 1900.0,
    "seconds": 7.0,
    "device": "cpu",
    "data": "digits",
    "versions": {"torch": "2.10.0"},
}


def test_a_complete_result_is_believed():
    assert parse_result(json.dumps(PASSED)) == PASSED
    failed = {"result": "failed", "reason": "the loss is nan"}
    assert parse_result(json.dumps(failed)) == failed


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy": 0.5},
        {"accuracy": float("nan")},
        {"accuracy": "0.99"},
        {"accuracy": True},
        {"accuracy": 97},
        {"minimum_accuracy": None},
        {"result": "PASSED"},
        {"result": "failed"},
    ],
)
def test_a_result_that_contradicts_itself_is_not(change):
    damaged = dict(PASSED, **change)
    assert parse_result(json.dumps(damaged)) is None


@pytest.mark.parametrize("name", sorted(set(PASSED) - {"result"}))
def test_a_pass_that_lacks_something_is_not(name):
    assert parse_result(json.dumps({key: value for key, value in PASSED.items() if key != name})) is None


@pytest.mark.parametrize("text", ["", "Killed", "[]", "null", '{"result": "passed"', '"passed"'])
def test_what_is_no_result_is_not(text):
    assert parse_result(text) is None


def test_options_that_are_not_set_are_left_to_the_program():
    options = {"python": "/env/bin/python", "program": "/p.py", "data": "", "seed": 0, "batch_size": None, "epochs": 2}
    assert command(options, "/r.json") == ["/env/bin/python", "/p.py", "--json", "/r.json", "--epochs=2", "--seed=0"]


def test_a_program_that_breaks_off_is_told_in_one_sentence():
    assert "role pytorch" in broken_off("not found", None, "", "/env/bin/python")
    assert broken_off("timed out after 5 s", None, "a\nb\n", "p") == "the training timed out after 5 s: a / b"
    assert broken_off(None, 139, "", "p") == "the training ended with status 139 and without a result"
