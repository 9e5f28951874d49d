"""The mender client: what it reads from a console and of an artifact, and what it lets the origin serve."""

from __future__ import annotations

import hashlib
import io
import tarfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.clients import Capability, claimed, client_of
from powercut.clients.artifact import image_of, parse_artifact
from powercut.clients.image import block_list
from powercut.clients.mender import Mender, parse_artifact_name
from powercut.environment import Release, Setup
from powercut.errors import RigError, UsageError

DATA = Path(__file__).parent.parent / "data"
IMAGE = bytes(range(256)) * 64
SUM = hashlib.sha256(IMAGE).hexdigest()
MANIFEST = f"{SUM}  data/0000/rootfs.img\n{'1' * 64}  header.tar.gz\n{'2' * 64}  version\n"
# As mender-artifact 3.9 writes it.
HEADER = (
    '{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"1.1"},'
    '"artifact_depends":{"device_type":["board"]}}'
)


def console(name: str) -> str:
    return (DATA / f"console-mender-{name}.txt").read_bytes().decode()


def test_a_recorded_console_is_read() -> None:
    """Before the first update it takes the name from /etc, and warns of that and of all that it misses."""
    assert parse_artifact_name(console("fresh")) == "1.0"
    assert parse_artifact_name(console("fresh").replace("\r\n", "\n")) == "1.0"


@pytest.mark.parametrize("end", [0, 40, 300, -8])
def test_a_console_that_was_cut_off_is_not_guessed(end: int) -> None:
    with pytest.raises(RigError, match="no name of an artifact"):
        parse_artifact_name(console("fresh")[:end])


@pytest.mark.parametrize("recorded", ["refused", "nothing-to-commit"])
def test_a_console_without_a_name_is_quoted(recorded: str) -> None:
    """What an install and a commit print when they fail."""
    with pytest.raises(RigError, match="no name of an artifact"):
        parse_artifact_name(console(recorded))


@pytest.mark.parametrize("text", ["", "\r\n", "mender: not found\r\n", "1.0\r\n1.1\r\n", "1 0\r\n"])
def test_a_text_without_one_name_is_quoted(text: str) -> None:
    with pytest.raises(RigError) as told:
        parse_artifact_name(text)
    assert repr(text)[1:-1] in str(told.value)


@given(st.text())
def test_any_text_is_read_or_quoted(text: str) -> None:
    with suppress(RigError):
        name = parse_artifact_name(text)
        assert name.split() == [name]


# artifacts


