"""What a rig puts on offer by signed metadata, and what it reads of the device's reports."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from powercut.clients import Capability, claimed
from powercut.clients.ostree import OSTree
from powercut.environment import MetadataSetup, OwnRecord, Release, Setup
from powercut.errors import UsageError
from powercut.origin.content import Content
from powercut.rig.attach import _repositories
from powercut.rig.core import Rig
from powercut.uptane import Flaw, Spoilt, make_keys

COMMITS = {"base": "ab" * 32, "next": "cd" * 32}
RELEASES = {role: Release(role, role, commit) for role, commit in COMMITS.items()}


class Client(OSTree):
    """OSTree's, with releases that need no repository."""

    def resolve(self, release: Release) -> str:
        return COMMITS[release.role]


class Origin:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.offered: list[Content] = []
        self.said: list[Any] = []
        self.ledger = SimpleNamespace(entries=lambda: self.said)

    def offer(self, content: Content) -> None:
        self.offered.append(content)

    def hears(self, path: str, report: str) -> None:
        self.said.append(SimpleNamespace(path=path, report=report))


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    keys = tmp_path_factory.mktemp("rig") / "keys"
    make_keys(keys, datetime.now(timezone.utc))
    metadata, record = MetadataSetup(keys, "car-7", "board"), OwnRecord("deployed", "cat record")
    return Setup("my.yaml", "ostree", Path("/r"), "stable", RELEASES, "u", metadata=metadata, record=record)


@pytest.fixture
def rig(setup: Setup) -> Rig:
    origin: Any = Origin()
    client = Client(setup)
    nothing: Any = None
    parts = (origin, origin, client, setup, nothing, "http://a", "http://b", Path("/cache"))
    return Rig(nothing, nothing, *parts, repositories=_repositories(setup, client))


def targets(content: Content, repository: str = "director") -> Any:
    return json.loads(content.values[f"/{repository}/targets.json"])["signed"]


def test_a_release_on_offer_is_what_the_director_names(rig: Rig) -> None:
    rig.offer(RELEASES["next"])
    (content,) = rig.origin.offered  # type: ignore[attr-defined]
    (target,) = targets(content)["targets"].values()
    assert target["hashes"] == {"sha256": COMMITS["next"]}


def test_each_offer_is_signed_anew_and_stays_while_the_device_is_looked_at(rig: Rig) -> None:
    rig.offer(RELEASES["next"])
    rig.offer(RELEASES["next"], Spoilt(Flaw.UNLISTED, "repo"))
    first, second = rig.origin.offered  # type: ignore[attr-defined]
    assert targets(second)["version"] == targets(first)["version"] + 1
    assert targets(second, "repo")["targets"] == {}
    assert rig._on_offer().values == second.values


def manifest(commit: str) -> str:
    installed = {"filepath": "x", "fileinfo": {"length": 0, "hashes": {"sha256": commit}}}
    ecus = {"car-7": {"signed": {"installed_image": installed}}}
    return json.dumps({"signed": {"primary_ecu_serial": "car-7", "ecu_version_manifests": ecus}})


def test_the_last_manifest_counts(rig: Rig) -> None:
    assert rig.reported() is None
    for path, report in (
        ("/director/manifest", manifest("a")),
        ("/director/manifest", manifest("b")),
        ("/director/manifest", "torn"),
        ("/events", manifest("c")),
    ):
        rig.origin.hears(path, report)  # type: ignore[attr-defined]
    assert rig.reported() == "b"


@pytest.mark.parametrize(
    ("printed", "commit"),
    [
        ('{"installed": "' + "ab" * 32 + '", "pending": null}', "ab" * 32),
        ("cat: no such file", None),
        ("ab" * 31, None),
    ],
)
def test_a_record_is_the_commit_in_what_is_printed(rig: Rig, printed: str, commit: str | None) -> None:
    rig.device = SimpleNamespace(ask=lambda _command: SimpleNamespace(text=printed))  # type: ignore[assignment]
    assert rig.recorded() == commit


def test_without_metadata_nobody_signs_and_nothing_is_claimed(setup: Setup) -> None:
    plain = Setup("my.yaml", "ostree", Path("/r"), "stable", RELEASES, "u")
    client = Client(plain)
    assert _repositories(plain, client) is None
    assert not {Capability.CHECKS, Capability.RECORDS} & claimed(client, plain)
    assert {Capability.CHECKS, Capability.RECORDS} < claimed(Client(setup), setup)
    with pytest.raises(UsageError, match="record: no way to read"):
        client.recorded(SimpleNamespace())  # type: ignore[arg-type]


def test_an_image_has_a_name_of_its_own(rig: Rig) -> None:
    assert isinstance(rig.client, Client)
    image = rig.client.image(RELEASES["next"])
    assert (image.name, image.commit) == (f"stable-{COMMITS['next']}", COMMITS["next"])
