# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does HDFS answer this host, and if not, why not. Private to the collection."""

import os
import re
import shutil
import tempfile
import time
from typing import Any, Dict, List, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused

# Two minutes of waiting and asking again tell nobody more than the first answer.
IMPATIENT = (
    "ipc.client.connect.max.retries=1",
    "ipc.client.connect.max.retries.on.timeouts=1",
    "ipc.client.connect.timeout=10000",
    "dfs.client.failover.max.attempts=2",
    "dfs.client.failover.sleep.max.millis=500",
    "dfs.client.max.block.acquire.failures=1",
    "dfs.client.block.write.retries=1",
)
BRIEF = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # a third less processor time for a Java that ends at once
# The first that is found in what Hadoop or Kerberos said names the cause.
CAUSES = (
    (
        r"Clock skew too great|\(37\)|Ticket not yet valid",
        "the clocks of this host and of the KDC differ by more than Kerberos allows (5 minutes); set the clock, by NTP"
        " on both",
    ),
    (
        r"Cannot contact any KDC|Cannot find KDC|Receive timed out",
        "no KDC of the realm answers; check hadoop_client_kerberos_kdcs, port 88 and the network",
    ),
    (
        r"Client '?[^ ]*'? ?not found in Kerberos database|CLIENT_NOT_FOUND",
        "the KDC does not know the principal; correct hadoop_client_principal",
    ),
    (
        r"no suitable keys|Key table entry not found|Preauthentication failed|Integrity check on decrypted field failed"
        r"|Password incorrect",
        "the keytab has no valid key of the principal; export it anew and correct hadoop_client_keytab",
    ),
    (
        r"Server not found in Kerberos database|LOOKING_UP_SERVER",
        "the KDC does not know the NameNode's principal; correct hadoop_client_namenode_principal, or the host name in"
        " the cluster's address",
    ),
    (
        r"Failed to specify server's Kerberos principal name|Server has invalid Kerberos principal",
        "the NameNode's principal is another one; correct hadoop_client_namenode_principal",
    ),
    (
        r"SIMPLE authentication is not enabled",
        "the cluster wants Kerberos and this client is configured without it; set hadoop_client_kerberos_realm and the"
        " variables beside it",
    ),
    (r"Ticket expired|TKT_EXPIRED", "the Kerberos ticket has expired; run kinit again"),
    (
        r"Client cannot authenticate via|Failed to find any Kerberos tgt|GSS initiate failed|No valid credentials"
        r"|Unable to obtain password from user|No Kerberos credentials available",
        "there is no Kerberos ticket in a file, the only place where Java looks (klist tells); run kinit, or give the"
        " role a keytab (hadoop_client_keytab)",
    ),
    (
        r"is not supported in state standby|StandbyException|state observer",
        "every NameNode that was asked is standby; one has to become active (hdfs haadmin -getServiceState), or the"
        " client knows only one of them: describe both in hadoop_client_nameservices",
    ),
    (
        r"[Nn]ame ?[Nn]ode is in safe mode|SafeModeException",
        "the NameNode is in safe mode and takes no changes; wait until it has heard from the DataNodes, or end it with"
        " hdfs dfsadmin -safemode leave",
    ),
    (
        r"Server IPC version \S+ cannot communicate with client version|RPC version mismatch|Unknown rpc kind"
        r"|incompatible|InvalidProtocolBufferException|UnsupportedClassVersionError",
        "client and cluster are of different generations; set stack_hadoop_version to the cluster's",
    ),
    (
        r"could only be (?:written|replicated) to 0 (?:of the \d+ minReplication )?nodes",
        "no DataNode takes the data: none is running, none is reachable from here, or all are full; look at"
        " hdfs dfsadmin -report",
    ),
    (
        r"Could not obtain block|BlockMissingException",
        "the DataNodes that hold the data do not answer; look at hdfs dfsadmin -report and at the DataNodes' ports from"
        " here",
    ),
    (
        r"exceeds maximum data length|End of File Exception|EOFException|Protocol message|not an RPC|It looks like you",
        "something else than a NameNode's RPC server answers on that port; the port in fs.defaultFS is usually 8020 or"
        " 9000, not the one of the web page",
    ),
    (
        r"Connection refused",
        "nothing listens on the NameNode's port; check host and port in the cluster's address, and whether the NameNode"
        " runs",
    ),
    (
        r"UnknownHostException|java\.nio\.channels\.UnresolvedAddressException|unknown host",
        "the NameNode's host name cannot be resolved; correct it, or the nameservice it should have been",
    ),
    (
        r"No Route to Host|No route to host|ConnectTimeoutException|connection timed out|timed out"
        r"|NoRouteToHostException|Network is unreachable",
        "the NameNode does not answer at all; check the network and the firewalls between here and there",
    ),
    (r"Permission denied", "the user may not do this there; choose a path that belongs to the user, or grant it"),
    (r"quota|QuotaExceededException", "a quota of that path is used up; raise it, or choose another path"),
    (r"No such file or directory", "the path does not exist; create it, or choose another one"),
    (r"JAVA_HOME", "the client finds no Java; run the role hadoop_client again"),
)
_NOISE = re.compile(
    r"^\s+at |^\s*\.\.\. \d+ more|^\s*$|NativeCodeLoader|^SLF4J:|^log4j:|^Usage:|^\t\[-|^WARNING: |^Picked up "
)


