"""The role hadoop_client where no plan says what the system has."""

import os

import pytest
from through_ansible import CHECKOUT, needs_ansible, play_tasks


@needs_ansible
@pytest.mark.parametrize(
    "system, package",
    [
        (("Debian", "11"), "openjdk-17-jre-headless"),
        (("Debian", "12"), "default-jre-headless"),
        (("Ubuntu", "22"), "openjdk-17-jre-headless"),
        (("Ubuntu", "24"), "default-jre-headless"),
    ],
)
def test_the_java_that_is_installed_is_one_that_hadoop_runs_on(tmp_path, system, package):
    """The default of the older ones is Java 11, which Hadoop 3.5 does not run on."""
    facts = {"distribution": system[0], "distribution_major_version": system[1], "cacheable": True}
    names = os.path.join(CHECKOUT, "roles", "hadoop_client", "vars", "main.yml")
    tasks = [
        {"ansible.builtin.set_fact": facts},
        {"ansible.builtin.include_vars": names},
        {"ansible.builtin.debug": {"msg": "java is {{ __hadoop_client_packages.Debian.java }}"}},
    ]
    assert f"java is {package}" in play_tasks(tmp_path, tasks).stdout
