# ruff: noqa: E501 (a table: one host, one line)
"""The table of hosts: what each one must get, and where that is known from.

Expectations are written from the sources named in the last column, not from what the resolver answered:
WHEEL the wheels' own architecture lists, tags and metadata; INDEX the build matrices of the vendor's wheel index;
NVIDIA the architecture and lifecycle tables; REPO what a package source was seen to have; KERNEL the kernel floors in the
open module's sources; JAVA the Java versions in Spark's and Hadoop's own tables.
"""

ALL = {"components": ["nvidia_driver", "cuda", "pytorch", "tensorflow"]}
PYPI = {"sources": ["pypi"]}
UV = {"sources": ["pypi", "uv"]}
VENDOR = {"sources": ["pypi", "pytorch"]}

V100 = [{"model": "V100-SXM2-32GB", "count": 8}]
V100_PCIE = [{"model": "V100-PCIe-32GB", "count": 2}]
A100 = [{"model": "A100-SXM4-80GB", "count": 8}]
A100_FOUR = [{"model": "A100-SXM4-40GB", "count": 4}]
A100_PCIE = [{"model": "A100 80GB PCIe", "count": 2}]
MIXED = [*V100_PCIE, *A100_PCIE]
T4 = [{"model": "t4", "count": 4}]
L40S = [{"model": "l40s", "count": 2}]
H100 = [{"model": "h100_sxm", "count": 8}]
B200 = [{"model": "b200", "count": 8}]
RTX_5090 = [{"model": "rtx_5090"}]

