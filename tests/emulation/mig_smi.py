#!/usr/bin/env python3
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for nvidia-smi on two A100 of 40 GB and a V100, whose modes and instances are kept in $MIG_STATE.

It prints what the real one prints, as far as it was seen published, and places instances as the real one may: in the
last place that is free. A start of the host makes pending modes the current ones and ends all instances. Keys of the
state beside the GPUs, for tests of what goes wrong:

    "stuck": true        a change of the mode waits for a reset, which fails
    "reset": true        a change of the mode waits for a reset, which works
    "fail": "-cgi"       the first command that has this word fails, once
    "old": true          it knows no places of instances
    "version": "535.1"   the driver that it says is loaded
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

STATE = Path(os.environ["MIG_STATE"])
BOOT = Path("/proc/sys/kernel/random/boot_id")
# Name, number, memory slices, starts, GiB; an A100 of 40 GB as the MIG user guide has it.
PROFILES = [
    ("1g.5gb", 19, 1, [0, 1, 2, 3, 4, 5, 6], "4.75"),
    ("2g.10gb", 14, 2, [0, 2, 4], "9.75"),
    ("3g.20gb", 9, 4, [0, 4], "19.62"),
    ("4g.20gb", 5, 4, [0], "19.62"),
    ("7g.40gb", 0, 8, [0], "39.50"),
]
LINE = "+" + "-" * 77 + "+"


def uuid(index: int) -> str:
    """Return a GPU's UUID."""
    return f"GPU-0000000{index}-0000-0000-0000-000000000000"


def fresh() -> dict:
    """Return the state after the host was built: two A100 with MIG off, and a V100."""
    return {"gpus": [{"mode": False, "pending": False, "instances": []} for _index in range(2)] + [{"mode": None}]}


def xml(state: dict) -> str:
    """Return what -q -x prints, as far as it matters here."""
    parts = []
    for index, gpu in enumerate(state["gpus"]):
        mode = {True: "Enabled", False: "Disabled", None: "N/A"}
        devices = "".join(
            f"<mig_device><index>{place}</index><gpu_instance_id>{one['id']}</gpu_instance_id>"
            "<compute_instance_id>0</compute_instance_id></mig_device>"
            for place, one in enumerate(gpu.get("instances", []))
            if one["compute"]
        )
        parts.append(
            f'<gpu id="00000000:{index + 1:02X}:00.0"><product_name>'
            f"{'Tesla V100-PCIE-32GB' if gpu['mode'] is None else 'NVIDIA A100-PCIE-40GB'}</product_name>"
            f"<uuid>{uuid(index)}</uuid><minor_number>{index}</minor_number>"
            f"<mig_mode><current_mig>{mode[gpu['mode']]}</current_mig>"
            f"<pending_mig>{mode[gpu.get('pending')]}</pending_mig></mig_mode>"
            f"<mig_devices>{devices or 'None'}</mig_devices></gpu>"
        )
    return (
        '<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">\n<nvidia_smi_log>'
        f"<driver_version>{state.get('version', '535.261.03')}</driver_version>"
        f"<attached_gpus>{len(parts)}</attached_gpus>" + "".join(parts) + "</nvidia_smi_log>"
    )


def fail(text: str, rc: int = 6) -> None:
    """End as nvidia-smi does when it cannot."""
    print(text)
    sys.exit(rc)


def free(gpu: dict, size: int, start: int) -> bool:
    """Say whether a place is free."""
    taken = {part for one in gpu["instances"] for part in range(one["start"], one["start"] + one["size"])}
    return not taken & set(range(start, start + size))


def create(state: dict, index: int, names: str) -> None:
    """Make instances, each with a place of its own or in the last that is free."""
    gpu = state["gpus"][index]
    for word in names.split(","):
        name, _colon, start = word.partition(":")
        if start and state.get("old"):
            fail("Option parsing failed: Invalid combination of input arguments.", 2)
        row = next((row for row in PROFILES if name in (row[0], str(row[1]))), None)
        if not row:
            fail(f"Unable to create a GPU instance on GPU {index} using profile {name}: Not Found")
        places = [place for place in ([int(start)] if start else reversed(row[3])) if free(gpu, row[2], place)]
        if not places:
            fail(
                f"Unable to create a GPU instance on GPU {index:2} using profile {row[1]}: Insufficient Resources\n"
                "Failed to create GPU instances: Insufficient Resources",
                19,
            )
        number = row[1] * 10 + places[0]
        gpu["instances"].append(
            {"name": row[0], "profile": row[1], "id": number, "start": places[0], "size": row[2], "compute": True}
        )
        print(f"Successfully created GPU instance ID {number:2} on GPU {index:2} using profile MIG {row[0]}")


