"""Parts of the role bootstrap on this machine, with programs in the place of those that would change it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from through_ansible import controller

ROLE = Path(__file__).resolve().parents[3] / "roles" / "bootstrap"
REAL = sys.executable


def program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def play(folder, tasks, **variables):
    (folder / "ansible.cfg").touch()
    one = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    (folder / "play.json").write_text(json.dumps([one]), encoding="utf-8")
    words = ["playbook", "play.json", "-i", "gpu01,", "-c", "local", "-e", json.dumps(variables)]
    done = controller(folder, *words, PATH=f"{folder}:/usr/bin:/bin")
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_the_python_is_looked_for_where_ansible_looks_and_not_only_by_its_first_name(tmp_path):
    # Enterprise Linux 8 and Ubuntu 18.04: python3 is 3.6, and a newer one was installed for Ansible.
    old = f"import sys; sys.version_info = (3, 6, 8); sys.executable = '{tmp_path}/python3'"
    program(tmp_path, "python3", f'shift; code=$1; shift; exec {REAL} -c "{old}; $code" "$@"')
    program(tmp_path, "python3.12", f'exec {REAL} "$@"')
    tasks = [
        {"ansible.builtin.include_role": {"name": "gpufleet.workstation.bootstrap", "tasks_from": "install_python"}},
        {"ansible.builtin.debug": {"msg": "found {{ __bootstrap_python.stdout_lines[-1] }}"}},
    ]
    status, said = play(tmp_path, tasks)
    assert status == 0 and re.search(r"found \S+ 3\.(\d\d|[89])\b", said), said


def test_a_dpkg_that_is_at_work_is_waited_for_and_not_taken_for_one_that_was_cut_off(tmp_path):
    # As on a host that has just booted: unattended upgrades hold the lock, and packages are half done.
    busy = f"if [ ! -e {tmp_path}/waited ]; then touch {tmp_path}/waited"
    said = "dpkg: error: dpkg frontend lock was locked by another process with pid 4711"
    program(tmp_path, "dpkg", f'[ "$1" = --audit ] && echo half && exit; {busy}; echo "{said}" >&2; exit 2; fi')
    tasks = yaml.safe_load((ROLE / "tasks" / "configure_apt.yml").read_text(encoding="utf-8"))
    tasks = [task for task in tasks if "dpkg" in str(task.get("ansible.builtin.command"))]
    given = {"ansible_python_interpreter": REAL, "bootstrap_apt_lock_timeout": 5}
    status, said = play(tmp_path, tasks, **given)
    assert status == 0 and len(tasks) == 2 and (tmp_path / "waited").exists(), said
    program(tmp_path, "dpkg", '[ "$1" = --audit ] && echo half && exit; echo "broken postinst" >&2; exit 1')
    status, said = play(tmp_path, tasks, **given)
    assert status == 2 and "broken postinst" in said and "attempts" not in said.partition("FAILED!")[0], said


@pytest.mark.parametrize(("manager", "setting"), [("yum", "--setopt=proxy="), ("apt-get", "Acquire::http::Proxy=")])
@pytest.mark.parametrize("proxy", ["", "http://proxy:3128"])
def test_python_is_fetched_through_the_proxy_by_whatever_fetches_packages(tmp_path, manager, setting, proxy):
    script = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["__bootstrap_install_python"]
    given = {"bootstrap_apt_lock_timeout": 5, "bootstrap_apt_proxy": proxy}
    for name, value in given.items():
        script = script.replace("{{ " + name + " }}", str(value))
    program(tmp_path, manager, f'echo "$@" >>{tmp_path}/asked')
    program(tmp_path, "dpkg", "")
    subprocess.run(["/bin/sh", "-c", script], env={"PATH": str(tmp_path)}, check=True, capture_output=True)
    asked = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert asked[-1].endswith("install python3")
    assert (f" {setting}{proxy} " in f" {asked[-1]} ") == bool(proxy)


def test_no_disk_is_asked_for_facts_because_one_that_is_dead_never_answers(tmp_path):
    for name in ("vgs", "lvs", "pvs", "lsblk", "udevadm", "sg_inq", "blkid"):
        program(tmp_path, name, f"echo {name} >>{tmp_path}/asked")
    tasks = yaml.safe_load((ROLE / "tasks" / "main.yml").read_text(encoding="utf-8"))
    tasks = [task for task in tasks if "ansible.builtin.setup" in task]
    tasks.append({"ansible.builtin.debug": {"msg": "env is {{ ansible_facts.env is defined }}"}})
    status, said = play(tmp_path, tasks, ansible_python_interpreter=REAL)
    assert not (tmp_path / "asked").exists(), (tmp_path / "asked").read_text(encoding="utf-8")
    assert status == 0 and "env is False" in said, said  # with what root's environment may hold