# system, GPUs, what else is assumed of the host, wishes, what must come out, source
PLANS = [
    # V100: driver 580 at most, proprietary, CUDA 12.9, wheels with sm_70, cuDNN 9.10.2.21
    ("ubuntu24.04", V100, {}, ALL, "driver=580/proprietary/distribution cuda=12.9/nvidia torch=2.14.1/cu126 python=3.12/distribution tensorflow=2.21.0/9.10.2.21 fabric=no", "NVIDIA INDEX WHEEL"),
    ("ubuntu22.04", V100, {}, ALL, "driver=580/proprietary/distribution cuda=12.9/nvidia torch=2.14.1/cu126 python=3.10/distribution tensorflow=2.21.0/9.10.2.21 fabric=no", "NVIDIA INDEX WHEEL"),
    ("ubuntu22.04", V100, {}, PYPI, "driver=580/proprietary/elsewhere cuda=12.9/pypi torch=2.10.0/cu128 python=3.10/distribution tensorflow=2.21.0/9.10.2.21", "WHEEL"),
    ("ubuntu22.04", V100, {}, VENDOR, "torch=2.14.1/cu126 python=3.10/distribution", "INDEX"),
    ("ubuntu20.04", V100, {}, PYPI, "torch=2.4.1/cu121 python=3.8/distribution tensorflow=-", "WHEEL"),
    ("ubuntu20.04", V100, {}, UV, "torch=2.10.0/cu128 python=3.12/uv tensorflow=2.21.0/9.10.2.21", "WHEEL"),
    ("ubuntu20.04", V100, {}, ALL, "driver=575/proprietary/nvidia cuda=12.9/nvidia torch=2.14.1/cu126 python=3.12/uv", "REPO INDEX"),
    ("ubuntu18.04", V100, {}, PYPI, "torch=1.10.2/cu102 python=3.6/distribution vision=0.11.2", "WHEEL"),
    ("ubuntu18.04", V100, {}, {"sources": ["pypi", "nvidia"], "components": ["tensorflow"]}, "torch=1.10.2/cu102 python=3.6/distribution tensorflow=2.6.2/==8.1.*", "WHEEL REPO"),
    ("ubuntu18.04", V100, {}, UV, "torch=2.6.0/cu124 python=3.12/uv tensorflow=2.21.0/9.10.2.21", "WHEEL"),
    ("ubuntu18.04", V100, {}, ALL, "driver=530/proprietary/nvidia cuda=12.1/nvidia torch=2.6.0/cu124 python=3.12/uv", "REPO WHEEL"),
    ("ubuntu26.04", V100, {"python": "3.14", "kernel": "7.0"}, ALL, "driver=580/proprietary/distribution cuda=12.9/pypi torch=2.14.1/cu126 python=3.14/distribution tensorflow=2.21.0/9.10.2.21", "REPO INDEX"),
    ("debian13", V100, {}, ALL, "driver=550/proprietary/distribution cuda=12.4/distribution torch=2.14.1/cu126 python=3.13/distribution", "REPO INDEX"),
    ("debian13", V100, {}, PYPI, "torch=2.10.0/cu128 python=3.13/distribution", "WHEEL"),
    ("debian12", V100, {}, ALL, "driver=580/proprietary/nvidia cuda=12.9/nvidia torch=2.14.1/cu126 python=3.11/distribution", "REPO INDEX"),
    ("debian12", V100, {}, {**ALL, "sources": ["distribution", "pypi"]}, "driver=535/proprietary/distribution cuda=12.2/pypi torch=2.10.0/cu128", "REPO WHEEL"),
    ("debian11", V100, {}, {**ALL, "sources": ["distribution", "pypi", "uv"], "components": ["nvidia_driver", "pytorch"]}, "driver=470/proprietary/distribution torch=2.0.1/cu117", "REPO WHEEL"),
    ("debian12", A100_PCIE, {}, {"sources": ["distribution", "pypi"], "driver_flavor": "open", "components": ["nvidia_driver"]}, "driver=535/open/distribution", "REPO"),
    ("debian11", V100, {}, PYPI, "torch=2.8.0/cu128 python=3.9/distribution tensorflow=2.20.0/9.10.2.21", "WHEEL"),
    ("el9", V100, {}, ALL, "driver=580/proprietary/nvidia cuda=12.9/nvidia torch=2.14.1/cu126 python=3.12/uv", "REPO INDEX"),
    ("el9", V100, {}, PYPI, "torch=2.8.0/cu128 python=3.9/distribution", "WHEEL"),
    ("el8", V100, {}, ALL, "driver=580/proprietary/nvidia cuda=12.9/nvidia torch=2.14.1/cu126 python=3.12/uv", "REPO INDEX"),
    ("el8", V100, {}, PYPI, "torch=1.10.2/cu102 python=3.6/distribution", "WHEEL"),
    ("el7", V100, {}, {**ALL, "components": ["nvidia_driver", "cuda", "pytorch"]}, "driver=550/proprietary/nvidia cuda=12.4/nvidia torch=2.6.0/cu124 python=3.12/uv", "KERNEL REPO WHEEL"),
    ("el10", V100, {}, {"sources": ["distribution", "nvidia", "runfile", "pypi", "pytorch", "uv"], "components": ["nvidia_driver"]}, "driver=580/proprietary/runfile torch=2.14.1/cu126", "NVIDIA INDEX"),
    # A100: driver 580 open, the newest of everything; fabric manager only with NVSwitch
    ("ubuntu24.04", A100, {}, ALL, "driver=580/open/distribution cuda=13.0/nvidia torch=2.15.0/cu132 python=3.12/distribution tensorflow=2.21.0/- fabric=nvidia-fabricmanager-580", "NVIDIA WHEEL"),
    ("ubuntu24.04", A100_FOUR, {}, ALL, "driver=580/open/distribution fabric=no", "NVIDIA"),
    ("ubuntu24.04", A100_FOUR, {"nvswitches": 6}, ALL, "fabric=nvidia-fabricmanager-580", "NVIDIA"),
    ("ubuntu24.04", A100_PCIE, {}, ALL, "driver=580/open/distribution cuda=13.0/nvidia torch=2.15.0/cu132 fabric=no", "NVIDIA WHEEL"),
    ("ubuntu22.04", A100, {}, ALL, "driver=580/open/distribution torch=2.15.0/cu132 python=3.12/uv tensorflow=2.21.0/-", "WHEEL"),
    ("ubuntu22.04", A100, {}, {"sources": ["pypi", "uv", "deadsnakes"]}, "torch=2.15.0/cu132 python=3.12/deadsnakes", "WHEEL"),
    ("debian11", A100, {}, {"sources": ["pypi", "uv", "deadsnakes"]}, "torch=2.15.0/cu132 python=3.12/uv", "WHEEL"),
    ("ubuntu22.04", A100, {}, PYPI, "torch=2.14.1/cu130 python=3.10/distribution tensorflow=2.21.0/-", "WHEEL"),
    ("ubuntu20.04", A100, {}, PYPI, "torch=2.4.1/cu121 python=3.8/distribution", "WHEEL"),
    ("ubuntu18.04", A100, {}, VENDOR, "torch=1.10.2/cu113 python=3.6/distribution", "INDEX"),
    ("ubuntu26.04", A100, {"python": "3.14", "kernel": "7.0"}, ALL, "driver=580/open/distribution cuda=13.0/pypi torch=2.15.0/cu132 python=3.14/distribution tensorflow=2.21.0/-", "REPO WHEEL"),
    ("debian13", A100_PCIE, {}, ALL, "driver=595/open/nvidia cuda=13.2/nvidia torch=2.15.0/cu132 python=3.13/distribution", "REPO WHEEL"),
    ("debian12", A100_PCIE, {}, ALL, "driver=580/open/nvidia cuda=13.0/nvidia torch=2.15.0/cu132 python=3.11/distribution", "REPO WHEEL"),
    ("debian12", A100_PCIE, {}, {**ALL, "sources": ["distribution", "pypi"]}, "driver=535/proprietary/distribution cuda=12.2/pypi torch=2.10.0/cu128", "REPO WHEEL"),
    ("debian11", A100_PCIE, {}, PYPI, "torch=2.8.0/cu128 python=3.9/distribution", "WHEEL"),
    ("el10", A100_PCIE, {}, ALL, "driver=580/open/nvidia cuda=13.0/pypi torch=2.15.0/cu132 python=3.12/distribution", "REPO WHEEL"),
    ("el9", A100_PCIE, {}, ALL, "driver=580/open/nvidia cuda=13.0/nvidia torch=2.15.0/cu132 python=3.12/uv", "REPO WHEEL"),
    ("el8", A100_PCIE, {}, ALL, "driver=580/open/nvidia torch=2.15.0/cu132 python=3.12/uv", "REPO WHEEL"),
    ("el7", A100_PCIE, {}, {"components": ["nvidia_driver", "pytorch"]}, "driver=550/proprietary/nvidia torch=2.6.0/cu124 python=3.12/uv", "KERNEL REPO WHEEL"),
    # a mixed host gets what all of its GPUs can use
    ("ubuntu22.04", MIXED, {}, ALL, "driver=580/proprietary/distribution cuda=12.9/nvidia torch=2.14.1/cu126 tensorflow=2.21.0/9.10.2.21", "NVIDIA INDEX"),
    ("debian12", MIXED, {}, PYPI, "torch=2.10.0/cu128", "WHEEL"),
    # other GPUs
    ("ubuntu24.04", T4, {}, ALL, "driver=580/open/distribution cuda=13.0/nvidia torch=2.15.0/cu132 tensorflow=2.21.0/-", "WHEEL"),
    ("ubuntu24.04", L40S, {}, ALL, "driver=580/open/distribution torch=2.15.0/cu132 tensorflow=2.21.0/-", "WHEEL"),
    ("ubuntu24.04", H100, {}, ALL, "driver=580/open/distribution torch=2.15.0/cu132 tensorflow=2.21.0/- fabric=nvidia-fabricmanager-580", "WHEEL"),
    ("ubuntu24.04", B200, {}, ALL, "driver=580/open/distribution cuda=13.0/nvidia torch=2.15.0/cu132 tensorflow=2.21.0/- fabric=nvidia-fabricmanager-580", "WHEEL NVIDIA"),
    ("ubuntu24.04", RTX_5090, {}, PYPI, "torch=2.15.0/cu132 tensorflow=2.21.0/-", "WHEEL"),
    ("ubuntu24.04", [], {}, ALL | {"components": ["pytorch", "tensorflow"]}, "driver=- cuda=- torch=2.15.0/cu132 tensorflow=2.21.0/-", "WHEEL"),
    ("ubuntu18.04", [], {}, PYPI, "torch=1.10.2/cu102 tensorflow=2.6.2/-", "WHEEL"),
    # a driver that is there and stays
    ("debian12", A100_PCIE, {"driver_version": "535.261.03"}, PYPI, "driver=535/-/loaded torch=2.10.0/cu128", "WHEEL"),
    ("debian12", A100_PCIE, {"driver_version": "470.256.02"}, PYPI, "driver=470/-/loaded torch=2.0.1/cu117 tensorflow=2.14.1/==8.7.0.84", "WHEEL"),
    ("debian12", A100_PCIE, {"driver_version": "535.261.03"}, {"components": ["nvidia_driver"]}, "driver=580/open/nvidia torch=2.15.0/cu132", "REPO WHEEL"),
    # pins and ranges
    ("debian12", V100, {}, {**PYPI, "pytorch_version": "1.13.1"}, "torch=1.13.1/cu117 python=3.11/distribution numpy=1.26.4", "WHEEL"),
    ("debian12", A100_PCIE, {}, {**PYPI, "pytorch_version": ">=2.8,<2.10"}, "torch=2.9.1/cu128", "WHEEL"),
    ("debian12", A100_PCIE, {}, {"pytorch_variant": "cu130"}, "torch=2.15.0/cu130", "INDEX"),
    ("debian12", A100_PCIE, {}, {"python_version": "3.13"}, "torch=2.15.0/cu132 python=3.13/uv", "WHEEL"),
    ("debian12", A100_PCIE, {}, {"driver_branch": "595"}, "driver=595/open/nvidia", "REPO"),
    ("debian12", A100_PCIE, {}, {"driver_branch": "newest"}, "driver=610/open/nvidia", "NVIDIA"),
    ("ubuntu22.04", A100_PCIE, {}, {"driver_branch": ">=570,<580"}, "driver=575/open/nvidia", "REPO"),
    ("ubuntu22.04", A100_PCIE, {}, {"driver_flavor": "proprietary", "driver_branch": "580"}, "driver=580/proprietary/distribution", "REPO"),
    ("ubuntu22.04", V100, {}, {"tensorflow_version": "2.15.1"}, "tensorflow=2.15.1/==8.9.4.25", "WHEEL"),
    ("ubuntu22.04", A100_PCIE, {}, {"cuda_version": "12.9"}, "cuda=12.9/nvidia", "REPO"),
    # Spark and Hadoop by Java and Python
    ("debian12", [], {}, {"components": ["spark", "hadoop_client"]}, "spark=4.3.0/17 hadoop=3.5.0/17", "JAVA"),
    ("debian13", [], {}, {"components": ["spark", "hadoop_client"]}, "spark=4.3.0/21 hadoop=3.5.0/21", "JAVA"),
    ("debian11", [], {}, {"components": ["spark"], "sources": ["pypi", "distribution"]}, "spark=4.0.5/17 python=3.9/distribution", "JAVA WHEEL"),
    ("debian12", [], {}, {"spark_version": "long-term"}, "spark=3.5.9/17", "JAVA"),
    ("ubuntu18.04", [], {}, {"components": ["spark"], "spark_version": "long-term"}, "spark=3.5.9/11 python=3.12/uv", "JAVA"),
    ("debian12", [], {}, {"java_version": "21", "components": ["spark"]}, "spark=4.3.0/21", "JAVA"),
]  # fmt: skip

