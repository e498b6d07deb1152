"""What a user can rely on, against a real NameNode, DataNode and KDC: each failure has its own reason."""

import base64
import os
import subprocess
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://workstations"]

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


def only(host, name):
    if host.backend.get_hostname() != f"hadoop_client-{name}":
        pytest.skip(f"for the host {name} alone")


def check(host, **options):
    """Run the module on the host; return its result."""
    words = " ".join(f"{name}={value}" for name, value in {"path": PLAIN, "timeout": 90, **options}.items())
    return module(host, "hdfs_check", words)


def module(host, name, words):
    """Run a module on the host; return its result, a failure's too."""
    try:
        return host.ansible("gpufleet.workstation." + name, words, check=False)
    except host.ansible.AnsibleException as failure:
        return failure.result


def reason(host, **options):
    result = check(host, **options)
    assert result.get("failed"), result
    return result["msg"]


def test_the_commands_work_without_any_environment(host):
    assert host.check_output("env -i /usr/local/bin/hadoop version").startswith("Hadoop 3.5.0")
    assert "JAVA_HOME='/usr/lib/jvm/java-" in host.file("/etc/gpufleet/hadoop/hadoop-env.sh").content_string


def test_a_large_file_comes_back_as_it_was(host):
    name = host.backend.get_hostname()
    host.check_output("head -c 268435456 /dev/urandom > /var/tmp/large")
    host.check_output(f"hdfs dfs -put -f /var/tmp/large {PLAIN}/{name}")
    sums = host.check_output(
        f"(sha256sum < /var/tmp/large; hdfs dfs -cat {PLAIN}/{name} | sha256sum) | sort -u | wc -l"
    )
    assert sums == "1"
    assert "MD5-of-" in host.check_output(f"hdfs dfs -checksum {PLAIN}/{name}")
    host.check_output(f"rm /var/tmp/large; hdfs dfs -rm -skipTrash {PLAIN}/{name}")


def test_the_proof_lists_writes_reads_and_removes(host):
    result = check(host)
    assert set(result["steps"]) == {"list", "write", "read", "remove"}
    assert "gpufleet" not in host.check_output(f"hdfs dfs -ls {PLAIN}")


def test_safe_mode_is_named(host):
    only(host, "jars")
    dfsadmin("-safemode", "enter")
    try:
        assert "write: the NameNode is in safe mode" in reason(host)
    finally:
        dfsadmin("-safemode", "leave")


def test_a_wrong_port_is_named(host):
    only(host, "jars")
    assert "nothing listens on the NameNode's port" in reason(host, path=f"{CLUSTER}:9/tmp")
    assert "something else than a NameNode's RPC server" in reason(host, path=f"{CLUSTER}:9870/tmp")
    assert "host name cannot be resolved" in reason(host, path="hdfs://no-such-host.invalid:8020/")


def test_a_standby_is_named(host):
    only(host, "jars")
    server("start", "standby")
    try:
        assert "every NameNode that was asked is standby" in reason(host, path=f"{CLUSTER}:8022/")
    finally:
        server("stop", "standby")


def test_a_client_of_another_generation_is_named(host):
    only(host, "jars")
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
    only(host, "jars")
    host.check_output(f"echo x | hdfs dfs -put -f - {PLAIN}/there")
    server("stop", "datanode")
    try:
        assert "write: no DataNode takes the data" in reason(host)
        run = host.run(f"hdfs dfs -D dfs.client.max.block.acquire.failures=1 -cat {PLAIN}/there")
        assert run.rc != 0 and "Could not obtain block" in run.stderr
    finally:
        server("start", "datanode")


def test_going_back_and_forth_needs_no_network(host):
    only(host, "jars")
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


# Kerberos

SECURE = f"{CLUSTER}:8021/"
TICKET = "keytab=/etc/security/keytabs/hadoop_client.keytab principal=lab@LAB.TEST"


def test_the_keytab_gets_a_ticket_and_the_ticket_a_listing(host):
    only(host, "archive")
    keytab = host.file("/etc/security/keytabs/hadoop_client.keytab")
    assert (keytab.mode, keytab.user) == (0o400, "root")
    host.check_output(f"kinit -kt {keytab.path} lab")
    host.check_output("hdfs dfs -ls /")
    host.check_output("kdestroy")
    assert "there is no Kerberos ticket" in reason(host, path=SECURE, write="false")


def test_a_principal_that_the_keytab_is_not_of_is_named(host):
    only(host, "archive")
    ticket = TICKET.replace("lab@", "other@")
    result = module(host, "hdfs_check", f"path={SECURE} write=false {ticket}")
    assert "kinit: the keytab has no valid key" in result["msg"]


def test_a_clock_that_is_wrong_is_named(host):
    only(host, "archive")
    server("start", "kdc-ahead")
    try:
        host.check_output("sed s/:88/:8888/ /etc/krb5.conf > /root/ahead.conf")
        more = "environment={'KRB5_CONFIG':'/root/ahead.conf'}"
        result = module(host, "hdfs_check", f"path={SECURE} write=false {TICKET} {more}")
        assert "kinit: the clocks of this host and of the KDC differ" in result["msg"]
    finally:
        server("stop", "kdc-ahead")


def test_no_secret_is_in_what_ansible_says(host):
    only(host, "archive")
    keytab = bed("base64", "-w0", "/srv/bed/lab.keytab")
    playbook = ["ansible-playbook", "-vvv", "--diff", "-i", os.environ["MOLECULE_INVENTORY_FILE"]]
    host.check_output("rm /etc/security/keytabs/hadoop_client.keytab /etc/gpufleet/hadoop/ssl-client.xml")
    run = subprocess.run(
        [*playbook, str(CHECKOUT / "molecule" / "hadoop_client" / "converge.yml")],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=CHECKOUT,
    )
    assert run.returncode == 0, run.stdout[-3000:]
    assert "ssl-client.xml" in run.stdout and "changed=1" in run.stdout
    assert keytab not in run.stdout and "canary" not in run.stdout
    assert "canary" in host.file("/etc/gpufleet/hadoop/ssl-client.xml").content_string


# What the module release_folder promises, once over a real mirror


def test_a_small_disk_and_a_wrong_checksum_keep_the_client(host):
    only(host, "archive")
    before = host.check_output("readlink /opt/gpufleet/hadoop/current")
    path = "hadoop/common/hadoop-3.4.2/hadoop-3.4.2.tar.gz"
    words = 'name=hadoop version=3.4.2 sources=http://hadoop-client-bed:8000/apache cache_dir={} files="[{}]"'
    host.check_output("mkdir -p /run/small && mount -t tmpfs -o size=40m tmpfs /run/small")
    small = module(host, "release_folder", words.format("/run/small", {"path": path, "unpack": True}))
    host.check_output("umount /run/small")
    assert "/run/small" in small["msg"] and "are needed; free some space" in small["msg"]
    wrong = {"path": path, "unpack": True, "checksum": "sha256:" + "0" * 64}
    damaged = module(host, "release_folder", words.format("/var/cache/gpufleet/releases", wrong))
    assert "damaged or replaced" in damaged["msg"] and f"still leads to {before}" in damaged["msg"]
    assert host.check_output("readlink /opt/gpufleet/hadoop/current") == before
