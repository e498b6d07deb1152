# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module spark_check makes of a Spark program's output. Private to the collection."""

import json
import re
from typing import Any, Dict, List, Optional

# A small job is done in no time with few partitions, and needs no web page.
PROPERTIES = {"spark.sql.shuffle.partitions": "2", "spark.ui.enabled": "false"}
MARK = "gpufleet-spark-check: "
STEP = "gpufleet-spark-check is at "
WORDS = 300
# The first that is found in the output names the cause; those that hide behind others come first.
_CAUSES = [
    (r"UnsupportedClassVersionError", "the Java at JAVA_HOME is too old for this Spark; correct spark_java_version"),
    (
        r"IllegalAccessError.*(StorageUtils|DirectBuffer)|does not export sun\.nio\.ch",
        "the Java at JAVA_HOME is too new for this Spark; correct spark_java_version",
    ),
    (
        r"JAVA_HOME is not set|JAVA_GATEWAY_EXITED.*java: not found|/bin/java: (not found|No such file)",
        "there is no Java where spark-env.sh says; run the role again, it looks for one",
    ),
    (
        r"failed to map segment from shared object|UnsatisfiedLinkError|SnappyError",
        "a native library could not be loaded from the folder for temporary files; spark_data must not be on a "
        "filesystem that is mounted noexec",
    ),
    (r"No space left on device", "a filesystem is full; free some space where spark_data lies, on every executor too"),
    (
        r"Could not connect to meta store|MetaException\(message:Could not connect|HIVE_METASTORE.*refused",
        "the Hive metastore does not answer; check spark_hive_metastore, and that it runs",
    ),
    (
        r"Another instance of Derby may have already booted",
        "another program of this user holds the embedded metastore, which lets one in; end it, or run a metastore",
    ),
    (
        r"SafeModeException|Name node is in safe mode",
        "the NameNode is in safe mode and takes nothing in; wait, or ask its admin",
    ),
    (
        r"not supported in state standby",
        "the NameNode that was asked is the standby; name the nameservice instead of one host",
    ),
    (
        r"Clock skew too great",
        "the clocks of this host and of the Kerberos server differ by more than it allows; set the time",
    ),
    (
        r"Client cannot authenticate via|SIMPLE authentication is not enabled|Failed to find any Kerberos tgt",
        "the cluster wants a Kerberos ticket; set spark.kerberos.principal and .keytab in spark_properties",
    ),
    (
        r"Server IPC version|cannot communicate with client version",
        "the Hadoop cluster is of another generation than Spark's client",
    ),
    (
        r"AccessControlException|Permission denied: user=",
        "the user may not write there; choose another spark_check_path or spark_check_user",
    ),
    (
        r"PYTHON_VERSION_MISMATCH|Python in worker has different version",
        "driver and executors have different Pythons; run this role on all hosts with the same spark_python_version",
    ),
    (
        r'Cannot run program "([^"]*python[^"]*)"',
        "an executor has no Python at {0}; run this role there too, or set spark.pyspark.python in spark_properties",
    ),
    (
        r"All masters are unresponsive|Failed to connect to master|Could not parse Master URL",
        "the master does not answer at {master}; check spark_master, that it runs, and that spark_secret is the same",
    ),
    (
        r"Initial job has not accepted any resources",
        "the cluster gave the job no executor that lived; check that workers are registered, have memory and cores "
        "free, and reach this host at its spark_local_ip (what an executor said is in stderr, below the worker's work)",
    ),
    (
        r"Service 'sparkDriver' could not bind|Cannot assign requested address",
        "the address in spark_local_ip is not this host's; correct it, and what the host's name leads to",
    ),
    (r"UnknownHostException: ([^\s;:]+)", "the name {0} is not known here; check DNS or /etc/hosts"),
    (
        r"Exception in thread \"main\".*OutOfMemoryError|Java heap space",
        "the driver ran out of memory; raise spark.driver.memory",
    ),
    (r"Connection refused", "a server refused the connection; the output below says which"),
]


def parse_result(output: str) -> Optional[Dict[str, Any]]:
    """Return the program's result, or None where there is none that can be believed."""
    lines = [line[len(MARK) :] for line in output.splitlines() if line.startswith(MARK)]
    try:
        result = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    if not isinstance(result, dict) or result.get("result") not in ("passed", "failed"):
        return None
    if result["result"] == "passed" and not all(name in result for name in ("worker", "stream_rows", "hive_rows")):
        return None
    return result


def cause(output: str, master: str = "") -> Optional[str]:
    """Return the sentence for what the output shows, or None where nothing is recognised."""
    for pattern, sentence in _CAUSES:
        match = re.search(pattern, output)
        if match:
            return sentence.format(*match.groups(), master=master or "spark_master")
    return None


def complaint(text: str) -> str:
    """Return the line of an output that says most: the last cause of a chain of exceptions, or its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not re.match(r"\s+(at |\.\.\.)", line)]
    causes = [line for line in lines if line.startswith("Caused by:")]
    errors = [line for line in lines if re.search(r"(Exception|Error)\b", line)]
    best: List[str] = causes[-1:] or errors[-1:] or lines[-1:]
    return best[0][:WORDS] if best else "it said nothing"


def failure(result: Optional[Dict[str, Any]], error: Optional[str], rc: Optional[int], output: str, master: str) -> str:
    """Return the sentence for a check that did not pass."""
    if error == "not found":
        return "there is no spark-submit; run role spark first"
    if not result and STEP in output:
        # What was said before the last step did not stop it: a cluster that had no executor yet, for one.
        at, _newline, output = output.rpartition(STEP)[2].partition("\n")
        error = "{} at {}".format(error or f"ended with status {rc} and without a result", at)
    known = cause(output, master)
    if result and result["result"] == "failed":
        reason = result.get("reason", "")
        where = "Spark failed at {}".format(result.get("step", "an unknown step"))
        # A sentence of the program's own needs no other.
        if "spark_check_path" in reason:
            return f"{where}: {reason}"
        said = complaint(reason) if reason.strip() else complaint(output)
    else:
        where = "Spark {}".format(error or f"ended with status {rc} and without a result")
        said = complaint(output)
    return f"{where}: {known} ({said})" if known else f"{where}: {said}"


def same(stamp: str, fingerprint: str) -> Optional[Dict[str, Any]]:
    """Return the result of an earlier proof of the same configuration, or None."""
    try:
        noted = json.loads(stamp)
    except ValueError:
        return None
    if isinstance(noted, dict) and fingerprint and noted.get("fingerprint") == fingerprint:
        return noted.get("spark") if isinstance(noted.get("spark"), dict) else None
    return None
