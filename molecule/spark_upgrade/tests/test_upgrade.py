"""A newer Spark, back to the one before, and forth again; a job written for the first one runs all the while."""

import json
import os
import subprocess
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://spark-upgrade"]

HERE = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
HISTORY = "gpufleet-spark-history-server"


# What an inventory would say; converge.yml says it for itself, and the rollback reads it too.
SITE = {"spark_method": "tarball", "spark_services": ["history-server"], "spark_daemon_memory": "256m"}


def play(playbook, **variables):
    """Run a playbook as a user does."""
    words = ["-i", os.environ["MOLECULE_INVENTORY_FILE"], "-e", json.dumps({**SITE, **variables})]
    return subprocess.run(["ansible-playbook", *words, playbook], capture_output=True, text=True, check=False)


def used(host):
    return host.check_output("readlink /opt/gpufleet/spark/current")


def proven(host):
    return json.loads(host.file("/var/lib/gpufleet/spark/checked.json").content_string)["spark"]["spark"]


def started(host):
    return host.check_output("systemctl show --property ActiveEnterTimestampMonotonic --value %s", HISTORY)


def test_the_older_release_is_in_use(host):
    assert used(host) == "4.2.1"
    assert proven(host) == "4.2.1"


def test_an_upgrade_restarts_the_services_and_is_proven(host):
    before = started(host)
    answer = play(str(HERE / "converge.yml"), version="4.3.0")
    assert answer.returncode == 0, answer.stdout[-3000:]
    assert (used(host), proven(host)) == ("4.3.0", "4.3.0")
    assert started(host) != before
    assert host.service(HISTORY).is_running


@pytest.mark.parametrize("version", ["4.2.1", "4.3.0"])
def test_going_back_and_forth_needs_nothing_from_the_mirror(host, version):
    host.run("umount /mirror")
    assert not host.file("/mirror/spark").exists
    before = started(host)
    answer = play("gpufleet.workstation.rollback", rollback="spark")
    assert answer.returncode == 0, answer.stdout[-3000:]
    assert f"Spark {version}" in answer.stdout
    assert (used(host), proven(host)) == (version, version)
    assert started(host) != before
    assert host.service(HISTORY).is_running


def test_a_refused_release_leaves_the_one_in_use(host):
    answer = play(str(HERE / "converge.yml"), version="4.3.0", spark_java_version="11")
    assert answer.returncode != 0
    assert "Spark 4.3.0 runs on Java 21 or 17 and not on 11" in " ".join(answer.stdout.split())
    assert used(host) == "4.3.0"
    assert host.service(HISTORY).is_running
