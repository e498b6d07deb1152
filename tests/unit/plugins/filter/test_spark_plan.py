"""What stands in a Spark's way is said before anything changes, and what is written is what Spark reads."""

import json
import os
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.gpufleet.workstation.plugins.filter.spark_plan import spark_plan
from ansible_collections.gpufleet.workstation.plugins.plugin_utils import _spark
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._data import load

CHECKOUT = Path(__file__).resolve().parents[4]
V100 = {"kind": "gpu", "vendor": "nvidia", "model": "Tesla V100 PCIe 32GB", "compute_capability": "7.0"}
A100 = {"kind": "gpu", "vendor": "nvidia", "model": "A100 SXM4 40GB", "compute_capability": "8.0"}
SETTINGS = {
    "method": "pyspark",
    "version": "4.3.0",
    "root": "/opt/gpufleet",
    "data": "/srv/spark",
    "config_dir": "/etc/gpufleet/spark",
    "bin_dir": "/usr/local/bin",
    "java_version": "",
    "python": "/opt/gpufleet/envs/spark/current/bin/python",
    "python_version": "python3",
    "master": "local[*]",
    "local_ip": "192.0.2.7",
    "hadoop_config_dir": "",
    "properties": {},
    "environment": {},
    "log_level": "warn",
    "log4j2": {},
    "secret": "",
    "event_log_dir": "",
    "hive_metastore": "embedded",
    "hive_site": {},
    "warehouse": "file:///srv/spark/warehouse",
    "services": [],
    "service_user": "spark",
    "master_port": 7077,
    "worker_cores": 0,
    "worker_memory": "",
    "daemon_memory": "1g",
    "rapids_version": "",
    "rapids_cuda": "12",
    "rapids_jar": "",
}
MASTER = "spark://192.0.2.1:7077"


def told(gpus=(), **changes):
    return spark_plan({**SETTINGS, **changes}, list(gpus))["refusals"]


def written(gpus=(), **changes):
    result = spark_plan({**SETTINGS, **changes}, list(gpus), "/usr/lib/jvm/java-17-openjdk-amd64")
    assert result["refusals"] == []
    return {file["path"].rsplit("/", 1)[1]: file for file in result["files"]}


def defaults(**changes):
    lines = written(**changes)["spark-defaults.conf"]["content"].splitlines()
    return dict(line.split(None, 1) for line in lines if not line.startswith("#"))


def environment(**changes):
    """Return what a shell makes of spark-env.sh."""
    text = written(**changes)["spark-env.sh"]["content"]
    answer = subprocess.run(["sh", "-c", text + "\nenv -0"], env={}, capture_output=True, check=True)
    return dict(one.split("=", 1) for one in answer.stdout.decode().split("\0") if one)


def hive(**changes):
    tree = ElementTree.fromstring(written(**changes)["hive-site.xml"]["content"])  # noqa: S314
    return {one.find("name").text: one.find("value").text for one in tree}


# What stands in the way


def test_the_settings_of_these_tests_are_those_that_the_role_hands_over():
    named = yaml.safe_load((CHECKOUT / "roles" / "spark" / "vars" / "main.yml").read_text(encoding="utf-8"))
    assert set(named["__spark_settings"]) == set(SETTINGS)


def test_nothing_stands_in_the_way_of_the_defaults():
    assert told() == []


