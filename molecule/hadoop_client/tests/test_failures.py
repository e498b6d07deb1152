"""A real cluster with one thing wrong at a time: each failure has its own reason. Going back without the network."""

import base64
import os
import subprocess

from cluster import CHECKOUT, CLUSTER, PLAIN, check, dfsadmin, reason, server

testinfra_hosts = ["ansible://jars"]


def test_safe_mode_is_named(host):
    dfsadmin("-safemode", "enter")
    try:
        assert "write: the NameNode is in safe mode" in reason(host)
    finally:
        dfsadmin("-safemode", "leave")


def test_a_wrong_port_is_named(host):
    assert "nothing listens on the NameNode's port" in reason(host, path=f"{CLUSTER}:9/tmp")
    assert "something else than a NameNode's RPC server" in reason(host, path=f"{CLUSTER}:9870/tmp")
    assert "host name cannot be resolved" in reason(host, path="hdfs://no-such-host.invalid:8020/")


def test_a_standby_is_named(host):
    server("start", "standby")
    try:
        assert "every NameNode that was asked is standby" in reason(host, path=f"{CLUSTER}:8022/")
    finally:
        server("stop", "standby")


def test_a_client_of_another_generation_is_named(host):
    jars = sorted((CHECKOUT / ".cache" / "hdfs" / "old").glob("*.jar"))
    host.check_output("mkdir -p /root/old")
    for jar in jars:
        subprocess.run(["docker", "cp", "-q", str(jar), "hadoop_client-jars:/root/old/"], check=True)
    script = "#!/bin/sh\nshift\nwhile [ $1 = -D ]; do shift 2; done\n"
    script += "exec java -cp '/etc/gpufleet/hadoop:/root/old/*' org.apache.hadoop.fs.FsShell \"$@\"\n"
    encoded = base64.b64encode(script.encode()).decode()
    host.check_output(f"echo {encoded} | base64 -d > /root/old/hdfs; chmod +x /root/old/hdfs")
    assert "of different generations" in reason(host, hdfs="/root/old/hdfs")


def test_a_stopped_datanode_is_named(host):
    host.check_output(f"echo x | hdfs dfs -put -f - {PLAIN}/there")
    server("stop", "datanode")
    try:
        assert "write: no DataNode takes the data" in reason(host)
        run = host.run(f"hdfs dfs -D dfs.client.max.block.acquire.failures=1 -cat {PLAIN}/there")
        assert run.rc != 0 and "Could not obtain block" in run.stderr
    finally:
        server("start", "datanode")


def test_going_back_and_forth_needs_no_network(host):
    playbook = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], "--limit", "hadoop_client-jars"]
    back = [*playbook, str(CHECKOUT / "playbooks" / "rollback.yml"), "-e", "rollback=hadoop_client"]
    server("stop", "mirror")
    try:
        subprocess.run(back, check=True, cwd=CHECKOUT)
        assert host.check_output("hadoop version").startswith("Hadoop 3.4.2")
        assert not check(host).get("failed")
        subprocess.run(back, check=True, cwd=CHECKOUT)
        assert host.check_output("hadoop version").startswith("Hadoop 3.5.0")
    finally:
        server("start", "mirror")
