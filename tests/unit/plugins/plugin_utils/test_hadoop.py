"""The configuration of a Hadoop client: what an inventory says becomes files, and what cannot be is refused by name."""

import subprocess
from xml.etree import ElementTree

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.workstation.plugins.filter.hadoop_files import hadoop_files
from ansible_collections.gpufleet.workstation.plugins.plugin_utils import _hadoop

PLAIN = {
    "home": "/opt/gpufleet/hadoop/current",
    "java_home": "/usr/lib/jvm/java-17-openjdk-amd64",
    "addresses": ["gpu01", "10.0.0.7"],
    "config_dir": "/etc/gpufleet/hadoop",
    "bin_dir": "/usr/local/bin",
    "nameservices": {},
    "core_site": {"fs.defaultFS": "hdfs://nn:8020"},
    "hdfs_site": {},
    "yarn_site": {},
    "mapred_site": {},
    "ssl_client": {},
    "ssl_client_group": "root",
    "env": {},
    "proxy_users": {},
    "rack": "",
    "libhdfs_dir": "",
    "realm": "",
    "kdcs": [],
    "admin_server": "",
    "domains": [],
    "krb5_conf": "/etc/krb5.conf",
    "namenode_principal": "",
    "principal": "",
    "keytab": "",
    "keytab_path": "/etc/security/keytabs/hadoop_client.keytab",
    "keytab_owner": "root",
}


def made(**changes):
    """Return the files by path."""
    return {file["path"]: file for file in hadoop_files({**PLAIN, **changes})}


def properties(file):
    root = ElementTree.fromstring(file["content"])  # noqa: S314 (our own text)
    return {entry.find("name").text: entry.find("value").text for entry in root}


def core(**changes):
    return properties(made(**changes)["/etc/gpufleet/hadoop/core-site.xml"])


def hdfs(**changes):
    return properties(made(**changes)["/etc/gpufleet/hadoop/hdfs-site.xml"])


def test_a_plain_client_has_its_files_and_no_more():
    assert sorted(made()) == [
        "/etc/gpufleet/hadoop/core-site.xml",
        "/etc/gpufleet/hadoop/hadoop-env.sh",
        "/etc/gpufleet/hadoop/hdfs-site.xml",
        "/etc/gpufleet/hadoop/mapred-site.xml",
        "/etc/gpufleet/hadoop/python-env.sh",
        "/etc/gpufleet/hadoop/yarn-site.xml",
        "/usr/local/bin/hadoop",
        "/usr/local/bin/hdfs",
        "/usr/local/bin/mapred",
        "/usr/local/bin/yarn",
    ]
    assert core() == {"fs.defaultFS": "hdfs://nn:8020"}


def test_values_are_written_as_hadoop_reads_them():
    site = {"a": True, "b": False, "c": ["x", "y"], "d": 3, "e": None, "f": "<&>'\"é"}
    assert hdfs(hdfs_site=site) == {"a": "true", "b": "false", "c": "x,y", "d": "3", "f": "<&>'\"é"}


def test_a_highly_available_pair_and_a_second_nameservice():
    services = {"lab": {"nn1": "a:8020", "nn2": "b:8020"}, "cold": {"nn1": "c:8020"}}
    assert core(nameservices=services, core_site={}) == {"fs.defaultFS": "hdfs://lab"}
    assert hdfs(nameservices=services) == {
        "dfs.nameservices": "lab,cold",
        "dfs.ha.namenodes.lab": "nn1,nn2",
        "dfs.namenode.rpc-address.lab.nn1": "a:8020",
        "dfs.namenode.rpc-address.lab.nn2": "b:8020",
        "dfs.client.failover.proxy.provider.lab": _hadoop.FAILOVER,
        "dfs.ha.namenodes.cold": "nn1",
        "dfs.namenode.rpc-address.cold.nn1": "c:8020",
        "dfs.client.failover.proxy.provider.cold": _hadoop.FAILOVER,
    }


def test_the_inventorys_own_property_wins():
    services = {"lab": {"nn1": "a:8020"}}
    assert core(nameservices=services, core_site={"fs.defaultFS": "hdfs://other"})["fs.defaultFS"] == "hdfs://other"


def test_a_client_of_a_cluster_with_kerberos():
    given = {"realm": "LAB.TEST", "kdcs": ["kdc1", "kdc2:88"], "domains": ["lab.test"], "admin_server": "kdc1"}
    assert core(**given)["hadoop.security.authentication"] == "kerberos"
    assert hdfs(**given)["dfs.namenode.kerberos.principal"] == "nn/_HOST@LAB.TEST"
    text = made(**given)["/etc/krb5.conf"]["content"]
    for line in ("default_realm = LAB.TEST", "kdc = kdc2:88", ".lab.test = LAB.TEST", "dns_lookup_kdc = false"):
        assert line in text
    assert "dns_lookup_kdc = true" in made(realm="LAB.TEST")["/etc/krb5.conf"]["content"]


def test_tickets_lie_where_java_finds_them():
    """It reads a file only, and distributions have kinit put them into the kernel's keyring or to a daemon (KCM)."""
    assert "\n  default_ccache_name = FILE:/tmp/krb5cc_%{uid}\n" in made(realm="LAB.TEST")["/etc/krb5.conf"]["content"]


def test_the_sites_own_options_do_not_displace_the_krb5_conf():
    given = {"realm": "LAB.TEST", "krb5_conf": "/etc/hadoop-krb5.conf", "env": {"HADOOP_OPTS": "-Xmx1g", "GONE": None}}
    text = made(**given)["/etc/gpufleet/hadoop/hadoop-env.sh"]["content"]
    answer = subprocess.run(["sh", "-c", text + '\necho "$HADOOP_OPTS"'], env={}, capture_output=True, check=True)
    assert answer.stdout == b"-Xmx1g -Djava.security.krb5.conf=/etc/hadoop-krb5.conf\n"
    assert "GONE" not in text


