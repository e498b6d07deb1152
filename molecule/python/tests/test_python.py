"""What a user can rely on once a host has its scientific Python."""

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
