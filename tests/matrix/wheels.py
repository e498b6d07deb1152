"""Reads what wheels say of themselves, by range requests: metadata and a few members, never the whole file."""

from __future__ import annotations

import email.parser
import os
import re
from typing import Any

import requests
from packaging.utils import parse_sdist_filename, parse_wheel_filename
from packaging.version import Version
from pip._internal.models.index import PyPI
from remotezip import RemoteZip

INDEX = os.environ.get("PIP_INDEX_URL") or PyPI.simple_url
MACHINE = "x86_64"
ARCHITECTURES = re.compile(rb"(?:(?:sm|compute)_\d+a? ?){2,}")
GLIBC = re.compile(rf"manylinux_2_(\d+)_{MACHINE}$")
LEGACY_GLIBC = {f"manylinux1_{MACHINE}": "2.5", f"manylinux2010_{MACHINE}": "2.12", f"manylinux2014_{MACHINE}": "2.17"}
TIMEOUT = 60


def files(project: str) -> list[dict[str, Any]]:
    """Return the index' entries for a project's final releases that nobody withdrew."""
    answer = requests.get(
        f"{INDEX.rstrip('/')}/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}, timeout=TIMEOUT
    )
    answer.raise_for_status()
    base = answer.url
    return [
        {**entry, "url": requests.compat.urljoin(base, entry["url"])}
        for entry in answer.json()["files"]
        if not entry.get("yanked")
    ]


def wheels(project: str) -> dict[Version, list[dict[str, Any]]]:
    """Return the Linux wheels of each final release; each entry has its C(pythons) and C(glibc)."""
    found: dict[Version, list[dict[str, Any]]] = {}
    for entry in files(project):
        if not entry["filename"].endswith(".whl"):
            continue
        _name, version, _build, tags = parse_wheel_filename(entry["filename"])
        floors = [floor for floor in (glibc(tag.platform) for tag in tags) if floor]
        if version.is_prerelease or not floors:
            continue
        pythons = {
            f"{tag.interpreter[2]}.{tag.interpreter[3:]}"
            for tag in tags
            if tag.interpreter.startswith("cp3") and not tag.abi.endswith("t")
        }
        found.setdefault(version, []).append({**entry, "pythons": pythons, "glibc": min(floors, key=Version)})
    return found


def versions(project: str) -> set[Version]:
    """Return the final releases of a project that has no wheels."""
    found = set()
    for entry in files(project):
        if entry["filename"].endswith(".tar.gz"):
            version = parse_sdist_filename(entry["filename"])[1]
            if not version.is_prerelease and not version.is_devrelease:
                found.add(version)
    return found


def glibc(platform: str) -> str | None:
    """Return the oldest glibc that a platform tag stands for; C(0) where the wheel has no machine code; else None."""
    if platform == "any":
        return "0"
    if platform in LEGACY_GLIBC:
        return LEGACY_GLIBC[platform]
    match = GLIBC.match(platform)
    return f"2.{match[1]}" if match else None


def metadata(entry: dict[str, Any]) -> email.message.Message:
    """Return a wheel's METADATA, from the file beside it where the index has one."""
    if entry.get("core-metadata"):
        answer = requests.get(entry["url"] + ".metadata", timeout=TIMEOUT)
        if answer.ok:
            return email.parser.Parser().parsestr(answer.text)
    with RemoteZip(entry["url"], timeout=TIMEOUT) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.Parser().parsestr(wheel.read(name).decode())


def requirements(entry: dict[str, Any], prefix: str = "nvidia-", extra: str = "") -> dict[str, str]:
    """Return what a wheel requires on Linux: the packages whose name starts with a prefix, and their versions."""
    found = {}
    for line in metadata(entry).get_all("Requires-Dist") or []:
        match = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?$", line)
        name, versions, marker = match[1].lower().replace("_", "-"), match[2].replace(" ", ""), match[3] or ""
        of_extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        if name.startswith(prefix) and (of_extra[1] if of_extra else "") == extra and "win32" not in marker:
            found[name] = versions
    return found


def torch(entry: dict[str, Any]) -> dict[str, Any]:
    """Return variant, architectures and the pinned NVIDIA packages of a wheel of PyTorch."""
    with RemoteZip(entry["url"], timeout=TIMEOUT) as wheel:
        version = wheel.read("torch/version.py").decode()
        cuda = re.search(r"cuda[^=\n]*= '([\d.]+)'", version)
        architectures = _architectures(wheel, ("torch/lib/libtorch_python.so",))
    return {
        "variant": "cu" + cuda[1].replace(".", "") if cuda else "cpu",
        "architectures": architectures,
        "cudnn": next((pin for name, pin in requirements(entry).items() if name.startswith("nvidia-cudnn")), ""),
    }


def _architectures(wheel: RemoteZip, members: tuple[str, ...]) -> list[str]:
    """Return the compute capabilities in the longest list of architectures that a binary carries as text."""
    longest = b""
    for member in members:
        with wheel.open(member) as binary:
            tail = b""
            for chunk in iter(lambda: binary.read(1 << 20), b""):
                for found in ARCHITECTURES.findall(tail + chunk):
                    longest = max(longest, found.strip(), key=len)
                tail = chunk[-512:]
    return sorted(
        {capability(word.decode()) for word in longest.split()}, key=lambda text: tuple(map(int, text.split(".")))
    )


def capability(word: str) -> str:
    """Return the compute capability of an architecture: C(sm_120) is C(12.0)."""
    digits = re.search(r"\d+", word)[0]
    return f"{digits[:-1]}.{digits[-1]}"


def tensorflow(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the CUDA build of a wheel of TensorFlow, and what its extra and-cuda asks for."""
    with RemoteZip(entry["url"], timeout=TIMEOUT) as wheel:
        text = wheel.read("tensorflow/python/platform/build_info.py").decode()
    cuda = re.search(r"cuda_version\W+([\d.]+)", text)
    extra = requirements(entry, extra="and-cuda")
    return {
        "cuda": ".".join(cuda[1].split(".")[:2]) if cuda else "",
        "architectures": re.findall(r"(?:sm|compute)_\d+", text),
        "and_cuda": next((pin for name, pin in extra.items() if name.startswith("nvidia-cudnn")), ""),
        "numpy": requirements(entry, "numpy").get("numpy", ""),
    }
