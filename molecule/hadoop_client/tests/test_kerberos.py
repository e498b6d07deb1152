"""A client of a highly available nameservice with Kerberos, and what the secrets on it are worth."""

import os
import re
import subprocess

from cluster import CHECKOUT, CLUSTER, bed, module, reason, server

testinfra_hosts = ["ansible://archive"]

SECURE = f"{CLUSTER}:8021/"
TICKET = {"keytab": "/etc/security/keytabs/hadoop_client.keytab", "principal": "lab@LAB.TEST"}


def test_the_keytab_gets_a_ticket_and_the_ticket_a_listing(host):
    keytab = host.file("/etc/security/keytabs/hadoop_client.keytab")
    assert (keytab.mode, keytab.user) == (0o400, "root")
    host.check_output(f"kinit -kt {keytab.path} lab")
    host.check_output("hdfs dfs -ls /")
    host.check_output("kdestroy")
    assert "there is no Kerberos ticket" in reason(host, path=SECURE, write=False)


def test_a_principal_that_the_keytab_is_not_of_is_named(host):
    other = {**TICKET, "principal": "other@LAB.TEST"}
    assert "kinit: the keytab has no valid key" in reason(host, path=SECURE, write=False, **other)


def test_a_clock_that_is_wrong_is_named(host):
    server("start", "kdc-ahead")
    try:
        host.check_output("sed s/:88/:8888/ /etc/krb5.conf > /root/ahead.conf")
        ahead = {"environment": {"KRB5_CONFIG": "/root/ahead.conf"}}
        assert "kinit: the clocks of this host and of the KDC differ" in reason(
            host, path=SECURE, write=False, **TICKET, **ahead
        )
    finally:
        server("stop", "kdc-ahead")


def test_no_secret_is_in_what_ansible_says(host):
    keytab = bed("base64", "-w0", "/srv/bed/lab.keytab")
    playbook = ["ansible-playbook", "-vvv", "--diff", "-i", os.environ["MOLECULE_INVENTORY_FILE"]]
    playbook += ["--limit", "archive:bed"]
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


def test_a_run_that_changes_nothing_asks_no_package_manager(host):
    playbook = str(CHECKOUT / "molecule" / "hadoop_client" / "converge.yml")
    words = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], "--limit", "archive:bed", playbook]
    plain = {**os.environ, "ANSIBLE_FORCE_COLOR": "false"}
    said = subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE, cwd=CHECKOUT, env=plain).stdout
    assert re.search(r"hadoop_client-archive +: ok=\d+ +changed=0 ", said)
    tasks = re.findall(r"TASK \[gpufleet\.workstation\.hadoop_client : ([^\]]*)\]", said)
    assert [task for task in tasks if not task.startswith("Validating arguments")] == [
        "Find Java and Kerberos' commands",
        "Install the Hadoop client 3.5.0",
        "Write the configuration, the commands and the keytab",
        "Prove that this host reads and writes the cluster",
    ]


# What the module release_folder promises, once over a real mirror


def test_a_small_disk_and_a_wrong_checksum_keep_the_client(host):
    before = host.check_output("readlink /opt/gpufleet/hadoop/current")
    file = {"path": "hadoop/common/hadoop-3.4.2/hadoop-3.4.2.tar.gz", "unpack": True}
    options = {"name": "hadoop", "version": "3.4.2", "sources": ["http://hadoop-client-bed:8000/apache"]}
    host.check_output("mkdir -p /run/small && mount -t tmpfs -o size=40m tmpfs /run/small")
    small = module(host, "release_folder", **options, files=[file], cache_dir="/run/small")["msg"]
    host.check_output("umount /run/small")
    assert "/run/small" in small and "are needed; free some space" in small
    wrong = {**file, "checksum": "sha256:" + "0" * 64}
    damaged = module(host, "release_folder", **options, files=[wrong])["msg"]
    assert "damaged or replaced" in damaged and f"still leads to {before}" in damaged
    assert host.check_output("readlink /opt/gpufleet/hadoop/current") == before
