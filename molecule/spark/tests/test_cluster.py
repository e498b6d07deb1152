"""What a user can rely on where Spark is a cluster of its own."""

import json
import os
import re
import subprocess

import testinfra

CANARY = "canary-7c1f0b"
# As a user writes it: files by the executors, and a table in the warehouse.
JOB = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.range(1000).repartition(2).write.mode("overwrite").parquet("hdfs:///tmp/numbers")
numbers = spark.read.parquet("hdfs:///tmp/numbers").where("id % 2 = 0")
numbers.write.mode("overwrite").saveAsTable("even")
assert spark.table("even").count() == 500
"""
testinfra_hosts = ["ansible://spark-master"]


def address(host):
    return host.check_output("hostname -I").split()[0]


def ask(host, url):
    code = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())"
    return json.loads(host.check_output("python3 -c %s %s", code, url))


def proof(host):
    return json.loads(host.file("/var/lib/gpufleet/spark/checked.json").content_string)["spark"]


def test_both_workers_are_registered(host):
    state = ask(host, f"http://{address(host)}:8080/json/")
    assert [(worker["state"], worker["cores"], worker["memory"]) for worker in state["workers"]] == [
        ("ALIVE", 2, 1024),
        ("ALIVE", 2, 1024),
    ]


def test_the_proof_ran_on_both_workers_with_the_java_and_the_python_of_the_plan(host):
    shown = proof(host)
    assert shown["hosts"] == ["spark-worker1", "spark-worker2"]
    assert shown["master"].startswith("spark://")
    assert shown["java"].startswith("21.")
    assert shown["worker"]["executable"] == "/opt/gpufleet/envs/spark/current/bin/python"
    assert shown["worker"]["python"].startswith("3.13.")
    assert (shown["hive_rows"], shown["stream_rows"]) == (1000, 60)


def test_the_proof_worked_in_the_real_hdfs(host):
    assert proof(host)["path"] == "hdfs://spark-bed:8020/tmp"
    assert "gpufleet_check" not in host.check_output("hdfs dfs -ls /tmp")  # nothing of it stays


def test_a_job_of_the_cluster_writes_the_hdfs_and_another_host_reads_it(host):
    """The executors write, each its part; what reads is another Spark with another Java."""
    host.run("printf '%%s' %s > /srv/job.py", JOB)
    host.check_output("cd /srv && runuser -u spark -- spark-submit /srv/job.py")
    parts = re.findall(r"/tmp/numbers/part-\S+\.parquet", host.check_output("hdfs dfs -ls /tmp/numbers"))
    assert len(parts) == 2
    assert "/spark/warehouse/even/" in host.check_output("hdfs dfs -ls -R /spark/warehouse")
    other = testinfra.get_host("ansible://spark-local", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])
    question = "SELECT COUNT(*), SUM(id) FROM parquet.`hdfs:///tmp/numbers`"
    assert other.check_output("spark-sql -S -e %s 2>/dev/null", question).split() == ["1000", "499500"]


def test_the_release_in_use_is_a_link(host):
    assert host.file("/opt/gpufleet/spark/current").is_symlink
    assert host.file("/opt/gpufleet/spark/current/bin/spark-class").mode & 0o111


def test_the_history_server_shows_what_has_run(host):
    shown = ask(host, f"http://{address(host)}:18080/api/v1/applications")
    assert "gpufleet check" in {application["name"] for application in shown}
    assert host.check_output("hdfs dfs -ls /spark/events").count("/spark/events/") >= 1


def test_a_job_without_the_secret_is_not_taken(host):
    url = f"http://{address(host)}:8080/json/"
    before = ask(host, url)
    answer = host.run(
        "runuser -u spark -- env SPARK_CONF_DIR=/nonexistent timeout 30 spark-submit --conf spark.driver.host=%s"
        " --conf spark.authenticate=true --conf spark.authenticate.secret=wrong --master spark://%s:7077 "
        "/opt/gpufleet/bin/spark_check.py --path hdfs:///tmp 2>&1",
        address(host),
        address(host),
    )
    assert answer.rc == 124  # it asks again and again until its time is up
    assert "Failed to connect to master" in answer.stdout
    after = ask(host, url)
    assert after["activeapps"] == before["activeapps"] == []
    assert len(after["completedapps"]) == len(before["completedapps"])


def test_the_master_takes_jobs_at_no_other_door(host):
    assert not host.socket(f"tcp://{address(host)}:6066").is_listening


def test_the_secret_is_closed_to_others(host):
    defaults = host.file("/etc/gpufleet/spark/spark-defaults.conf")
    assert (defaults.mode, defaults.user, defaults.group) == (0o640, "root", "spark")
    assert CANARY in defaults.content_string
    assert host.run("runuser -u nobody -- cat /etc/gpufleet/spark/spark-defaults.conf").rc != 0


def test_no_process_has_the_secret_on_its_command_line(host):
    listed = host.check_output("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "deploy.master.Master" in listed
    assert CANARY not in listed


def test_the_secret_is_in_no_output_however_much_is_asked_for(host):
    """The secret is rotated in check mode, so the file that holds it is in the diff."""
    folder = os.environ["MOLECULE_SCENARIO_DIRECTORY"]
    options = ["-vvv", "--check", "--diff", "--limit", "spark-master", "-e", "@rotated.yml"]
    answer = subprocess.run(
        ["ansible-playbook", *options, "-i", os.environ["MOLECULE_INVENTORY_FILE"], f"{folder}/converge.yml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=f"{folder}/tests",
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "false"},
    )
    said = answer.stdout + answer.stderr
    assert answer.returncode == 0, said[-3000:]
    assert re.search(r"spark-defaults\.conf", said)
    assert "which is secret" in said
    assert "canary" not in said


def test_it_works_where_no_program_may_run_in_tmp(host):
    (tmp,) = [line for line in host.check_output("cat /proc/mounts").splitlines() if line.split()[1] == "/tmp"]
    assert "noexec" in tmp.split()[3].split(",")
    assert host.check_output("ls /tmp | grep -v ^hsperfdata_ | grep -i -e snappy -e spark || true") == ""