@pytest.mark.parametrize("row", load("bigdata")["spark"], ids=lambda row: row["version"])
def test_every_java_of_the_data_is_taken_and_every_other_refused(row):
    for java in ("8", "11", "17", "21", "25"):
        refused = told(version=row["version"], java_version=java)
        assert refused == [] if java in row["java"] else f"not on {java}" in refused[0], (row["version"], java)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "5.0.1"}, "Spark 5.0.1 is of a series that the compatibility data does not know"),
        ({"java_version": "11"}, "Spark 4.3.0 runs on Java 21 or 17 and not on 11"),
        ({"python_version": "3.9"}, "Spark 4.3.0 needs Python 3.11 or newer and was given 3.9"),
        ({"master": "mesos://host"}, "spark_master is 'mesos://host'"),
        ({"master": "yarn"}, "spark_hadoop_config_dir does not say"),
        ({"services": ["worker"]}, "a worker needs a master, and spark_master is 'local[*]'"),
        ({"services": ["master"], "local_ip": "127.0.0.1"}, "where no other host reaches a master or a worker"),
        ({"hive_metastore": "jdbc:mysql://host"}, "it can be embedded, thrift://HOST:9083 or empty"),
        ({"rapids_version": "26.08.1", "version": "4.2.0"}, "the RAPIDS jar is nowhere to be had"),
        ({"rapids_version": "1.0"}, "RAPIDS 1.0 is not in the compatibility data"),
        (
            {"rapids_version": "26.08.1", "rapids_jar": "/r.jar"},
            "RAPIDS 26.08.1 has no build for Spark 4.3.0; the newest that it has is for 4.2.0",
        ),
        (
            {"rapids_version": "26.08.1", "version": "4.2.0", "rapids_cuda": "11", "rapids_jar": "/r.jar"},
            "is built for CUDA 13 and 12 and not for 11",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(changes, words):
    (sentence,) = told(**changes)
    assert words in sentence


def test_everything_is_said_at_once():
    assert len(told(java_version="8", python_version="3.8", master="yarn")) == 3


def test_a_release_that_is_newer_than_the_data_is_taken_for_one_of_its_series():
    assert told(version="4.1.99") == []
    assert spark_plan({**SETTINGS, "version": "3.5.99"})["java"] == ["17", "11", "8"]


def test_a_v100_is_kept_from_a_rapids_without_code_for_it():
    wanted = {"rapids_version": "26.08.1", "version": "4.2.0", "rapids_jar": "/opt/rapids.jar"}
    assert told([A100, A100], **wanted, rapids_cuda="13") == []
    assert told([V100], **wanted, rapids_cuda="12") == []
    (sentence,) = told([V100, V100, A100], **wanted, rapids_cuda="13")
    assert "starts at compute capability 7.5, and this host has Tesla V100 PCIe 32GB (7.0)" in sentence


def test_a_wish_for_one_java_leaves_no_other():
    assert spark_plan({**SETTINGS, "java_version": "17"})["java"] == ["17"]


def test_where_something_stands_in_the_way_nothing_is_to_be_written():
    result = spark_plan({**SETTINGS, "master": "yarn"})
    assert not any(result[name] for name in ("java", "folders", "files", "absent"))


def test_going_back_knows_the_units_although_it_has_no_facts():
    """Without them the address is 127.0.0.1, which a master is refused for."""
    result = spark_plan({**SETTINGS, "services": ["master"], "local_ip": "127.0.0.1"})
    assert result["refusals"] and result["units"] == ["gpufleet-spark-master.service"]


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_a_line_break_in_a_property_is_refused(end):
    with pytest.raises(AnsibleFilterError, match="line break"):
        written(properties={"spark.x": f"a{end}spark.y b"})


# What is written


def test_a_shell_reads_what_was_meant():
    found = environment(environment={"SPARK_CONF": "it's $HOME & more"}, hadoop_config_dir="/etc/hadoop/my conf")
    assert found["JAVA_HOME"] == "/usr/lib/jvm/java-17-openjdk-amd64"
    assert found["SPARK_LOCAL_IP"] == "192.0.2.7"
    assert found["SPARK_CONF"] == "it's $HOME & more"
    assert found["HADOOP_CONF_DIR"] == "/etc/hadoop/my conf"
    assert found["PYSPARK_PYTHON"] == SETTINGS["python"]


@pytest.mark.parametrize(
    "master, local_ip, host",
    [
        ("spark://192.0.2.1:7077", "192.0.2.7", "192.0.2.7"),
        ("yarn", "192.0.2.7", "192.0.2.7"),
        ("local[*]", "192.0.2.7", None),
        ("yarn", "127.0.0.1", None),
    ],
)
def test_executors_call_the_driver_at_an_address_and_not_at_a_name(master, local_ip, host):
    assert defaults(master=master, local_ip=local_ip, hadoop_config_dir="/etc/hadoop").get("spark.driver.host") == host


def test_a_worker_offers_what_it_is_told_to():
    # ansible-core before 2.19 hands numbers over as text.
    assert "SPARK_WORKER_CORES" not in environment(worker_cores="0")
    found = environment(worker_cores="2", worker_memory="1g")
    assert (found["SPARK_WORKER_CORES"], found["SPARK_WORKER_MEMORY"]) == ("2", "1g")


def test_a_python_that_a_user_has_set_for_one_job_stands():
    text = written()["spark-env.sh"]["content"] + "\necho $PYSPARK_PYTHON"
    answer = subprocess.run(["sh", "-c", text], env={"PYSPARK_PYTHON": "/mine"}, capture_output=True, check=True)
    assert answer.stdout == b"/mine\n"


def test_nothing_temporary_goes_to_tmp():
    found = defaults()
    for name in ("spark.driver.defaultJavaOptions", "spark.executor.defaultJavaOptions"):
        assert "-Djava.io.tmpdir=/srv/spark/scratch" in found[name]
        assert "-Dorg.xerial.snappy.tempdir=/srv/spark/scratch" in found[name]
    assert environment()["SPARK_LOCAL_DIRS"] == "/srv/spark/local"
    assert "/tmp" not in environment()["SPARK_DAEMON_JAVA_OPTS"].replace("/srv/spark/scratch", "")


def test_executors_of_a_cluster_that_is_not_ours_are_told_no_folder_of_ours():
    assert "spark.executor.defaultJavaOptions" not in defaults(master="yarn", hadoop_config_dir="/etc/hadoop")


def test_the_owners_properties_have_the_last_word():
    assert defaults(properties={"spark.master": "local[2]", "spark.x": True})["spark.master"] == "local[2]"
    assert defaults(properties={"spark.x": True})["spark.x"] == "true"
    assert defaults(properties={"spark.x": "C:\\a"})["spark.x"] == "C:\\\\a"


def test_what_is_null_is_left_out_and_a_list_has_commas():
    assert "spark.driver.host" not in defaults(master=MASTER, properties={"spark.driver.host": None})
    assert defaults(properties={"spark.jars.packages": ["a:b:1", "c:d:2"]})["spark.jars.packages"] == "a:b:1,c:d:2"
    assert "SPARK_LOCAL_IP" not in environment(environment={"SPARK_LOCAL_IP": None})
    assert "None" not in written(log4j2={"logger.native.level": None})["log4j2.properties"]["content"]


def test_a_value_that_begins_like_a_separator_is_kept():
    """Java's properties take one '=' or ':' behind the blanks for a part of them."""
    assert defaults(properties={"spark.x": ":a"})["spark.x"] == "\\:a"
    assert defaults(properties={"spark.x": "=a"})["spark.x"] == "\\=a"


def test_a_history_server_brings_event_logs_and_nothing_else_does():
    assert "spark.eventLog.enabled" not in defaults()
    found = defaults(services=["history-server"])
    assert found["spark.eventLog.dir"] == found["spark.history.fs.logDirectory"] == "file:///srv/spark/events"
    assert defaults(event_log_dir="hdfs:///events")["spark.eventLog.dir"] == "hdfs:///events"


def test_a_worker_offers_the_gpus_of_its_host():
    services = {"services": ["worker"], "master": MASTER}
    assert "spark.worker.resource.gpu.amount" not in defaults(**services)
    found = defaults(gpus=[A100, A100], **services)
    assert found["spark.worker.resource.gpu.amount"] == "2"
    assert found["spark.worker.resource.gpu.discoveryScript"] == "/etc/gpufleet/spark/gpus.sh"


def test_each_user_has_an_embedded_metastore_of_his_own():
    assert "databaseName=/srv/spark/metastore/${user.name};create=true" in hive()["javax.jdo.option.ConnectionURL"]
    assert hive(hive_metastore="thrift://meta:9083") == {"hive.metastore.uris": "thrift://meta:9083"}
    assert hive(hive_site={"a": "<&>"})["a"] == "<&>"


def test_without_hive_its_file_goes():
    result = spark_plan({**SETTINGS, "hive_metastore": ""})
    assert "/etc/gpufleet/spark/hive-site.xml" in result["absent"]
    assert "hive-site.xml" not in written(hive_metastore="")
    assert "spark.sql.catalogImplementation" not in defaults(hive_metastore="")


def test_a_warehouse_for_each_user_is_named_where_the_user_is_known():
    """Spark takes its own property as it stands; Hadoop's reader of hive-site.xml knows the user."""
    own = {"warehouse": "file:///srv/spark/warehouse/${user.name}"}
    assert "spark.sql.warehouse.dir" not in defaults(**own)
    assert hive(**own)["hive.metastore.warehouse.dir"] == own["warehouse"]
    assert hive(hive_metastore="", **own) == {"hive.metastore.warehouse.dir": own["warehouse"]}
    assert defaults()["spark.sql.warehouse.dir"] == "file:///srv/spark/warehouse"
    assert "hive.metastore.warehouse.dir" not in hive()


def test_hives_own_properties_and_the_address_of_the_thrift_server_need_no_metastore():
    """It asks nobody for a password, so it must not listen to the network."""
    found = hive(hive_metastore="", services=["thrift-server"], hive_site={"a": 1})
    assert found == {"hive.server2.thrift.bind.host": "127.0.0.1", "a": "1"}


def test_a_word_in_the_warehouse_that_nobody_reads_is_refused():
    (told,) = spark_plan({**SETTINGS, "warehouse": "file:///srv/${system:user.name}"})["refusals"]
    assert told.endswith("only ${user.name} has a meaning")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"secret": "canary"}, "spark-defaults.conf"),
        ({"properties": {"spark.ssl.keyPassword": "canary"}}, "spark-defaults.conf"),
        ({"hive_site": {"javax.jdo.option.ConnectionPassword": "canary"}}, "hive-site.xml"),
        ({"environment": {"AWS_SECRET_ACCESS_KEY": "canary"}}, "spark-env.sh"),
        ({"environment": {"SPARK_DAEMON_JAVA_OPTS": "-Djavax.net.ssl.keyStorePassword=canary"}}, "spark-env.sh"),
        ({"properties": {"spark.jars": "https://lab:canary@nexus.test/a.jar"}}, "spark-defaults.conf"),
        ({"hive_site": {"javax.jdo.option.ConnectionURL": "jdbc:x://db/m?password=canary"}}, "hive-site.xml"),
    ],
)
def test_a_file_with_a_secret_is_closed_and_marked(changes, name):
    files = written(services=["master"], **changes)
    assert (files[name]["mode"], files[name]["group"], files[name]["secret"]) == ("0640", "spark", True)
    for other, file in files.items():
        assert other == name or "canary" not in file["content"]
        assert other == name or not file["secret"]


