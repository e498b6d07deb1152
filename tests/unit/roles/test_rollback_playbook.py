"""rollback.yml as a user runs it: what it refuses, and that every role it knows has the tasks and finds its folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpufleet.workstation.plugins.module_utils import _environment as env
from ansible_collections.gpufleet.workstation.plugins.module_utils import _versioned as versioned

CHECKOUT = Path(__file__).resolve().parents[3]
PLAYBOOK = CHECKOUT / "playbooks" / "rollback.yml"
KNOWN = yaml.safe_load(PLAYBOOK.read_text(encoding="utf-8"))[0]["vars"]["__rollback_known"]
ENVIRONMENTS = [name for name in ("python", "pytorch", "tensorflow") if name in KNOWN]


@pytest.fixture
def play(tmp_path):
    """Return a function that runs the playbook on this machine below tmp_path and returns status and output."""

    def run(*arguments):
        argv = [str(Path(sys.executable).parent / "ansible-playbook"), str(PLAYBOOK), "-i", str(tmp_path / "hosts.yml")]
        hosts = {"gpu01": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
        hosts["gpu01"].update(ansible_become=False, workstation_root=str(tmp_path))
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"workstations": {"hosts": hosts}}), encoding="utf-8")
        done = subprocess.run(
            [*argv, *arguments], cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    return run


def environment(folder, name, used_at):
    """Make the folder of a finished environment with the package six."""
    path = folder / name
    (path / "lib" / "python3.12" / "site-packages" / f"six-{used_at}.dist-info").mkdir(parents=True)
    (path / "bin").mkdir()
    (path / "bin" / "python").symlink_to(sys.executable)
    marker = {"key": name, "packages": env.installed(str(path)), "interpreter": env.interpreter(str(path))}
    versioned.write_marker(str(path), marker)
    os.utime(path / versioned.MARKER, (used_at, used_at))


@pytest.mark.parametrize("role", KNOWN)
def test_every_role_that_is_known_can_go_back(role):
    assert (CHECKOUT / "roles" / role / "tasks" / "roll_back.yml").is_file()


def test_every_role_that_can_go_back_is_known():
    assert sorted(KNOWN) == sorted(
        path.parts[-3] for path in CHECKOUT.glob("roles/*/tasks/roll_back.yml") if path.parts[-3] != "environment"
    )  # the part that is shared


@pytest.mark.parametrize("arguments", [[], ["-e", "rollback=nosuch"]], ids=["nothing", "unknown"])
def test_another_name_is_refused_with_those_that_there_are(play, arguments):
    status, output = play(*arguments)
    assert status != 0
    assert f"say with -e rollback=NAME what is to go back, one of {', '.join(KNOWN)}. Nothing was changed." in output


@pytest.mark.parametrize("role", ENVIRONMENTS)
def test_it_goes_back_and_says_to_what(play, tmp_path, role):
    folder = tmp_path / "envs" / role
    environment(folder, "aaaaaaaaaaaa", 1000)
    environment(folder, "bbbbbbbbbbbb", 2000)
    (folder / "current").symlink_to("bbbbbbbbbbbb")
    status, output = play("-e", f"rollback={role}", "--check", "--diff")
    assert status == 0 and "-six==2000" in output and "+six==1000" in output, output
    assert os.readlink(folder / "current") == "bbbbbbbbbbbb"
    status, output = play("-e", f"rollback={role}")
    assert status == 0 and f"{folder}/current leads to {folder}/aaaaaaaaaaaa" in output, output
    assert os.readlink(folder / "current") == "aaaaaaaaaaaa"


def test_nothing_to_go_back_to_is_one_sentence(play, tmp_path):
    status, output = play("-e", f"rollback={ENVIRONMENTS[0]}")
    assert status != 0
    assert (
        f"there are no environments in {tmp_path}/envs/{ENVIRONMENTS[0]}, so there is nothing to go back to." in output
    )
