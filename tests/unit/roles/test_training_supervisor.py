"""The supervisor: which devices train, how workers that hang or break are told of, what the clocks say."""

import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "roles" / "training_check" / "files"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins" / "module_utils"))
from test_training import WHOLE
from test_training_judge import CLOCKS, PROBE, gpu
from training_check import common, supervisor, worker

PROGRAM = Path(common.__file__).parent

LISTED = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111)
  MIG 3g.20gb     Device  0: (UUID: MIG-aaaa)
  MIG 1g.5gb      Device  1: (UUID: MIG-GPU-11111111/7/0)
GPU 2: Tesla V100-PCIE-32GB (UUID: GPU-22222222)
"""


def options(*words):
    return supervisor.parse_arguments(["run", *words])


def tool(folder, body):
    """Put a stand-in for nvidia-smi into a folder."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!{sys.executable}\nimport sys, time\nargs = ' '.join(sys.argv[1:])\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_gpu_in_mig_mode_is_replaced_by_its_devices():
    devices = supervisor.parse_list(LISTED)
    assert [(device["label"], device["id"]) for device in devices] == [
        ("GPU 0", "GPU-5d5ba0d6"),
        ("GPU 1 MIG 0", "MIG-aaaa"),
        ("GPU 1 MIG 1", "MIG-GPU-11111111/7/0"),
        ("GPU 2", "GPU-22222222"),
    ]
    assert devices[1]["name"] == "NVIDIA A100-SXM4-40GB MIG 3g.20gb"
    assert devices[1]["parent"] == "GPU-11111111"


@pytest.mark.parametrize("text", ["", "No devices found.", "NVIDIA-SMI has failed because", "GPU 0: broken (UUID: )"])
def test_what_is_no_list_names_no_device(text):
    assert supervisor.parse_list(text) == []


def test_the_address_is_written_as_the_kernel_writes_it(tmp_path):
    program = tool(tmp_path, "print('GPU-5d5ba0d6, 00000000:3B:00.0, [N/A]\\nGPU-11111111, 00000000:D8:00.0, Enabled')")
    devices = supervisor.parse_list(LISTED)
    supervisor.mark_traits(devices, program)
    assert [device["pci_address"] for device in devices] == ["0000:3b:00.0", "0000:d8:00.0", "0000:d8:00.0", None]
    assert [device["mig_mode"] for device in devices] == [None, True, True, None]


def test_gpus_train_where_there_are_any_and_the_cpu_only_where_there_is_none():
    gpu = {"kind": "gpu", "mig_mode": None}
    assert supervisor.chosen(options(), [gpu]) == [gpu]
    assert supervisor.chosen(options("--device", "cpu"), [gpu])[0]["kind"] == "cpu"
    assert supervisor.chosen(options(), [])[0]["kind"] == "cpu"
    assert supervisor.chosen(options("--device", "gpu"), []) == []
    assert supervisor.chosen(options("--device", "gpu"), [{"kind": "gpu", "mig_mode": True}]) == []


