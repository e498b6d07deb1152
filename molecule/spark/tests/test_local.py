"""What a user can rely on where Spark works for one host alone."""

import json
import os
import re
import subprocess

testinfra_hosts = ["ansible://spark-local"]

PYTHON = "/opt/gpufleet/envs/spark/current/bin/python"
# A job as a user writes it: pandas in the workers, a Hive table, and what Spark says about itself.
JOB = """
import json, sys
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
frame = spark.range(8).repartition(2)

def double(batches):
    import sys
    for batch in batches:
        yield batch.assign(id=batch.id * 2, python=sys.executable)

rows = frame.mapInPandas(double, "id long, python string").collect()
spark.sql("CREATE TABLE IF NOT EXISTS kept (n INT) STORED AS ORC")
spark.sql("INSERT INTO kept VALUES (1)")
java = spark.sparkContext._jvm.java.lang.System
print("ANSWER " + json.dumps({
    "sum": sum(row.id for row in rows),
    "pythons": sorted({row.python for row in rows}),
    "kept": spark.table("kept").count(),
    "spark": spark.version,
    "java": java.getProperty("java.version"),
    "home": java.getProperty("java.home"),
    "scratch": java.getProperty("java.io.tmpdir"),
    "address": spark.conf.get("spark.driver.host"),
}))
"""


def ask(host, program):
    lines = host.check_output("cd / && env -i PATH=/usr/bin:/bin %s /root/jobs/job.py", program).splitlines()
    return json.loads(next(line[7:] for line in lines if line.startswith("ANSWER ")))


def test_it_was_proven_with_a_job_a_hive_table_and_a_stream(host):
    proof = json.loads(host.file("/var/lib/gpufleet/spark/checked.json").content_string)["spark"]
    assert (proof["result"], proof["hive_rows"], proof["stream_rows"]) == ("passed", 1000, 60)
    assert proof["worker"]["executable"] == PYTHON
    assert all(proof["worker"][name] for name in ("numpy", "pandas", "pyarrow"))


def test_a_job_runs_from_an_empty_environment_in_the_planned_python(host):
    host.run("mkdir -p /root/jobs && printf '%%s' %s > /root/jobs/job.py", JOB)
    first = ask(host, "/usr/local/bin/spark-submit")
    assert first["sum"] == 56
    assert first["pythons"] == [PYTHON]
    assert first["spark"] == "4.3.0"
    assert first["java"].startswith("17.")
    assert first["home"] == "/usr/lib/jvm/java-17-openjdk-amd64"
    assert first["scratch"] == "/var/lib/gpufleet/spark/scratch"
    assert first["address"] in ("127.0.0.1", "localhost")
    # A program that makes its own session finds the same Spark, the same configuration and the same tables.
    second = ask(host, "/usr/local/bin/spark-python")
    assert {**second, "kept": 1} == {**first, "kept": 1}
    assert second["kept"] == first["kept"] + 1


def test_sql_from_the_command_line(host):
    assert host.check_output("spark-sql -S -e 'SELECT 6 * 7' 2>/dev/null").split() == ["42"]


def test_nothing_of_the_check_stays(host):
    assert host.check_output("ls /var/lib/gpufleet/spark/scratch | grep gpufleet_check || true") == ""
    assert host.file("/var/lib/gpufleet/spark/scratch").mode == 0o1777


def test_other_programs_reach_the_tables_through_the_thrift_server(host):
    unit = host.service("gpufleet-spark-thrift-server")
    assert unit.is_running and unit.is_enabled
    assert host.socket("tcp://127.0.0.1:10000").is_listening
    assert not host.socket("tcp://0.0.0.0:10000").is_listening
    answer = host.check_output(
        "beeline -u jdbc:hive2://127.0.0.1:10000 --silent=true --outputformat=csv2 -e 'SELECT 6 * 7 AS n' 2>/dev/null"
    )
    assert answer.split()[-2:] == ["n", "42"]  # before them the prompt


def test_no_other_service_runs(host):
    listed = host.check_output("systemctl list-unit-files 'gpufleet-spark-*' --no-legend")
    assert [line.split()[0] for line in listed.splitlines()] == ["gpufleet-spark-thrift-server.service"]


def test_a_run_that_changes_nothing_is_a_handful_of_tasks_without_the_network(host):
    """Of both roles, with Spark's service; the proof that the cluster answers, which has to ask it, is left out."""
    playbook = os.path.join(os.environ["MOLECULE_SCENARIO_DIRECTORY"], "converge.yml")
    options = ["--limit", "spark-local", "-e", "hadoop_client_check_path="]
    subprocess.run(["docker", "network", "disconnect", "bridge", "spark-local"], check=True)
    try:
        answer = subprocess.run(
            ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], *options, playbook],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "false"},
        )
    finally:
        subprocess.run(["docker", "network", "connect", "bridge", "spark-local"], check=True)
    assert answer.returncode == 0, answer.stdout[-3000:]
    assert re.search(r"spark-local +: ok=\d+ +changed=0 ", answer.stdout)
    tasks = re.findall(r"TASK \[gpufleet\.workstation\.(hadoop_client|spark) : ([^\]]*)\]([^T]*)", answer.stdout)
    executed = [
        name
        for _role, name, result in tasks
        if not name.startswith("Validating arguments") and "ok: [spark-local]" in result
    ]
    assert executed == [
        "Find Java and Kerberos' commands",
        "Install the Hadoop client 3.5.0",
        "Write the configuration, the commands and the keytab",
        "Look for a Java that Spark runs on",
        "Build the Python of drivers and workers",
        "Create the user of the services, whose group may read the secret",  # without services this falls away
        "Write the configuration",
        "Have the services run now and after a restart of the host",  # and so does this
        "Prove that it works",
    ]
