"""What a user can rely on, whichever way the client was installed."""

from cluster import PLAIN, check

testinfra_hosts = ["ansible://workstations"]


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
