"""What Galaxy would give a user works, with nothing around it."""

import json
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
    for kind, paths in (
        ("module", CHECKOUT.glob("plugins/modules/*.py")),
        ("filter", CHECKOUT.glob("plugins/filter/*.py")),
        ("callback", CHECKOUT.glob("plugins/callback/*.py")),
        ("role", CHECKOUT.glob("roles/*")),
    ):
        names = [f"gpufleet.workstation.{path.stem}" for path in paths]
        told = json.loads(run("ansible-doc", "--json", "-t", kind, *names, cwd=installed))
        assert sorted(told) == sorted(names)
        assert not [name for name in names if "error" in told[name]]


def test_nothing_of_the_workshop_is_shipped(installed):
    assert not list(installed.glob("ansible_collections/gpufleet/workstation/**/tests"))
