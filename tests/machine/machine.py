"""Starts the machine under qemu without any hardware acceleration, and asks it for facts."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from build import CHECKOUT, QEMU, Cpio, build

GIB = 1 << 30
# The most that the machine takes to start or to answer (7 s and less than 1 s where nothing else runs), and the longest
# that it lives, whatever becomes of those who started it.
START_SECONDS, LIFE_SECONDS = 150, 600

# What the machine is given; the tests compare the facts with these.
DIMM = {"manufacturer": "Example", "part": "EX4-2666-16G", "serial": "10000001", "speed": "2666"}
MEMORY = 20 * GIB  # promised, not taken; qemu makes DIMMs of 16 GiB, and one of what is left
NODES = [12 * GIB, 8 * GIB]
DRIVES = {"layers": 1 * GIB, "small": 2 * GIB, "large": 3 * GIB, "ways": 4 * GIB, "shared": 5 * GIB}  # sparse files


class Machine:
    """A running machine."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="machine-")
        self.path = Path(self.folder.name)
        self.console = self.path / "console.log"
        kernel = build()
        with (self.path / "root.cpio").open("wb") as file:
            file.write((kernel / "root.cpio").read_bytes())
            add_collection(file)
        for name, size in DRIVES.items():
            with (self.path / name).open("wb") as file:
                file.truncate(size)
        self.process = subprocess.Popen(
            ["timeout", str(LIFE_SECONDS), *self.command(kernel)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            self.control, self.port = self.connect("qmp"), self.connect("port")
            self.control.readline()
            self.order("qmp_capabilities")
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def command(self, kernel: Path) -> list[str]:
        """Return qemu's command line."""
        told = ",".join(f"{name}={value}" for name, value in DIMM.items())
        serve = "server=on,wait=off"
        return [
            *(
                QEMU,
                "-machine",
                "q35",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                f"{MEMORY >> 20}",
            ),
            *("-nodefaults", "-display", "none", "-no-reboot", "-kernel", f"{kernel}/vmlinuz"),
            *("-initrd", f"{self.path}/root.cpio", "-append", "console=ttyS0 quiet panic=-1 rdinit=/init"),
            *("-serial", f"file:{self.console}", "-serial", f"unix:{self.path}/port,{serve}"),
            *("-qmp", f"unix:{self.path}/qmp,{serve}"),
            *("-smbios", f"type=17,loc_pfx=DIMM_A,bank=NODE 0,{told}"),
            *[word for node, size in enumerate(NODES) for word in self.node(node, size)],
            *[word for name in DRIVES for word in ("-drive", f"if=none,format=raw,id={name},file={self.path}/{name}")],
            # A drive behind a root port, near the second node.
            *("-device", "pxb-pcie,id=second,bus=pcie.0,bus_nr=128,numa_node=1"),
            *("-device", "pcie-root-port,id=root-port,bus=second,chassis=1"),
            *("-device", "nvme,id=layers-drive,bus=root-port,serial=EX-LAYERS,drive=layers"),
            # Two namespaces, of which the second has blocks of 4096 bytes, and a persistent memory region.
            *("-object", "memory-backend-ram,id=memory-of-drive,size=16M,share=on"),
            *("-device", "nvme,id=double-drive,bus=pcie.0,serial=EX-DOUBLE,pmrdev=memory-of-drive"),
            *("-device", "nvme-ns,drive=small,bus=double-drive,nsid=1"),
            *(
                "-device",
                "nvme-ns,drive=large,bus=double-drive,nsid=2,logical_block_size=4096,physical_block_size=4096",
            ),
            # One drive with two controllers.
            *("-device", "nvme-subsys,id=ways-subsystem,nqn=ways"),
            *("-device", "nvme,id=ways-drive,bus=pcie.0,serial=EX-WAYS,subsys=ways-subsystem"),
            *("-device", "nvme,id=ways-other,bus=pcie.0,serial=EX-WAYS,subsys=ways-subsystem"),
            *("-device", "nvme-ns,drive=ways,bus=ways-drive,nsid=1,shared=on"),
            # What the machine offers to itself over TCP.
            *("-device", "nvme,id=shared-drive,bus=pcie.0,serial=EX-SHARED,drive=shared"),
        ]

    def node(self, node: int, size: int) -> list[str]:
        """Return the options for a NUMA node with one processor, whose memory is not taken before it is used."""
        return [
            *("-object", f"memory-backend-ram,id=memory{node},size={size},reserve=off"),
            *("-numa", f"node,nodeid={node},memdev=memory{node},cpus={node}"),
        ]

    def connect(self, name: str) -> Any:
        """Return a connection to one of qemu's sockets."""
        connection = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + 20
        while True:
            try:
                connection.connect(f"{self.path}/{name}")
            except OSError as error:
                if self.process.poll() is not None:
                    raise RuntimeError(f"qemu: {self.process.stderr.read().decode()}") from error
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                connection.settimeout(START_SECONDS)
                return connection.makefile("rwb")

    def wait_until_ready(self) -> None:
        """Wait for the machine's first word."""
        said = self.read()
        if said != {"ready": True}:
            raise RuntimeError(f"{said}\n{self.complaint()}")

    def complaint(self) -> str:
        """Return the end of what the machine wrote on its console."""
        return self.console.read_text(errors="replace")[-4000:]

    def read(self) -> dict[str, Any]:
        """Return the machine's next line."""
        try:
            line = self.port.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise RuntimeError("The machine fell silent:\n" + self.complaint())
        return json.loads(line)

    def ask(self, module: str, **request: Any) -> dict[str, Any]:
        """Return what a module returns in the machine."""
        return self.request(module=module, **request)

    def clock(self, sides: list[list[list[str]]], rounds: int) -> list[list[float]]:
        """Let lists of commands take turns, and return the processor seconds of each list in each round."""
        return self.request(clock={"sides": sides, "rounds": rounds})["seconds"]

    def request(self, **request: Any) -> dict[str, Any]:
        """Return the machine's answer."""
        self.port.write(json.dumps(request).encode() + b"\n")
        self.port.flush()
        said = self.read()
        assert "traceback" not in said, said["traceback"]
        return said

    def order(self, command: str, **arguments: Any) -> None:
        """Give qemu a command."""
        self.control.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self.control.flush()
        while True:
            said = json.loads(self.control.readline())
            if "event" not in said:
                assert "return" in said, said
                return

    def stop(self) -> None:
        """End the machine and remove what it wrote."""
        self.process.terminate()
        self.process.wait(timeout=20)
        self.folder.cleanup()


def add_collection(file) -> None:
    """Add the collection's modules and the machine's first process."""
    archive = Cpio(file)
    archive.add("init", stat.S_IFREG | 0o755, (CHECKOUT / "tests" / "machine" / "init.py").read_bytes())
    for folder in ("module_utils", "modules"):
        for path in sorted((CHECKOUT / "plugins" / folder).glob("*.py")):
            name = f"opt/ansible_collections/gpufleet/workstation/plugins/{folder}/{path.name}"
            archive.add(name, stat.S_IFREG | 0o644, path.read_bytes())
    archive.close()