def mig(state: dict, index: int, argv: list[str]) -> None:
    """Do what `nvidia-smi mig` does."""
    gpu = state["gpus"][index]
    if not gpu["mode"]:
        fail("No MIG-enabled devices found.")
    instances = gpu["instances"]
    if "-lgip" in argv:
        print(LINE + "\n| GPU   Name             ID    Instances   Memory     P2P    SM    DEC   ENC  |\n" + LINE)
        for name, number, size, starts, memory in PROFILES:
            left = sum(free(gpu, size, start) for start in starts)
            print(f"|   {index}  MIG {name:<14} {number:2}     {left}/{len(starts)}        {memory:<5}      No  |")
    elif "-lgipp" in argv:
        for _name, number, size, starts, _memory in PROFILES:
            word = "Placements:" if len(starts) > 1 else "Placement :"
            print(f"GPU  {index} Profile ID {number:2} {word} {{{','.join(map(str, starts))}}}:{size}")
    elif "-lgi" in argv:
        if not instances:
            fail("No GPU instances found: Not Found")
        print("| GPU   Name             Profile  Instance   Placement  |")
        for one in instances:
            start = f"{one['start']}:{one['size']}"
            print(f"|   {index}  MIG {one['name']:<14}  {one['profile']:3}      {one['id']:3}          {start}     |")
    elif "-cgi" in argv:
        create(state, index, argv[argv.index("-cgi") + 1])
    elif "-dci" in argv:
        if not any(one["compute"] for one in instances):
            fail("No compute instances found: Not Found")
        for one in instances:
            one["compute"] = False
    elif "-dgi" in argv:
        if any(one["compute"] for one in instances):
            fail("Unable to destroy GPU instance: In use by another client")
        gpu["instances"] = []
    else:
        fail("unknown: " + " ".join(argv), 2)


def main(argv: list[str]) -> None:
    """Answer one command."""
    state = json.loads(STATE.read_text(encoding="utf-8")) if STATE.exists() else fresh()
    state.setdefault("calls", []).append(" ".join(argv))
    start, state["boot"] = state.get("boot"), BOOT.read_text(encoding="utf-8")
    if start and start != state["boot"]:
        for gpu in state["gpus"]:
            gpu.update(mode=gpu.get("pending"), instances=[])
    STATE.write_text(json.dumps(state), encoding="utf-8")
    if argv == ["-q", "-x"]:
        print(xml(state))
        return
    name = argv[argv.index("-i") + 1]
    index = int(name) if re.fullmatch(r"\d+", name) else [uuid(n) for n in range(len(state["gpus"]))].index(name)
    gpu = state["gpus"][index]
    if state.get("fail") in argv:
        del state["fail"]
        STATE.write_text(json.dumps(state), encoding="utf-8")
        fail("Unknown Error", 255)
    if any(word.startswith("--query-gpu") for word in argv):
        print("Enabled" if gpu["mode"] else "Disabled")
        return
    if "-mig" in argv:
        gpu["pending"] = argv[argv.index("-mig") + 1] == "1"
        if not state.get("stuck") and not state.get("reset"):
            gpu["mode"] = gpu["pending"]
        print(
            f"{'Enabled' if gpu['pending'] else 'Disabled'} MIG Mode for GPU 00000000:{index + 1:02X}:00.0\nAll done."
        )
    elif "--gpu-reset" in argv:
        if state.get("stuck"):
            fail("The following GPUs could not be reset: In use by another client", 255)
        gpu["mode"], gpu["instances"] = gpu["pending"], []
    elif argv[0] == "mig":
        mig(state, index, argv[1:])
    STATE.write_text(json.dumps(state), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
