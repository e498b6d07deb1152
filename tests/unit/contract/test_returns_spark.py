"""RETURN of the modules that role spark is made of: what the Java finder and the proof say is what is documented."""

import importlib
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._java import choose

sys.path.insert(0, str(Path(__file__).parent))
from returns import mismatches

# What spark_check.py printed in the scenario spark.
PROOF = {
    "result": "passed",
    "reason": "",
    "spark": "4.3.0",
    "java": "17.0.19",
    "python": "3.11.2",
    "master": "local[*]",
    "start_seconds": 20.0,
    "path": "file:/var/lib/gpufleet/spark/scratch",
    "seconds": {"jobs": 12.4, "a database": 0.3, "a Hive table": 23.5, "a stream": 18.7, "the executors": 0.4},
    "worker": {
        "python": "3.11.2",
        "executable": "/opt/gpufleet/envs/spark/current/bin/python",
        "numpy": "2.4.6",
        "pandas": "3.1.1",
        "pyarrow": "26.0.1",
    },
    "hosts": ["spark-local"],
    "hive_rows": 1000,
    "stream_rows": 60,
    "stream_batches": 6,
}


def documented(module):
    text = importlib.import_module(f"ansible_collections.gpufleet.workstation.plugins.modules.{module}").RETURN
    return yaml.safe_load(text)


@pytest.mark.parametrize("versions", [["17"], ["99"]])
def test_what_the_java_finder_returns_is_what_is_documented(tmp_path, versions):
    home = tmp_path / "java-17"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text("#!/bin/sh\n", encoding="utf-8")
    (home / "bin" / "java").chmod(0o755)
    (home / "release").write_text('JAVA_VERSION="17.0.15"\n', encoding="utf-8")
    returned = choose(Host(), versions, folders=[str(tmp_path)], commands=["sh", "no-such-command"])
    assert returned["missing"] == ["no-such-command"]
    assert returned["found"]
    assert list(mismatches({"type": "dict", "contains": documented("java_home")}, returned, "java_home")) == []


def test_what_the_proof_says_is_what_is_documented():
    proof = documented("spark_check")["spark"]
    proof["contains"]["seconds"]["contains"] = {
        step: {"type": "float"} for step in PROOF["seconds"]
    }  # named by the steps
    assert list(mismatches(proof, PROOF, "spark")) == []