def test_a_krb5_conf_of_the_sites_own_is_left_alone_or_pointed_to():
    assert "/etc/krb5.conf" not in made(realm="LAB.TEST", krb5_conf="")
    env = made(realm="LAB.TEST", krb5_conf="/etc/hadoop-krb5.conf")["/etc/gpufleet/hadoop/hadoop-env.sh"]["content"]
    assert "-Djava.security.krb5.conf=/etc/hadoop-krb5.conf" in env


def test_secrets_are_marked_as_such():
    files = made(keytab="Y2FuYXJ5", principal="lab@LAB.TEST", ssl_client={"ssl.client.truststore.password": "canary"})
    keytab = files["/etc/security/keytabs/hadoop_client.keytab"]
    assert (keytab["mode"], keytab["content"], keytab["secret"], keytab["base64"]) == ("0400", "Y2FuYXJ5", True, True)
    ssl_client = files["/etc/gpufleet/hadoop/ssl-client.xml"]
    assert (ssl_client["mode"], ssl_client["secret"]) == ("0640", True)
    assert "canary" not in "".join(file["content"] for file in files.values() if not file.get("secret"))


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"core_site": {"fs.defaultFS": "hdfs://nn:8020", "fs.s3a.secret.key": "canary"}}, "core-site.xml"),
        ({"hdfs_site": {"ssl.server.keystore.password": "canary"}}, "hdfs-site.xml"),
        ({"env": {"AWS_SECRET_ACCESS_KEY": "canary"}}, "hadoop-env.sh"),
        ({"env": {"HADOOP_OPTS": "-Djavax.net.ssl.trustStorePassword=canary"}}, "hadoop-env.sh"),
    ],
)
def test_a_secret_of_every_user_is_in_no_output_and_its_file_readable(changes, name):
    files = made(**changes)
    file = files[f"/etc/gpufleet/hadoop/{name}"]
    assert file["secret"] and "mode" not in file
    assert "canary" not in "".join(one["content"] for one in files.values() if not one.get("secret"))


def test_a_name_that_only_speaks_of_tokens_hides_nothing():
    site = {
        "dfs.encryption.key.provider.uri": "kms://x",
        "dfs.block.access.token.enable": True,
        "hadoop.http.authentication.signature.secret.file": "/s",
    }
    assert not any(one.get("secret") for one in made(hdfs_site=site).values())


def test_proxy_users_and_the_rack():
    found = core(proxy_users={"spark": {"hosts": ["gpu01"], "groups": "*"}, "none": None}, rack="/row1/rack3")
    assert found["hadoop.proxyuser.spark.hosts"] == "gpu01" and found["hadoop.proxyuser.spark.groups"] == "*"
    table = made(rack="/row1/rack3")[found["net.topology.table.file.name"]]["content"]
    assert table == "gpu01\t/row1/rack3\n10.0.0.7\t/row1/rack3\n"


def test_what_runs_stays_with_the_release_that_it_began_with(tmp_path):
    """Java opens most of its jars late; by way of current they would be those of another release after an upgrade."""
    (tmp_path / "3.5.0" / "bin").mkdir(parents=True)
    (tmp_path / "current").symlink_to("3.5.0")
    program = tmp_path / "3.5.0" / "bin" / "hdfs"
    program.write_text('#!/bin/sh\necho "$HADOOP_HOME $HADOOP_CONF_DIR $*"\n', encoding="utf-8")
    program.chmod(0o755)
    text = made(home=str(tmp_path / "current"))["/usr/local/bin/hdfs"]["content"]
    argv = ["sh", "-c", text, "hdfs", "dfs", "-ls"]
    answer = subprocess.run(argv, env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True, text=True)
    assert answer.stdout == f"{tmp_path}/3.5.0 /etc/gpufleet/hadoop dfs -ls\n"


def test_the_environment_is_quoted():
    text = made(env={"HADOOP_OPTS": "-Da='b c' $(reboot)"})["/etc/gpufleet/hadoop/hadoop-env.sh"]["content"]
    assert "export HADOOP_OPTS='-Da='\\''b c'\\'' $(reboot)'\n" in text
    assert "export JAVA_HOME='/usr/lib/jvm/java-17-openjdk-amd64'\n" in text


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"core_site": {}}, "nothing says which cluster is meant"),
        ({"core_site": {"fs.defaultFS": None}}, "nothing says which cluster is meant"),
        ({"nameservices": {"lab": {}}}, "lab has no NameNodes"),
        ({"nameservices": {"lab": "nn:8020"}}, "lab has no NameNodes"),
        ({"nameservices": {"lab": {"nn1": "host"}}}, "nn1: host of lab is no NameNode"),
        ({"nameservices": {"la b": {"nn1": "host:1"}}}, "cannot name a nameservice"),
        ({"hdfs_site": {"a": {"b": 1}}}, "hadoop_client_hdfs_site: a has a dictionary"),
        ({"hdfs_site": {"a": "\x00"}}, "control character"),
        ({"rack": "rack3"}, "'rack3' is no rack"),
        ({"proxy_users": {"spark": {"host": "*"}}}, "spark has host; there are hosts, groups and users"),
        ({"env": {"A-B": 1}}, "'A-B' cannot name an environment variable"),
        ({"keytab": "x"}, "hadoop_client_principal: there is a keytab"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(changes, sentence):
    with pytest.raises(AnsibleFilterError, match=sentence):
        made(**changes)
