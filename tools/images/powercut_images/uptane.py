"""What a device needs that verifies signed metadata before it pulls: Python, python-tuf, an agent, roots of trust.

Python is Debian's, unpacked and never installed. python-tuf and what it needs are plain Python and come from the
clone's own virtual environment, so that device and server have the same. All of it is laid over the base system, and
the releases are then made as those of any other device.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from .debian import MIRRORS, SUITE
from .devices import Device
from .errors import BuildError
from .releases import DEVICE_FILES
from .store import Store, source_hash
from .workshop import Workshop

_CLONE = Path(__file__).resolve().parents[3]
_PYTHON = _CLONE / ".venv/bin/python"
_PACKAGES = ("tuf", "securesystemslib", "urllib3")
_LOCATE = f"""
import importlib, json
from importlib.metadata import version
print(json.dumps({{name: [version(name), importlib.import_module(name).__path__[0]] for name in {_PACKAGES!r}}}))
"""
_LIBRARIES = "lib/x86_64-linux-gnu"
_UNUSED = ("test", "lib2to3", "idlelib", "ensurepip", "distutils", "pydoc_data", "turtledemo", "tkinter", "config-*")


def make_uptane_keys(store: Store) -> Path:
    """`keys`: those of director and image repository, as `powercut keys` makes them."""

    def make(shop: Workshop) -> None:
        with shop.step("making keys of an Uptane repository"):
            shop.run(_python(), "-m", "powercut.cli", "keys", shop.dir / "keys")
            for key in (shop.dir / "keys").rglob("*.pem"):
                key.chmod(0o644)  # built as root, and what signs with them is no root

    return store.get("uptane-keys", {"recipe": "1"}, make)


def make_uptane_system(store: Store, system: Path, keys: Path, device: Device) -> Path:
    """What `make_system` makes, with the agent and all that it needs."""
    assert device.ecu is not None
    serial, hardware_id = device.ecu
    python = _make_python(store, system)
    inputs = {
        "system": system.name,
        "python": python.name,
        "keys": keys.name,
        "ecu": repr(device.ecu),
        "files": source_hash(DEVICE_FILES / "uptane"),
        "recipe": source_hash(Path(__file__)),
    }

    def make(shop: Workshop) -> None:
        overlay, repo = shop.dir / "overlay", shop.dir / "repo"
        with shop.step("committing the base tree with python-tuf"):
            shutil.copytree(python / "tree", overlay, symlinks=True)
            shutil.copytree(DEVICE_FILES / "uptane", overlay, symlinks=True, dirs_exist_ok=True)
            for name in ("director", "repo"):
                place = overlay / "usr/share/uptane" / name / "root.json"
                place.parent.mkdir(parents=True)
                shutil.copyfile(keys / "keys" / name / "root.json", place)
            ecu = {"serial": serial, "hardwareId": hardware_id}
            (overlay / "usr/share/uptane/ecu.json").write_text(json.dumps(ecu) + "\n")
            shop.run("ostree", f"--repo={repo}", "init", "--mode=archive")
            shop.run("ostree", f"--repo={repo}", "config", "set", "core.fsync", "false")
            shop.run("ostree", f"--repo={repo}", "pull-local", system / "repo", "base")
            trees = ("--tree=ref=base", f"--tree=dir={overlay}")
            shop.run("ostree", f"--repo={repo}", "commit", "-b", "base", *trees, "--timestamp=@1700000000")
            shutil.rmtree(overlay)
        shop.run("cp", "-al", system / "tree", shop.dir / "tree")  # linked, for nobody writes to it
        shutil.copy(system / "kernel-version", shop.dir / "kernel-version")

    return store.get("system-uptane", inputs, make)


def _make_python(store: Store, system: Path) -> Path:
    """`tree`: Python and the packages, compiled, without what the base system has."""
    located = json.loads(subprocess.run([_python(), "-c", _LOCATE], check=True, capture_output=True).stdout)
    inputs = {
        "system": system.name,
        "packages": repr([(name, version) for name, (version, _) in sorted(located.items())]),
        "recipe": source_hash(Path(__file__)),
    }

    def make(shop: Workshop) -> None:
        whole, tree = shop.dir / "whole", shop.dir / "tree"
        with shop.step("unpacking Debian's Python (downloads about 20 MB)"):
            shop.run(
                *("mmdebstrap", "--mode=root", "--variant=extract", "--format=directory", "--include=python3"),
                *('--aptopt=Apt::Install-Recommends "false"', SUITE, whole, *MIRRORS),
            )
            for name in _UNUSED:
                for path in (whole / "usr/lib").glob(f"python3.*/{name}"):
                    shutil.rmtree(path)
        with shop.step("compiling python-tuf"):
            for name, (_, folder) in located.items():
                place = whole / "usr/lib/python3/dist-packages" / name
                shutil.copytree(folder, place, ignore=shutil.ignore_patterns("__pycache__"))
            # Files of a deployment all have the same date, which says nothing of their content.
            compile_all = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-o", "0")
            places = sorted(path.name for path in (whole / "usr/lib").glob("python3*"))
            shop.run("chroot", whole, "/usr/bin/python3", *compile_all, *(f"/usr/lib/{name}" for name in places))
        for folder in (f"usr/{_LIBRARIES}", _LIBRARIES):
            for library in (whole / folder).glob("*.so*"):
                if not (system / "tree/usr" / _LIBRARIES / library.name).exists():
                    _take(library, tree / "usr" / _LIBRARIES / library.name)
        for path in (*(whole / "usr/bin").glob("python3*"), *(whole / "usr/lib").glob("python3*")):
            _take(path, tree / path.relative_to(whole))
        shutil.rmtree(whole)

    return store.get("python", inputs, make)


def _take(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    path.rename(place)


def _python() -> Path:
    """The clone's own Python, which has python-tuf. Raises BuildError when it is not set up."""
    if not _PYTHON.exists():
        raise BuildError("tools/images/build", f"no {_PYTHON}, which has python-tuf", "run tools/check --fast once")
    return _PYTHON