def test_who_submits_jobs_from_a_host_without_services_can_read_the_secret_too():
    assert written(secret="canary", master=MASTER)["spark-defaults.conf"]["group"] == "spark"  # noqa: S106


@pytest.mark.parametrize("value", ["org.apache.SessionTokenBinding", "hdfs://nn:8020/a@b", "-Dtoken.enabled"])
def test_a_word_in_a_value_makes_no_secret(value):
    assert not written(properties={"spark.x": value})["spark-defaults.conf"]["secret"]


def test_a_secret_turns_authentication_on():
    found = defaults(secret="canary")  # noqa: S106
    assert (found["spark.authenticate"], found["spark.authenticate.secret"]) == ("true", "canary")


def test_a_master_takes_jobs_at_no_door_without_a_lock():
    assert defaults(services=["master"], secret="canary")["spark.master.rest.enabled"] == "false"  # noqa: S106


def test_units_are_those_that_are_asked_for_and_the_others_go():
    result = spark_plan({**SETTINGS, "services": ["worker", "master"], "master": MASTER})
    assert result["units"] == ["gpufleet-spark-master.service", "gpufleet-spark-worker.service"]
    assert "/etc/systemd/system/gpufleet-spark-history-server.service" in result["absent"]
    files = {file["path"]: file["content"] for file in result["files"]}
    worker = files["/etc/systemd/system/gpufleet-spark-worker.service"]
    assert (
        f"ExecStart=/usr/local/bin/spark-class org.apache.spark.deploy.worker.Worker --host 192.0.2.7 {MASTER}"
        in worker
    )
    assert "User=spark\n" in worker


