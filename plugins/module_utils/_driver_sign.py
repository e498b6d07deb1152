# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key that DKMS signs modules with, and whether the firmware trusts it. Private to the collection.

Of the private key only the path and the rights are looked at; what openssl is asked for is its public half.
"""

import base64
import binascii
import os
import re
from typing import List, Optional, Sequence, Tuple

from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver, _gpu_kernel
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

FRAMEWORK = "/etc/dkms/framework.conf"
CONF = "/etc/dkms/framework.conf.d/gpufleet.conf"
# Where DKMS has its own, and where Ubuntu and Debian have it instead; the first that is there counts.
CERTIFICATES = ("/var/lib/dkms/mok.pub", "/var/lib/shim-signed/mok/MOK.der")
CERTIFICATE_LIMIT = 64 << 10
COMMAND_SECONDS = 60
PKCS11 = "pkcs11:"


# ---- words in, data out ----


def conf(key: str, certificate: str) -> str:
    """Return what has DKMS sign with a key; empty where there is none."""
    if not key:
        return ""
    return f'# {_driver.HEADER}\nmok_signing_key="{key}"\nmok_certificate="{certificate}"\n'


def configured(texts: Sequence[str]) -> Optional[str]:
    """Return the certificate that DKMS's configuration names; of several files the last one counts."""
    found = re.findall(r"^[ \t]*mok_certificate=[\"']?([^\"'\s#]+)", "\n".join(texts), re.MULTILINE)
    return found[-1] if found else None


def der(data: bytes) -> Optional[bytes]:
    """Return a certificate in binary, from binary or PEM; None where it is none."""
    match = re.search(rb"-----BEGIN CERTIFICATE-----(.*?)-----END", data, re.DOTALL)
    if match:
        try:
            data = base64.b64decode(b"".join(match.group(1).split()), validate=True)
        except (binascii.Error, ValueError):
            return None
    return data if serial(data) else None


def serial(data: bytes) -> Optional[str]:
    """Return the serial number of a certificate as modinfo prints it, C(0A:1B), or None where it has none."""
    try:
        tag, body = _element(data)
        tag_inside, inside = _element(body)
        if (tag, tag_inside) != (0x30, 0x30):
            return None
        tag, number = _element(inside)
        if tag == 0xA0:  # the version, which stands before it
            tag, number = _element(inside[2 + len(number) :])
    except IndexError:
        return None
    digits = number.lstrip(b"\0") or number[-1:]
    return ":".join(f"{byte:02X}" for byte in digits) if tag == 2 and number else None


def _element(data: bytes) -> Tuple[int, bytes]:
    """Return tag and content of the first element of ASN.1; IndexError where it is cut off."""
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    if len(data) < start + length:
        raise IndexError
    return tag, data[start : start + length]


def module_serial(modinfo: str) -> Optional[str]:
    """Return the serial number of the certificate that a module is signed with, from what modinfo prints."""
    match = re.search(r"^sig_key:\s*((?:[0-9A-Fa-f]{2}:?)+)$", modinfo, re.MULTILINE)
    if not match:
        return None
    return re.sub(r"^(00:)+(?=.)", "", match.group(1).upper().rstrip(":"))


# ---- deeds ----


def certificate_of_dkms(host: Host) -> Optional[str]:
    """Return the certificate of the key that DKMS signs with; None where there is none yet."""
    folder = os.path.dirname(CONF)
    files = [FRAMEWORK, *[f"{folder}/{name}" for name in host.listdir(folder, quiet=True) if name.endswith(".conf")]]
    named = configured([host.read_text(name, quiet=True) for name in files])
    return next((path for path in ([named] if named else CERTIFICATES) if host.exists(path)), None)


def enrolled(host: Host, certificate: str) -> bool:
    """Say whether the firmware trusts a certificate."""
    answer = host.run(["mokutil", "--test-key", host.path(certificate)], COMMAND_SECONDS)
    if answer.error == "not found":
        raise Failed(
            "Secure Boot is on, and mokutil, which says whether the firmware trusts the key that modules are signed "
            "with, is not installed; install it. Nothing was changed"
        )
    return "already enrolled" in answer.stdout + answer.stderr


def check(host: Host, key: str, certificate: str, enforced: bool) -> None:
    """Refuse a key of the site that DKMS could not sign with, or that the firmware does not trust."""
    if not (key and certificate):
        raise Failed(
            "nvidia_driver_signing_key and nvidia_driver_signing_certificate belong together; set both or neither"
        )
    data = der(host.read_bytes(certificate, CERTIFICATE_LIMIT, quiet=True))
    if not data:
        raise Failed(f"{certificate} (nvidia_driver_signing_certificate) is no X.509 certificate. Nothing was changed")
    if data[:1] != host.read_bytes(certificate, 1, quiet=True):
        raise Failed(
            f"{certificate} (nvidia_driver_signing_certificate) is in PEM, and mokutil and sign-file want DER: "
            f"`openssl x509 -in {certificate} -outform DER`. Nothing was changed"
        )
    if not key.startswith(PKCS11):
        _check_key(host, key, certificate)
    if enforced and not enrolled(host, certificate):
        raise Failed(
            f"Secure Boot is on and the firmware does not trust {certificate} "
            f"(nvidia_driver_signing_certificate): `mokutil --import {certificate}`, then confirm it on the console at "
            "the next start. Nothing was changed"
        )


def _check_key(host: Host, key: str, certificate: str) -> None:
    try:
        mode = os.stat(host.path(key)).st_mode
    except OSError:
        raise Failed(f"{key} (nvidia_driver_signing_key) is not on the host. Nothing was changed") from None
    if mode & 0o077:
        raise Failed(
            f"{key} (nvidia_driver_signing_key) is open to others than its owner (mode {mode & 0o777:04o}); whoever "
            "reads it can sign modules for this host: chmod 0600. Nothing was changed"
        )
    ours = host.run(["openssl", "pkey", "-in", host.path(key), "-passin", "pass:", "-pubout"], COMMAND_SECONDS)
    theirs = host.run(
        ["openssl", "x509", "-inform", "DER", "-in", host.path(certificate), "-noout", "-pubkey"], COMMAND_SECONDS
    )
    if "not found" in (ours.error, theirs.error):
        return  # it comes with DKMS, which needs it to sign
    if ours.rc != 0:
        raise Failed(
            f"{key} (nvidia_driver_signing_key) is no private key, or one with a password, which DKMS does not ask "
            "for. Nothing was changed"
        )
    if theirs.rc == 0 and ours.stdout.split() != theirs.stdout.split():
        raise Failed(
            f"{key} (nvidia_driver_signing_key) does not belong to {certificate} "
            "(nvidia_driver_signing_certificate). Nothing was changed"
        )


def trees(host: Host) -> List[str]:
    """Return NVIDIA's modules that DKMS has, as name/version."""
    names = [name for name in host.listdir(_gpu_kernel.DKMS, quiet=True) if "nvidia" in name]
    return [
        f"{name}/{version}"
        for name in names
        for version in host.listdir(f"{_gpu_kernel.DKMS}/{name}", quiet=True)
        if version[:1].isdigit()
    ]


def build_again(host: Host, release: str, timeout: float) -> None:
    """Have DKMS build the modules of a kernel again, and so sign them."""
    for tree in trees(host):
        for deed in ("build", "install"):
            host.run(["dkms", deed, "--force", tree, "-k", release], timeout)