# system, GPUs, assumed, wishes, the words that must stand in the refusal
REFUSALS = [
    ("debian12", [*V100, *B200], {}, PYPI, ["V100", "B200", "another host"]),
    ("debian12", V100, {}, {**PYPI, "pytorch_version": "2.15.0"}, ["stack_pytorch_version 2.15.0 cannot hold", "no sm_70", "leave out"]),
    ("debian12", V100, {}, {"cuda_version": "13.0"}, ["stack_cuda_version 13.0", "whose last is 12.9"]),
    ("debian12", V100, {}, {"driver_branch": "595"}, ["stack_driver_branch 595", "ends with branch 580"]),
    ("debian12", V100, {}, {"driver_flavor": "open"}, ["stack_driver_flavor open", "needs the proprietary ones"]),
    ("debian12", B200, {}, {"driver_flavor": "proprietary"}, ["stack_driver_flavor proprietary", "needs the open ones"]),
    ("debian12", A100_PCIE, {}, {"driver_branch": "581"}, ["stack_driver_branch 581", "leave out"]),
    ("debian12", A100_PCIE, {}, {**PYPI, "pytorch_version": "9.9"}, ["stack_pytorch_version 9.9", "none is known"]),
    ("debian12", A100_PCIE, {}, {**PYPI, "python_version": "3.13"}, ["stack_python_version 3.13 and stack_sources without uv", "add uv"]),
    ("debian12", V100, {}, {"tensorflow_version": "2.15.1", "python_version": "3.13"}, ["stack_python_version 3.13 and stack_tensorflow_version 2.15.1 cannot hold together", "no wheel for Python 3.13"]),
    ("debian12", A100_PCIE, {}, {"tensorflow_version": "2.3.4"}, ["2.3.4", "CUDA 10.1"]),
    ("debian12", B200, {}, {"tensorflow_version": "2.19.1"}, ["built with CUDA 12.5", "begins with 12.8"]),
    ("ubuntu18.04", A100, {}, PYPI, ["stack_sources without pytorch and stack_sources without uv", "add pytorch", "add uv"]),
    ("ubuntu26.04", A100, {"python": "3.14", "kernel": "7.0"}, {**PYPI, "components": ["tensorflow"]}, ["stack_components with tensorflow", "no wheel for Python 3.14", "add uv"]),
    ("debian13", V100, {}, {"sources": ["nvidia", "pypi"], "components": ["nvidia_driver"]}, ["without distribution", "add distribution"]),
    ("el10", V100, {}, {"components": ["nvidia_driver"]}, ["without runfile", "proprietary modules"]),
    ("el7", B200, {}, {}, ["needs kernel 4.15, and 3.10 runs here", "Nothing that could be wished for"]),
    ("debian12", A100_PCIE, {"driver_version": "418.197.02"}, {"pytorch_version": "2.15.0"}, ["keeps the loaded 418.197.02", "add nvidia_driver to stack_components"]),
    ("debian12", V100, {"driver_version": "595.91.07"}, {}, ["595.91.07", "ends with branch 580", "add nvidia_driver"]),
    ("debian12", [], {}, {"spark_version": "4.3.0", "java_version": "11"}, ["stack_java_version 11 and stack_spark_version 4.3.0", "needs Java 21 or 17"]),
    ("ubuntu20.04", [], {}, {"components": ["spark"]}, ["no Java is known for ubuntu20.04", "stack_java_version"]),
    ("debian12", A100_PCIE, {}, {"pytorch_version": "long-term"}, ["there are no such releases"]),
    ("debian12", A100_PCIE, {}, {"pytorch_version": "two"}, ["'two' is neither a version nor a range"]),
    ("debian12", A100_PCIE, {}, {"sources": ["pip"]}, ["'pip'", "pypi"]),
    ("debian12", A100_PCIE, {}, {"sources": ["uv"]}, ["at least one of pypi and pytorch"]),
    ("debian12", A100_PCIE, {}, {"components": ["torch"]}, ["'torch'", "pytorch"]),
    ("debian12", A100_PCIE, {}, {"pytorch_verison": "2.15.0"}, ["pytorch_verison"]),
]  # fmt: skip


def said(plan):
    """Return a plan in the words of the table."""

    def pair(*values):
        return "/".join(str(value or "-") for value in values) if values[0] else "-"

    driver, cuda, torch, flow = plan["driver"], plan["cuda"], plan["pytorch"], plan["tensorflow"]
    fabric = driver["fabric_manager"]
    return {
        "driver": pair(driver["branch"], driver["flavor"], driver["source"]),
        "cuda": pair(cuda["toolkit"], cuda["source"]),
        "torch": pair(torch["version"], torch["variant"]),
        "vision": pair(torch["torchvision"]),
        "python": pair(plan["python"]["version"], plan["python"]["source"]),
        "numpy": pair(plan["science"].get("numpy")),
        "tensorflow": pair(flow["version"], None if (flow["cudnn"] or "<").startswith("<") else flow["cudnn"]),
        "fabric": fabric["package"] if fabric["wanted"] else "no",
        "spark": pair(plan["spark"]["version"], plan["spark"]["java"]),
        "hadoop": pair(plan["hadoop_client"]["version"], plan["hadoop_client"]["java"]),
    }
