#!/usr/bin/env python3
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HDFS, a real KDC and a mirror, in a container with systemd: bed.py start|stop NAME...

bed.py folder PATH... makes folders in the HDFS that everybody may write to. The servers:

    namenode   port 8020, one DataNode, no Kerberos
    datanode   of that NameNode
    secure     a NameNode with Kerberos, port 8021, nothing in it
    standby    a NameNode of a highly available pair whose other one is gone, port 8022
    kdc        MIT Kerberos, realm LAB.TEST, port 88; keytab of the principal lab in /srv/bed/lab.keytab
    kdc-ahead  the same KDC by a clock two hours ahead, port 8888
    mirror     .cache/hdfs/mirror over HTTP, port 8000

The classes are Hadoop's own, from .cache/hdfs/server (tests/hdfs/fetch.py). The container's host name is the name that
clients use.
"""

import subprocess
import sys
import time
from pathlib import Path
from xml.sax.saxutils import escape

JARS = "/srv/hdfs/server"
STATE = Path("/srv/bed")
HOST = subprocess.run(["hostname"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
REALM = "LAB.TEST"
JAVA = [
    "/usr/bin/java",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    f"-Dlog4j.configuration=file:{JARS}/log4j.properties",
]
NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"

CORE = {"fs.defaultFS": f"hdfs://{HOST}:8020"}
HDFS = {
    "dfs.replication": 1,
    "dfs.permissions.superusergroup": "root",
    "dfs.namenode.datanode.registration.ip-hostname-check": "false",
    "dfs.namenode.safemode.extension": 0,
    "dfs.heartbeat.interval": 1,
    "dfs.namenode.heartbeat.recheck-interval": 2000,
    "dfs.namenode.edits.dir.minimum": 1,
    "dfs.namenode.resource.du.reserved": 0,
}


def namenode(port, web, **more):
    """Return the settings of a NameNode."""
    return {
        **HDFS,
        "dfs.namenode.name.dir": f"file:///srv/bed/{port}/name",
        "dfs.namenode.rpc-address": f"{HOST}:{port}",
        "dfs.namenode.rpc-bind-host": "0.0.0.0",  # noqa: S104 (inside a container)
        "dfs.namenode.http-address": f"0.0.0.0:{web}",
        **more,
    }


KERBEROS = {
    "dfs.namenode.kerberos.principal": f"nn/{HOST}@{REALM}",
    "dfs.namenode.keytab.file": "/srv/bed/nn.keytab",
    "dfs.web.authentication.kerberos.principal": f"HTTP/{HOST}@{REALM}",
    "dfs.web.authentication.kerberos.keytab": "/srv/bed/nn.keytab",
    "dfs.block.access.token.enable": "true",
    "ignore.secure.ports.for.testing": "true",
}
PAIR = {
    "dfs.nameservices": "lab",
    "dfs.ha.namenodes.lab": "nn1,nn2",
    "dfs.ha.namenode.id": "nn1",
    "dfs.namenode.rpc-address.lab.nn1": f"{HOST}:8022",
    "dfs.namenode.rpc-address.lab.nn2": f"{HOST}:8029",
    "dfs.namenode.http-address.lab.nn1": "0.0.0.0:9872",
    "dfs.namenode.http-address.lab.nn2": "0.0.0.0:9879",
    "dfs.namenode.shared.edits.dir": "file:///srv/bed/8022/shared",
    "dfs.ha.standby.checkpoints": "false",
}
# name: (core-site beyond CORE, hdfs-site, class, port that answers when it is ready)
SERVERS = {
    "namenode": ({}, namenode(8020, 9870), NAMENODE, 8020),
    "datanode": ({}, {**HDFS, "dfs.datanode.data.dir": "file:///srv/bed/data"}, DATANODE, 9866),
    "secure": (
        {
            "fs.defaultFS": f"hdfs://{HOST}:8021",
            "hadoop.security.authentication": "kerberos",
            "hadoop.security.authorization": "true",
        },
        namenode(8021, 9871, **KERBEROS),
        NAMENODE,
        8021,
    ),
    "standby": ({"fs.defaultFS": "hdfs://lab"}, namenode(8022, 9872, **PAIR), NAMENODE, 8022),
}
KDC_CONF = """[kdcdefaults]
  kdc_ports = {port}
  kdc_tcp_ports = {port}
[realms]
  LAB.TEST = {{
    database_name = /srv/bed/principal
    key_stash_file = /srv/bed/stash
    max_life = 24h
  }}
"""
KRB5_CONF = """[libdefaults]
  default_realm = LAB.TEST
  dns_lookup_kdc = false
  rdns = false
[realms]
  LAB.TEST = {{
    kdc = {host}:88
  }}
