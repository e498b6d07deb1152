"""What the tests of this scenario share: the cluster's host, and the module that proves or says why not."""

import json
import os
import subprocess
from pathlib import Path

CHECKOUT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
BED = "hadoop_client-bed"
CLUSTER = "hdfs://hadoop-client-bed"
# The host with Kerberos reads the cluster without it too; role and inventory allow it.
PLAIN = f"{CLUSTER}:8020/tmp"


def bed(*words):
    """Run a command on the cluster's host."""
    return subprocess.run(["docker", "exec", BED, *words], check=True, text=True, capture_output=True).stdout


def server(action, name):
    bed("python3", "/usr/local/bin/bed.py", action, name)


def dfsadmin(*words):
    jars = "/srv/bed/namenode:/srv/hdfs/server/*"
    return bed("java", "-Xmx128m", "-cp", jars, "org.apache.hadoop.hdfs.tools.DFSAdmin", *words)


def check(host, **options):
    """Run hdfs_check on the host; return its result."""
    return module(host, "hdfs_check", **{"path": PLAIN, "timeout": 400, **options})


def module(host, called, **options):
    """Run a module on the host; return its result, a failure's too."""
    try:
        return host.ansible("gpufleet.workstation." + called, json.dumps(options), check=False)
    except host.ansible.AnsibleException as failure:
        return failure.result


def reason(host, **options):
    """Return why the module failed."""
    result = check(host, **options)
    assert "steps" not in result, result
    return result["msg"]