def explain(text: str) -> str:
    """Return the sentence for what Hadoop's or Kerberos' client said, with its own words behind it.

    Its last words count first: before them it complains of every server that it asked in vain.
    """
    said = last_words(text)
    sentence = known(said) or known(text) or "it failed"
    return sentence + (f" ({said})" if said else "")


def known(text: str) -> str:
    """Return the sentence for the first cause that a text names; empty where it names none."""
    return next((sentence for pattern, sentence in CAUSES if re.search(pattern, text)), "")


def last_words(text: str) -> str:
    """Return the line that a client ends with, or the one that names the exception."""
    lines = [line.strip() for line in text.splitlines() if not _NOISE.search(line)]
    spoken = [line for line in lines if re.match(r"-?[a-z]+(\(\w+\))?: ", line)]
    lines = spoken or lines
    return re.sub(r"\s+", " ", lines[-1])[:400] if lines else ""


def steps(options: Dict[str, Any], name: str, local: str) -> List[Tuple[str, List[str]]]:
    """Return what is done, and the words for each."""
    generic = [word for one in IMPATIENT for word in ("-D", one)]
    hdfs = [options["hdfs"], "dfs", *generic]
    path = options["path"].rstrip("/") or "/"
    remote = path.rstrip("/") + "/" + name
    found = [("list", [*hdfs, "-ls", path])]
    if options["write"]:
        found += [
            ("write", [*hdfs, "-put", local, remote]),
            ("read", [*hdfs, "-cat", remote]),
            ("remove", [*hdfs, "-rm", "-skipTrash", remote]),
        ]
    return found


def check(host, options: Dict[str, Any]) -> Dict[str, Any]:
    """List, write, read and remove; return the module's result, or refuse with the reason."""
    began = time.monotonic()
    deadline = began + options["timeout"]
    scratch = tempfile.mkdtemp(prefix="gpufleet-hdfs-")
    environment = {"HADOOP_CLIENT_OPTS": BRIEF, **options["environment"]}
    if options["keytab"]:
        environment["KRB5CCNAME"] = "FILE:" + os.path.join(scratch, "tickets")
    content = f"gpufleet {os.uname().nodename} {os.getpid()} {time.time()}\n"
    name = f".gpufleet-check-{os.uname().nodename}-{os.getpid()}"
    seconds = {}

    def run(what: str, argv: List[str]) -> str:
        start = time.monotonic()
        result = host.run(argv, timeout=max(1, deadline - start), env=environment)
        seconds[what] = round(time.monotonic() - start, 3)
        if result.error == "not found":
            raise Refused(f"{what}: there is no program {argv[0]}; run the role hadoop_client first")
        if result.error:
            said = last_words(result.stderr)
            late = f"{what}: it did not answer within {options['timeout']} s; check the network, or raise the timeout"
            raise Refused(
                f"{what}: {explain(result.stderr)}" if known(result.stderr) else late + f" ({said})" * bool(said)
            )
        if result.rc:
            raise Refused(f"{what}: {explain(result.stderr + result.stdout)}")
        return result.stdout

    try:
        local = os.path.join(scratch, "file")
        with open(local, "w", encoding="utf-8") as file:
            file.write(content)
        if options["keytab"]:
            run("kinit", ["kinit", "-k", "-t", options["keytab"], options["principal"]])
        words = steps(options, name, local)
        try:
            for what, argv in words:
                said = run(what, argv)
                if what == "read" and said != content:
                    raise Refused("read: what came back is not what was written; do not trust this cluster's data")
        except Refused:
            if "write" in seconds and "remove" not in seconds:  # leave nothing behind, whatever it says
                argv = words[-1][1]
                host.run([*argv[:-1], "-f", argv[-1], argv[-1] + "._COPYING_"], timeout=30, env=environment)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {"steps": seconds, "seconds": round(time.monotonic() - began, 3)}
