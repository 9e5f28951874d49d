"""The rauc client: what it reads from a console and from a bundle, and what it lets the origin serve."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.clients import Capability, claimed, client_of, twoslots
from powercut.clients.bundle import image_of, parse_manifest
from powercut.clients.image import block_list, checklist, files
from powercut.clients.listing import Post
from powercut.clients.rauc import RAUC, Slot, parse_status
from powercut.environment import BootEnvironment, Release, Setup
from powercut.errors import RigError, UsageError

CONSOLE = (Path(__file__).parent.parent / "data" / "console-rauc-status.txt").read_bytes().decode()
SHA256 = "8c5969878a412d126cf3c350b42037abf4a1d24ffaf20aa0105837b8c25f3713"
BOOT_ID = "7c1f8d56-5d0f-4f0e-9a63-0e0d7f1b2a3c"


def test_a_recorded_console_is_read() -> None:
    """Right after `rauc status mark-active other` took a slot that nobody had ever written to."""
    status = parse_status(CONSOLE)
    assert (status.compatible, status.booted, status.primary) == ("powercut-dualbank", "A", "rootfs.1")
    assert status.slots == (
        Slot("rootfs.1", "B", booted=False, good=True),
        Slot("rootfs.0", "A", booted=True, good=True, version="1.0", sha256=SHA256),
    )
    assert [slot.bootname for slot in status.others] == ["B"]


@pytest.mark.parametrize("end", [0, 40, 400, -60])
def test_a_status_that_was_cut_off_is_not_guessed(end: int) -> None:
    begins = CONSOLE.index("{")
    with pytest.raises(RigError, match="no status of RAUC"):
        parse_status(CONSOLE[: begins + end] if end >= 0 else CONSOLE[:end])


@pytest.mark.parametrize("text", ["", "rauc: not found\r\n", "{}", '{"slots": 7}', "[1]", '{"slots": [{"a": 1}]}'])
def test_a_text_without_a_status_is_quoted(text: str) -> None:
    with pytest.raises(RigError) as told:
        parse_status(text)
    assert repr(text)[1:-1] in str(told.value)


@given(st.text('{}[]":, abc01\r\n'))
def test_any_text_is_read_or_quoted(text: str) -> None:
    with suppress(RigError):
        parse_status(text)


# bundles


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small bundles: a SquashFS each, with an image that mke2fs made; what signs them is left out."""
    folder = tmp_path_factory.mktemp("bundles")
    for version in ("1.0", "1.1"):
        tree, content = folder / f"tree-{version}", folder / f"content-{version}"
        (tree / "usr/bin").mkdir(parents=True)
        (tree / "etc").mkdir()
        (tree / "usr/bin/app").write_text(version)
        (tree / "usr/bin/tool").symlink_to("app")
        (tree / "etc/app.conf").write_text("default")
        content.mkdir()
        image = content / "rootfs.img"
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image, "4M"], check=True, timeout=60)
        sha256 = subprocess.run(["sha256sum", image], check=True, capture_output=True, text=True).stdout.split()[0]
        (content / "manifest.raucm").write_text(
            f"[update]\ncompatible=board\nversion={version}\n[bundle]\nformat=plain\n"
            f"[image.rootfs]\nfilename=rootfs.img\nsha256={sha256}\nsize={image.stat().st_size}\n"
        )
        bundle = folder / f"{version}.raucb"
        subprocess.run(["mksquashfs", content, bundle, "-quiet", "-no-progress"], check=True, timeout=60)
    return folder


@pytest.fixture
def setup(bundles: Path) -> Setup:
    releases = {
        role: Release(role, version, bundle=bundles / f"{version}.raucb")
        for role, version in {"base": "1.0", "next": "1.1"}.items()
    }
    return Setup("my.yaml", "rauc", bundles, "", releases, "ota-update {url}/{bundle}")


@pytest.fixture
def client(setup: Setup) -> RAUC:
    return RAUC(setup)


def test_a_release_is_known_by_its_image(client: RAUC, setup: Setup, bundles: Path) -> None:
    said = subprocess.run(["sha256sum", bundles / "content-1.1/rootfs.img"], check=True, capture_output=True, text=True)
    assert client.resolve(setup.release("next")) == said.stdout.split()[0]


def test_an_image_is_read_block_by_block_once(bundles: Path, tmp_path: Path) -> None:
    image = image_of(bundles / "1.0.raucb")
    found = block_list(image, tmp_path)
    assert (len(found), found.sha256) == (1024, image.identity)
    assert block_list(replace(image, file=Path("/gone")), tmp_path) == found


def test_an_image_that_is_not_what_its_manifest_says_is_the_users_to_build(bundles: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not what its manifest says"):
        block_list(replace(image_of(bundles / "1.0.raucb"), identity="0" * 64), tmp_path)


def test_an_image_is_read_file_by_file(client: RAUC, setup: Setup, bundles: Path, tmp_path: Path) -> None:
    image = image_of(bundles / "1.0.raucb")
    entries = files(image, tmp_path).entries
    assert entries["/usr/bin/tool"].kind == "l"
    assert (
        entries["/usr/bin/app"].checksum
        != files(image_of(bundles / "1.1.raucb"), tmp_path).entries["/usr/bin/app"].checksum
    )
    assert set(client.etc(setup.release("base"), tmp_path)) == {"/etc/app.conf"}
    made = checklist(image, tmp_path)
    assert made.paths["./bin/tool"][1] == "app"
    assert set(made.sums) == {"./bin/app"}


@pytest.mark.parametrize(
    "text", ["", "[update]\nversion=1\n", "[image.a]\nfilename=x\n[image.b]\nfilename=y\n", "version=1", "[image.a]\n"]
)
def test_a_manifest_without_one_image_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"its manifest can't be read"):
        parse_manifest(text, Path("my.raucb"))


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    (tmp_path / "none.raucb").write_text("no bundle")
    with pytest.raises(UsageError, match=r"none\.raucb"):
        image_of(tmp_path / "none.raucb")
    with pytest.raises(UsageError, match=r"gone\.raucb"):
        image_of(tmp_path / "gone.raucb")


