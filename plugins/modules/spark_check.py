#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that a host's Spark works."""

DOCUMENTATION = r"""
module: spark_check
short_description: Prove that a host's Spark works
version_added: 0.2.0
author:
  - The gpufleet authors (@gpufleet)
description:
  - Submits the collection's test program to the configured master. It runs Python on the executors, writes a Hive table
    and asks it through Spark SQL, and streams files into a table, twice with the same checkpoint.
  - All of it happens in a database and a folder of its own, which are removed again.
  - The host fails with one sentence that says what stands in the way, so far as Spark's output shows it.
  - A configuration that was proven once is not proven again, so a second run costs nothing.
options:
  program:
    description: Path of the program on the host.
    type: path
    required: true
  spark_submit:
    description: Path of spark-submit on the host.
    type: path
    required: true
  path:
    description:
      - Folder that the driver and all executors reach, C(hdfs://namenode/tmp) for example.
      - Empty means O(folder) for a local master, and C(/tmp) of Hadoop's default filesystem for others.
    type: str
    default: ""
  folder:
    description: Folder on the host for what a local master writes.
    type: path
    required: true
  properties:
    description: Properties for this one job, beyond those of spark-defaults.conf.
    type: dict
    default: {}
  user:
    description: User who submits. Empty means the one that Ansible is on the host.
    type: str
    default: ""
  master:
    description: The master, for messages.
    type: str
    default: ""
  stamp:
    description: File that keeps the last result.
    type: path
  fingerprint:
    description: What stands for the whole configuration. The proof in O(stamp) is believed if it has the same.
    type: str
    default: ""
  timeout:
    description: Seconds after which the job is given up. A job that no worker takes would wait for ever.
    type: int
    default: 300
attributes:
  check_mode:
    description: Proves nothing in check mode, and says so in RV(spark.result).
    support: full
  diff_mode:
    description: There is nothing to compare, because nothing is changed.
    support: N/A
  platform:
    description: Systems on which Spark runs.
    support: full
    platforms: linux
requirements:
  - Python >= 3.6 on the target, and nothing beyond its standard library
"""

EXAMPLES = r"""
- name: Prove that Spark works and reaches the cluster
  gpufleet.workstation.spark_check:
    program: /opt/gpufleet/bin/spark_check.py
    spark_submit: /usr/local/bin/spark-submit
    folder: /var/lib/gpufleet/spark/scratch
    path: hdfs://namenode.lab.example.org/tmp
"""

RETURN = r"""
spark:
  description: What was shown. Only C(result) and C(reason) are there where nothing was.
  returned: always
  type: dict
  contains:
    result: {description: "V(passed), V(failed) or V(not run: check mode).", type: str, sample: passed}
    reason: {description: Why not. Empty where it passed., type: str, sample: ""}
    spark: {description: Version of Spark., type: str, sample: 4.3.0}
    java: {description: Version of Java., type: str, sample: 17.0.17}
    python: {description: Version of the driver's Python., type: str, sample: 3.11.2}
    master: {description: The master that the job ran on., type: str, sample: "local[*]"}
    path: {description: The folder that it worked in., type: str, sample: "file:/var/lib/gpufleet/spark/scratch"}
    worker:
      description: The Python of an executor.
      type: dict
      contains:
        python: {description: Version., type: str, sample: 3.11.2}
        executable: {description: Path., type: str, sample: /opt/gpufleet/envs/spark/current/bin/python}
        numpy: {description: NumPy. Null where it is not there., type: str, sample: 2.4.6}
        pandas: {description: pandas. Null where it is not there., type: str, sample: 3.1.1}
        pyarrow: {description: pyarrow. Null where it is not there., type: str, sample: 26.0.1}
    hosts: {description: Names of the hosts that executors ran on., type: list, elements: str, sample: [node1, node2]}
    hive_rows: {description: Rows of the Hive table. Null where no Hive is configured., type: int, sample: 1000}
    stream_rows: {description: Rows that the stream brought., type: int, sample: 60}
    stream_batches: {description: Batches in which it did., type: int, sample: 6}
    start_seconds: {description: Seconds until Spark had started., type: float, sample: 4.1}
    seconds:
      description: Seconds by step, C(jobs), C(a database), C(a Hive table), C(a stream), C(the executors).
      type: dict
      sample: {jobs: 2.1}
proven_before:
  description: Whether the result is that of an earlier run with the same configuration.
  returned: success
  type: bool
  sample: false
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._spark_check import (
    PROPERTIES,
    failure,
    parse_result,
    same,
)
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import write_file


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "required": True},
            "spark_submit": {"type": "path", "required": True},
            "path": {"type": "str", "default": ""},
            "folder": {"type": "path", "required": True},
            "properties": {"type": "dict", "default": {}},
            "user": {"type": "str", "default": ""},
            "master": {"type": "str", "default": ""},
            "stamp": {"type": "path"},
            "fingerprint": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    asked, host = module.params, Host()
    if module.check_mode:
        module.exit_json(spark={"result": "not run: check mode", "reason": ""}, proven_before=False)
    before = same(host.read_text(asked["stamp"], quiet=True), asked["fingerprint"]) if asked["stamp"] else None
    if before:
        module.exit_json(spark=before, proven_before=True)
    argv = ["runuser", "-u", asked["user"], "--"] if asked["user"] else []
    argv += [asked["spark_submit"], "--name", "gpufleet check"]
    for name, value in sorted({**PROPERTIES, **asked["properties"]}.items()):
        argv += ["--conf", f"{name}={value}"]
    argv += [asked["program"], "--path", asked["path"]]
    answer = host.run(argv, asked["timeout"], env={"GPUFLEET_CHECK_FOLDER": asked["folder"]})
    spark = parse_result(answer.stdout)
    if answer.error or spark is None or spark["result"] != "passed":
        reason = failure(spark, answer.error, answer.rc, answer.stdout + answer.stderr, asked["master"])
        module.fail_json(msg=f"{os.uname().nodename}: {reason}.", spark={"result": "failed", "reason": reason})
    if asked["stamp"]:
        write_file(asked["stamp"], json.dumps({"fingerprint": asked["fingerprint"], "spark": spark}))
    module.exit_json(spark=spark, proven_before=False)


if __name__ == "__main__":
    main()