def test_a_service_that_is_wanted_no_more_is_not_started_at_the_next_boot():
    absent = spark_plan({**SETTINGS, "services": []})["absent"]
    assert "/etc/systemd/system/multi-user.target.wants/gpufleet-spark-worker.service" in absent


def test_a_job_that_ran_out_of_memory_ends_and_not_the_worker_with_all_jobs():
    unit = written(services=["worker"], master=MASTER)["gpufleet-spark-worker.service"]
    assert "\nOOMPolicy=continue\n" in unit["content"]


def test_a_thrift_server_gets_the_memory_of_a_driver():
    files = written(services=["master", "thrift-server"], daemon_memory="256m", master=MASTER)
    assert "Environment=SPARK_DAEMON_MEMORY=256m\n" in files["gpufleet-spark-master.service"]["content"]
    assert "Environment=SPARK_DAEMON_MEMORY=1g\n" in files["gpufleet-spark-thrift-server.service"]["content"]
    text = files["spark-env.sh"]["content"] + "\necho $SPARK_DAEMON_MEMORY"
    for variables, memory in (({}, b"256m\n"), ({"SPARK_DAEMON_MEMORY": "1g"}, b"1g\n")):
        assert subprocess.run(["sh", "-c", text], env=variables, capture_output=True, check=True).stdout == memory