def test_each_worker_sees_its_device_and_no_other():
    gpus = [{"kind": "gpu", "id": "GPU-a"}, {"kind": "gpu", "id": "GPU-b"}]
    assert supervisor.visible(gpus[1], gpus[1:])["CUDA_VISIBLE_DEVICES"] == "GPU-b"
    assert supervisor.visible(gpus[0], gpus)["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert supervisor.visible({"kind": "cpu"}, [])["CUDA_VISIBLE_DEVICES"] == "-1"


@pytest.mark.parametrize(
    ("framework", "kinds", "words", "workers"),
    [
        ("pytorch", ["gpu", "gpu"], [], 2),
        ("tensorflow", ["gpu", "gpu"], [], 1),
        ("pytorch", ["gpu"], [], 0),
        ("pytorch", ["mig", "mig"], [], 0),
        ("pytorch", ["gpu", "gpu"], ["--no-together"], 0),
        ("pytorch", ["cpu"], [], 0),
        ("pytorch", ["cpu"], ["--cpu-workers", "2"], 2),
    ],
)
def test_who_trains_together(framework, kinds, words, workers):
    specs = supervisor.joint_specs(
        options("--framework", framework, *words), [{"kind": kind} for kind in kinds], {"framework": framework}
    )
    assert len(specs) == workers
    assert [spec["rank"] for spec in specs] == list(range(workers))


# --- workers


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """Replace the worker by a program of its own that is told what to do; the framework is no part of this."""
    package = tmp_path / "stub" / "training_check"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "worker.py").write_text(
        "import json, os, sys, time\n"
        "def main(path):\n"
        "    spec = json.load(open(path))\n"
        "    def note(**told):\n"
        "        text = json.dumps(dict({'phase': 'starting', 'error': None, 'result': {}}, **told))\n"
        "        open(spec['notes'], 'w').write(text)\n"
        "    exec(spec['code'])\n"
    )
    monkeypatch.setattr(supervisor, "__file__", str(package / "supervisor.py"))

    def start(*codes, limit=20):
        specs = [{"name": f"w{number}", "code": code} for number, code in enumerate(codes)]
        return supervisor.run_workers(str(tmp_path), specs, limit)

    return start


def test_a_worker_that_is_done_is_believed(stub):
    (told,) = stub("note(phase='done', result={'answer': 1}); print('said this')")
    assert (told["rc"], told["hung"], told["signal"]) == (0, False, None)
    assert (told["phase"], told["result"], told["said"]) == ("done", {"answer": 1}, "said this")


def test_a_worker_that_hangs_is_killed_and_says_where(stub):
    begin = time.monotonic()
    (told,) = stub("note(phase='in epoch 3'); time.sleep(60)", limit=1)
    assert time.monotonic() - begin < 5
    assert (told["hung"], told["phase"], told["limit"], told["signal"]) == (True, "in epoch 3", 1, None)


def test_what_a_worker_started_is_killed_with_it(stub, tmp_path):
    (told,) = stub(
        "import subprocess\n"
        f"child = subprocess.Popen(['sleep', '61']); open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "note(phase='waiting'); child.wait()",
        limit=5,
    )
    assert told["hung"]
    stat = Path("/proc", (tmp_path / "child").read_text(), "stat")
    end = time.monotonic() + 10
    while stat.exists() and stat.read_text().split()[2] != "Z":
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_worker_that_is_killed_names_the_signal(stub):
    (told,) = stub("note(phase='in epoch 1'); os.kill(os.getpid(), 11)")
    assert (told["signal"], told["hung"], told["phase"]) == ("SIGSEGV", False, "in epoch 1")


def test_where_one_of_several_breaks_the_others_do_not_wait_for_the_limit(stub):
    begin = time.monotonic()
    first, second = stub(
        "note(phase='adding up'); time.sleep(60)", "note(phase='adding up', error='RuntimeError: NCCL')", limit=50
    )
    assert time.monotonic() - begin < 10
    assert (second["error"], second["hung"]) == ("RuntimeError: NCCL", False)
    assert (first["hung"], first["signal"]) == (False, "SIGKILL")


def test_a_worker_whose_notes_are_no_json_is_told_of_by_its_status(stub):
    (told,) = stub("open(spec['notes'], 'w').write('{'); sys.exit(3)")
    assert (told["rc"], told["phase"]) == (3, "starting")


