#!/usr/bin/env python3
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Get the real Hadoop from a Maven repository and lay out a mirror: fetch.py

Maven does the fetching, with whatever repository, mirror and proxy its own settings name. In .cache/hdfs afterwards:

    server/                    what runs the NameNodes and the DataNode
    old/                       Hadoop 1.2.1, a client of another generation
    mirror/maven/              the client jars in a Maven repository's layout
    mirror/apache/hadoop/...   archives in the layout of Apache's, with checksum files in two of Apache's styles

The archives are made here: the client jars in the folders where Apache's archive has them, with stand-ins for its shell
scripts (tests/hdfs/archive/). Apache's own could not be reached.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workbench"))
from machine import find, install, say

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "hdfs"
VERSIONS = ("3.5.0", "3.4.2")
SERVER = VERSIONS[0]
LOGGING = ("org.slf4j:slf4j-api:1.7.36", "org.slf4j:slf4j-simple:1.7.36", "commons-logging:commons-logging:1.3.0")
BINDING = ("org.slf4j:slf4j-reload4j:1.7.36", "ch.qos.reload4j:reload4j:1.2.22")
OLD = (
    "org.apache.hadoop:hadoop-core:1.2.1",
    "commons-logging:commons-logging:1.3.0",
    "commons-lang:commons-lang:2.4",
    "commons-configuration:commons-configuration:1.6",
    "commons-cli:commons-cli:1.2",
    "org.codehaus.jackson:jackson-mapper-asl:1.8.8",
    "org.codehaus.jackson:jackson-core-asl:1.8.8",
)


def path_of(artifact: str) -> Path:
    """Return where an artifact lies in a Maven repository."""
    group, name, version = artifact.split(":")
    return Path(*group.split("."), name, version, f"{name}-{version}.jar")


def clients(version: str) -> list[str]:
    """Return the shaded client's artifacts."""
    return [f"org.apache.hadoop:hadoop-client-{part}:{version}" for part in ("api", "runtime")]


def fetch(artifacts: list[str]) -> Path:
    """Return a repository that has the artifacts; Maven brings what is missing, all in one go."""
    repository = CACHE / "repository"
    if all((repository / path_of(artifact)).exists() for artifact in artifacts):
        return repository
    if not find("mvn"):
        install("maven", "Maven is missing; install it (Debian and Ubuntu: sudo apt-get install maven), run this again")
    project = CACHE / "pom.xml"
    project.parent.mkdir(parents=True, exist_ok=True)
    versions: dict[str, list[str]] = {}
    for artifact in artifacts:
        versions.setdefault(artifact.rpartition(":")[0], []).append(artifact)
    rounds = max(len(same) for same in versions.values())
    for turn in range(rounds):  # a project has one version of each
        chosen = [same[turn] for same in versions.values() if turn < len(same)]
        project.write_text(pom(chosen), encoding="utf-8")
        say(f"asking Maven for {len(chosen)} artifacts")
        words = ["mvn", "--batch-mode", "--quiet", f"-Dmaven.repo.local={repository}", "--file", str(project)]
        subprocess.run([*words, "dependency:resolve"], check=True)
    return repository


def pom(artifacts: list[str]) -> str:
    """Return a project that wants these artifacts and nothing that they want."""
    wanted = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version><exclusions><exclusion>"
        "<groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>".format(*one.split(":"))
        for one in artifacts
    )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>bed</groupId><artifactId>bed</artifactId>"
        f"<version>1</version><packaging>pom</packaging><dependencies>{wanted}</dependencies></project>"
    )


def link(source: Path, target: Path) -> None:
    """Put a file at a second place without a second copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        os.link(source, target)


def archive(repository: Path, version: str) -> None:
    """Make an archive in the layout of Apache's, and its checksum file."""
    name = f"hadoop-{version}"
    target = CACHE / "mirror" / "apache" / "hadoop" / "common" / name / f"{name}.tar.gz"
    newest = max(path.stat().st_mtime for path in (HERE / "archive").rglob("*"))
    if target.exists() and target.stat().st_mtime > newest and Path(f"{target}.sha512").exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    with tarfile.open(part, "w:gz", compresslevel=1) as tar:
        for path in sorted((HERE / "archive").rglob("*")):
            tar.add(path, f"{name}/{path.relative_to(HERE / 'archive')}", recursive=False)
        for artifact in [*clients(version), *LOGGING]:
            jar = path_of(artifact)
            folder = "client" if "hadoop-client" in artifact else "common/lib"
            tar.add(repository / jar, f"{name}/share/hadoop/{folder}/{jar.name}")
        notice = b"An archive made for tests; see tests/hdfs/fetch.py.\n"
        for member in ("README.txt", "share/doc/hadoop/index.html"):
            info = tarfile.TarInfo(f"{name}/{member}")
            info.size = len(notice)
            tar.addfile(info, io.BytesIO(notice))
    digest = hashlib.sha512(part.read_bytes()).hexdigest()
    os.replace(part, target)
    if version == SERVER:
        text = f"SHA512 ({target.name}) = {digest}\n"
    else:  # as gpg writes it
        groups = [digest[start : start + 8].upper() for start in range(0, 128, 8)]
        text = f"{target.name}: {' '.join(groups[:8])}\n" + " " * (len(target.name) + 2) + " ".join(groups[8:]) + "\n"
    Path(f"{target}.sha512").write_text(text, encoding="utf-8")


def main() -> None:
    """Lay everything out; what is there already is left alone."""
    cluster = f"org.apache.hadoop:hadoop-client-minicluster:{SERVER}"
    wanted = [cluster, *(one for version in VERSIONS for one in clients(version)), *LOGGING, *BINDING, *OLD]
    repository = fetch(sorted(set(wanted)))
    for artifact in [cluster, *clients(SERVER), *LOGGING, *BINDING]:
        if "slf4j-simple" not in artifact:
            link(repository / path_of(artifact), CACHE / "server" / path_of(artifact).name)
    for artifact in OLD:
        link(repository / path_of(artifact), CACHE / "old" / path_of(artifact).name)
    for artifact in [*(one for version in VERSIONS for one in clients(version)), *LOGGING]:
        link(repository / path_of(artifact), CACHE / "mirror" / "maven" / path_of(artifact))
    for version in VERSIONS:
        archive(repository, version)
    shutil.copy(HERE / "log4j.properties", CACHE / "server")


if __name__ == "__main__":
    main()
