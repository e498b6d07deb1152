# -*- coding: utf-8 -*-
"""What is said about a Spark that does not work is the reason, not the last line of a traceback."""

import json
import os

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _spark_check as check

CHECKOUT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 4))
PASSED = {"result": "passed", "reason": "", "worker": {}, "hive_rows": 1000, "stream_rows": 60}
PYTHON_TRACE = """Traceback (most recent call last):
  File "spark_check.py", line 10, in main
py4j.protocol.Py4JJavaError: An error occurred while calling o52.saveAsTable.
: org.apache.spark.SparkException: Job aborted.
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.jobAbortedError(QueryExecutionErrors.scala:606)
Caused by: %s
\tat java.base/java.lang.Thread.run(Thread.java:840)
"""


def line(result):
    return "WARN something\n" + check.MARK + json.dumps(result) + "\n"


def test_the_last_result_counts():
    assert check.parse_result(line({"result": "failed"}) + line(PASSED)) == PASSED


@pytest.mark.parametrize(
    "output",
    ["", "no result here", check.MARK + "{broken", line([]), line({"result": "fine"}), line({"result": "passed"})],
)
def test_what_is_no_result_is_not_believed(output):
    assert check.parse_result(output) is None


# What Spark, Hadoop and Hive print, from public reports.
SAID = [
    ("java.lang.UnsupportedClassVersionError: org/apache/spark/launcher/Main has been compiled by", "too old"),
    (
        "java.lang.IllegalAccessError: class org.apache.spark.storage.StorageUtils$ cannot access class "
        "sun.nio.ch.DirectBuffer because module java.base does not export sun.nio.ch to unnamed module",
        "too new",
    ),
    ("JAVA_HOME is not set", "no Java where spark-env.sh says"),
    ("java.lang.UnsatisfiedLinkError: /tmp/snappy-1.1.10.so: failed to map segment from shared object", "noexec"),
    ("java.io.IOException: No space left on device", "a filesystem is full"),
    ("MetaException(message:Could not connect to meta store using any of the URIs provided.", "spark_hive_metastore"),
    ("ERROR XSDB6: Another instance of Derby may have already booted the database /x", "lets one in"),
    ("org.apache.hadoop.hdfs.server.namenode.SafeModeException: Cannot create directory", "in safe mode"),
    ("Operation category READ is not supported in state standby.", "is the standby"),
    ("KrbException: Clock skew too great (37)", "set the time"),
    ("AccessControlException: Client cannot authenticate via:[TOKEN, KERBEROS]", "Kerberos ticket"),
    ("Server IPC version 9 cannot communicate with client version 4", "another generation"),
    ("AccessControlException: Permission denied: user=root, access=WRITE", "may not write there"),
    (
        "[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.13 than that in driver: 3.11",
        "same spark_python",
    ),
    (
        'java.io.IOException: Cannot run program "/opt/gpufleet/envs/spark/current/bin/python": error=2',
        "no Python at /opt/gpufleet/envs/spark/current/bin/python",
    ),
    ("All masters are unresponsive! Giving up.", "does not answer at spark://m:7077"),
    ("WARN TaskSchedulerImpl: Initial job has not accepted any resources; check your cluster UI", "no executor"),
    ("java.net.BindException: Cannot assign requested address: Service 'sparkDriver' failed", "spark_local_ip"),
    ("java.net.UnknownHostException: namenode.lab: Name or service not known", "the name namenode.lab is not known"),
    ("java.lang.OutOfMemoryError: Java heap space", "spark.driver.memory"),
    ("java.net.ConnectException: Connection refused", "refused the connection"),
]


@pytest.mark.parametrize(("said", "words"), SAID, ids=[words for _said, words in SAID])
def test_the_cause_is_named(said, words):
    output = PYTHON_TRACE % said
    sentence = check.failure({"result": "failed", "step": "jobs", "reason": output}, None, 1, output, "spark://m:7077")
    assert sentence.startswith("Spark failed at jobs: ")
    assert words in sentence
    assert "\n" not in sentence and "Thread.java" not in sentence


def test_a_cause_that_is_not_known_is_quoted():
    output = PYTHON_TRACE % "com.example.Odd: what is this"
    sentence = check.failure({"result": "failed", "step": "a stream", "reason": output}, None, 1, output, "")
    assert sentence == "Spark failed at a stream: Caused by: com.example.Odd: what is this"


def test_a_job_that_nobody_takes_says_so_when_its_time_is_up():
    output = "WARN TaskSchedulerImpl: Initial job has not accepted any resources; check your cluster UI\n" * 3
    sentence = check.failure(None, "timed out after 300 s", None, output, "")
    assert sentence.startswith("Spark timed out after 300 s: the cluster gave the job no executor that lived")


def test_what_a_later_step_has_overcome_is_no_cause():
    waited = "WARN TaskSchedulerImpl: Initial job has not accepted any resources; check your cluster UI\n"
    output = check.STEP + "jobs\n" + waited + check.STEP + "a Hive table\n"
    assert check.failure(None, "timed out after 600 s", None, output, "") == (
        "Spark timed out after 600 s at a Hive table: it said nothing"
    )
    assert "no executor" in check.failure(None, "timed out after 600 s", None, check.STEP + "jobs\n" + waited, "")
    assert check.failure(None, None, 137, check.STEP + "a stream\n", "") == (
        "Spark ended with status 137 and without a result at a stream: it said nothing"
    )


def test_module_and_program_agree_on_what_marks_a_line():
    program = os.path.join(CHECKOUT, "roles", "spark", "files", "spark_check.py")
    with open(program, encoding="utf-8") as file:
        text = file.read()
    assert f'MARK = "{check.MARK}"' in text and f'STEP = "{check.STEP}"' in text


def test_a_program_that_dies_without_a_word_is_told_of():
    assert check.failure(None, None, 137, "", "") == (
        "Spark ended with status 137 and without a result: it said nothing"
    )
    assert "run role spark first" in check.failure(None, "not found", None, "", "")


def test_the_programs_own_sentence_stands_alone():
    reason = "the rows of a stream: 0 came back where 30 were written; spark_check_path has to be shared"
    output = "WARN java.net.ConnectException: Connection refused\n" + line({"result": "failed"})
    assert check.failure({"result": "failed", "step": "a stream", "reason": reason}, None, 1, output, "").endswith(
        reason
    )


def test_a_proof_counts_for_the_same_configuration_only():
    stamp = json.dumps({"fingerprint": "one", "spark": PASSED})
    assert check.same(stamp, "one") == PASSED
    for stamp_of, fingerprint in (
        (stamp, "other"),
        (stamp, ""),
        ("", "one"),
        ("[]", "one"),
        ('{"fingerprint": ""}', ""),
    ):
        assert check.same(stamp_of, fingerprint) is None