def test_a_bundle_that_was_cut_short_is_told(bundles: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.raucb"
    shutil.copy(bundles / "1.0.raucb", short)
    short.write_bytes(short.read_bytes()[:-3000])
    with pytest.raises(UsageError, match=r"short\.raucb"):
        block_list(image_of(short), tmp_path)


# client and environment


def test_a_slot_is_read_anew_each_time(
    client: RAUC, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, str]] = []

    def compared(_device: object, _post: object, _checklist: object, read: dict[str, str]) -> tuple[()]:
        given.append(read)
        return ()

    monkeypatch.setattr(twoslots, "compare_tree", compared)
    read = {"state of an inode": "its sum"}
    assert client.compare(asked(""), setup.release("base"), tmp_path, cast(Post, None), read) == ()
    assert (given, read) == ([{}], {"state of an inode": "its sum"})


def test_placeholders_are_replaced_and_other_braces_left_to_the_shell(client: RAUC, setup: Setup) -> None:
    filled = client.filled("get {url}/{bundle} {version} ${HOME}", setup.release("next"), "http://10.0.2.100")
    assert filled == "get http://10.0.2.100/1.1.raucb 1.1 ${HOME}"


def test_a_bundle_needs_room_for_itself(client: RAUC, setup: Setup, bundles: Path) -> None:
    assert client.room_bytes(setup.release("next"), ()) == (bundles / "1.1.raucb").stat().st_size


def test_bundles_are_payload_and_served_as_they_are(client: RAUC, setup: Setup) -> None:
    content = client.content(setup.release("next"), {"/more": b"more"})
    assert content.find("/1.1.raucb") is not None
    assert content.values == {"/more": b"more"}
    assert (content.payload("/1.1.raucb"), content.payload("/more")) == (True, False)


def asked(text: str) -> Any:
    return SimpleNamespace(ask=lambda _command: SimpleNamespace(text=text), must=lambda command, _what: command)


def test_what_runs_is_told_by_its_version(client: RAUC, setup: Setup) -> None:
    running = client.running(asked(f'{BOOT_ID}\n12.50 3.00\nversion "1.1"\n'))
    assert (running.boot_id, running.commit, running.uptime_s) == (BOOT_ID, client.resolve(setup.release("next")), 12.5)
    assert client.running(asked(f"{BOOT_ID}\n12.50 3.00\nversion 7\n")).commit == "7"
    with pytest.raises(RigError, match="no version"):
        client.running(asked(f"{BOOT_ID}\n12.50 3.00\n"))


def test_another_slot_that_could_be_booted_is_left_over(client: RAUC, setup: Setup) -> None:
    assert client.leftovers(asked(CONSOLE), setup.release("base")) == ("slot B with what nobody installed",)
    bad = json.loads(CONSOLE[CONSOLE.index("{") : CONSOLE.rindex("}") + 1])
    bad["slots"][0]["rootfs.1"]["boot_status"] = "bad"
    assert client.leftovers(asked(json.dumps(bad)), setup.release("base")) == ()
    assert not client.has(asked(CONSOLE), setup.release("next"))


def test_a_file_that_is_broken_on_purpose_is_never_read(setup: Setup, bundles: Path) -> None:
    broken = bundles / "broken.raucb"
    broken.write_bytes((bundles / "1.1.raucb").read_bytes()[:200])
    release = Release("truncated", "1.1-truncated", bundle=broken)
    client = RAUC(replace(setup, releases={**setup.releases, "truncated": release}))
    assert client.resolve(release) not in {client.resolve(setup.release(role)) for role in ("base", "next")}
    assert client.content(release, {}).find("/broken.raucb") is not None
    with pytest.raises(UsageError):
        client.resolve(replace(release, role="next"))


def test_the_environment_chooses_the_client(setup: Setup) -> None:
    assert isinstance(client_of(setup), RAUC)


def test_what_two_slots_cannot_do_is_not_claimed_whatever_the_environment_says(client: RAUC, setup: Setup) -> None:
    able = replace(setup, rollback="back", claims={"resumes": True}, downloads_to="/data")
    assert claimed(client, able) == client.can | {Capability.RESUMES}
    assert Capability.ROOM not in claimed(client, replace(able, downloads_to=None))
    with pytest.raises(UsageError, match=r"claims: collects: rauc can't: a slot is overwritten whole"):
        claimed(client, replace(able, claims={"collects": True}))


def test_a_disk_is_judged_only_where_its_slots_are_known(client: RAUC, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give `slots`"):
        client.judge(tmp_path, tmp_path, tmp_path)
    half = RAUC(replace(client._setup, boot_environment=BootEnvironment(1, "/grubenv")))
    with pytest.raises(UsageError, match="give `slots`"):
        half.judge(tmp_path, tmp_path, tmp_path)
