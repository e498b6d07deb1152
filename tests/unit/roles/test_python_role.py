"""The role python in a real play: what it refuses, and that it does so before it touches the host."""

import shutil

import pytest
from through_ansible import needs_ansible, play_tasks

DEADSNAKES = {"python": {"version": "3.12", "source": "deadsnakes"}}
TASKS = [{"ansible.builtin.import_role": {"name": "gpufleet.workstation.python"}}]


@needs_ansible
def test_false_on_the_command_line_is_false(tmp_path):
    words = [word for name in ("environment", "command") for word in ("-e", f"python_{name}=false")]
    (tmp_path / "uv").touch()
    done = play_tasks(tmp_path, TASKS, "--check", *words, python_uv_path=str(tmp_path / "uv"))
    assert done.returncode == 0 and "changed=0" in done.stdout, done.stdout


@needs_ansible
@pytest.mark.parametrize(
    "wish, sentence",
    [
        (
            {"stack_plan": DEADSNAKES},
            "nobody says which key signs it. Put the key's text into workstation_deadsnakes_key",
        ),
        ({"python_uv_path": "/nowhere/uv"}, "host has no uv at /nowhere/uv, which python_uv_path names."),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_changed(tmp_path, wish, sentence):
    done = play_tasks(tmp_path, TASKS, "--check", python_root=str(tmp_path / "opt"), python_environment=False, **wish)
    assert sentence in " ".join(done.stdout.split()), done.stdout
    assert "changed=0" in done.stdout, done.stdout


@needs_ansible
@pytest.mark.parametrize(("content", "installs"), [("", True), ("uv", False)], ids=["empty", "whole"])
def test_an_empty_uv_is_installed_again(tmp_path, content, installs):
    uv = tmp_path / "uv" / "1.0" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(content)
    wish = {"python_root": str(tmp_path), "python_uv_version": "1.0", "python_environment": False}
    done = play_tasks(tmp_path, TASKS, "--check", **wish)
    assert ("Make the folder for uv" in done.stdout) is installs, done.stdout


@needs_ansible
@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="there is no dpkg to ask")
def test_packages_that_are_there_are_asked_of_no_archive(tmp_path):
    wish = {"python_uv_path": "/bin/true", "python_environment": False, "python_command": False}
    done = play_tasks(tmp_path, TASKS, python_interpreter_packages=["coreutils", "dpkg"], **wish)
    install = done.stdout.partition("Install the packages on Debian and Ubuntu]")[2].split()
    assert "Look whether the packages are there" in done.stdout and install[1:2] in ([], ["skipping:"]), done.stdout
    assert "changed=0" in done.stdout and "failed=0" in done.stdout, done.stdout
