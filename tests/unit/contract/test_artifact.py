"""What Galaxy would give a user works, with nothing around it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
INVENTORY = """
workstations:
  hosts:
    gpu01.example.org:
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build the collection, install it into an empty folder, and delete all that it must not need."""
    folder = tmp_path_factory.mktemp("artifact")
    run("ansible-galaxy", "collection", "build", "--output-path", str(folder), str(CHECKOUT), cwd=folder)
    (tarball,) = folder.glob("gpufleet-workstation-*.tar.gz")
    run(
        "ansible-galaxy", "collection", "install", "--no-deps", "--offline", "-p", str(folder), str(tarball), cwd=folder
    )
    collection = folder / "ansible_collections" / "gpufleet" / "workstation"
    needed = {"meta", "plugins", "roles", "playbooks", "MANIFEST.json", "FILES.json"}
    for entry in collection.iterdir():
        if entry.name not in needed:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    (folder / "inventory.yml").write_text(INVENTORY, encoding="utf-8")
    return folder


def run(*argv, cwd):
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(cwd)}
    environment.pop("ANSIBLE_CONFIG", None)
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("playbook", ["site", "facts", "plan", "check", "rollback", "wheelhouse"])
def test_a_playbook_is_found_by_its_full_name(installed, playbook):
    run("ansible-playbook", f"gpufleet.workstation.{playbook}", "-i", "inventory.yml", "--syntax-check", cwd=installed)


def test_every_module_and_filter_and_role_is_documented(installed):
    for kind, names in (
        (
            "module",
            [
                "config_files",
                "gpu_facts",
                "host_facts",
                "java_home",
                "memory_facts",
                "nvidia_driver",
                "nvme_facts",
                "python_environment",
                "python_wheelhouse",
                "spark_check",
                "training_check",
            ],
        ),
        ("filter", ["fleet_table", "preflight_findings", "spark_plan", "stack_plan", "misspelt", "training_junit"]),
        ("callback", ["fleet_report"]),
        ("role", [path.name for path in (CHECKOUT / "roles").iterdir()]),
    ):
        for name in names:
            told = run("ansible-doc", "-t", kind, f"gpufleet.workstation.{name}", cwd=installed)
            assert name in told, name


def test_nothing_of_the_workshop_is_shipped(installed):
    assert not list(installed.glob("ansible_collections/gpufleet/workstation/**/tests"))
