# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository of NVIDIA's kind as files of apt or dnf: entry, pin, key, login. Private to the collection.

A login stands in no file that everybody may read, and in no entry of apt's, whose words about it are shown to people.
"""

import base64
import hashlib
import http.client
import os
import re
import struct
from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import unquote

from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._download import open_url, why_not
from ansible_collections.gpufleet.workstation.plugins.module_utils._versioned import write_file

KEY_SECONDS = 30
KEY_LIMIT = 1 << 20
LABEL = "NVIDIA CUDA"  # what NVIDIA's repository calls itself in its Release

_SECTION = re.compile(r"^\[([^\]\n]+)\](.*?)(?=^\[|\Z)", re.MULTILINE | re.DOTALL)


class Files(NamedTuple):
    """Where the files of a role's repository lie."""

    entry: str
    key: str
    pin: str = ""
    login: str = ""


# Role cuda's; role nvidia_driver takes them over where it brings the same repository.
CUDA_APT = Files(
    "/etc/apt/sources.list.d/gpufleet-cuda.sources",
    "/usr/share/keyrings/gpufleet-cuda.asc",
    "/etc/apt/preferences.d/gpufleet-cuda",
    "/etc/apt/auth.conf.d/gpufleet-cuda.conf",
)
CUDA_DNF = Files("/etc/yum.repos.d/gpufleet-cuda.repo", "/etc/pki/rpm-gpg/RPM-GPG-KEY-gpufleet-cuda")
# The container toolkit's, beside the driver.
CONTAINER_APT = Files(
    "/etc/apt/sources.list.d/gpufleet-nvidia-container-toolkit.sources",
    "/usr/share/keyrings/gpufleet-nvidia-container-toolkit.asc",
    login="/etc/apt/auth.conf.d/gpufleet-nvidia-container-toolkit.conf",
)
CONTAINER_DNF = Files(
    "/etc/yum.repos.d/gpufleet-nvidia-container-toolkit.repo",
    "/etc/pki/rpm-gpg/RPM-GPG-KEY-gpufleet-nvidia-container-toolkit",
)


# ---- addresses and logins ----


def split_login(url: str) -> Tuple[str, str, str]:
    """Return an address without its login, and the login's user and password as they are."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/]*)@(.*)$", url, re.DOTALL)
    if not match:
        return url, "", ""
    user, _colon, password = match.group(2).partition(":")
    return match.group(1) + match.group(3), unquote(user), unquote(password)


def without_login(url: str) -> str:
    """Return an address that may be shown, without a slash at its end."""
    return split_login(url)[0].rstrip("/")


def mode_of(text: str) -> int:
    """Return the mode of one of these files: a login is for root alone."""
    return 0o600 if re.search(r"^(machine .* login |username=|password=)", text, re.MULTILINE) else 0o644


@contextmanager
def as_before(host: Any, paths: Iterable[str]) -> Iterator[None]:
    """Have these files be as they were before, with the modes they had, if what is done meanwhile fails."""
    places = [host.path(path) for path in paths if path]
    before = {place: _state(place) for place in places}
    try:
        yield
    except BaseException:
        for place, state in before.items():
            if _state(place) == state:
                continue
            if state:
                write_file(place, *state)
            else:
                os.unlink(place)
        raise


def _state(place: str) -> Optional[Tuple[bytes, int]]:
    """Return content and mode of a file; None where there is none."""
    if not os.path.exists(place):
        return None
    with open(place, "rb") as file:
        return file.read(), os.fstat(file.fileno()).st_mode & 0o7777


def apt_login(url: str) -> str:
    """Return the file that gives apt the login of an address; empty where it has none."""
    bare, user, password = split_login(url)
    if not user and not password:
        return ""
    if re.search(r"\s", user + password) or not user:
        raise Failed(
            f"the login for {bare} has white space in it or no user, which apt cannot take; give the host another"
        )
    # Without a scheme, apt sends a login over https only; with one, apt before 2 does not know whom it is meant for.
    words = f"login {user}" + (f" password {password}" if password else "")
    return "".join(f"machine {place}/ {words}\n" for place in (without_login(url), _address(url)))


# ---- entries ----


def debian_architecture(machine: str) -> str:
    """Return Debian's name for a machine."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def repository_entry(url: str, machine: str, keyring: str) -> str:
    """Return the paragraph that makes a repository of NVIDIA's kind one of apt's sources."""
    return (
        f"Types: deb\nURIs: {without_login(url)}/\nSuites: /\nArchitectures: {debian_architecture(machine)}\n"
        f"Signed-By: {keyring}\n"
    )


