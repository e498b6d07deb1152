# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why HDFS does not answer. The texts in fixtures/hdfs were said by real clients to a real cluster."""

import os
import time

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _hdfs as hdfs
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 2, "fixtures", "hdfs")
REASONS = {
    "client-1.2.1": "client and cluster are of different generations",
    "client-without-kerberos": "the cluster wants Kerberos and this client is configured without it",
    "clock-ahead": "the clocks of this host and of the KDC differ",
    "clock-ahead-kinit": "the clocks of this host and of the KDC differ",
    "datanode-port": "something else than a NameNode's RPC server",
    "datanode-stopped-read": "the DataNodes that hold the data do not answer",
    "datanode-stopped-write": "no DataNode takes the data",
    "http-port": "something else than a NameNode's RPC server",
    "no-kdc": "no KDC of the realm answers",
    "no-such-path": "the path does not exist",
    "no-ticket": "there is no Kerberos ticket",
    "other-namenode-principal": "the NameNode's principal is another one",
    "permission": "the user may not do this there",
    "refused": "nothing listens on the NameNode's port",
    "safe-mode": "the NameNode is in safe mode",
    "standby": "every NameNode that was asked is standby",
    "unknown-host": "the NameNode's host name cannot be resolved",
    "unknown-principal": "the keytab has no valid key",
    "wrong-keytab": "the keytab has no valid key",
}


def capture(name):
    with open(os.path.join(FIXTURES, name + ".txt"), encoding="utf-8") as file:
        return file.read()


def test_every_capture_is_judged():
    assert sorted(REASONS) == sorted(name[: -len(".txt")] for name in os.listdir(FIXTURES))


@pytest.mark.parametrize("name", sorted(REASONS))
def test_each_failure_has_its_own_reason(name):
    assert hdfs.explain(capture(name)).startswith(REASONS[name])


def test_a_sentence_ends_with_the_clients_own_last_words():
    assert hdfs.explain(capture("datanode-stopped-write")).endswith(
        "(put: File /y._COPYING_ could only be written to 0 of the 1 minReplication nodes. There are 1 datanode(s)"
        " running and 1 node(s) are excluded in this operation.)"
    )
    assert "NativeCodeLoader" not in hdfs.explain(capture("refused"))


@pytest.mark.parametrize("text", ["", "\n", "what?\n", "\tat a.b.C(D.java:1)\n"])
def test_what_nobody_knows_is_called_a_failure(text):
    assert hdfs.explain(text).startswith("it failed")


@pytest.fixture
def client(tmp_path):
    """Return a maker of a stand-in for the command: a folder is its file system."""
    (tmp_path / "tmp").mkdir()

    def make(script=""):
        program = tmp_path / "hdfs"
        program.write_text(
            f"""#!/bin/sh
shift
while [ "$1" = -D ]; do shift 2; done
{script}
case $1 in
-ls) ls "{tmp_path}$2" ;;
-put) cp "$2" "{tmp_path}$3" ;;
-cat) cat "{tmp_path}$2" ;;
-rm) shift 2; while [ "$1" = -f ]; do shift; done; for name; do rm -f "{tmp_path}$name"; done ;;
esac
"""
        )
        program.chmod(0o755)
        options = {"path": "/tmp", "hdfs": str(program), "write": True, "keytab": None, "principal": ""}
        return {**options, "environment": {}, "timeout": 20}

    return make


def test_it_lists_writes_reads_and_removes(client, tmp_path):
    result = hdfs.check(Host(), client())
    assert list(result["steps"]) == ["list", "write", "read", "remove"]
    assert os.listdir(str(tmp_path / "tmp")) == []


def test_it_may_be_told_to_list_only(client):
    assert list(hdfs.check(Host(), {**client(), "write": False})["steps"]) == ["list"]


def test_the_step_that_failed_is_named(client):
    script = '[ "$1" = -put ] && { echo "put: Cannot create file/x. Name node is in safe mode." >&2; exit 1; }'
    with pytest.raises(Refused, match=r"^write: the NameNode is in safe mode"):
        hdfs.check(Host(), client(script))


def test_data_that_comes_back_altered_is_not_trusted_and_nothing_is_left(client, tmp_path):
    with pytest.raises(Refused, match=r"^read: what came back is not what was written"):
        hdfs.check(Host(), client('[ "$1" = -cat ] && { echo other; exit 0; }'))
    assert os.listdir(str(tmp_path / "tmp")) == []


def test_a_write_that_is_given_up_leaves_nothing_behind(client, tmp_path):
    """Its client is killed before it can remove what it began, which HDFS keeps under a name of its own."""
    script = f'[ "$1" = -put ] && {{ touch "{tmp_path}$3._COPYING_"; exec sleep 30; }}'
    with pytest.raises(Refused, match=r"^write: it did not answer within 1 s"):
        hdfs.check(Host(), {**client(script), "timeout": 1})
    assert os.listdir(str(tmp_path / "tmp")) == []


def test_a_client_that_never_answers_is_given_up(client):
    began = time.time()
    with pytest.raises(Refused, match=r"^list: it did not answer within 1 s"):
        hdfs.check(Host(), {**client("sleep 30"), "timeout": 1})
    assert time.time() - began < 10


def test_a_client_that_is_not_there_is_named(client):
    with pytest.raises(Refused, match="there is no program /nowhere/hdfs"):
        hdfs.check(Host(), {**client(), "hdfs": "/nowhere/hdfs"})