def test_a_worker_measures_without_settings_of_roots(stub, monkeypatch, tmp_path):
    """They would give TensorFlow all of the memory, Keras another backend, and TF32 the speed of FP32."""
    for name in ("NVIDIA_TF32_OVERRIDE", "CUDA_LAUNCH_BLOCKING", "TF_FORCE_GPU_ALLOW_GROWTH"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("SITE", "kept")
    (told,) = stub("note(phase='done', result=dict(os.environ))")
    seen = told["result"]
    assert not {"NVIDIA_TF32_OVERRIDE", "CUDA_LAUNCH_BLOCKING"} & set(seen)
    assert (seen["TF_FORCE_GPU_ALLOW_GROWTH"], seen["KERAS_BACKEND"], seen["SITE"]) == ("true", "tensorflow", "kept")
    assert (seen["KERAS_HOME"], seen["CUDA_DEVICE_ORDER"]) == (str(tmp_path), "PCI_BUS_ID")


def test_where_the_cpu_was_chosen_the_probe_leaves_the_gpus_alone(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    told = supervisor.probe(options("--device", "cpu", "--framework", "tensorflow"), str(tmp_path))
    assert told["environment"]["result"]["visible"] == "-1"
    told = supervisor.probe(options("--nvidia-smi", "/none", "--framework", "tensorflow"), str(tmp_path))
    assert told["environment"]["result"]["visible"] is None


def test_workers_that_a_driver_keeps_from_ending_are_waited_for_at_the_same_time(stub, monkeypatch):
    """Or eight of them took the time in which the supervisor has to tell what it knows."""
    monkeypatch.setattr(supervisor.os, "killpg", lambda *_words: None)
    begin = time.monotonic()
    told = stub(*["note(phase='waiting'); time.sleep(12)"] * 4, limit=1)
    assert time.monotonic() - begin < 6
    assert [one["hung"] for one in told] == [True] * 4


def test_an_error_is_one_line_with_its_kind():
    assert (
        worker.explain(RuntimeError("CUDA error: x\n\n  see y\nz\nmore")) == "RuntimeError: CUDA error: x / see y / z"
    )
    assert worker.explain(KeyError()) == "KeyError: no reason was given"


@pytest.mark.parametrize(
    "where",
    [
        "Detected at node 'Relu' defined at (most recent call last):\n    File \"a.py\", line 7, in f\n      x = y\n"
        "Node: 'Relu'",
        'Detected at node step/Relu defined at (most recent call last):\n  File "a.py", line 7, in f',
        "Detected at node step/Relu defined at (most recent call last):\n<stack traces unavailable>",
        "",
    ],
)
def test_of_an_error_in_a_graph_it_is_told_what_happened_and_not_where(where):
    said = "Graph execution error:\n\n" + where + "\nCUDA_ERROR_ECC_UNCORRECTABLE\n\t [[{{node Relu}}]]"
    assert worker.explain(ValueError(said)) == "ValueError: CUDA_ERROR_ECC_UNCORRECTABLE / [[{{node Relu}}]]"


def test_the_real_worker_without_a_framework_says_what_is_missing(tmp_path):
    told = supervisor.run_worker(str(tmp_path), {"name": "probe", "work": "probe", "framework": "tensorflow"}, 60)
    assert told["rc"] == 0 and told["phase"] != "starting"
    assert told["result"]["framework_error"].startswith("ModuleNotFoundError: No module named 'tensorflow'")


# --- clocks


def test_the_bits_of_the_reasons_are_named():
    sample = supervisor.parse_sample("0x0000000000000044, 1200, 250.10, 250.00, 300.00, 71")
    assert sample["reasons"] == ["sw_power_cap", "hw_thermal_slowdown"]
    assert (sample["clocks.sm"], sample["power.limit"], sample["temperature.gpu"]) == (1200.0, 250.0, 71.0)
    assert supervisor.parse_sample("0x1, [N/A], [Not Supported], 250, 300, 71")["power.draw"] is None
    assert supervisor.parse_sample("0x1, 1, 2") is None
    assert supervisor.parse_sample("Unknown Error, 1, 2, 3, 4, 5") is None


def test_the_samples_are_summed_up():
    samples = [
        supervisor.parse_sample(f"{mask}, {mhz}, 200, 250, 300, {heat}")
        for mask, mhz, heat in (("0x0", 1000, 60), ("0x4", 800, 65), ("0x4", 600, 70), ("0x1", 600, 61))
    ]
    told = supervisor.summarise(samples, None)
    assert told["shares"] == {"sw_power_cap": 0.5}
    assert (told["sm_mhz"], told["temperature_celsius"], told["power_limit_watts"]) == (750.0, 70.0, 250.0)
    assert told["power_default_limit_watts"] == 300.0
    assert supervisor.summarise([], "no answer")["error"] == "no answer"


def test_an_older_driver_is_asked_by_the_old_name(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "SAMPLE_SECONDS", 0.01)
    program = tool(
        tmp_path,
        "if 'clocks_event' in args:\n"
        "    sys.exit('Field \"clocks_event_reasons.active\" is not a valid field to query.')\n"
        "assert '--id=GPU-x' in args\nprint('0x8, 1, 2, 3, 4, 5')",
    )
    with supervisor.Sampler(program, {"kind": "gpu", "parent": "GPU-x"}) as sampler:
        end = time.monotonic() + 10
        while not sampler.samples and time.monotonic() < end:
            time.sleep(0.05)
    assert sampler.summary()["reasons"] == ["hw_slowdown"]
    assert sampler.summary()["error"] is None


def test_a_clock_that_nobody_tells_is_no_error_of_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "SAMPLE_SECONDS", 0.01)
    with supervisor.Sampler(str(tmp_path / "missing"), {"kind": "gpu", "parent": "GPU-x"}) as sampler:
        time.sleep(0.3)
    assert sampler.summary()["error"] == f"there is no {tmp_path}/missing"


def test_others_that_compute_on_a_gpu_are_listed_without_the_daemon_that_shares_it(tmp_path):
    program = tool(
        tmp_path,
        "assert '--id=GPU-x' in args\nprint('4711, python3\\n12, nvidia-cuda-mps-server\\n7, [Not Found]\\n[N/A], x')",
    )
    assert supervisor.users(program, {"kind": "gpu", "parent": "GPU-x"}) == {7, 4711}
    assert supervisor.users(program, {"kind": "mig", "parent": "GPU-x"}) == set()
    assert supervisor.users(program, {"kind": "gpu", "parent": None}) == set()
    assert (
        supervisor.users(tool(tmp_path, "print('No running processes found')"), {"kind": "gpu", "parent": "x"}) == set()
    )


def test_an_nvidia_smi_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "SMI_SECONDS", 0.5)
    begin = time.monotonic()
    assert supervisor.smi(tool(tmp_path, "time.sleep(30)"), ["-L"]) == ("", "nvidia-smi did not answer within 0.5 s")
    assert time.monotonic() - begin < 5


