# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers in which package managers really work, on repositories of stand-ins (tests/workbench/repositories.py)."""

import io
import json
import subprocess
import sys
import tarfile
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workbench"))
from repositories import VOLTA, module_file, nvcc

CHECKOUT = Path(__file__).resolve().parents[2]
COMPILERS = {"12-8": ("12.8.93", VOLTA), "12-9": ("12.9.86", VOLTA), "13-0": ("13.0.88", ("7.5", "8.0"))}
REPOSITORIES = CHECKOUT / ".cache" / "repositories"
PLUGINS = "/root/python/ansible_collections/gpufleet/workstation/plugins"
SITE = "deb [signed-by=/repositories/keys/first.asc] file:/repositories/debian bookworm main\n"
DOCKERFILE = """FROM gpufleet/bare:debian12
RUN apt-get -qq update && apt-get -qq -y --no-install-recommends install python3 kmod gpgv procps unattended-upgrades \
 && rm -rf /etc/apt/sources.list /var/lib/apt/lists/*
"""
ENSURE = """
import json, os, sys
from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver_load
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_host import Wanted
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_run import ensure
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
wanted, check_mode, processes = json.load(sys.stdin)
look = _driver_load.look
# Whose file is there works too: a program that begins in the middle of a run.
late = lambda: [{"pid": 12, "name": "late"}] if os.path.exists("/run/late") else []
_driver_load.look = lambda host: look(host)._replace(processes=[*processes, *late()])
try:
    print(json.dumps(ensure(Host(), Wanted(**wanted), check_mode)))
except Failed as failure:
    print(json.dumps({"failed": str(failure)}))
"""


# A mirror that demands the login in its argument, and writes down the answers that it gave.
MIRROR = """
import base64, http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get('Authorization') == 'Basic ' + base64.b64encode(sys.argv[1].encode()).decode():
            return super().do_GET()
        self.send_response(401)
        self.send_header('WWW-Authenticate', 'Basic realm="the site"')
        self.end_headers()
http.server.ThreadingHTTPServer(('127.0.0.1', 8000), lambda *a: Handler(*a, directory='/srv/nvidia')).serve_forever()
"""


class Refused(Exception):
    """The module failed, with these words."""


def docker(*argv, **options):
    """Run docker and return what it printed."""
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


