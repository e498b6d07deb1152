"""What a user can rely on once a host has its scientific Python."""

import json

import pytest

testinfra_hosts = ["ansible://workstations"]

PYTHON = "/opt/gpufleet/envs/python/current/bin/python"


def test_numpy_pandas_matplotlib_and_scikit_learn_work_together(host):
    code = """
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot, numpy, pandas
from sklearn.linear_model import LinearRegression
frame = pandas.DataFrame({"x": numpy.arange(5.0)})
model = LinearRegression().fit(frame, 2 * frame["x"] + 1)
frame.plot().figure.savefig("/tmp/plot.png")
print(round(float(model.predict(pandas.DataFrame({"x": [10.0]}))[0]), 6))
"""
    assert host.check_output("%s -c %s", PYTHON, code) == "21.0"


def test_uv_is_the_pinned_one(host):
    assert host.check_output("/opt/gpufleet/uv/*/bin/uv --version").startswith("uv 0.13.9")


def test_the_systems_own_python_was_left_alone(host):
    assert host.run("python3 -c 'import numpy'").rc != 0
    assert host.run("ls /usr/lib/python3*/EXTERNALLY-MANAGED").rc == 0


def test_the_environment_works_for_an_ordinary_user(host):
    assert (
        host.check_output(
            "setpriv --reuid=65534 --clear-groups %s -c 'import numpy; print(numpy.ones(2).sum())'", PYTHON
        )
        == "2.0"
    )


def test_a_locked_environment_is_what_the_controller_resolved(host):
    folder = "/opt/gpufleet/envs/locked/current"
    lock = host.file(folder + "/gpufleet.lock").content_string
    locked = sorted(line.split(" ")[0] for line in lock.splitlines() if "==" in line)
    code = "from importlib.metadata import distributions as d; print(*sorted(f'{x.name}=={x.version}' for x in d()))"
    assert host.check_output("%s/bin/python -c %s", folder, code).split() == locked
    assert lock.count("--hash=sha256:") > len(locked)


def test_a_second_host_installed_from_the_first_ones_wheelhouse(host):
    if "a100" not in host.backend.get_hostname():
        wheels = host.check_output("ls /srv/wheelhouse").split()
        assert {"pandas", "numpy", "uv"} <= {name.split("-")[0] for name in wheels}
        assert len([name for name in wheels if name.startswith("pandas-")]) == 2  # one for each Python
        return
    assert host.check_output("/opt/second/uv/*/bin/uv --version").startswith("uv 0.13.9")
    code = "import pandas; print(pandas.__version__)"
    second = host.check_output("/opt/second/envs/second/current/bin/python -c %s", code)
    assert second == host.check_output("/opt/gpufleet/envs/locked/current/bin/python -c %s", code)


def test_people_find_the_environments(host):
    assert "numpy" in host.check_output("gpufleet list")
    code = "import numpy; print(numpy.ones(2).sum())"
    assert host.check_output("gpufleet run python python -c %s", code) == "2.0"
    script = "gpufleet activate python && python -c 'import numpy, sys; print(sys.prefix)'"
    login = host.check_output("bash -lc %s", script)
    assert login.startswith("/opt/gpufleet/envs/python/")
    refused = host.run("gpufleet run nosuch true")
    assert refused.rc == 1 and "there is no environment 'nosuch'; there are:" in refused.stderr


@pytest.mark.parametrize("system", ["lmod", "environment-modules"])
def test_a_module_file_leads_there(host, system):
    if (system == "lmod") != ("a100" in host.backend.get_hostname()):
        pytest.skip("each host has one of the two module systems")
    host.check_output("apt-get install -qq -y --no-install-recommends %s", system)
    script = "module load gpufleet/python && python -c 'import numpy, sys; print(sys.prefix)' && module list 2>&1"
    said = host.check_output("bash -lc %s", script)
    assert "/opt/gpufleet/envs/python/" in said and "gpufleet/python" in said


def test_jupyter_knows_the_environment(host):
    kernel = json.loads(host.file("/usr/local/share/jupyter/kernels/gpufleet-python/kernel.json").content_string)
    assert kernel["argv"][0] == PYTHON
    assert host.check_output("%s -m ipykernel_launcher --version", PYTHON)
