"""An initramfs archive ("newc"), written in the order that it is given: nothing of the host's gets into it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .workshop import EPOCH_S

_DIRECTORY, _FILE, _LINK = 0o040755, 0o100644, 0o120777


@dataclass
class Archive:
    """Directories are made as they're needed; everything belongs to root and has the same date."""

    _data: bytearray = field(default_factory=bytearray)
    _known: set[str] = field(default_factory=set)

    def directory(self, path: str) -> None:
        name = PurePosixPath(path.lstrip("/"))
        for each in (*reversed(name.parents), name):
            if str(each) != "." and str(each) not in self._known:
                self._add(str(each), _DIRECTORY, b"")

    def file(self, path: str, content: bytes | Path, *, executable: bool = False) -> None:
        self.directory(str(PurePosixPath(path).parent))
        data = content if isinstance(content, bytes) else content.read_bytes()
        self._add(path.lstrip("/"), _FILE | (0o111 if executable else 0), data)

    def link(self, path: str, target: str) -> None:
        self.directory(str(PurePosixPath(path).parent))
        self._add(path.lstrip("/"), _LINK, target.encode())

    def finished(self) -> bytes:
        trailer = Archive(bytearray(self._data), set(self._known))
        trailer._add("TRAILER!!!", 0, b"")
        return bytes(trailer._data)

    def _add(self, name: str, mode: int, content: bytes) -> None:
        self._known.add(name)
        fields = (len(self._known), mode, 0, 0, 1, EPOCH_S, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        self._data += b"070701" + b"".join(b"%08X" % value for value in fields) + name.encode() + b"\0"
        self._pad()
        self._data += content
        self._pad()

    def _pad(self) -> None:
        self._data += bytes(-len(self._data) % 4)


def checked_member(name: str, content: bytes) -> bytes:
    """One file in the format "crc", newc's with a sum over the bytes: what SWUpdate takes."""
    fields = (1, _FILE, 0, 0, 1, EPOCH_S, len(content), 0, 0, 0, 0, len(name) + 1, sum(content) & 0xFFFFFFFF)
    head = b"070702" + b"".join(b"%08X" % value for value in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
