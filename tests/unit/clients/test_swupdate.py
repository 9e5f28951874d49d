"""The swupdate client: what it reads of an archive, whole or damaged, and what it lets the origin serve."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.images.powercut_images.cpio import checked_member

from powercut.clients import Capability, claimed, client_of
from powercut.clients.image import block_list
from powercut.clients.swu import image_of, members, parse_description
from powercut.clients.swupdate import SWUpdate
from powercut.environment import Release, Setup
from powercut.errors import UsageError

IMAGE = bytes(range(256)) * 64
# As SWUpdate's documentation has it (sw-description, "Software collections"), for two slots.
DESCRIPTION = """\
software =
{
    version = "1.1";
    hardware-compatibility = [ "1.0" ];
    stable = {
        A: { images: ( { filename = "%(name)s"; device = "/dev/vda3"; type = "raw"; compressed = "zlib";
             installed-directly = true; sha256 = "%(sha256)s"; } ); };
        B: { images: ( { filename = "%(name)s"; device = "/dev/vda4"; type = "raw"; compressed = "zlib";
             installed-directly = true; sha256 = "%(sha256)s"; } ); };
    };
}
"""


def packed(image: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(image) + packer.flush()


def archive(file: Path, *, sha256: str = "", image: bytes | None = None, name: str = "rootfs.img.gz") -> Path:
    """An archive as SWUpdate takes it; what is given is wrong in it."""
    content = image if image is not None else packed(IMAGE)
    description = DESCRIPTION % {"name": name, "sha256": sha256 or hashlib.sha256(content).hexdigest()}
    parts = {"sw-description": description.encode(), "sw-description.sig": b"signature", "rootfs.img.gz": content}
    file.write_bytes(b"".join(checked_member(*part) for part in parts.items()) + checked_member("TRAILER!!!", b""))
    return file


@pytest.fixture
def swu(tmp_path: Path) -> Path:
    return archive(tmp_path / "1.1.swu")


def test_a_release_is_known_by_its_packed_image(swu: Path) -> None:
    image = image_of(swu)
    assert (image.name, image.version, image.compressed) == ("rootfs.img.gz", "1.1", "zlib")
    assert image.identity == hashlib.sha256(packed(IMAGE)).hexdigest()


def test_the_image_is_unpacked(swu: Path, tmp_path: Path) -> None:
    assert b"".join(image_of(swu).pieces()) == IMAGE
    assert block_list(image_of(swu), tmp_path).sha256 == hashlib.sha256(IMAGE).hexdigest()


def test_an_image_that_is_not_packed_is_read_as_it_is(swu: Path) -> None:
    assert b"".join(replace(image_of(swu), compressed="").pieces()) == packed(IMAGE)
    with pytest.raises(UsageError, match="compressed by zstd"):
        list(replace(image_of(swu), compressed="zstd").pieces())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sha256": "0" * 64}, "not what its description says"),
        ({"image": b"no gzip"}, "can't be unpacked"),
        ({"name": "other.gz"}, "other.gz is not in it"),
    ],
)
def test_an_archive_that_is_wrong_in_itself_is_told(tmp_path: Path, wrong: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        list(image_of(archive(tmp_path / "wrong.swu", **wrong)).pieces())  # type: ignore[arg-type]


@pytest.mark.parametrize("kept", [0, 60, 115, 200])
def test_an_archive_that_was_cut_short_is_told(swu: Path, kept: int) -> None:
    swu.write_bytes(swu.read_bytes()[:kept])
    with pytest.raises(UsageError, match=r"1\.1\.swu"):
        list(image_of(swu).pieces())


@given(st.binary(max_size=300))
def test_any_bytes_are_no_archive(content: bytes) -> None:
    with pytest.raises(UsageError, match="no header of a cpio archive"):
        list(members(BytesIO(content), Path("my.swu")))


@pytest.mark.parametrize(
    "text",
    [
        "",
        'version = "1";',
        DESCRIPTION % {"name": "x", "sha256": "a"} + '{ filename = "y"; sha256 = "b"; }',
        'version = "1";\n{ filename = "y"; }',
    ],
)
def test_a_description_without_one_image_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="its description names"):
        parse_description(text, Path("my.swu"))


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.swu"):
        image_of(tmp_path / "gone.swu")


def test_the_environment_chooses_the_client_and_what_it_serves(swu: Path) -> None:
    releases = {role: Release(role, "1.1", bundle=swu) for role in ("base", "next")}
    setup = Setup("my.yaml", "swupdate", swu.parent, "", releases, "ota-update {url}/{bundle}", rollback="back")
    client = client_of(setup)
    assert isinstance(client, SWUpdate)
    assert client.content(releases["next"], {}).payload("/1.1.swu")
    assert client.filled(setup.update, releases["next"], "http://here") == "ota-update http://here/1.1.swu"
    assert Capability.RESUMES not in claimed(client, setup)
    assert Capability.ROLLS_BACK in claimed(client, setup)
