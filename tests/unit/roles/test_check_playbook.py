"""The playbook check trains on every host in a set time, tells CI of each of them, and fails those that do not train.

The environments are stand-ins: programs that answer like the training program, with invented measurements.
"""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from through_ansible import controller

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins" / "module_utils"))
from test_training import PROBE, WHOLE
from test_training_judge import changed

CHECKOUT = Path(__file__).resolve().parents[3]
CPU = changed(WHOLE, (("together",), None))
del CPU["devices"][1:]
CPU["devices"][0]["device"].update(kind="cpu", label="the CPU")
CPU["devices"][0]["outcome"]["result"]["trained_on"] = "cpu"
BAD = changed(CPU, (("devices", 0, "outcome", "result", "plain", "accuracy"), 0.1))
STAND_IN = """#!{python}
import json, os, sys, time
what = sys.argv[2]
assert os.environ["https_proxy"] == "http://proxy.example.org:3128", "the data are fetched without the proxy"
if what in {hangs!r}:
    time.sleep(300)
words = dict(word[2:].split("=", 1) for word in sys.argv if "=" in word)
assert words["framework"] == "pytorch", words
json.dump({answers!r}[what], open(sys.argv[sys.argv.index("--json") + 1], "w"))
"""


@pytest.fixture
def fleet(tmp_path):
    """Write an inventory of hosts that are this machine, each with an environment of its own."""
    hosts = {"idle": {"workstation_root": str(tmp_path / "idle"), "stack_components": ["hadoop_client"]}}
    for name, run, hangs in (("good", CPU, ()), ("bad", BAD, ()), ("hung", CPU, ("run",)), ("empty", None, ())):
        hosts[name] = {"workstation_root": str(tmp_path / name)}
        folder = tmp_path / name / "envs" / "pytorch" / "current" / "bin"
        folder.mkdir(parents=True)
        if run:
            answers = json.loads(json.dumps({"probe": {"probe": PROBE}, "run": run}))
            (folder / "python").write_text(STAND_IN.format(python=sys.executable, hangs=hangs, answers=answers))
            (folder / "python").chmod(0o755)
    shared = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "training_check_device": "cpu",
        "workstation_proxy": {"https_proxy": "http://proxy.example.org:3128"},
        "training_check_cache": str(tmp_path / "cache"),
        "workstation_facts_root": str(CHECKOUT / "tests" / "emulation" / "v100"),
        "workstation_nvidia_smi": str(CHECKOUT / "tests" / "emulation" / "v100" / "bin" / "nvidia-smi"),
    }
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"workstations": {"vars": shared, "hosts": hosts}}))
    (tmp_path / "ansible.cfg").write_text("[defaults]\ninject_facts_as_vars = false\n")
    return tmp_path


def play(folder, *words):
    return controller(folder, "playbook", "gpufleet.workstation.check", "-i", "inventory.yml", *words)


def suites(path):
    root = ElementTree.parse(path).getroot()  # noqa: S314 (our own)
    return {suite.get("name"): suite for suite in root}


def test_every_host_is_in_the_report_and_those_that_do_not_train_fail(fleet):
    done = play(fleet, "-e", "check_junit=training.xml", "-e", "check_seconds=12")
    assert done.returncode == 2, done.stdout + done.stderr
    told = suites(fleet / "training.xml")
    assert {name: suite.get("failures") for name, suite in told.items()} == {
        "good": "0",
        "bad": "1",
        "hung": "1",
        "empty": "1",
        "idle": "0",
    }
    assert told["idle"].get("skipped") == "1"
    assert "the CPU reached an accuracy of 0.100" in told["bad"].find(".//failure").get("message")
    assert "there is no" in told["empty"].find(".//failure").get("message")
    assert "timed out after" in told["hung"].find(".//failure").get("message")
    recap = {line.split()[0]: line for line in done.stdout.splitlines() if "ok=" in line}
    assert "failed=0" in recap["good"] and "failed=0" in recap["idle"]
    assert all("failed=1" in recap[name] for name in ("bad", "hung", "empty"))
    kept = json.loads((fleet / "bad" / "training.json").read_text())
    assert (kept["result"], kept["pytorch"]["accuracy"]) == ("failed", 0.1)
    assert json.loads((fleet / "good" / "training.json").read_text())["result"] == "passed"
    # The stand-in would hang for 300 s. What is added to the limit is what a loaded machine needs to end a process.
    assert json.loads((fleet / "hung" / "training.json").read_text())["seconds"] < 12 + 12


def test_the_inventorys_limit_holds_where_the_command_line_has_none(fleet):
    inventory = yaml.safe_load((fleet / "inventory.yml").read_text())
    inventory["workstations"]["vars"]["training_check_timeout"] = 7
    (fleet / "inventory.yml").write_text(yaml.safe_dump(inventory))
    done = play(fleet, "--limit", "hung")
    assert done.returncode == 2, done.stdout + done.stderr
    assert json.loads((fleet / "hung" / "training.json").read_text())["seconds"] < 7 + 12


def test_a_second_run_changes_nothing(fleet):
    for expected, words in (("changed=1", ()), ("changed=0", ("-e", "training_check_frameworks=pytorch"))):
        done = play(fleet, "--limit", "good", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert expected in done.stdout
    assert (fleet / "good" / "training_check" / "worker.py").is_file()


def test_check_mode_trains_nothing_and_is_no_success_for_ci(fleet):
    done = play(fleet, "--check", "-e", "check_junit=training.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    told = suites(fleet / "training.xml")
    assert {suite.get("skipped") for suite in told.values()} == {"1"}
    assert not (fleet / "good" / "training_check").exists()
    assert not (fleet / "good" / "training.json").exists()