def packed(files: dict[str, bytes], mode: str = "w") -> bytes:
    """A tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def artifact(file: Path, *, suffix: str = ".gz", name: str = "rootfs.img", leave_out: str = "", **parts: bytes) -> Path:
    """An artifact as mender-artifact makes it; what is given is wrong in it."""
    mode = f"w:{suffix.lstrip('.')}"
    files = {
        "version": b'{"format":"mender","version":3}',
        "manifest": parts.get("manifest", MANIFEST.encode()),
        "manifest.sig": b"c2lnbmF0dXJl",
        f"header.tar{suffix}": packed({"header-info": parts.get("header", HEADER.encode())}, mode),
        f"data/0000.tar{suffix}": parts.get("data", packed({name: parts.get("image", IMAGE)}, mode)),
    }
    file.write_bytes(packed({name: content for name, content in files.items() if name != leave_out}))
    return file


@pytest.fixture
def mender(tmp_path: Path) -> Path:
    return artifact(tmp_path / "1.1.mender")


def test_a_release_is_known_by_its_image(mender: Path) -> None:
    image = image_of(mender)
    assert (image.name, image.version, image.compatible) == ("rootfs.img", "1.1", ("board",))
    assert image.identity == SUM


@pytest.mark.parametrize("suffix", [".gz", ".xz", ""])
def test_the_image_is_unpacked_however_it_is_packed(tmp_path: Path, suffix: str) -> None:
    file = artifact(tmp_path / "1.1.mender", suffix=suffix)
    assert b"".join(image_of(file).pieces()) == IMAGE
    assert block_list(image_of(file), tmp_path).sha256 == SUM


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image": b"another"}, "not what its manifest says"),
        ({"data": b"no archive" * 100}, "can't be read"),
        ({"name": "other.img"}, r"no rootfs\.img in it"),
        ({"manifest": b""}, "manifest or header can't be read"),
        ({"manifest": MANIFEST.encode() * 2}, "manifest or header can't be read"),
        ({"header": b"{}"}, "manifest or header can't be read"),
        ({"header": b"[" * 9}, "manifest or header can't be read"),
        ({"leave_out": "manifest"}, "no manifest in it"),
        ({"leave_out": "header.tar.gz"}, r"no header\.tar in it"),
        ({"leave_out": "data/0000.tar.gz"}, r"no data/0000\.tar in it"),
    ],
)
def test_an_artifact_that_is_wrong_in_itself_is_told(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as told:
        list(image_of(artifact(tmp_path / "wrong.mender", **wrong)).pieces())
    assert "wrong.mender" in str(told.value)


@pytest.mark.parametrize("kept", [0, 60, 600, 2000, 3600, 4200, 4800])
def test_an_artifact_that_was_cut_short_is_told(mender: Path, kept: int) -> None:
    whole = mender.read_bytes()
    assert len(whole) > kept
    mender.write_bytes(whole[:kept])
    with pytest.raises(UsageError, match=r"1\.1\.mender"):
        list(image_of(mender).pieces())


@given(st.text(), st.text('{}[]":, abc01'))
def test_any_texts_are_read_or_told(manifest: str, header: str) -> None:
    with suppress(UsageError):
        parse_artifact(manifest, header, Path("my.mender"))


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.mender"):
        image_of(tmp_path / "gone.mender")


# client and environment


@pytest.fixture
def setup(mender: Path) -> Setup:
    header = HEADER.replace("1.1", "1.0").encode()
    other = artifact(mender.with_name("1.0.mender"), header=header, manifest=MANIFEST.replace(SUM, "f" * 64).encode())
    releases = {"base": Release("base", "1.0", bundle=other), "next": Release("next", "1.1", bundle=mender)}
    return Setup("my.yaml", "mender", mender.parent, "", releases, "ota-update {url}/{bundle}", rollback="back")


def asked(text: str) -> Any:
    return SimpleNamespace(ask=lambda _command: SimpleNamespace(text=text))


def test_what_it_has_written_down_is_a_name_and_told_by_its_image(setup: Setup) -> None:
    client = Mender(setup)
    assert client.recorded(asked(console("fresh"))) == client.resolve(setup.release("base"))
    assert client.recorded(asked("7.0\r\n")) == "7.0"


def test_the_environment_chooses_the_client_and_what_it_serves(setup: Setup) -> None:
    client = client_of(setup)
    assert isinstance(client, Mender)
    assert client.content(setup.release("next"), {}).payload("/1.1.mender")
    assert client.filled(setup.update, setup.release("next"), "http://here") == "ota-update http://here/1.1.mender"


def test_what_is_up_to_the_device_is_not_claimed_for_it(setup: Setup) -> None:
    client = client_of(setup)
    assert claimed(client, setup) == client.can - {Capability.ROOM}
    assert Capability.RESUMES in claimed(client, replace(setup, claims={"resumes": True}))
    with pytest.raises(UsageError, match=r"claims: keeps versions: mender can't: a device with two slots"):
        claimed(client, replace(setup, claims={"keeps versions": True}))


def test_nobody_can_tell_what_the_other_slot_holds(setup: Setup) -> None:
    client = client_of(setup)
    assert not client.has(asked(""), setup.release("next"))
    client.forget_others(asked(""), setup.release("base"))
    assert client.leftovers(asked(""), setup.release("base")) == ()
