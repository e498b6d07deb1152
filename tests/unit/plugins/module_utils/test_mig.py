# -*- coding: utf-8 -*-
"""GPUs cut into instances: what nvidia-smi says, what fits, and what is done on two A100 and a V100 that are a file."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _mig
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host, Result
from ansible_collections.gpufleet.workstation.plugins.module_utils._mig import Instance, Layout, Place, Profile
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import Refused

SMI = str(Path(__file__).resolve().parents[3] / "emulation" / "mig_smi.py")
FIRST, SECOND, VOLTA = (f"GPU-0000000{index}-0000-0000-0000-000000000000" for index in range(3))
# As it was published, of an A100 of 80 GB; the second with the wider table of driver 535.
PROFILES = """
+-----------------------------------------------------------------------------+
| GPU instance profiles:                                                      |
| GPU   Name             ID    Instances   Memory     P2P    SM    DEC   ENC  |
|                              Free/Total   GiB              CE    JPEG  OFA  |
|=============================================================================|
|   0  MIG 1g.10gb       19     7/7        9.50       No     14     0     0   |
|                                                             1     0     0   |
+-----------------------------------------------------------------------------+
|   0  MIG 1g.10gb+me    20     1/1        9.50       No     14     1     0   |
|                                                             1     1     1   |
|   7  MIG 3g.40gb          9     0/2        39.25      No     42     3     0   |
"""
PLACES = """GPU  0 Profile ID 19 Placements: {0,1,2,3,4,5,6}:1
GPU  0 Profile ID 20 Placements: {0,1,2,3,4,5,6}:1
GPU  0 Profile ID  5 Placement : {0}:4
GPU  0 Profile ID  0 Placement : {0}:8
"""
INSTANCES = """
+-------------------------------------------------------+
| GPU instances:                                        |
| GPU   Name             Profile  Instance   Placement  |
|                          ID       ID       Start:Size |
|=======================================================|
|   0  MIG 1g.5gb          19       11          0:1     |
+-------------------------------------------------------+
|   0  MIG 3g.20gb          9        1          4:4     |
"""
A100 = [Profile("1g.5gb", 19, 7), Profile("2g.10gb", 14, 3), Profile("3g.20gb", 9, 2), Profile("4g.20gb", 5, 1)]
ROOM = {19: Place([0, 1, 2, 3, 4, 5, 6], 1), 14: Place([0, 2, 4], 2), 9: Place([0, 4], 4), 5: Place([0], 4)}


def test_the_tables_of_nvidia_smi_are_understood():
    assert _mig.parse_profiles(PROFILES) == [
        Profile("1g.10gb", 19, 7), Profile("1g.10gb+me", 20, 1), Profile("3g.40gb", 9, 2)
    ]  # fmt: skip
    assert _mig.parse_places(PLACES)[5] == Place([0], 4) and _mig.parse_places(PLACES)[19].starts[-1] == 6
    assert _mig.parse_instances(INSTANCES) == [Instance("1g.5gb", 11, 0), Instance("3g.20gb", 1, 4)]
    for parse, nothing in ((_mig.parse_profiles, []), (_mig.parse_instances, []), (_mig.parse_places, {})):
        assert parse("No MIG-enabled devices found.\n") == nothing


@pytest.mark.parametrize(
    ("profiles", "why"),
    [
        (["3g.20gb", "3g.20gb"], None),
        (["1g.5gb"] * 7, None),
        (["1g.5gb", "2g.10gb", "4g.20gb"], None),
        (["3g.20gb", "4g.20gb"], None),
        (["1g.5gb", "2g.10gb", "1g.5gb", "3g.20gb"], None),
        (["1g.5gb"] * 8, "7 times at most, and not 8 times"),
        (["3g.20gb", "4g.20gb", "1g.5gb"], "no room for 3g.20gb, 4g.20gb, 1g.5gb side by side"),
        (["3g.40gb"], r"has no profile 3g\.40gb, but 1g\.5gb, 2g\.10gb"),
    ],
)
def test_what_does_not_fit_is_known_before(profiles, why):
    found = _mig.misfit(profiles, A100, ROOM)
    assert found is None if why is None else re.search(why, found)


def test_what_has_the_fewest_places_is_made_first():
    assert _mig.ordered(["1g.5gb", "3g.20gb", "4g.20gb"], A100, ROOM) == ["4g.20gb", "3g.20gb", "1g.5gb"]


def test_what_names_a_gpu_counts_more_than_all():
    gpus = [{"index": 0, "uuid": FIRST}, {"index": 1, "uuid": SECOND}]
    assert _mig.wishes({"all": ["MIG 3g.20gb"], 0: []}, gpus) == {FIRST: [], SECOND: ["3g.20gb"]}
    assert _mig.wishes({SECOND: ["7g.40gb"]}, gpus) == {SECOND: ["7g.40gb"]}
    for layout, why in (
        ({"2": []}, "names GPU 2, and there is 0"),
        ({"0": [], FIRST: []}, "names GPU 0 twice"),
        ({"all": "3g.20gb"}, "write a list of profiles"),
        ({"all": [3]}, "write a list of profiles"),
    ):
        with pytest.raises(Refused, match=why):
            _mig.wishes(layout, gpus)


class Lab(Host):
    """A host whose nvidia-smi is the stand-in, and whose systemd says yes to everything."""

    def __init__(self, root):
        super().__init__(str(root))
        self.commands = []
        self.enabled = False
        os.makedirs(self.path("run/systemd/system"))
        os.makedirs(self.path("proc"))
        self.file = Path(self.path("state.json"))

    def run(self, argv, timeout, env=None, pass_fds=()):
        self.commands.append(" ".join(argv))
        if argv[0] == "systemctl":
            self.enabled = argv[1] == "enable" or (self.enabled and argv[1] != "disable")
            return Result(0 if argv[1] != "is-enabled" or self.enabled else 1, "", "", None)
        return super().run(argv, timeout, {"MIG_STATE": str(self.file)}, pass_fds)

    def state(self, **news):
        state = json.loads(self.file.read_text()) if self.file.exists() else None
        if news:
            if state is None:
                self.run([SMI, "-q", "-x"], 30)
                state = json.loads(self.file.read_text())
            self.file.write_text(json.dumps({**state, **news}))
        return state

    def cut(self, layout, check_mode=False):
        return Layout(self, SMI, 30, check_mode).ensure(layout)

    def there(self):
        return [
            [f"{one['name']}@{one['start']}" for one in gpu.get("instances", [])] if gpu["mode"] else gpu["mode"]
            for gpu in json.loads(self.file.read_text())["gpus"]
        ]

    def changes(self):
        return [line for line in self.commands if any(w in line for w in ("-mig ", "-cgi", "-dgi", "-dci", "reset"))]


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


@pytest.fixture
def halves(lab):
    """Return a host whose first GPU is cut in two."""
    lab.cut({"0": ["3g.20gb", "3g.20gb"]})
    lab.commands.clear()
    return lab


def test_a_gpu_is_cut_and_the_second_run_finds_nothing_to_do(lab):
    foretold = lab.cut({"0": ["1g.5gb", "2g.10gb", "4g.20gb"]}, check_mode=True)
    assert foretold["changed"] and lab.changes() == [] and not lab.exists(_mig.SCRIPT)
    assert foretold["diff"][0]["before"] == "MIG off\n" and foretold["diff"][0]["after"] == "1g.5gb, 2g.10gb, 4g.20gb\n"
    first = lab.cut({"0": ["1g.5gb", "2g.10gb", "4g.20gb"]})
    assert first["gpus"] == [{"index": 0, "uuid": FIRST, "instances": ["1g.5gb", "2g.10gb", "4g.20gb"]}]
    assert first["reboot"]["needed"] is False and lab.there()[1:] == [False, None]
    lab.commands.clear()
    second = lab.cut({"0": ["4g.20gb", "2g.10gb", "1g.5gb"]})
    assert (second["changed"], second["reasons"], second["diff"], lab.changes()) == (False, [], [], [])
    assert len([line for line in lab.commands if SMI in line]) == 2  # the GPUs, and the instances of the one
    assert lab.cut({0: ["4g.20gb", "2g.10gb", "1g.5gb"]}, check_mode=True)["changed"] is False


def test_another_layout_takes_the_place_of_the_first_and_other_gpus_are_left_alone(halves):
    changed = halves.cut({"0": ["1g.5gb"] * 7})
    assert changed["reasons"][0].startswith("GPU 0 has 3g.20gb, 3g.20gb, and 1g.5gb, 1g.5gb")
    assert len(halves.there()[0]) == 7 and halves.there()[1:] == [False, None]
    assert not any(SECOND in line for line in halves.changes())
    for word in ("-lgip ", "-lgipp "):  # what can be is asked once
        assert len([line for line in halves.commands if word in line]) == 1
    stops = [line for line in halves.commands if line.startswith("systemctl st")]
    assert stops[:3] == [f"systemctl stop {name}" for name in ("nvidia-dcgm", "dcgm", "nvidia-persistenced")]
    assert stops[3:] == [f"systemctl start {name}" for name in ("nvidia-persistenced", "dcgm", "nvidia-dcgm")]


def test_mig_off_takes_the_unit_away(halves):
    assert halves.exists(_mig.UNIT) and os.access(halves.path(_mig.SCRIPT), os.X_OK)
    off = halves.cut({"all": []})
    assert off["changed"] and halves.there() == [False, False, None]
    assert not halves.exists(_mig.UNIT) and not halves.exists(_mig.SCRIPT)
    assert halves.cut({"all": []})["changed"] is False


def test_with_the_driver_the_unit_goes(halves):
    gone = []
    _mig.forget(lambda path, text: gone.append((path, text)), halves, True)
    assert halves.enabled
    _mig.forget(lambda path, text: None, halves, False)
    assert gone == [(_mig.UNIT, ""), (_mig.SCRIPT, "")] and not halves.enabled


def test_instances_that_somebody_made_otherwise_are_a_difference(halves):
    state = halves.state()
    state["gpus"][0]["instances"][0]["compute"] = False
    halves.state(gpus=state["gpus"])
    assert halves.cut({"0": ["3g.20gb", "3g.20gb"]})["changed"] is True
    assert halves.cut({"0": ["3g.20gb", "3g.20gb"]})["changed"] is False


@pytest.mark.parametrize(
    ("layout", "why"),
    [
        ({"2": ["1g.5gb"]}, r"GPU 2 \(Tesla V100-PCIE-32GB\) has no MIG.*Nothing was changed"),
        ({"all": ["1g.5gb"]}, r"GPU 2 \(Tesla V100-PCIE-32GB\) has no MIG"),
        ({"0": ["3g.40gb"]}, r"has no profile 3g\.40gb, but 1g\.5gb.*Nothing was changed"),
        ({"0": ["1g.5gb"] * 8}, r"7 times at most.*Nothing was changed"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_change(halves, layout, why):
    for check_mode in (True, False):
        with pytest.raises(Refused, match=why):
            halves.cut(layout, check_mode)
    assert halves.changes() == [] and halves.there()[0] == ["3g.20gb@4", "3g.20gb@0"]


def test_a_gpu_in_use_is_left_as_it_is_and_the_program_is_named(halves):
    os.makedirs(halves.path("proc/4711/fd"))
    Path(halves.path("proc/4711/comm")).write_text("python3\n")
    os.symlink("/dev/nvidia0", halves.path("proc/4711/fd/9"))
    with pytest.raises(Refused, match=r"python3 \(4711\) use GPU 0 .*Nothing was changed"):
        halves.cut({"0": ["7g.40gb"]})
    assert halves.changes() == []
    assert halves.cut({"0": ["3g.20gb", "3g.20gb"]})["changed"] is False  # as it should be, so nobody is in the way
    assert halves.cut({"0": ["3g.20gb", "3g.20gb"], "1": ["7g.40gb"]})["changed"] is True


def test_a_layout_that_is_found_wrong_with_the_mode_on_turns_it_off_again(lab):
    with pytest.raises(Refused, match=r"has no profile 3g\.40gb.*It was taken back: GPU 0 has MIG off"):
        lab.cut({"0": ["3g.40gb"]})
    assert lab.there() == [False, False, None]


@pytest.mark.parametrize("old", [False, True], ids=["", "without places"])
def test_where_the_instances_cannot_be_made_those_before_come_back_in_their_places(halves, old):
    halves.state(fail="-cgi", old=old)
    with pytest.raises(Refused, match=r"Unknown Error.*It was taken back: GPU 0 has 3g\.20gb, 3g\.20gb"):
        halves.cut({"0": ["7g.40gb"]})
    assert sorted(halves.there()[0]) == ["3g.20gb@0", "3g.20gb@4"]
    assert FIRST + " 3g.20gb,3g.20gb" in halves.read_text(_mig.SCRIPT)


@pytest.mark.parametrize(("layout", "fails"), [(["7g.40gb"], "-dgi"), ([], "-mig")])
def test_where_the_instances_before_cannot_go_they_come_back_whole(halves, layout, fails):
    halves.state(fail=fails)
    with pytest.raises(Refused, match=r"It was taken back: GPU 0 has 3g\.20gb, 3g\.20gb"):
        halves.cut({"0": layout})
    assert halves.cut({"0": ["3g.20gb", "3g.20gb"]})["changed"] is False


def test_a_mode_that_waits_for_a_reset_gets_one(lab):
    lab.state(reset=True)
    assert lab.cut({"1": ["7g.40gb"]})["reboot"]["needed"] is False
    assert lab.there() == [False, ["7g.40gb@0"], None]


def test_a_mode_that_waits_for_the_reboot_says_so_and_the_unit_makes_the_instances_after_it(lab):
    lab.state(stuck=True)
    waits = lab.cut({"0": ["1g.5gb", "3g.20gb"]})
    assert waits["reboot"] == {
        "needed": True, "reason": "the MIG mode of GPU 0 changes with a reset that is not possible", "processes": []
    }  # fmt: skip
    assert lab.enabled
    state = lab.state()
    state["gpus"][0]["mode"] = True  # the host was rebooted
    lab.state(gpus=state["gpus"])
    start(lab)
    assert sorted(lab.there()[0]) == ["1g.5gb@6", "3g.20gb@0"] or len(lab.there()[0]) == 2
    after = lab.cut({"0": ["1g.5gb", "3g.20gb"]})
    assert (after["changed"], after["reboot"]["needed"]) == (False, False)


def start(lab):
    """Run what the unit runs."""
    os.makedirs(lab.path("bin"), exist_ok=True)
    if not os.path.exists(lab.path("bin/nvidia-smi")):
        os.symlink(SMI, lab.path("bin/nvidia-smi"))
    environment = {**os.environ, "PATH": lab.path("bin") + ":" + os.environ["PATH"], "MIG_STATE": str(lab.file)}
    subprocess.run(["sh", lab.path(_mig.SCRIPT)], check=True, env=environment, stdout=subprocess.DEVNULL)


def test_after_a_start_that_forgot_mode_and_instances_the_unit_makes_them_and_leaves_those_that_are_there(halves):
    state = halves.state()
    state["gpus"][0] = {"mode": False, "pending": False, "instances": []}
    halves.state(gpus=state["gpus"])
    start(halves)
    assert sorted(halves.there()[0]) == ["3g.20gb@0", "3g.20gb@4"]
    before = halves.state()["gpus"]
    start(halves)
    assert halves.state()["gpus"] == before
    assert halves.cut({"0": ["3g.20gb", "3g.20gb"]})["changed"] is False


def test_without_a_driver_check_mode_foretells_and_a_run_says_what_is_missing(tmp_path):
    assert Layout(Lab(tmp_path), "/nowhere/nvidia-smi", 5, True).ensure({"all": []})["changed"] is True
    with pytest.raises(Refused, match="not found; role nvidia_driver installs the driver"):
        Layout(Lab(tmp_path / "again"), "/nowhere/nvidia-smi", 5, False).ensure({"all": []})
