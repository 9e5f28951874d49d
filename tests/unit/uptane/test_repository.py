"""What TUF's own client makes of what the origin serves: the good is taken, each flaw is found for its reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuf.api.exceptions import (
    BadVersionNumberError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.ngclient import Updater

from powercut.uptane import Flaw, Spoilt

from .conftest import DETAILS, IMAGE, OTHER, Backend

FOUND_BY = {
    Flaw.EXPIRED: (ExpiredMetadataError, r"{role}(\.json)? is expired"),
    Flaw.REPLAYED: (BadVersionNumberError, "timestamp version 1 must be"),
    Flaw.MIXED: (LengthOrHashMismatchError, "hash"),
    Flaw.WRONG_KEY: (UnsignedMetadataError, "{role} was signed by 0/"),
    Flaw.BELOW_THRESHOLD: (UnsignedMetadataError, "{role} was signed by [01]/"),
}
EACH = [Spoilt(flaw, *place) for flaw in FOUND_BY for place in flaw.places]


def updater(backend: Backend, name: str, folder: Path) -> Updater:
    (folder / name).mkdir(exist_ok=True)
    return Updater(str(folder / name), f"{backend.url}/{name}", bootstrap=backend.root(name))


def found(backend: Backend, name: str, folder: Path, path: str = IMAGE.name) -> TargetFile | None:
    """What a client that keeps its metadata in `folder` is told."""
    return updater(backend, name, folder).get_targetinfo(path)


@pytest.mark.parametrize("name", ["director", "repo"])
def test_tufs_own_client_takes_what_is_on_offer(backend: Backend, tmp_path: Path, name: str) -> None:
    backend.offer()
    target = found(backend, name, tmp_path)
    assert target is not None
    assert (target.length, target.hashes) == (0, {"sha256": IMAGE.commit})


def test_the_director_speaks_to_the_device_and_the_image_repository_of_the_hardware(backend: Backend) -> None:
    files = backend.offer()
    director, images = (
        Metadata[Targets].from_bytes(files[f"/{name}/targets.json"]).signed.targets[IMAGE.name].custom
        for name in ("director", "repo")
    )
    assert director == {"ecuIdentifiers": {"car-7": {"hardwareId": "board"}}}
    assert images == {"hardwareIds": ["board"], "targetFormat": "OSTREE", **DETAILS}


@pytest.mark.parametrize("name", ["director", "repo"])
def test_the_next_offer_takes_the_place_of_the_one_before(backend: Backend, tmp_path: Path, name: str) -> None:
    for image in (IMAGE, OTHER):
        backend.offer(image)
        assert found(backend, name, tmp_path, image.name) is not None
    assert found(backend, name, tmp_path, IMAGE.name) is None


def test_another_run_has_no_older_versions(backend: Backend, tmp_path: Path) -> None:
    for _ in range(3):
        backend.offer()
    assert found(backend, "director", tmp_path) is not None
    backend.calendar.passes(days=0.001)
    backend.repositories = backend.anew()
    backend.offer(OTHER)
    assert found(backend, "director", tmp_path, OTHER.name) is not None


@pytest.mark.parametrize("spoilt", EACH, ids=str)
def test_each_flaw_is_found_for_its_reason_and_the_good_one_is_taken_after_it(
    backend: Backend, tmp_path: Path, spoilt: Spoilt
) -> None:
    kind, says = FOUND_BY[spoilt.flaw]
    backend.offer(IMAGE)
    assert found(backend, spoilt.repository, tmp_path) is not None
    backend.offer(OTHER, spoilt)
    with pytest.raises(kind, match=says.replace("{role}", spoilt.role)):
        found(backend, spoilt.repository, tmp_path, OTHER.name)
    backend.offer(OTHER)
    assert found(backend, spoilt.repository, tmp_path, OTHER.name) is not None


@pytest.mark.parametrize("spoilt", EACH, ids=str)
def test_a_flaw_is_in_one_repository_alone(backend: Backend, tmp_path: Path, spoilt: Spoilt) -> None:
    backend.offer(IMAGE, spoilt)
    other = {"director": "repo", "repo": "director"}[spoilt.repository]
    assert found(backend, other, tmp_path) is not None


def test_who_has_seen_nothing_can_not_tell_that_metadata_is_old(backend: Backend, tmp_path: Path) -> None:
    backend.offer(IMAGE, Spoilt(Flaw.REPLAYED, "director"))
    assert found(backend, "director", tmp_path) is not None


def test_an_unlisted_release_is_the_directors_alone(backend: Backend, tmp_path: Path) -> None:
    backend.offer(IMAGE, Spoilt(Flaw.UNLISTED, "repo"))
    assert found(backend, "director", tmp_path) is not None
    assert found(backend, "repo", tmp_path) is None


def test_a_flaw_says_what_it_is() -> None:
    assert str(Spoilt(Flaw.EXPIRED, "repo")) == "the metadata of the image repository has expired"
    assert str(Spoilt(Flaw.WRONG_KEY, "director")) == "the metadata of the director is signed by somebody else"
    assert str(Spoilt(Flaw.EXPIRED, "repo", "timestamp")) == "the timestamp of the image repository has expired"
    with pytest.raises(AssertionError):
        Spoilt(Flaw.MIXED, "director")
