# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that Spark's role is made of, run by Ansible as a user sees them."""

import json
import os

import pytest
from through_ansible import needs_ansible, play_tasks

pytestmark = needs_ansible


@pytest.fixture
def play(tmp_path):
    """Return a function that runs one task on this machine and returns its status and all that was said."""

    def run(module, arguments, *words):
        answer = play_tasks(tmp_path, [{f"gpufleet.workstation.{module}": arguments}], *words)
        return answer.returncode, answer.stdout

    return run


def asked(tmp_path, secret="canary-one"):  # noqa: S107
    me = {"owner": str(os.getuid()), "group": str(os.getgid())}
    return {
        "folders": [{"path": str(tmp_path / "data"), "mode": "1777", **me}],
        "files": [
            {"path": str(tmp_path / "open.conf"), "content": "colour blue\n", **me},
            {
                "path": str(tmp_path / "closed.conf"),
                "content": f"password {secret}\n",
                "mode": "0640",
                "secret": True,
                **me,
            },
        ],
    }


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_a_secret_is_in_no_output_and_the_rest_is(tmp_path, play, check):
    rc, said = play("config_files", asked(tmp_path), "-vvv", "--diff", *check)
    assert rc == 0, said
    assert "colour blue" in said and "its content is secret" in said
    assert "canary" not in said
    assert (tmp_path / "closed.conf").exists() is not bool(check)


def test_a_secret_that_changes_is_in_no_output_either(tmp_path, play):
    play("config_files", asked(tmp_path))
    rc, said = play("config_files", asked(tmp_path, secret="canary-two"), "-vvv", "--diff")  # noqa: S106
    assert rc == 0, said
    assert "another content, which is secret" in said and "canary" not in said
    assert (tmp_path / "closed.conf").read_text(encoding="utf-8") == "password canary-two\n"
    _rc, said = play("config_files", asked(tmp_path, secret="canary-two"))  # noqa: S106
    assert "changed=0" in said


def test_what_stands_in_the_way_is_one_sentence_without_the_secret(tmp_path, play):
    (tmp_path / "open.conf").mkdir()
    rc, said = play("config_files", asked(tmp_path), "-vvv", "--diff")
    assert rc != 0
    assert "open.conf is a folder where a file should be; move it away." in said
    assert "canary" not in said and "Traceback" not in said


def test_a_java_that_is_not_there_is_one_sentence(tmp_path, play):
    rc, said = play("java_home", {"versions": ["21", "17"], "folders": [str(tmp_path)], "program": "Spark 4.3.0"})
    assert rc != 0
    assert f"Spark 4.3.0 runs on Java 21 or 17, and there is no Java below {tmp_path}; install one" in said


# spark-submit, as much of it as the module needs.
SUBMIT = """#!/bin/sh
echo "WARN $*" >&2
cat {answer}
exit {status}
"""


@pytest.fixture
def spark(tmp_path):
    """Return a maker of what a task asks for, with a stand-in for spark-submit that says what it is told to."""

    def make(result, status=0):
        answer, submit = tmp_path / "answer", tmp_path / "spark-submit"
        answer.write_text("gpufleet-spark-check: " + json.dumps(result) + "\n", encoding="utf-8")
        submit.write_text(SUBMIT.format(answer=answer, status=status), encoding="utf-8")
        submit.chmod(0o755)
        return {
            "program": "/check.py",
            "spark_submit": str(submit),
            "folder": str(tmp_path),
            "stamp": str(tmp_path / "checked.json"),
            "fingerprint": "one",
        }

    return make


PASSED = {"result": "passed", "reason": "", "worker": {}, "hive_rows": 1000, "stream_rows": 60}
FAILED = {"result": "failed", "step": "a stream", "reason": "java.io.IOException: No space left on device"}


def test_a_proof_is_noted_and_not_repeated(spark, play):
    rc, said = play("spark_check", spark(PASSED), "-v")
    assert rc == 0, said
    assert '"proven_before": false' in said or "proven_before: false" in said
    rc, said = play("spark_check", spark(FAILED, status=1), "-v")  # the same configuration, so it is not even started
    assert rc == 0, said
    rc, said = play("spark_check", {**spark(FAILED, status=1), "fingerprint": "two"})
    assert rc != 0 and "Spark failed at a stream: a filesystem is full" in said


def test_a_failure_is_not_noted(spark, play):
    for _time in range(2):
        rc, said = play("spark_check", spark(FAILED, status=1))
        assert rc != 0 and "a filesystem is full" in said


def test_check_mode_proves_nothing_and_says_so(spark, play):
    rc, said = play("spark_check", spark(FAILED, status=1), "--check", "-v")
    assert rc == 0 and "not run: check mode" in said