class Machine:
    """A container that takes itself for a host."""

    def __init__(self, *options, image="debian12"):
        self.name = f"gpufleet-packages-{uuid.uuid4().hex[:8]}"
        mounts = ["--volume", f"{REPOSITORIES}:/repositories:ro"]
        docker("run", "--detach", "--name", self.name, "--hostname", "gpu01", "--label", "gpufleet=host", *mounts,
               *options, f"gpufleet/packages:{image}", "sleep", "infinity")  # fmt: skip
        self.sh(f"mkdir -p {PLUGINS}")
        docker("cp", "--quiet", str(CHECKOUT / "plugins" / "module_utils"), f"{self.name}:{PLUGINS}/")
        if image.startswith("debian"):
            self.write("/etc/apt/sources.list.d/site.list", SITE)

    def sh(self, script, check=True):
        """Run a shell script and return what it printed."""
        done = subprocess.run(
            ["docker", "exec", self.name, "sh", "-c", script], capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def write(self, path, text):
        """Write a file."""
        docker("exec", "-i", self.name, "sh", "-c", f'mkdir -p "$(dirname {path})"; cat > {path}', input=text)

    def driver(self, check_mode=False, users=(), **wanted):
        """Do what the module nvidia_driver does, while programs use the GPU, and return its result."""
        wanted = {"lock_timeout": 60, "timeout": 120, **wanted}
        said = docker("exec", "-i", "-e", "PYTHONPATH=/root/python", self.name, "python3", "-c", ENSURE,
                      input=json.dumps([wanted, check_mode, users]))  # fmt: skip
        result = json.loads(said)
        if "failed" in result:
            raise Refused(result["failed"])
        return result

    def mirror(self, login):
        """Serve /srv/nvidia at port 8000 to whoever has the login; /root/mirror.log says who asked."""
        self.write("/root/mirror.py", MIRROR)
        command = f"exec python3 /root/mirror.py '{login}' 2>/root/mirror.log"
        docker("exec", "--detach", self.name, "sh", "-c", command)
        connect = "import socket; socket.create_connection(('127.0.0.1', 8000))"
        self.sh(f'for i in 1 2 3 4 5 6; do python3 -c "{connect}" 2>/dev/null && exit; sleep 1; done; exit 1')

    def installed(self):
        """Return the driver's packages, as name=version."""
        form = "${db:Status-Abbrev}${Package}=${Version}\\n"
        lines = self.sh(f"dpkg-query -W -f '{form}'").splitlines()
        return {
            line[3:].strip() for line in lines if line.startswith(("ii", "hi")) and ("nvidia" in line or "cuda" in line)
        }

    def held(self):
        """Return the packages on hold."""
        return set(self.sh("apt-mark showhold").split())

    def modules(self):
        """Return the files of kernel modules."""
        return self.sh("ls /lib/modules/*/updates/dkms 2>/dev/null || true").split()

    def assert_healthy(self):
        """Hold apt to being healthy."""
        assert self.sh("dpkg --audit; apt-get -qq check") == ""


@pytest.fixture(scope="session", autouse=True)
def workbench():
    """Build the repositories and the image, or say why these tests cannot run."""
    if subprocess.run(
        ["docker", "image", "inspect", "gpufleet/bare:debian12"], capture_output=True, check=False
    ).returncode:
        pytest.skip("no engine, or no image gpufleet/bare:debian12: python3 tests/workbench/engine.py up debian12")
    subprocess.run([sys.executable, str(CHECKOUT / "tests/workbench/repositories.py"), str(REPOSITORIES)], check=True)
    build("debian12", DOCKERFILE.encode())


def build(image, context):
    """Build an image of ours; the one that had its name before is removed."""
    argv = ["docker", "build", "--quiet", "--label", "gpufleet=packages", "--tag", f"gpufleet/packages:{image}", "-"]
    subprocess.run(argv, input=context, check=True, capture_output=True)
    prune = ["docker", "image", "prune", "--force", "--filter", "label=gpufleet=packages"]
    subprocess.run(prune, check=False, capture_output=True)  # another worker may be at it, which docker refuses


def el_files():
    """Return what the stand-ins of an Enterprise Linux bring: compilers, and modules that "DKMS" copies."""
    files = {f"cuda-nvcc-{name}": nvcc(release, known).encode() for name, (release, known) in COMPILERS.items()}
    for version in ("550.163.01", "580.126.16", "580.178.04"):
        for name, licence in (("latest", "NVIDIA"), ("open", "Dual MIT/GPL")):
            files[f"nvidia-{version}-{name}.ko"] = module_file(version, licence)
    return files


def build_el():
    """Build the image of an Enterprise Linux."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(CHECKOUT / "tests/packages/el", arcname=".")
        for name, data in el_files().items():
            entry = tarfile.TarInfo(f"files/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    build("el", context.getvalue())


@pytest.fixture
def nvswitches(tmp_path):
    """Return the options for a host with two V100 and an NVSwitch on its PCI bus."""
    for address, code in (("0000:3b:00.0", "0x030200"), ("0000:3c:00.0", "0x030200"), ("0000:c4:00.0", "0x068000")):
        (tmp_path / address).mkdir()
        (tmp_path / address / "vendor").write_text("0x10de\n", encoding="utf-8")
        (tmp_path / address / "class").write_text(code + "\n", encoding="utf-8")
    return "--volume", f"{tmp_path}:/sys/bus/pci/devices:ro"


@pytest.fixture
def machine():
    """Return a host with Python and apt, whose only packages to be had are stand-ins."""
    machines = []

    def start(*options, **others):
        machines.append(Machine(*options, **others))
        return machines[-1]

    yield start
    for one in machines:
        docker("rm", "--force", "--volumes", one.name)
