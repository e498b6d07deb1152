# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the facts modules against the tools that they replace: whole processes that take turns, started and waited for.

What is counted is the processor time of each and of its children, which other work on the machine does not lengthen.

First each collector in an interpreter of its own against the bare tool, then each module through Ansible against the
tool through Ansible, and against Ansible's own setup, whole and of the hardware alone. Nobody parses there what the
tools print, which flatters them; so then memory_facts once more in a play, against dmidecode and the least parsing that
gives the DIMMs, and against a parsing to all that memory_facts makes of the tables, which is checked. What the kernel
knows of the memory is read by memory_facts besides. Below another root than / the hardware is a stand-in: nvidia-smi is
a cat of what eight GPUs say, and dmidecode reads the stand-in's tables. Prints a table in Markdown. For drives see
drives.py.

    python3 tests/bench/facts.py [--rounds 5] [--root /]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
STAND_IN = CHECKOUT / "tests" / "emulation" / "v100"
sys.path.insert(0, str(CHECKOUT / ".collections"))
sys.path.insert(0, str(CHECKOUT / "tests" / "emulation"))
PARSING_LIMIT_MS = 50
PLAY = {"hosts": "all", "gather_facts": False}
HARDWARE = {"gather_subset": ["!all", "!min", "hardware"]}
# Each DIMM as a list of pairs: less would not be parsing.
LEAST_PARSING = (
    r"{{ told.stdout.split('\n\n') | select('search', 'Memory Device\n') | select('search', 'Size: [0-9]')"
    r" | map('regex_findall', '(?m)^\t([^:]+): (.+)$') }}"
)
# All that memory_facts makes of the same tables, as far as those of the stand-ins go.
SAME = (
    *("dimms", "other_modules", "arrays", "slots", "slots_used", "slots_empty"),
    *("installed_bytes", "max_capacity_bytes", "population"),
)
PARSING = r"""
{%- set dimms, others, arrays, empty = [], [], [], [] -%}
{%- for block in told.stdout.split('\n\n') -%}
  {%- set said = dict(block | regex_findall('(?m)^\t([^:]+): (.+)$')) -%}
  {%- set handle = block | regex_search('0x[0-9A-F]+') -%}
  {%- if 'Physical Memory Array\n' in block -%}
    {%- set _ = arrays.append({
      'handle': handle,
      'location': 'system board' if 'Motherboard' in said.Location else none,
      'use': said.Use.split() | first | lower,
      'error_correction': said['Error Correction Type'].split() | first | lower,
      'max_capacity_bytes': said['Maximum Capacity'] | human_to_bytes,
      'slots': said['Number Of Devices'] | int,
    }) -%}
  {%- elif 'Memory Device\n' in block and said.Size is not search('[0-9]') -%}
    {%- set _ = empty.append(handle) -%}
  {%- elif 'Memory Device\n' in block -%}
    {%- set dimm = {
      'handle': handle,
      'array': said['Array Handle'],
      'slot': said.Locator,
      'size_bytes': said.Size | upper | human_to_bytes,
      'manufacturer': said.Manufacturer | default(none),
      'part_number': said['Part Number'] | default(none),
      'serial': said['Serial Number'] | default(none),
    } -%}
    {%- if said.Type == 'Flash' -%}
      {%- set _ = others.append(dict(dimm, kind='flash')) -%}
    {%- else -%}
      {%- set _ = dimms.append(dict(
        dimm,
        bank=said['Bank Locator'],
        form_factor=said['Form Factor'],
        type=said.Type,
        buffering='registered' if 'Registered' in said['Type Detail'] else none,
        speed_mts=said.Speed.split() | first | int,
        configured_speed_mts=said['Configured Memory Speed'].split() | first | int,
        configured_millivolts=(said['Configured Voltage'].split() | first | float * 1000) | int,
        ecc=said['Total Width'] != said['Data Width'],
        rank=said.Rank | int,
        data_width_bits=said['Data Width'].split() | first | int,
        total_width_bits=said['Total Width'].split() | first | int,
      )) -%}
    {%- endif -%}
  {%- endif -%}
{%- endfor -%}
{{ {
  'dimms': dimms,
  'other_modules': others,
  'arrays': arrays,
  'slots': dimms | length + empty | length,
  'slots_used': dimms | length,
  'slots_empty': empty | length,
  'installed_bytes': dimms | sum('size_bytes'),
  'max_capacity_bytes': arrays | selectattr('use', '==', 'system') | sum('max_capacity_bytes'),
  'population': {
    'sizes_bytes': dimms | map(attribute='size_bytes') | unique | sort,
    'types': dimms | map(attribute='type') | unique | sort,
    'speeds_mts': dimms | map(attribute='speed_mts') | unique | sort,
    'configured_speeds_mts': dimms | map(attribute='configured_speed_mts') | unique | sort,
    'manufacturers': dimms | map(attribute='manufacturer') | unique | sort,
    'part_numbers': dimms | map(attribute='part_number') | unique | sort,
    'ranks': dimms | map(attribute='rank') | unique | sort,
  },
} }}
"""
COLLECT = """
import json, sys
sys.path.insert(0, {collections!r})
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host
from ansible_collections.gpufleet.workstation.plugins.module_utils._{name} import collect
json.dump(collect(Host({root!r}){rest}), sys.stdout)
"""


