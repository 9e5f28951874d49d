"""An origin with a secret first segment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from powercut.clock import MonotonicClock
from powercut.origin.exchange import within
from powercut.origin.server import Origin

from .conftest import OBJECT, Served, content, port_of

TOKEN = "s3cr3t"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Served]:
    origin = Origin(MonotonicClock(), TOKEN)
    origin.offer(content(tmp_path / "root"))
    with origin.listen(("127.0.0.1", 0)) as url:
        assert url.endswith(f"/{TOKEN}")
        yield Served(origin, tmp_path / "root", port_of(url))


def test_who_knows_the_token_is_served_what_follows_it(guarded: Served) -> None:
    assert guarded.get(f"/{TOKEN}/objects/big").body == OBJECT
    entry = guarded.origin.ledger.entries()[0]
    assert (entry.path, entry.payload, entry.sent_bytes) == ("/objects/big", True, len(OBJECT))


@pytest.mark.parametrize(
    "target",
    [
        "/objects/big",
        "/",
        "/wrong/objects/big",
        f"/{TOKEN}x/objects/big",
        f"/objects/big?{TOKEN}",
        f"/x/{TOKEN}/ref",
        "*",
    ],
)
def test_who_does_not_know_it_finds_nothing_and_is_in_the_ledger(guarded: Served, target: str) -> None:
    gate = guarded.gate(payload_bytes=0)
    assert (guarded.get(target).status, guarded.get(target).body) == (404, b"")
    entry = guarded.origin.ledger.entries()[0]
    assert (entry.status, entry.payload, entry.sent_bytes) == (404, False, 0)
    assert gate.calls == 0


def test_an_upload_without_the_token_is_not_taken(guarded: Served) -> None:
    assert guarded.get("/upload", "POST", body=bytes(1_000_000)).status == 404
    assert guarded.origin.ledger.received_bytes == 0


@pytest.mark.parametrize(
    ("target", "rest"),
    [
        (f"/{TOKEN}/a/b?c=d", "/a/b?c=d"),
        (f"//{TOKEN}/a", "/a"),
        (f"/{TOKEN}", "/"),
        (f"/{TOKEN}?c=d", "/?c=d"),
        (f"/{TOKEN}//a%20b", "//a%20b"),
        ("/", None),
        (TOKEN, None),
        (f"/{TOKEN[:-1]}/a", None),
        (f"/{TOKEN}\u00e9/a", None),
    ],
)
def test_what_follows_the_token_stays_as_it_was_written(target: str, rest: str | None) -> None:
    assert within(target, TOKEN) == rest