"""


def run(*argv, **more):
    """Run a command that has to succeed."""
    return subprocess.run(argv, check=True, **more)


def site(path, properties):
    """Write a C(*-site.xml)."""
    body = "".join(
        f"<property><name>{name}</name><value>{escape(str(value))}</value></property>\n"
        for name, value in properties.items()
    )
    path.write_text(f"<configuration>\n{body}</configuration>\n")


def unit(name, argv):
    """Start a command under systemd."""
    subprocess.run(["systemctl", "reset-failed", f"bed-{name}"], check=False, stderr=subprocess.DEVNULL)
    run("systemd-run", "--quiet", f"--unit=bed-{name}", "--property=TimeoutStopSec=5", *argv)


def answers(port):
    """Say whether somebody listens on a port of this host."""
    wanted = f"{port:04X}"
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(path).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[1].endswith(":" + wanted):
                return True
    return False


def wait(name, port):
    """Return when a port answers, or end with the journal."""
    for _turn in range(240):
        if answers(port):
            return
        time.sleep(0.5)
    log = subprocess.run(["journalctl", "--unit", f"bed-{name}", "--lines", "40"], check=False, stdout=subprocess.PIPE)
    sys.exit(f"bed: {name} does not answer on port {port}\n" + log.stdout.decode("utf-8", "replace"))


def start_server(name):
    """Start a NameNode or the DataNode."""
    core, hdfs, main, port = SERVERS[name]
    conf = STATE / name
    conf.mkdir(parents=True, exist_ok=True)
    (STATE / str(port) / "shared").mkdir(parents=True, exist_ok=True)
    site(conf / "core-site.xml", {**CORE, **core})
    site(conf / "hdfs-site.xml", hdfs)
    java = [*JAVA, "-cp", f"{conf}:{JARS}/*", main]
    if main == NAMENODE and not (STATE / str(port) / "name").exists():
        run(*java, "-format", "-force", "-nonInteractive", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    unit(name, java)
    wait(name, port)
    if name == "datanode":  # the cluster is whole
        make_folders(["/tmp"])


def make_folders(paths):
    """Make folders in the HDFS that everybody may write to."""
    shell = [*JAVA, "-cp", f"{STATE / 'datanode'}:{JARS}/*", "org.apache.hadoop.fs.FsShell"]
    run(*shell, "-mkdir", "-p", *paths)
    run(*shell, "-chmod", "1777", *paths)


def start_kdc(name, port, words=()):
    """Start a KDC; the first one makes the realm, its principals and their keytabs."""
    conf = STATE / f"{name}.conf"
    conf.write_text(KDC_CONF.format(port=port))
    Path("/etc/krb5.conf").write_text(KRB5_CONF.format(host=HOST))
    environment = {"KRB5_KDC_PROFILE": str(conf), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    if not (STATE / "principal").exists():
        run("kdb5_util", "create", "-s", "-P", "only-for-tests", env=environment, stdout=subprocess.DEVNULL)
        for principal, keytab in ((f"nn/{HOST}", "nn"), (f"HTTP/{HOST}", "nn"), ("lab", "lab"), ("other", "other")):
            for question in (f"addprinc -randkey {principal}", f"ktadd -k /srv/bed/{keytab}.keytab {principal}"):
                run("kadmin.local", "-q", question, env=environment, stdout=subprocess.DEVNULL)
    unit(name, [f"--setenv=KRB5_KDC_PROFILE={conf}", *words, "/usr/sbin/krb5kdc", "-n", "-P", f"/run/{name}.pid"])
    wait(name, port)


def start(name):
    """Start one of the servers, unless it runs."""
    active = subprocess.run(["systemctl", "is-active", "--quiet", f"bed-{name}"], check=False)
    if active.returncode == 0:
        return
    STATE.mkdir(exist_ok=True)
    if name in SERVERS:
        start_server(name)
    elif name == "kdc":
        start_kdc(name, 88)
    elif name == "kdc-ahead":
        start_kdc(name, 8888, ["/usr/bin/faketime", "-f", "+2h"])
    elif name == "mirror":
        unit(name, ["/usr/bin/python3", "-m", "http.server", "8000", "--directory", "/srv/hdfs/mirror"])
        wait(name, 8000)
    else:
        sys.exit(f"bed: there is no {name}")


def main(words):
    """Do what the command line says."""
    if words[:1] not in (["start"], ["stop"], ["folder"]) or len(words) < 2:
        sys.exit(__doc__)
    if words[0] == "folder":
        make_folders(words[1:])
        return
    for name in words[1:]:
        if words[0] == "start":
            start(name)
        else:
            run("systemctl", "stop", f"bed-{name}")


if __name__ == "__main__":
    main(sys.argv[1:])
