# -*- coding: utf-8 -*-
"""What the module training_check makes of the program's answers, for one framework and for both."""

import copy
import json
import math
import os
import sys

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _training as training

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_training_judge import PROBE, RUN, V100, WANTED, changed

OPTIONS = {
    "program": "/opt/training_check",
    "environments": {"pytorch": "/envs/pytorch/current"},
    "data": "",
    "checksum": "",
    "dataset": "digits",
    "device": "auto",
    "epochs": 10,
    "batch_size": None,
    "learning_rate": 0.001,
    "momentum": 0.9,
    "seed": 0,
    "threads": 0,
    "cpu_workers": 1,
    "cache_dir": None,
    "ca_file": None,
    "hdfs": "hdfs",
    "nvidia_smi": "nvidia-smi",
    "fast": True,
    "benchmark": True,
    "together": False,
    "gpus": WANTED["gpus"],
    "expected_gpus": None,
    "figures": [V100],
    "minimum_accuracy": None,
    "curve_tolerance": 0.01,
    "timeout": 600,
}
WHOLE = dict(RUN, training={"epochs": 10, "batch_size": 4, "seed": 0, "learning_rate": 0.001, "momentum": 0.9})


class Program:
    """The program's answers, and what it was asked, on a clock of its own."""

    def __init__(self, *answers, seconds=1.0):
        self.answers, self.asked, self.now, self.seconds = list(answers), [], 0.0, seconds

    def __call__(self, argv_for, limit):
        argv = argv_for("/answer.json")
        self.asked.append((argv, round(limit, 1)))
        self.now += min(self.seconds, limit)
        answer = self.answers.pop(0)
        return answer if isinstance(answer, tuple) else (copy.deepcopy(answer), None, 0, "")

    def check(self, **options):
        return training.check(dict(OPTIONS, **options), self, lambda: self.now)


def healthy():
    return {"probe": PROBE}, WHOLE


def test_options_that_are_not_set_are_left_to_the_program():
    argv = training.command(OPTIONS, "run", "pytorch", 59.6, "/r.json")
    assert argv[:5] == [
        "/envs/pytorch/current/bin/python",
        "/opt/training_check",
        "run",
        "--framework=pytorch",
        "--json",
    ]
    assert "--time-limit=59.60" in argv and "--seed=0" in argv and "--no-together" in argv
    assert not [word for word in argv if word.startswith(("--data=", "--batch-size", "--no-fast", "--ca-file"))]


def test_a_healthy_host_passes():
    program = Program(*healthy())
    fact = program.check()
    assert (fact["result"], fact["reason"], fact["findings"], fact["tensorflow"]) == ("passed", "", [], None)
    told = fact["pytorch"]
    assert (told["accuracy"], told["minimum_accuracy"], told["images_per_second"]) == (0.97, 0.9, 120000.0)
    assert [device["result"] for device in told["devices"]] == ["passed"] * 3
    assert told["together"]["all_reduce_gb_per_second"] == 120.0
    assert fact["seconds"] == 2.0


def test_what_the_probe_fails_by_is_not_trained_on():
    blind = changed(PROBE, (("environment", "result", "gpus"), []), (("environment", "result", "cuda"), None))
    program = Program({"probe": blind})
    fact = program.check()
    assert len(program.asked) == 1
    assert (fact["result"], fact["pytorch"]["devices"], fact["pytorch"]["accuracy"]) == ("failed", [], None)
    assert "is a build without CUDA, and this host has 3 GPU(s): install the CUDA build" in fact["reason"]
    assert fact["findings"][0]["framework"] == "pytorch"


def test_only_the_device_that_is_bad_is_called_failed():
    bad = changed(WHOLE, (("devices", 1, "outcome", "result", "plain", "accuracy"), 0.3))
    fact = Program({"probe": PROBE}, bad).check()
    assert [device["result"] for device in fact["pytorch"]["devices"]] == ["passed", "failed", "passed"]
    assert "GPU 1 reached an accuracy of 0.300" in fact["pytorch"]["devices"][1]["reason"]


