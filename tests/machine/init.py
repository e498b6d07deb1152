#!/usr/bin/python3
"""The first and only process of the machine that test_machine.py starts.

It puts drives to use, and then runs the collection's own modules on request, or times commands: a line of JSON comes in
on the second serial port, and one goes out.
"""

import ctypes
import fcntl
import importlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
import traceback
import tty
import types

sys.path.insert(0, "/opt")
LIBC = ctypes.CDLL(None, use_errno=True)
PLUGINS = "ansible_collections.gpufleet.workstation.plugins."
BLKRRPART, SIOCSIFFLAGS, IFF_UP = 0x125F, 0x8914, 1
SYS_FINIT_MODULE, POWER_OFF = 313, 0x4321FEDC
MIB = 1 << 20
SHARE = "nqn.2014-08.org.example:share"


def check(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount(source, target, kind, flags=0):
    os.makedirs(target, exist_ok=True)
    check(LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, None))


def say(path, text):
    with open(path, "w") as file:
        file.write(text)


def wait(path):
    for _ in range(600):
        if os.path.exists(path):
            return path
        time.sleep(0.05)
    raise TimeoutError(path)


def start():
    for kind, target in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run")):
        mount(kind, target, kind)
    for name in sorted(os.listdir("/modules")):
        with open("/modules/" + name, "rb") as file:
            check(LIBC.syscall(SYS_FINIT_MODULE, file.fileno(), b"", 0))
    mount("configfs", "/sys/kernel/config", "configfs")


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def disk_of(serial):
    """Return the block device of the drive with this serial number, whatever name the kernel gave it."""
    for _ in range(600):
        for name in os.listdir("/sys/class/nvme"):
            folder = "/sys/class/nvme/" + name
            with open(folder + "/serial") as file:
                if file.read().strip() == serial:
                    for entry in sorted(os.listdir(folder)):
                        if os.path.exists(folder + "/" + entry + "/queue"):
                            return entry
        time.sleep(0.05)
    raise TimeoutError(serial)


def use_drives():
    """Put the drive EX-LAYERS to use: a filesystem, swap, and a logical volume with a filesystem."""
    name = disk_of("EX-LAYERS")
    disk = "/dev/" + name
    table = bytearray(512)
    for place, (begin, size, kind) in enumerate([(1, 64, 0x83), (65, 16, 0x82), (81, 64, 0x8E)]):
        struct.pack_into("<B3xB3xII", table, 446 + 16 * place, 0, kind, begin * MIB // 512, size * MIB // 512)
    table[510:] = b"\x55\xaa"
    with open(disk, "r+b", buffering=0) as file:
        file.write(table)
        fcntl.ioctl(file, BLKRRPART)
    wait(disk + "p3")
    run("mke2fs", "-q", "-t", "ext4", disk + "p1")
    mount(disk + "p1", "/mnt/my data", "ext4")
    with open(disk + "p2", "r+b", buffering=0) as file:
        head = bytearray(4096)
        struct.pack_into("<III", head, 1024, 1, 16 * MIB // 4096 - 1, 0)
        head[-10:] = b"SWAPSPACE2"
        file.write(head)
    check(LIBC.swapon((disk + "p2").encode(), 0))
    table = f"0 {64 * MIB // 512} linear {disk}p3 0"
    run("dmsetup", "create", "vg0-scratch", "--uuid", "LVM-example", "--noudevsync", "--table", table)
    run("dmsetup", "mknodes")
    run("mke2fs", "-q", "-t", "ext4", "/dev/mapper/vg0-scratch")
    mount("/dev/mapper/vg0-scratch", "/scratch", "ext4", 1)  # read-only


def use_a_network():
    """Offer a namespace over TCP, and connect to it."""
    with socket.socket() as link:
        fcntl.ioctl(link, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    root = "/sys/kernel/config/nvmet"
    subsystem, port = root + "/subsystems/" + SHARE, root + "/ports/1"
    os.makedirs(subsystem + "/namespaces/1")
    say(subsystem + "/attr_allow_any_host", "1")
    say(subsystem + "/namespaces/1/device_path", "/dev/" + disk_of("EX-SHARED"))
    say(subsystem + "/namespaces/1/enable", "1")
    os.mkdir(port)
    for name, text in (("trtype", "tcp"), ("adrfam", "ipv4"), ("traddr", "127.0.0.1"), ("trsvcid", "4420")):
        say(port + "/addr_" + name, text)
    os.symlink(subsystem, port + "/subsystems/" + SHARE)
    say("/dev/nvme-fabrics", "transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=" + SHARE)


class AnsibleModule:
    """Stands in for Ansible's: options in, the result out, and nothing else."""

    asked = None

    def __init__(self, argument_spec, **_):
        self.params = {name: self.asked.get(name, spec.get("default")) for name, spec in argument_spec.items()}

    def exit_json(self, **result):
        AnsibleModule.result = result


def answer(request):
    """Run a module, as another user where one is named, and without the ioctl where it is forbidden."""
    _nvme = importlib.import_module(PLUGINS + "module_utils._nvme")

    def refuse(_device):
        raise OSError(1, "Operation not permitted")

    asked = _nvme.read_health_log
    module = importlib.import_module(PLUGINS + "modules." + request["module"])
    AnsibleModule.asked = request.get("options", {})
    try:
        if request.get("without_ioctl"):
            _nvme.read_health_log = refuse
        if request.get("user"):
            os.seteuid(request["user"])
        begin = time.perf_counter()
        module.main()
        return {**AnsibleModule.result, "seconds": time.perf_counter() - begin}
    finally:
        os.seteuid(0)
        _nvme.read_health_log = asked


def clock(sides, rounds):
    """Let lists of commands take turns, and return the processor time of each list in each round."""
    taken = [[] for _ in sides]
    for turn in range(rounds + 1):  # the first does not count
        for side, commands in enumerate(sides):
            began = os.times()
            for words in commands:
                run(*words)
            ended = os.times()
            if turn:
                taken[side].append(sum(ended[2:4]) - sum(began[2:4]))
    return {"seconds": taken}


def serve():
    port = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port)
    with os.fdopen(port, "r+b", buffering=0) as line, open(port, "rb", closefd=False) as requests:
        line.write(b'{"ready": true}\n')
        for request in requests:
            try:
                asked = json.loads(request)
                said = clock(**asked["clock"]) if "clock" in asked else answer(asked)
            except Exception:
                said = {"traceback": traceback.format_exc()}
            data = json.dumps(said).encode() + b"\n"
            while data:
                data = data[line.write(data) :]


def main():
    start()
    os.environ["PATH"] = "/usr/sbin:/usr/bin"
    for name in ("ansible", "ansible.module_utils", "ansible.module_utils.basic"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["ansible.module_utils.basic"].AnsibleModule = AnsibleModule
    try:
        use_drives()
        use_a_network()
        serve()
    except Exception:
        traceback.print_exc()
    finally:
        LIBC.reboot(POWER_OFF)


if __name__ == "__main__":
    main()
