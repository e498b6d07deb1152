"""check.yml as CI runs it: the report has every host, those that were not reached or are only assumed included."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

from through_ansible import CHECKOUT, controller

HOSTS = {
    "broken": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
    "gone": {"ansible_host": "127.0.0.1", "ansible_port": 9},
    "paper": {"stack_assume": {"os": "debian"}},
}


def check(folder, *words):
    """Run the playbook; return its status and the first case of each host in the report."""
    everywhere = {"ansible_become": False, "stack_components": ["pytorch"], "workstation_root": str(folder / "root")}
    inventory = {"workstations": {"hosts": HOSTS, "vars": everywhere}}
    (folder / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
    (folder / "root").mkdir(exist_ok=True)
    report = folder / "junit.xml"
    report.unlink(missing_ok=True)
    playbook = str(Path(CHECKOUT) / "playbooks" / "check.yml")
    words = ["-i", str(folder / "hosts.json"), "-e", f"check_junit={report}", *words, playbook]
    cache = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "cache")}
    done = controller(folder, "playbook", *words, **cache)
    assert report.exists(), done.stdout + done.stderr
    root = ElementTree.parse(report).getroot()  # noqa: S314 (our own)
    return done.returncode, {suite.get("name"): suite[0][0] for suite in root}


def test_the_report_for_ci_has_every_host_and_todays_reason(tmp_path):
    status, found = check(tmp_path)
    assert status != 0
    assert {name: case.tag for name, case in found.items()} == {
        "broken": "failure",
        "gone": "error",
        "paper": "skipped",
    }
    assert found["broken"].get("type") == "environment.missing"
    assert found["paper"].get("message") == "not run: its hardware is only assumed"

    _status, found = check(tmp_path, "-e", "training_check_epochs=ten")  # the fact of before is in the cache
    assert "Validation of arguments failed" in found["broken"].get("message")
