# -*- coding: utf-8 -*-
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nvidia_driver from its options to its result. Private to the collection."""

import time
from typing import Any, Dict

from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver_sign, _mig
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_apt import AptDriver
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_dnf import DnfDriver
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_host import Run, Wanted
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_runfile import Runfile
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Host

IDLE = {"needed": False, "reason": "", "processes": []}  # type: Dict[str, Any]


def ensure(host: Host, wanted: Wanted, check_mode: bool = False) -> Dict[str, Any]:
    """Make the driver be as wanted, and return what the module returns."""
    start = time.monotonic()
    run = Run(host, wanted, check_mode)
    run.refuse_container()
    if wanted.state == "present":
        run.refuse_key()
    if wanted.source == "nvidia" and not (wanted.repository_url and wanted.repository_key):
        raise Failed("the source nvidia needs nvidia_driver_repository_url and nvidia_driver_repository_key")
    if wanted.source == "runfile" and wanted.container_toolkit and wanted.state == "present":
        raise Failed(
            "the container toolkit comes beside a driver of packages, and the source is runfile; install it yourself, "
            "and set nvidia_driver_container_toolkit to false. Nothing was changed"
        )
    packages = (DnfDriver if run.system.name == "el" else AptDriver)(run)  # type: Any
    runfile = Runfile(run, packages)
    version, flavor, reboot = None, None, IDLE
    try:
        if wanted.state == "absent":
            runfile.absent()
            packages.absent()
            runfile.leave()
            run.file(_driver_sign.CONF, "")
            _mig.forget(run.file, host, check_mode)
        else:
            version, flavor = _install(run, packages, runfile)
            run.sign_again()
            reboot = run.bring_up(version, flavor)
            run.services(version)
    finally:
        run.restart()
    return {
        "changed": bool(run.reasons),
        "reasons": run.reasons,
        "version": version,
        "flavor": flavor,
        "loaded": run.machine.loaded,
        "kernels": run.machine.kernels,
        "previous": (run.state.get("previous") or {}).get("version"),
        "reboot": reboot,
        "warnings": run.warnings,
        "diff": run.diff,
        "seconds": round(time.monotonic() - start, 3),
    }


def _install(run: Run, packages: Any, runfile: Runfile) -> Any:
    """Install what is wanted from where it is wanted; return version and flavour."""
    record = run.state.get("previous") or {}
    if run.wanted.state == "previous" and record.get("runfile"):
        return runfile.previous(record)
    if run.wanted.state == "present" and run.wanted.source == "runfile":
        return runfile.present()
    if runfile.there:
        run.rival = runfile
        run.reasons.append(f"driver {runfile.there['version']} was installed from a runfile")
    made = packages.previous() if run.wanted.state == "previous" else packages.present()
    runfile.leave()
    return made