def with_address(entry: bytes) -> bytes:
    """Return an SMBIOS entry point that says that the table follows it after 32 bytes, as dmidecode wants its dumps."""
    changed = bytearray(entry)
    place, form, checksum = (0x10, "<Q", 5) if entry.startswith(b"_SM3_") else (0x18, "<I", 0x15)
    before = sum(changed[place : place + 4])
    struct.pack_into(form, changed, place, 32)
    changed[checksum] = (changed[checksum] + before - sum(changed[place : place + 4])) % 256
    return bytes(changed).ljust(32, b"\0")


def dump(root: Path, file: Path) -> None:
    """Write the stand-in's SMBIOS tables in the form of dmidecode --dump-bin."""
    tables = root / "sys" / "firmware" / "dmi" / "tables"
    file.write_bytes(with_address((tables / "smbios_entry_point").read_bytes()) + (tables / "DMI").read_bytes())


def program(file: Path, text: str) -> str:
    """Write a program and return its path."""
    file.write_text("#!/bin/sh\n" + text)
    file.chmod(0o755)
    return str(file)


def collector(name: str, root: str, rest: str = "") -> list[str]:
    """Return the command that runs one collector in an interpreter of its own."""
    text = COLLECT.format(collections=str(CHECKOUT / ".collections"), name=name, root=root, rest=rest)
    return [sys.executable, "-c", text]


def ansible(module: str, arguments: dict[str, object] | None = None) -> list[str]:
    """Return the command that runs one module through Ansible on this machine."""
    python = ["-e", f"ansible_python_interpreter={sys.executable}"]
    target = ["localhost", "--connection", "local", *python]
    words = ["-a", json.dumps(arguments)] if arguments else []
    return [sys.executable, "-m", "ansible", "adhoc", *target, "-m", module, *words]


