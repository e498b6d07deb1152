"""The role spark in a real play: what it goes back to, and what it says of logins."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import yaml
from ansible_collections.gpufleet.workstation.plugins.module_utils import _release as release
from ansible_collections.gpufleet.workstation.plugins.plugin_utils import _spark
from through_ansible import needs_ansible, play_tasks

CHECKOUT = Path(__file__).resolve().parents[3]
pytestmark = needs_ansible


@pytest.fixture
def play(tmp_path):
    """Return a function that runs a playbook on this machine below tmp_path and returns status and output."""

    def run(playbook, *words, **variables):
        hosts = {"gpu01": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
        hosts["gpu01"].update(ansible_become=False, workstation_root=str(tmp_path), spark_check=False)
        hosts["gpu01"].update(spark_bin_dir=str(tmp_path / "bin"), **variables)
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"workstations": {"hosts": hosts}}), encoding="utf-8")
        argv = [str(Path(sys.executable).parent / "ansible-playbook"), str(playbook), "-i", str(tmp_path / "hosts.yml")]
        done = subprocess.run([*argv, *words], cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    return run


def install(root, version):
    """Have a release in use, as Apache's archive would be."""
    contents = [{"dest": "bin/spark-class", "content": version, "mode": "0755"}]
    release.ensure(
        release.Wanted(name="spark", root=str(root), version=version, contents=contents, cache_dir=str(root / "cache"))
    )


def test_apaches_spark_goes_back_although_the_plan_that_chose_it_is_not_at_hand(play, tmp_path):
    for version in ("4.2.1", "4.3.0"):
        install(tmp_path, version)
    (tmp_path / "bin").mkdir()
    settings = {"method": "tarball", "root": str(tmp_path), "config_dir": "/etc/gpufleet/spark"}
    (tmp_path / "bin" / "spark-submit").write_text(_spark.command(settings), encoding="utf-8")
    status, output = play(CHECKOUT / "playbooks" / "rollback.yml", "-e", "rollback=spark")
    assert status == 0 and f"{tmp_path}/spark/current leads to {tmp_path}/spark/4.2.1" in output, output
    assert os.readlink(tmp_path / "spark" / "current") == "4.2.1"


ROLE = [{"hosts": "workstations", "gather_facts": False, "roles": ["gpufleet.workstation.spark"]}]


def test_a_login_in_a_mirrors_address_is_in_nothing_that_ansible_says(play, tmp_path):
    java = tmp_path / "java-17"
    (java / "bin").mkdir(parents=True)
    (java / "bin" / "java").symlink_to("/bin/true")
    (java / "release").write_text('JAVA_VERSION="17.0.1"\n', encoding="utf-8")
    (tmp_path / "role.yml").write_text(yaml.safe_dump(ROLE), encoding="utf-8")
    status, output = play(
        tmp_path / "role.yml",
        "-vvv",
        spark_method="tarball",
        spark_mirrors=["http://lab:canary@127.0.0.1:9/apache"],
        spark_checksum_mirrors=["http://lab:canary@127.0.0.1:9/apache"],
        spark_java_home=str(java),
        spark_python=sys.executable,
        spark_cache=str(tmp_path / "cache"),
    )
    assert status != 0 and "http://***@127.0.0.1:9/apache/spark/spark-4.3.0/" in output, output
    assert "canary" not in output


SYSTEMCTL = """#!/bin/sh
case $1-$2 in
show-*gone*) echo LoadState=not-found ;;
show-*) printf 'LoadState=loaded\\nActiveState=active\\n' ;;
stop-* | restart-*) echo "$2" >>{log} ;;
daemon-reload-*) ;;
*) exit 1 ;;
esac
"""


@pytest.fixture
def handle(tmp_path, monkeypatch):
    """Return a function that runs a handler and returns the units that it stopped or restarted."""
    log, program = tmp_path / "done", tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(log=log), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    handlers = yaml.safe_load((CHECKOUT / "roles" / "spark" / "handlers" / "main.yml").read_text(encoding="utf-8"))

    def run(name, **variables):
        done = play_tasks(tmp_path, [one for one in handlers if one["name"].startswith(name)], **variables)
        assert "failed=0" in done.stdout, done.stdout
        return log.read_text(encoding="utf-8").replace("'", "").split() if log.exists() else []

    return run


@pytest.mark.parametrize(
    "changed, environment, restarted",
    [
        (["/opt/bin/spark_check.py"], False, []),
        (["/opt/bin/spark_check.py"], True, ["gpufleet-spark-worker.service"]),
        (["/opt/bin/spark_check.py", "/etc/gpufleet/spark/spark-env.sh"], False, ["gpufleet-spark-worker.service"]),
        (None, None, ["gpufleet-spark-worker.service"]),  # going back
    ],
)
def test_jobs_are_not_ended_for_a_new_test_program(handle, changed, environment, restarted):
    registered = {} if changed is None else {"__spark_files": {"changed": True, "changed_paths": changed}}
    registered |= {} if environment is None else {"__spark_environment": {"changed": environment}}
    registered |= {} if environment is None else {"__spark_installed": {"changed": False}}
    plan = {"units": ["gpufleet-spark-worker.service"]}
    assert handle("Restart", spark_root="/opt", __spark_plan=plan, **registered) == restarted


def test_a_service_that_is_wanted_no_more_is_stopped(handle):
    units = [f"/etc/systemd/system/gpufleet-spark-{name}.service" for name in ("worker", "gone", "master")]
    stopped = handle(
        "Stop",
        __spark_plan={"absent": [*units, "/etc/gpufleet/spark/hive-site.xml"]},
        __spark_files={"changed_paths": [*units[:2], "/etc/gpufleet/spark/hive-site.xml"]},
    )
    assert stopped == ["gpufleet-spark-worker.service"]


@pytest.mark.skipif(not shutil.which("apt-get"), reason="this system has no apt")
def test_check_mode_asks_for_no_package_list_that_a_bare_host_does_not_have(tmp_path):
    tasks = [{"ansible.builtin.include_role": {"name": "gpufleet.workstation.spark", "tasks_from": "install_java"}}]
    done = play_tasks(tmp_path, tasks, "--check", spark_java_package="gpufleet-no-such-java")
    assert "failed=0" in done.stdout, done.stdout


def test_a_check_that_no_executor_takes_has_made_nothing_that_would_stay(monkeypatch):
    """It is given up by a signal that lets nobody tidy up."""
    path = CHECKOUT / "roles" / "spark" / "files" / "spark_check.py"
    spec = importlib.util.spec_from_file_location("spark_check_program", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    spark = mock.MagicMock()
    monkeypatch.setattr(
        program, "STEPS", [(step, work) for step, work in program.STEPS if step in ("jobs", "a database")]
    )
    monkeypatch.setattr(program, "expect", lambda *_words: None)
    assert list(program.prove(spark, "hdfs://nn:8020/tmp")["seconds"]) == ["jobs", "a database"]
    asked = [str(call.args[0]).split()[0] for call in spark.sql.mock_calls if call.args]
    assert asked == ["CREATE", "USE", "DROP"]
    spark.reset_mock()
    spark.sparkContext.parallelize.side_effect = RuntimeError("no executor")
    with pytest.raises(RuntimeError) as failure:
        program.prove(spark, "hdfs://nn:8020/tmp")
    assert failure.value.step == "jobs"
    assert not [call for call in spark.mock_calls if ".mkdirs" in call[0] or "CREATE" in str(call)]