# --- the run, with workers that are invented


@pytest.fixture
def invented(monkeypatch):
    """Let every worker take as long as a table says, on a clock of its own, and be done or hang."""
    state = {"now": 0.0, "asked": [], "seconds": {}}
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: state["now"])

    def run_worker(_folder, spec, limit, _environment=None):
        state["asked"].append((spec["name"], round(limit)))
        spent = min(limit, state["seconds"].get(spec["name"], 1.0))
        state["now"] += spent
        result = {"code": None, "data": {"name": "digits"}} if spec["work"] == "data" else {}
        return {"hung": spent == limit, "rc": 0, "error": None, "result": result}

    monkeypatch.setattr(supervisor, "run_worker", run_worker)
    monkeypatch.setattr(
        supervisor, "run_workers", lambda folder, specs, limit, _e: [run_worker(folder, spec, limit) for spec in specs]
    )
    return state


def gpus(count):
    return [
        {"kind": "gpu", "id": f"GPU-{n}", "label": f"GPU {n}", "parent": None, "mig_mode": None} for n in range(count)
    ]


def test_a_gpu_that_hangs_leaves_the_others_their_time(invented):
    invented["seconds"] = {"train-0": 1e9}
    measured = supervisor.run(options("--time-limit", "100"), "/tmp", gpus(3))
    assert invented["asked"][:2] == [("data", 50), ("train-0", 25)]
    assert [entry["outcome"]["hung"] for entry in measured["devices"]] == [True, False, False]
    assert measured["together"]["skipped"] == "not every device trains alone"


