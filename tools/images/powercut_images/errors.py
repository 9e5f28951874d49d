"""The one error that a user sees: where, what, and what to do about it."""

from __future__ import annotations


class BuildError(Exception):
    """The build can't go on, and the message says how it could."""

    def __init__(self, where: str, what: str, do: str) -> None:
        super().__init__(where, what, do)

    def __str__(self) -> str:
        where, what, do = self.args
        return f"{where}: {what}\n  to do: {do}"