def test_a_loss_that_is_no_number_is_null_in_the_fact_and_named_in_the_reason():
    bad = changed(WHOLE, (("devices", 1, "outcome", "result", "plain", "loss_per_epoch"), [1.5, math.nan]))
    fact = Program({"probe": PROBE}, bad).check()
    assert fact["pytorch"]["devices"][1]["plain"]["loss_per_epoch"] == [1.5, None]
    assert "the loss of epoch 2 on GPU 1 is nan" in fact["reason"]
    assert "NaN" not in json.dumps(fact)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ((None, "not found", None, ""), "environment.missing", "there is no /envs/pytorch/current/bin/python"),
        ((None, "timed out after 9 s", None, ""), "check.broken", "it timed out after 9 s"),
        ((None, "Permission denied", None, ""), "environment.broken", "bin/python does not start: Permission denied"),
        ((None, None, 1, "x\nSyntaxError: f-string"), "environment.broken", "status 1: SyntaxError: f-string"),
        (({"framework": "pytorch"}, None, 0, ""), "environment.broken", "status 0"),
    ],
)
def test_a_program_without_an_answer_never_passes(answer, code, words):
    fact = Program(answer).check()
    assert (fact["result"], [one["code"] for one in fact["findings"]]) == ("failed", [code])
    assert words in fact["reason"]


def test_a_training_that_breaks_off_without_an_answer_never_passes():
    fact = Program({"probe": PROBE}, (None, None, -9, "Killed")).check()
    assert fact["result"] == "failed"
    assert "the check itself broke off: status -9: Killed" in fact["reason"]


def test_both_frameworks_share_the_time_and_one_that_fails_fails_the_host():
    slow = Program({"probe": PROBE}, WHOLE, (None, "not found", None, ""), seconds=1e9)
    environments = {"tensorflow": "/envs/tensorflow/current", "pytorch": "/envs/pytorch/current"}
    fact = slow.check(environments=environments)
    assert slow.now <= 600
    assert [limit for _argv, limit in slow.asked] == [150.0, 150.0, 150.0]
    assert (fact["pytorch"]["result"], fact["tensorflow"]["result"], fact["result"]) == ("passed", "failed", "failed")
    assert fact["reason"].startswith("tensorflow: there is no /envs/tensorflow/current/bin/python: run the role")


def test_the_cpu_is_enough_where_it_was_asked_for():
    cpu = changed(WHOLE, (("devices",), WHOLE["devices"][:1]), (("together",), None))
    cpu["devices"][0]["device"] = dict(cpu["devices"][0]["device"], kind="cpu", label="the CPU")
    cpu["devices"][0]["outcome"]["result"]["trained_on"] = "cpu"
    blind = changed(PROBE, (("environment", "result", "gpus"), []), (("devices",), []))
    assert Program({"probe": blind}, cpu).check(device="cpu")["result"] == "passed"
    assert Program({"probe": blind}, cpu).check(device="cpu", expected_gpus=8)["result"] == "passed"
    assert Program({"probe": blind}, cpu).check(device="auto", gpus=[])["result"] == "passed"
    assert Program({"probe": blind}, cpu).check(device="auto")["result"] == "failed"


@pytest.mark.parametrize("text", ["", "Killed", "[]", "null", '{"probe": ', '"passed"'])
def test_what_is_no_answer_is_not_believed(text):
    assert training.parse(text) is None


def test_files_that_differ_or_lack_or_are_too_many_are_put_right():
    kept = {"/p/a.py": "1", "/p/b.py": "old"}
    names = training.outdated(
        "/p",
        {"a.py": "1", "b.py": "2", "c.py": "3"},
        lambda path: kept.get(path, ""),
        ["a.py", "b.py", "z.py", "x.txt"],
    )
    assert names == ["b.py", "c.py", "z.py"]