def test_what_has_no_time_left_is_not_begun(invented):
    invented["seconds"] = {"data": 1e9, "train-0": 1e9, "train-1": 1e9}
    measured = supervisor.run(options("--time-limit", "20", "--no-together"), "/tmp", gpus(3))
    assert [entry["outcome"] is None for entry in measured["devices"]] == [False, False, True]


def test_all_train_together_where_each_trained_alone(invented):
    measured = supervisor.run(options("--time-limit", "100"), "/tmp", gpus(2))
    assert [name for name, _limit in invented["asked"]] == ["data", "train-0", "train-1", "together-0", "together-1"]
    assert measured["together"]["skipped"] is None
    assert measured["training"]["batch_size"] == 4


def test_the_port_is_chosen_when_it_is_used_and_not_when_the_first_gpu_begins(invented, monkeypatch):
    chosen_at = []
    monkeypatch.setattr(supervisor, "free_port", lambda: chosen_at.append(invented["now"]) or 4711)
    supervisor.run(options("--time-limit", "100"), "/tmp", gpus(2))
    assert chosen_at == [3.0]


def test_what_listing_the_devices_took_is_not_there_for_training(invented, monkeypatch, tmp_path):
    def slow(_options, _folder):
        invented["now"] += 40
        return {"devices": gpus(1)}

    monkeypatch.setattr(supervisor, "probe", slow)
    words = ["run", "--time-limit", "100", "--nvidia-smi", "/none", "--json", str(tmp_path / "answer")]
    supervisor.main(words)
    assert invented["asked"][0] == ("data", 30)


def test_what_is_measured_has_the_form_that_is_judged(invented, tmp_path):
    """What the tests of the verdict invent is what the program writes."""
    measured = supervisor.run(options(), str(tmp_path), gpus(2))
    assert set(measured) | {"framework"} == set(WHOLE)
    assert set(measured["devices"][0]) == set(WHOLE["devices"][0])
    assert set(measured["together"]) == set(WHOLE["together"])
    assert set(measured["training"]) == set(WHOLE["training"])
    assert set(supervisor.CPU) == set(gpu(0)) == set(supervisor.parse_list(LISTED)[0]) | {"pci_address", "mig_mode"}
    assert set(supervisor.summarise([], None)) == set(CLOCKS)
    assert set(common.finish(1, [1.0], 1.0, [1.0])) < set(WHOLE["devices"][0]["outcome"]["result"]["plain"])


def test_a_probe_has_the_form_that_is_judged(tmp_path):
    program = str(tmp_path / "no-smi")
    told = supervisor.probe(options("--framework", "tensorflow", "--nvidia-smi", program), str(tmp_path))
    assert set(told) == set(PROBE)
    assert set(told["environment"]) == set(PROBE["environment"])
    assert set(told["environment"]["result"]) == set(PROBE["environment"]["result"])
    assert told["smi_error"] == f"there is no {program}"


def test_a_rate_is_the_best_of_several_stretches(monkeypatch):
    now = [0.0]
    # Not the wall clock: on a host that has just come up, time is often set while the check runs.
    monkeypatch.setattr(common.time, "perf_counter", lambda: now[0])

    def work():
        now[0] += 0.01

    assert common.best_rate(work, lambda: None, 0.5) == pytest.approx(100, rel=0.01)


def test_a_rate_is_that_of_the_median_epoch():
    """Ten epochs of the digits take a GPU an eighth of a second: one hiccup made it a straggler among its twins."""
    told = common.finish(1438, [1.0] * 10, 0.97, [0.0125] * 9 + [0.0525])
    assert told["images_per_second"] == pytest.approx(1438 / 0.0125)
    assert told["seconds"] == pytest.approx(0.165)


def test_the_folder_is_a_program_whoever_calls_it():
    done = supervisor.subprocess.run(
        [sys.executable, str(PROGRAM), "--help"], capture_output=True, text=True, check=True
    )
    assert "train on each device alone" in done.stdout
    assert json.loads(json.dumps(common.FAST))
