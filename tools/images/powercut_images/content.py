"""What a release holds beside the system: an application that changes from release to release as real ones do.

Every byte follows from the version and the base tree, by seeded generators.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

_MEDIA_FILES = 24
_MEDIA_BYTES = 256 * 1024
_ENGINE_BYTES = 30 * 1024 * 1024
_PAGES = 120
_CHANGED_PAGES, _NEW_PAGES, _DROPPED_PAGES = 40, 12, 8


def write_application(overlay: Path, tree: Path, release: int) -> None:
    """Lays the application of the release with this number (0 is the first) into the overlay."""
    for number in range(_MEDIA_FILES):
        media = Random(f"media {number} of release {release}").randbytes(_MEDIA_BYTES)
        _write(overlay / f"usr/share/app/media/{number:02}.bin", media)
    _write(overlay / "usr/lib/app/engine", _engine(tree, release))
    (overlay / "usr/lib/app/engine").chmod(0o755)
    for name, revision in _pages(release).items():
        _write(overlay / f"usr/share/app/pages/{name}", _text(name, revision))
    # /etc is merged with what the device's owner changed: one default that changes, one new file.
    workers = 4 + release
    _write(
        overlay / "usr/etc/app/app.conf", f"[app]\nrelease = {release}\nworkers = {workers}\nlog = warning\n".encode()
    )
    for added in range(release + 1):
        _write(overlay / f"usr/etc/app/conf.d/{added:02}-feature.conf", f"[feature{added}]\nenabled = yes\n".encode())


def _pages(release: int) -> dict[str, int]:
    """The names of the small files, and in which release each was last changed."""
    pages = {f"page-{number:03}.txt": 0 for number in range(_PAGES)}
    for step in range(1, release + 1):
        rng = Random(f"pages of release {step}")
        for name in rng.sample(sorted(pages), _DROPPED_PAGES):
            del pages[name]
        for name in rng.sample(sorted(pages), _CHANGED_PAGES):
            pages[name] = step
        pages |= {f"page-{step}-{number:02}.txt": step for number in range(_NEW_PAGES)}
    return pages


def _text(name: str, revision: int) -> bytes:
    rng = Random(f"{name} revision {revision}")
    lines = [f"# {name}, revision {revision}"]
    lines += [f"setting-{number} = {rng.getrandbits(64):016x}" for number in range(rng.randrange(10, 120))]
    return "\n".join((*lines, "")).encode()


def _engine(tree: Path, release: int) -> bytes:
    """A large program: real machine code, changed a little in each release (few edits, one insertion, one removal)."""
    code = bytearray()
    libraries = (path for path in (tree / "usr/lib/x86_64-linux-gnu").glob("*.so*") if path.is_file())
    for library in sorted(path for path in libraries if not path.is_symlink() and "icudata" not in path.name):
        code += library.read_bytes()
        if len(code) >= _ENGINE_BYTES:
            break
    del code[_ENGINE_BYTES:]
    for step in range(1, release + 1):
        rng = Random(f"engine of release {step}")
        for _ in range(20):
            at = rng.randrange(len(code) - 4)
            code[at : at + 4] = rng.randbytes(4)
        third = len(code) // 3
        code[third:third] = rng.randbytes(6144)
        del code[2 * third : 2 * third + 2048]
    return bytes(code)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