def origin_pin(url: str, priority: int, others: Sequence[Dict[str, Any]] = ()) -> str:
    """Return the paragraph that gives all that comes from a repository a priority.

    What apt calls an origin is a host. Where another source is on the same one, the repository's own name has to do:
    the system's upgrades would get the priority too.
    """
    host = _host_of(url)
    shared = any(_host_of(other["uri"]) == host and not owners(url, [other]) for other in others)
    what = f"release l={LABEL}" if shared else f'origin "{host}"'
    return f"Package: *\nPin: {what}\nPin-Priority: {priority}\n"


def _host_of(url: str) -> str:
    """Return the host in an address as apt knows it, empty for a folder."""
    match = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://(?:\[([^\]]*)\]|([^/:]*))", without_login(url))
    return (match.group(1) or match.group(2) or "") if match else ""


def dnf_entry(name: str, title: str, url: str, key: str, header: str, enabled: bool = True) -> str:
    """Return the file that makes a repository one of dnf's."""
    bare, user, password = split_login(url)
    text = (
        f"# {header}\n[{name}]\nname={title}\nbaseurl={bare.rstrip('/')}/\nenabled={int(enabled)}\n"
        f"gpgcheck=1\ngpgkey=file://{key}\n"
    )
    for option, value in (("username", user), ("password", password)):
        if re.search(r"\$[\w{]|[\r\n]|^\s|\s$", value):
            raise Failed(
                f"the {option} for {bare} has a dollar sign before a letter, or white space at an end, which dnf would "
                "change; give the host another one"
            )
        text += f"{option}={value}\n" if value else ""
    return text


def without_repository(text: str, url: str) -> str:
    """Return one of our files of apt's sources without a repository; empty where nothing else is in it."""
    header, _newline, rest = text.partition("\n")
    kept = [
        paragraph.strip() + "\n"
        for paragraph in re.split(r"\n\s*\n", rest)
        if paragraph.strip()
        and _address(url) not in [_address(uri) for uri in re.findall(r"^URIs: (\S+)", paragraph, re.MULTILINE)]
    ]
    return header + "\n" + "\n".join(kept) if kept else ""


# ---- owners ----


def owners(url: str, sources: Sequence[Dict[str, Any]]) -> List[str]:
    """Return the other files in which a repository stands already; to apt, http and https are the same."""
    wanted = _address(url)
    return sorted({source["file"] for source in sources if _address(source["uri"]) == wanted})


def without_source(file: str, text: str, url: str) -> str:
    """Return somebody else's file of sources, of apt's or dnf's, without a repository; empty if it has no other."""
    kind = os.path.splitext(file)[1]
    pattern = {".sources": r"^URIs:[ \t]*(\S+)", ".repo": r"^baseurl[ \t]*=[ \t]*(\S+)"}.get(
        kind, r"^[ \t]*deb(?:-src)?[ \t]+(?:\[[^\]\n]*\][ \t]*)?(\S+)"
    )
    parts, last = [], ""  # type: Tuple[List[str], str]
    for line in text.splitlines(True):
        begins = {".sources": not last.strip(), ".repo": line.startswith("[")}.get(kind, True)
        if begins or not parts:
            parts.append("")
        parts[-1] += line
        last = line
    places = [[_address(uri) for uri in re.findall(pattern, part, re.MULTILINE)] for part in parts]
    kept = [(part, there) for part, there in zip(parts, places) if _address(url) not in there]
    return "".join(part for part, _there in kept) if any(there for _part, there in kept) else ""


def _address(url: str) -> str:
    return re.sub(r"^[A-Za-z+]+://", "", without_login(url))


def dnf_owners(url: str, files: Dict[str, str]) -> List[str]:
    """Return the files among dnf's, given by their texts, in which a repository stands."""
    sources = [
        {"file": name, "uri": uri}
        for name, text in files.items()
        for uri in re.findall(r"^baseurl[ \t]*=[ \t]*(\S+)", text, re.MULTILINE)
    ]
    return owners(url, sources)


def dnf_names(url: str, files: Dict[str, str]) -> List[str]:
    """Return the names of a repository in dnf's files, given by their texts."""
    sections = [section for text in files.values() for section in _SECTION.findall(text)]
    return [name for name, body in sections if dnf_owners(url, {"": body})]


def dnf_files(host: Any, own: str) -> Dict[str, str]:
    """Return the texts of dnf's other files of repositories by their paths."""
    folder = os.path.dirname(own)
    names = [f"{folder}/{name}" for name in host.listdir(folder, quiet=True) if name.endswith(".repo")]
    return {name: host.read_text(name, quiet=True) for name in names if name != own}


