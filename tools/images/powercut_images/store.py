"""Artefacts in a cache outside the clone, each under a hash of everything that it's made from.

An artefact is built in a temporary directory beside its place and renamed there, so there is no half-done one. One lock
covers a whole run: two builds at once would only be slower. What a killed build left is swept at the next start. An
artefact knows the links that were made to it, in any clone; those that nobody uses any more are removed after a build.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import BuildError
from .workshop import Workshop

_TEMPORARY = ".building-"
_ARTEFACT = re.compile(r"(.+)-[0-9a-f]{16}")
_LINKS = "links"

# Of each kind the newest ones are kept for a while; any that was used today may be in use now.
_NEWEST = 3
_DAY_S = 86_400
_KEPT_DAYS = 14


def default_root() -> Path:
    """The cache directory, from the environment."""
    own = os.environ.get("POWERCUT_CACHE")
    if own:
        return Path(own).absolute() / "images"
    xdg = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(xdg).absolute() / "powercut" / "images"


def source_hash(*paths: Path) -> str:
    """One hash over the names, modes and contents of files and directories."""
    digest = hashlib.sha256()
    for path in paths:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in found:
            if file.is_file() and "__pycache__" not in file.parts:
                name = file.relative_to(path.parent)
                executable = bool(file.stat().st_mode & 0o100)
                digest.update(f"{name}\0{executable}\0{file.stat().st_size}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Store:
    """The cache, locked."""

    root: Path

    @classmethod
    @contextmanager
    def locked(cls, root: Path) -> Iterator[Store]:
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("w") as lock:
            # A tool that outlives a killed build holds the lock until it has cleaned up.
            os.set_inheritable(lock.fileno(), True)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another build in {root}", file=sys.stderr, flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            for left in root.glob(f"{_TEMPORARY}*"):
                remove_tree(left)
            yield cls(root.resolve())

    def get(self, name: str, inputs: Mapping[str, str], make: Callable[[Workshop], None]) -> Path:
        """The artefact's directory, built now unless these very inputs were built before."""
        key = hashlib.sha256(json.dumps(dict(inputs), sort_keys=True).encode()).hexdigest()[:16]
        place = self.root / f"{name}-{key}"
        if place.is_dir():
            os.utime(place)
            return place
        work = self.root / f"{_TEMPORARY}{name}-{os.getpid()}"
        work.mkdir()
        try:
            make(Workshop(name, work))
            (work / "inputs.json").write_text(json.dumps(dict(inputs), indent=1, sort_keys=True) + "\n")
            # A crash of the host must not leave the name without the content.
            subprocess.run(["sync", "-f", work], check=True)
            work.rename(place)
        except OSError as error:
            raise BuildError(f"image {name}", str(error), f"see to the disk that holds {self.root}") from error
        finally:
            if work.exists():
                remove_tree(work)
        return place

    def link(self, link: Path, place: Path) -> None:
        """Lets `link` point to an artefact, and the artefact know of it."""
        link.parent.mkdir(parents=True, exist_ok=True)
        known = place / _LINKS
        lines = known.read_text().splitlines() if known.exists() else []
        known.write_text("".join(f"{line}\n" for line in dict.fromkeys((*lines, str(link.absolute())))))
        new = link.with_name(f".{link.name}.{os.getpid()}")
        new.symlink_to(place)
        new.replace(link)

    def prune(self) -> list[Path]:
        """Removes the artefacts that no link leads to, directly or through another artefact, and that are old."""
        places = [place for place in self.root.iterdir() if _ARTEFACT.fullmatch(place.name)]
        used = {place for place in places if _linked(place)}
        kinds: dict[str, list[Path]] = {}
        for place in sorted(places, key=lambda place: place.stat().st_mtime, reverse=True):
            kind = kinds.setdefault(place.name.rpartition("-")[0], [])
            kind.append(place)
            age_s = time.time() - place.stat().st_mtime
            if age_s < _DAY_S or (len(kind) <= _NEWEST and age_s < _KEPT_DAYS * _DAY_S):
                used.add(place)
        used |= {target.resolve().parent for place in used for target in place.iterdir() if target.is_symlink()}
        unused = [place for place in places if place not in used]
        for place in unused:
            # Never half of one under its name; the rest would be swept.
            remove_tree(place.rename(self.root / f"{_TEMPORARY}{place.name}"))
        return unused


def _linked(place: Path) -> bool:
    known = place / _LINKS
    return known.exists() and any(Path(line).resolve() == place for line in known.read_text().splitlines())


def remove_tree(path: Path) -> None:
    """Removes a directory, ostree's immutable deployment roots in it as well."""
    subprocess.run(
        ["chattr", "-R", "-f", "-i", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    shutil.rmtree(path)