def play(file: Path, hosts: int, tasks: list[dict[str, object]]) -> list[str]:
    """Return the command that runs tasks on some hosts, each of which is this machine."""
    file.write_text(json.dumps([{**PLAY, "tasks": tasks}]), encoding="utf-8")
    names = "".join(f"host{number}," for number in range(hosts))
    python = ["-e", f"ansible_python_interpreter={sys.executable}"]
    return [sys.executable, "-m", "ansible", "playbook", "-i", names, "-c", "local", *python, str(file)]


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Return the processor time of a command, which has to succeed."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    if done.returncode:
        sys.exit(f"facts: {' '.join(command)[:300]}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return taken


def compare(title: str, ours: list[str], theirs: list[str], rounds: int, environment: dict[str, str]) -> None:
    """Let two commands take turns, each first in every other round, and print the medians and their ratio."""
    times: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for side in (0, 1) if turn % 2 else (1, 0):
            taken = seconds((ours, theirs)[side], environment)
            if turn > 0:
                times[side].append(taken)
    mine, other = map(statistics.median, times)
    paired = statistics.median(theirs / ours for ours, theirs in zip(*times, strict=True))
    print(f"| {title} | {mine * 1000:.0f} | {other * 1000:.0f} | {paired:.2f} |", flush=True)


def parsing(rounds: int) -> float:
    """Return the median of the milliseconds that it takes to understand what eight GPUs say."""
    from ansible_collections.gpufleet.workstation.plugins.module_utils._gpu_smi import parse_smi  # noqa: PLC0415
    from make_smi import eight_gpus  # noqa: PLC0415

    xml = eight_gpus()
    times = []
    for _ in range(4 * rounds):
        began = time.process_time()
        answer, gaps = parse_smi(xml)
        times.append(time.process_time() - began)
        assert len(answer["gpus"]) == 8 and not gaps
    return statistics.median(times) * 1000


def tools(root: str, scratch: Path) -> dict[str, list[str]]:
    """Return the commands that the modules replace, those that are there."""
    if root == "/":
        nvidia_smi, dmidecode = ["nvidia-smi", "-q", "-x"], ["dmidecode", "-t", "memory"]
    else:
        from make_smi import eight_gpus  # noqa: PLC0415

        (scratch / "eight.xml").write_text(eight_gpus(), encoding="utf-8")
        nvidia_smi = [
            program(scratch / "nvidia-smi", f'test "$1" = -q && exec cat {scratch}/eight.xml\n:\n'),
            "-q",
            "-x",
        ]
        dump(Path(root), scratch / "dmi.bin")
        dmidecode = ["dmidecode", "-t", "memory", "--from-dump", str(scratch / "dmi.bin")]
    drives = sorted(str(path) for path in Path("/dev").glob("nvme[0-9]"))
    nvme = "nvme list -o json" + "".join(f" && nvme smart-log -o json {drive}" for drive in drives)
    found = {"gpu": nvidia_smi, "memory": dmidecode}
    if drives:  # it fails where there is none
        found["nvme"] = ["sh", "-c", nvme]
    return {name: words for name, words in found.items() if shutil.which("nvme" if name == "nvme" else words[0])}


def compare_plays(
    scratch: Path, arguments: dict[str, object], argv: list[str], rounds: int, environment: dict[str, str]
) -> None:
    """Compare memory_facts with dmidecode and parsing what it prints, in plays on one host and on ten."""
    module = [{"gpufleet.workstation.memory_facts": arguments}]
    told = {"ansible.builtin.command": {"argv": argv}, "register": "told"}
    tools = {"the least parsing": [told, {"ansible.builtin.set_fact": {"parsed": LEAST_PARSING}}]}
    if arguments["root"] != "/":
        tools["parsing to the same facts"] = whole = [told, {"ansible.builtin.set_fact": {"parsed": PARSING}}]
        same = [f"parsed.{name} == ansible_facts.memory.{name}" for name in SAME]
        same = {"ansible.builtin.assert": {"that": [*same, "parsed.dimms | length > 0"]}}
        seconds(play(scratch / "both.json", 1, [*module, *whole, same]), environment)
    for hosts in (1, 10):
        ours = play(scratch / "ours.json", hosts, module)
        for name, tasks in tools.items():
            title = f"memory_facts in a play on {hosts} host(s); dmidecode and {name}"
            compare(title, ours, play(scratch / "theirs.json", hosts, tasks), rounds, environment)


def main() -> None:
    """Take turns and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--root", default=str(STAND_IN), help="/ for this machine (default: the stand-in of a V100 host)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gpufleet-bench-") as name:
        scratch = Path(name)
        (scratch / "ansible.cfg").touch()
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
            "ANSIBLE_CONFIG": str(scratch / "ansible.cfg"),
            "ANSIBLE_PIPELINING": "1",  # as in this collection's ansible.cfg
            "ANSIBLE_LOCAL_TEMP": str(scratch / "local"),
            "ANSIBLE_REMOTE_TEMP": str(scratch / "remote"),
        }
        theirs = tools(options.root, scratch)
        rest, arguments = {}, {name: {"root": options.root} for name in ("gpu", "memory", "nvme")}
        if options.root != "/":
            rest["gpu"] = f", [], nvidia_smi={theirs['gpu'][0]!r}"
            arguments["gpu"]["nvidia_smi"] = theirs["gpu"][0]
        else:
            rest["gpu"] = ", []"
        where = "this machine" if options.root == "/" else f"the stand-in {Path(options.root).name} with eight GPUs"
        print(f"Facts of {where}: Python {sys.version.split()[0]}, {os.cpu_count()} processors, {options.rounds}")
        print("rounds by turns; medians in milliseconds of processor time, and the ratio of the pairs: above 1, ours")
        print("is the faster.\n")
        taken = parsing(options.rounds)
        print(f"Understanding what eight GPUs say takes {taken:.0f} ms; the limit is {PARSING_LIMIT_MS} ms.\n")
        print("| whole process | gpufleet | tool | ratio |\n|---|---|---|---|")
        for kind in arguments:
            if kind not in theirs:
                print(f"| {kind}_facts: its tool or its hardware is not here | | | |")
                continue
            title = f"{kind}_facts: the collector alone; the tool alone"
            compare(title, collector(kind, options.root, rest.get(kind, "")), theirs[kind], options.rounds, environment)
        for kind, given in arguments.items():
            ours = ansible(f"gpufleet.workstation.{kind}_facts", given)
            if kind in theirs:
                title = f"{kind}_facts under Ansible; the tool by ansible.builtin.command"
                command = ansible("ansible.builtin.command", {"argv": theirs[kind]})
                compare(title, ours, command, options.rounds, environment)
            for part, subset in (("", None), (" of the hardware alone", HARDWARE)):
                title = f"{kind}_facts under Ansible; ansible.builtin.setup{part}"
                compare(title, ours, ansible("ansible.builtin.setup", subset), options.rounds, environment)
        if "memory" in theirs:
            compare_plays(scratch, arguments["memory"], theirs["memory"], options.rounds, environment)


if __name__ == "__main__":
    main()