# ---- keys ----


def fingerprints(armored: str) -> List[str]:
    """Return the full fingerprints of the primary keys in an armored text; none where it is no key."""
    found = []
    for block in re.findall(r"-----BEGIN PGP PUBLIC KEY BLOCK-----(.*?)-----END PGP", armored, re.DOTALL):
        body = re.split(r"\r?\n[ \t]*\r?\n", block, maxsplit=1)[-1]
        lines = [line.strip() for line in body.splitlines() if line.strip() and not line.strip().startswith("=")]
        try:
            data = base64.b64decode("".join(lines))
        except ValueError:
            continue
        for tag, packet in _packets(data):
            if tag == 6 and packet[:1] == b"\4":
                head = b"\x99" + struct.pack(">H", len(packet))
                found.append(hashlib.sha1(head + packet).hexdigest().upper())  # noqa: S324 (version 4 of the format)
            elif tag == 6 and packet[:1] == b"\6":
                head = b"\x9b" + struct.pack(">I", len(packet))
                found.append(hashlib.sha256(head + packet).hexdigest().upper())
    return found


def _packets(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """Yield tag and body of each OpenPGP packet; it ends where something is cut off or of a length that is not told."""
    place = 0
    while place + 2 <= len(data) and data[place] & 0x80:
        head, first = data[place], data[place + 1]
        if head & 0x40:
            tag = head & 0x3F
            if first < 192:
                size, start = first, place + 2
            elif first < 224 and place + 3 <= len(data):
                size, start = ((first - 192) << 8) + data[place + 2] + 192, place + 3
            elif first == 255 and place + 6 <= len(data):
                size, start = struct.unpack(">I", data[place + 2 : place + 6])[0], place + 6
            else:
                return
        else:
            tag, width = (head >> 2) & 0xF, {0: 1, 1: 2, 2: 4}.get(head & 3, 0)
            if not width or place + 1 + width > len(data):
                return
            size, start = int.from_bytes(data[place + 1 : place + 1 + width], "big"), place + 1 + width
        if start + size > len(data):
            return
        yield tag, data[start : start + size]
        place = start + size


def _digits(fingerprint: str) -> str:
    return re.sub(r"[^0-9A-Fa-f]", "", fingerprint).upper()


def trusted_key(armored: str, wanted: str, option: str) -> str:
    """Return a key's text if it is the one that is trusted, and only that one; else Failed, which names the option."""
    there = fingerprints(armored)
    wanted = _digits(wanted)
    if len(wanted) not in (40, 64):
        raise Failed(
            "the key of the repository is not known by its full fingerprint; look it up in NVIDIA's documentation and "
            f"set {option} (40 hexadecimal digits). Nothing was changed"
        )
    if there != [wanted]:
        raise Failed(
            f"the repository's key is {' and '.join(there) or 'no key'}, and {wanted} is trusted "
            f"({option}). Nothing was changed"
        )
    return armored.strip() + "\n"


def repository_key(
    host: Any,
    path: str,
    key: str,
    fingerprint: str,
    option: str,
    ca_file: Optional[str],
    check_mode: bool,
    fresh: bool = False,
) -> str:
    """Return the text of a repository's key, given itself or by an address, if it has the fingerprint that is trusted.

    From an address it is fetched where the host does not have it at C(path), and never in check mode. With C(fresh), it
    is fetched if it can be: the same key may have been given more time.
    """
    if key.lstrip().startswith("-") or not key:
        return trusted_key(key, fingerprint, option)
    there = host.read_text(path, quiet=True)
    known = bool(fingerprints(there)) and fingerprints(there) == [_digits(fingerprint)]
    if known and not fresh:
        return there + "\n"
    if check_mode:
        return f"the key {fingerprint}\n"
    try:
        return trusted_key(_fetched(host, key, ca_file), fingerprint, option)
    except Failed:
        if known:
            return there + "\n"
        raise


def _fetched(host: Any, key: str, ca_file: Optional[str]) -> str:
    """Return the text at a key's address."""
    if ca_file and not os.path.isfile(host.path(ca_file)):
        raise Failed(f"there is no CA bundle at {ca_file}; role bootstrap installs certificates, or correct ca_file")
    try:
        with open_url(key, ca_file, seconds=KEY_SECONDS) as answer:
            return answer.read(KEY_LIMIT).decode("utf-8", "replace")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Failed(
            f"the repository's key cannot be fetched: {without_login(key)} {why_not(error)}. Nothing was changed"
        ) from None
