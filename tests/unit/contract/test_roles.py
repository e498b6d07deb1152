"""The rules that every role keeps, whoever writes it."""

import re
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
ROLES = sorted(path for path in (CHECKOUT / "roles").iterdir() if path.is_dir())
TASK_FILES = sorted(CHECKOUT.glob("roles/*/tasks/*.yml"))
PLAYBOOKS = [*CHECKOUT.glob("playbooks/*.yml"), *CHECKOUT.glob("molecule/*/*.yml")]

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options(role):
    return load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]


def tasks_in(entries):
    """Yield every task of a task file, those inside blocks included."""
    for entry in entries or []:
        yield entry
        for key in ("block", "rescue", "always"):
            yield from tasks_in(entry.get(key))


def test_there_are_roles_to_hold_to_the_rules():
    assert {"bootstrap", "python", "pytorch", "stack", "training_check"} <= {role.name for role in ROLES}


@each_role
def test_what_is_documented_is_what_happens(role):
    documented = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert documented == (load(role / "defaults" / "main.yml") or {})


@each_role
def test_every_input_carries_the_roles_name_and_a_description(role):
    for name, option in options(role).items():
        assert name.startswith(f"{role.name}_"), name
        assert option["description"] and option["type"], name


@each_role
def test_a_role_explains_itself(role):
    text = (role / "README.md").read_text(encoding="utf-8")
    assert f"gpufleet.workstation.{role.name}" in text
    assert load(role / "meta" / "main.yml")["galaxy_info"]["license"] == "GPL-3.0-or-later"


@each_role
def test_a_role_is_run_by_a_scenario(role):
    assert any(f"gpufleet.workstation.{role.name}\n" in path.read_text(encoding="utf-8") for path in PLAYBOOKS)


@each_role
def test_collection_wide_variables_are_read_in_defaults_only(role):
    for path in role.rglob("*.yml"):
        if path.parent.name not in ("defaults", "meta"):
            for expression in re.findall(r"{{.*?}}", path.read_text(encoding="utf-8"), re.DOTALL):
                assert not re.search(r"\bworkstation_", expression), f"{path}: {expression}"


@each_role
def test_a_boolean_that_is_asked_for_on_the_command_line_is_one(role):
    # "-e spark_check=false" is a text: as a condition ansible-core 2.16 takes it for true, and 2.19 fails.
    named = "|".join(name for name, option in options(role).items() if option["type"] == "bool")
    asked = re.compile(rf"(?:if|when:|-|and|or|not) (?:{named})\b(?! \| bool)(?!.*:)") if named else re.compile("(?!)")
    for path in [*role.glob("tasks/*.yml"), *role.glob("vars/*.yml")]:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if asked.search(line)], path


def test_every_collection_wide_variable_stands_in_the_example():
    paths = [*CHECKOUT.glob("roles/*/defaults/main.yml"), *CHECKOUT.glob("playbooks/*.yml")]
    read = {name for path in paths for name in re.findall(r"\bworkstation_\w+", path.read_text(encoding="utf-8"))}
    text = (CHECKOUT / "inventories" / "lab" / "group_vars" / "workstations.yml").read_text(encoding="utf-8")
    shown = set(re.findall(r"^(?:# )?(workstation_\w+):", text, re.MULTILINE))
    assert shown == read - {"workstation_facts_root", "workstation_nvidia_smi"}  # those are for stand-ins


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_a_task_file_fits_one_screen(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 100
    if path.name == "main.yml":
        assert len(list(tasks_in(load(path)))) <= 10


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_only_bootstrap_speaks_to_a_shell(path):
    for task in tasks_in(load(path)):
        assert "ansible.builtin.shell" not in task and "ignore_errors" not in task, task["name"]
        assert "ansible.builtin.raw" not in task or path.parts[-3] == "bootstrap", task["name"]


def test_no_handler_has_the_name_of_another():
    names = [handler["name"] for path in CHECKOUT.glob("roles/*/handlers/*.yml") for handler in load(path)]
    assert len(names) == len(set(names))
