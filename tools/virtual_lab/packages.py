"""The lab's Debian programs: those of the system, else those that `tools/lib/lab-packages` unpacked in the cache."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from powercut.errors import RigError, UsageError

from .processes import DYING_ARGS

TOOL = Path(__file__).resolve().parent.parent / "lib/lab-packages"
PROGRAMS = ("ser2net", "snmpd", "snmpset", "snmpget", "pdudaemon")

# ser2net is started by the exporter, which binds it to every interface and leaves it behind when it is killed itself
_SER2NET = """\
for arg; do
    shift
    case $arg in *,tcp,*) arg=${{arg%,tcp,*}},tcp,127.0.0.1,${{arg##*,tcp,}} ;; esac
    set -- "$@" "$arg"
done
exec {dying} {program} "$@"
"""
_SNMP = """\
export MIBS= SNMP_PERSISTENT_DIR={folder}/snmp
exec {program} "$@"
"""
_PLAIN = """\
exec {program} "$@"
"""
_SCRIPTS = {"ser2net": _SER2NET, "snmpset": _SNMP, "snmpget": _SNMP}


def commands(folder: Path) -> Path:
    """Make `folder`/bin with the programs as the lab calls them; labgrid's `apc` model wants it on PATH."""
    done = subprocess.run([str(TOOL)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RigError(f"the lab's programs are missing: {done.stderr.strip()}", str(TOOL), "see what it says")
    unpacked = Path(done.stdout.strip()) / "bin"
    made = folder / "bin"
    made.mkdir()
    for needed in ("cert_indexes", "mib_indexes"):  # net-snmp says so when it makes them, in the middle of an answer
        (folder / "snmp" / needed).mkdir(parents=True)
    for name in PROGRAMS:
        program = _find(name, unpacked)
        text = _SCRIPTS.get(name, _PLAIN).format(program=program, folder=folder, dying=" ".join(DYING_ARGS))
        (made / name).write_text(f"#!/bin/sh\n{text}")
        (made / name).chmod(0o755)
    return made


def _find(name: str, unpacked: Path) -> Path:
    if (unpacked / name).exists():
        return unpacked / name
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise UsageError(f"{name} is not installed", "vlab", f"install it (Debian: {name})")
    return Path(found)
