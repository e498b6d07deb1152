"""What the whole collection promises to those who install it."""

import re
import subprocess
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[3]


def tracked():
    """Return the text files of the collection that git knows, or would."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return [CHECKOUT / name for name in listed if (CHECKOUT / name).is_file()]


def test_it_depends_on_no_other_collection():
    assert yaml.safe_load((CHECKOUT / "galaxy.yml").read_text(encoding="utf-8"))["dependencies"] == {}


def test_no_package_registry_is_named_anywhere():
    # In pieces, or this file would name them.
    names = ["py" + "pi.org", "python" + "hosted.org", "debian" + ".org", "maven" + ".org", "npm" + "js.org"]
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="replace").lower()
        for name in names:
            assert name not in text, f"{path} names {name}"


def test_no_file_is_too_large_to_review():
    assert [path for path in tracked() if path.stat().st_size > 512 * 1024] == []


def test_facts_are_read_by_name_and_never_as_injected_variables():
    injected = re.compile(
        r"\bansible_(distribution|os_family|kernel|architecture|python_version|pkg_mgr|hostname|mounts)\b"
    )
    for path in [*CHECKOUT.glob("roles/**/*.yml"), *CHECKOUT.glob("playbooks/*.yml")]:
        assert not injected.search(path.read_text(encoding="utf-8")), path


def test_plugins_say_their_licence():
    for path in (CHECKOUT / "plugins").rglob("*.py"):
        head = path.read_text(encoding="utf-8")[:800]
        assert not head or "GNU General Public License v3.0+" in head, path
