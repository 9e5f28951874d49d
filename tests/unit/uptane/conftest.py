"""Keys, both repositories in one shape, and an origin that serves what they publish."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from powercut.clock import MonotonicClock
from powercut.origin.content import Content
from powercut.origin.server import Origin
from powercut.uptane import Image, Repositories, Shape, Spoilt, is_report, make_keys, read_keys

START = datetime.now(timezone.utc).replace(microsecond=0)
DETAILS = {"version": "1.1", "ref": "stable", "deltas": []}
IMAGE = Image("device-stable-" + "ab" * 32, "ab" * 32, DETAILS)
OTHER = Image("device-stable-" + "cd" * 32, "cd" * 32, DETAILS)


@dataclass
class Calendar:
    """Time that passes when it is told to."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def passes(self, days: float) -> None:
        self.now += timedelta(days=days)


@dataclass
class Backend:
    """Repositories in one shape, behind a real origin at `url`."""

    keys: Path
    origin: Origin
    url: str
    shape: Shape = Shape.TUF
    calendar: Calendar = field(default_factory=Calendar)

    def __post_init__(self) -> None:
        self.repositories = self.anew()

    def anew(self) -> Repositories:
        """As another run would have them."""
        return Repositories(read_keys(self.keys, "env.yaml"), "car-7", "board", self.shape, self.calendar)

    def offer(self, image: Image = IMAGE, spoilt: Spoilt | None = None) -> dict[str, bytes]:
        files = self.repositories.offer(image, spoilt)
        self.origin.offer(Content(self.keys / "nothing", files, under="/treehub", reports=is_report))
        return files

    def root(self, name: str) -> bytes:
        return (self.keys / name / "root.json").read_bytes()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uptane") / "keys"
    make_keys(folder, START)
    return folder


@pytest.fixture
def backend(keys: Path) -> Iterator[Backend]:
    origin = Origin(MonotonicClock())
    with origin.listen(("127.0.0.1", 0), None) as url:
        yield Backend(keys, origin, url)
