"""The shape that aktualizr asks for, checked as its source and a run of it say: not with what wrote it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from powercut.uptane import Flaw, Shape, Spoilt
from powercut.uptane.shapes import canonical

from .conftest import IMAGE, START, Backend

DIRECTOR = ["/director/1.root.json", "/director/root.json", "/director/targets.json"]
IMAGES = [f"/repo/{name}.json" for name in ("1.root", "root", "snapshot", "targets", "timestamp")]
LIMIT_BYTES = 64 * 1024


@pytest.fixture
def served(backend: Backend) -> dict[str, bytes]:
    backend.shape = Shape.AKTUALIZR
    backend.repositories = backend.anew()
    return backend.offer()


def signed_by(files: dict[str, bytes], path: str) -> int:
    """How many keys signed a file, of those that its root names for the role; each of their signatures has to hold."""
    whole = json.loads(files[path])
    repository, role = path.split("/")[1], re.sub(r"\d+\.|\.json", "", path.split("/")[2])
    root = json.loads(files[f"/{repository}/1.root.json"])["signed"]
    message = json.dumps(whole["signed"], sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    valid = set()
    for signature in whole["signatures"]:
        assert signature["method"] == "ed25519"
        if signature["keyid"] in root["roles"][role]["keyids"]:
            public = bytes.fromhex(root["keys"][signature["keyid"]]["keyval"]["public"])
            Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(signature["sig"]), message)
            valid.add(signature["keyid"])
    assert len(whole["signatures"]) == len({signature["keyid"] for signature in whole["signatures"]})
    return len(valid)


def content(files: dict[str, bytes], path: str) -> Any:
    return json.loads(files[path])["signed"]


def test_a_director_has_no_timestamp_and_no_snapshot(served: dict[str, bytes]) -> None:
    assert sorted(served) == DIRECTOR + IMAGES


@pytest.mark.parametrize("path", DIRECTOR + IMAGES)
def test_a_file_is_canonical_small_enough_and_signed_by_as_many_as_it_takes(
    served: dict[str, bytes], path: str
) -> None:
    assert served[path] == json.dumps(json.loads(served[path]), sort_keys=True, separators=(",", ":")).encode()
    assert len(served[path]) < LIMIT_BYTES
    assert signed_by(served, path) == (2 if "targets" in path else 1)


@pytest.mark.parametrize("path", DIRECTOR + IMAGES)
def test_what_a_file_is_and_until_when_is_written_as_it_is_asked_for(served: dict[str, bytes], path: str) -> None:
    signed = content(served, path)
    role = re.sub(r".*/(\d+\.)?|\.json", "", path)
    assert signed["_type"] == ("root" if role == "root" else role.capitalize())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", signed["expires"])
    assert signed["expires"] > START.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_timestamp_has_length_hash_and_version_of_the_snapshot_and_that_the_version_of_the_targets(
    served: dict[str, bytes],
) -> None:
    snapshot = served["/repo/snapshot.json"]
    assert content(served, "/repo/timestamp.json")["meta"]["snapshot.json"] == {
        "hashes": {"sha256": hashlib.sha256(snapshot).hexdigest()},
        "length": len(snapshot),
        "version": content(served, "/repo/snapshot.json")["version"],
    }
    listed = content(served, "/repo/snapshot.json")["meta"]["targets.json"]
    assert listed["version"] == content(served, "/repo/targets.json")["version"]
    assert listed["hashes"]["sha256"] == hashlib.sha256(served["/repo/targets.json"]).hexdigest()


def test_both_repositories_agree_on_the_release(served: dict[str, bytes]) -> None:
    director, images = (
        content(served, f"/{name}/targets.json")["targets"][IMAGE.name] for name in ("director", "repo")
    )
    for target in (director, images):
        assert (target["length"], target["hashes"]) == (0, {"sha256": IMAGE.commit})
    assert director["custom"]["ecuIdentifiers"]["car-7"]["hardwareId"] in images["custom"]["hardwareIds"]
    assert images["custom"]["targetFormat"] == "OSTREE"
    assert content(served, "/director/targets.json")["custom"]["correlationId"]
    assert "delegations" not in content(served, "/director/targets.json")


def test_each_offer_has_a_version_of_its_own(backend: Backend, served: dict[str, bytes]) -> None:
    first = content(served, "/director/targets.json")["version"]
    assert content(backend.offer(), "/director/targets.json")["version"] == first + 1


@pytest.mark.parametrize(("flaw", "signatures"), [(Flaw.WRONG_KEY, 0), (Flaw.BELOW_THRESHOLD, 1)], ids=str)
def test_too_few_keys_of_the_root_sign_what_is_spoilt_so(backend: Backend, flaw: Flaw, signatures: int) -> None:
    backend.shape = Shape.AKTUALIZR
    backend.repositories = backend.anew()
    assert signed_by(backend.offer(spoilt=Spoilt(flaw, "director")), "/director/targets.json") == signatures


def test_what_is_changed_afterwards_is_signed_by_nobody(served: dict[str, bytes]) -> None:
    changed = served["/repo/targets.json"].replace(b'"length":0', b'"length":1')
    assert changed != served["/repo/targets.json"]
    with pytest.raises(InvalidSignature):
        signed_by({**served, "/repo/targets.json": changed}, IMAGES[3])


def test_the_canonical_form_is_ascii_sorted_and_without_spaces() -> None:
    assert canonical({"b": "é\n", "a": [1, True, None]}) == b'{"a":[1,true,null],"b":"\\u00e9\\n"}'