def test_no_file_names_a_version_so_that_going_back_is_a_link():
    for method in ("pyspark", "tarball"):
        for name, file in written(method=method, services=["master", "thrift-server"]).items():
            assert "4.3" not in file["content"], name


# The programs, run


def run(program, *argv, **variables):
    return subprocess.run(
        [str(program), *argv],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("method", ["pyspark", "tarball"])
def test_a_command_finds_the_release_in_use(tmp_path, method):
    settings = {**SETTINGS, "method": method, "root": str(tmp_path)}
    home = tmp_path / (
        "spark/current" if method == "tarball" else "envs/spark/current/lib/python3.11/site-packages/pyspark"
    )
    command = tmp_path / "spark-submit"
    command.write_text(_spark.command(settings), encoding="utf-8")
    command.chmod(0o755)
    answer = run(command)
    assert (answer.returncode, "run role spark" in answer.stderr) == (127, True)
    (home / "bin").mkdir(parents=True)
    for name in ("spark-class", "spark-submit"):
        (home / "bin" / name).write_text('#!/bin/sh\necho "$SPARK_HOME $SPARK_CONF_DIR $*"\n', encoding="utf-8")
        (home / "bin" / name).chmod(0o755)
    assert run(command, "a b", "c").stdout == f"{home} /etc/gpufleet/spark a b c\n"
    assert run(command, SPARK_CONF_DIR="/mine").stdout == f"{home} /mine \n"


@pytest.mark.parametrize("method", ["pyspark", "tarball"])
def test_what_runs_stays_with_the_release_that_it_began_with(tmp_path, method):
    """Java opens most of its jars late; by way of current they would be those of another release after an upgrade."""
    folder = tmp_path / ("spark" if method == "tarball" else "envs/spark")
    home = folder / "one" / ("" if method == "tarball" else "lib/python3.11/site-packages/pyspark")
    (home / "bin").mkdir(parents=True)
    (folder / "current").symlink_to("one")
    for path, text in (
        (tmp_path / "spark-submit", _spark.command({**SETTINGS, "method": method, "root": str(tmp_path)})),
        (home / "bin" / "spark-class", "#!/bin/sh\n"),
        (home / "bin" / "spark-submit", '#!/bin/sh\necho "$SPARK_HOME"\n'),
    ):
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
    assert run(tmp_path / "spark-submit").stdout == f"{home}\n"


LISTS = {
    "two GPUs": ("GPU 0: Tesla V100 (UUID: GPU-a)\nGPU 1: Tesla V100 (UUID: GPU-b)\n", ["0", "1"]),
    "one of them cut into MIG devices": (
        "GPU 0: A100 (UUID: GPU-a)\n  MIG 3g.20gb     Device  0: (UUID: MIG-1-2)\n"
        "  MIG 3g.20gb     Device  1: (UUID: MIG-3-4)\nGPU 1: A100 (UUID: GPU-b)\n",
        ["MIG-1-2", "MIG-3-4", "1"],
    ),
    "none": ("", []),
}


@pytest.mark.parametrize("name", LISTS)
def test_spark_is_told_which_gpus_there_are(tmp_path, name):
    listed, addresses = LISTS[name]
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n[ \"$1\" = -L ] && printf '%s' '{listed}'\n", encoding="utf-8")
    (tmp_path / "gpus.sh").write_text(_spark.GPUS, encoding="utf-8")
    for program in ("nvidia-smi", "gpus.sh"):
        (tmp_path / program).chmod(0o755)
    answer = run(tmp_path / "gpus.sh", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert json.loads(answer.stdout) == {"name": "gpu", "addresses": addresses}


def test_a_driver_that_does_not_answer_is_no_empty_list(tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'could not communicate' >&2; exit 9\n", encoding="utf-8")
    (tmp_path / "gpus.sh").write_text(_spark.GPUS, encoding="utf-8")
    for program in ("nvidia-smi", "gpus.sh"):
        (tmp_path / program).chmod(0o755)
    answer = run(tmp_path / "gpus.sh", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (answer.returncode, answer.stdout) == (1, "")
