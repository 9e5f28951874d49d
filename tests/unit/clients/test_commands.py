"""An updater that nobody knows: what its patterns find in a recorded console, what a slip is told."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from powercut.clients import Capability, claimed, client_of
from powercut.clients.commands import Commands, Status, parse_status
from powercut.clients.image import block_list, checklist
from powercut.clients.recognised import image_in
from powercut.environment import Release, Setup, StatusCommand, read_setup
from powercut.errors import RigError, UsageError
from powercut.rig.core import Rig

DATA = Path(__file__).parent.parent / "data"
ENV = Path(__file__).parents[3] / "env/qemu-commands.yaml"
CONSOLE = (DATA / "console-rauc-status.txt").read_bytes().decode()
BOOT_ID = "7c1f8d56-5d0f-4f0e-9a63-0e0d7f1b2a3c"
LINUX = f"12.50 3.00\r\n{BOOT_ID}\r\n"
OPTIONS = yaml.safe_load(ENV.read_text())["targets"]["main"]["options"]["powercut"]
ASKED = StatusCommand("show", r"^running: (\S+)")


def shipped() -> Setup:
    return read_setup(OPTIONS, "env.yaml", ENV.parent)


def shipped_status() -> StatusCommand:
    status = shipped().status
    assert status is not None
    return status


def told(**options: Any) -> str:
    """What is said about the shipped environment with some keys replaced; None leaves one away."""
    changed = {name: value for name, value in {**OPTIONS, **options}.items() if value is not None}
    with pytest.raises(UsageError) as fault:
        read_setup(changed, "my.yaml", Path("/lab"))
    return str(fault.value)


# what a device says


def test_a_recorded_console_is_read_by_the_patterns_of_the_shipped_environment() -> None:
    text = f"PRETTY_NAME=x\r\nVERSION_ID=1.0\r\n{CONSOLE}\r\n{LINUX}"
    assert parse_status(text, shipped_status(), "env.yaml") == Status("1.0", BOOT_ID, "A", (), 12.5)


def test_the_slot_that_can_be_gone_back_to_is_read_and_no_other() -> None:
    """The slot that does not run has been installed: it is recorded with its version."""
    installed = CONSOLE.replace(
        '{"bundle":{"compatible":null}', '{"bundle":{"compatible":"powercut-dualbank","version":"1.1"}'
    )
    text = f"VERSION_ID=1.0\n{installed}\n{LINUX}"
    assert parse_status(text, shipped_status(), "env.yaml").others == ("1.1",)
    bad = text.replace('"boot_status":"good"', '"boot_status":"bad"', 1)
    assert parse_status(bad, shipped_status(), "env.yaml").others == ()


def test_a_pattern_for_the_boot_id_replaces_that_of_linux() -> None:
    asked = replace(ASKED, boot_id=r"^start (\d+)")
    assert parse_status("running: 7\nstart 12\n", asked, "my.yaml") == Status("7", "12")


@pytest.mark.parametrize("text", ["", "show: not found\n", f"running:\n{LINUX}", f"not running: 7\n{LINUX}"])
def test_a_text_without_a_version_is_quoted(text: str) -> None:
    with pytest.raises(RigError, match="no version in the status") as fault:
        parse_status(text, ASKED, "my.yaml")
    assert "see `version` in my.yaml: status" in str(fault.value)


def test_a_status_that_was_cut_off_before_the_boot_id_is_not_guessed() -> None:
    with pytest.raises(RigError, match="no boot id in the status"):
        parse_status(f"running: 7\n{LINUX[:30]}", ASKED, "my.yaml")


@given(st.text("running: 17.\r\n-abcdef"))
def test_any_text_is_read_or_quoted(text: str) -> None:
    with suppress(RigError):
        assert parse_status(text, ASKED, "my.yaml").version


# what is said about a slip


def test_a_status_is_needed_and_so_is_what_it_is_made_of() -> None:
    assert told(status=None).startswith("my.yaml: options: powercut: 'status' is missing, and commands needs it")
    assert "powercut: status: 'version' is a required property" in told(status={"command": "show"})
    misspelt = told(status={"comand": "show", "version": "(.*)"})
    assert "status: unknown key 'comand'" in misspelt
    assert "did you mean 'command'?" in misspelt
    said = told(releases={"base": {"version": "1"}, "next": {"version": "2", "bundle": "x"}})
    assert "releases: base: 'bundle' is missing, and commands needs it" in said


@pytest.mark.parametrize(("pattern", "has"), [("running", 0), ("(a)|(b)", 2)])
def test_a_pattern_that_does_not_say_what_it_captures_is_told(pattern: str, has: int) -> None:
    said = told(status={"command": "show", "version": "(.*)", "slot": pattern})
    assert f"status: slot: {pattern!r} has {has} groups" in said
    assert "( )" in said.splitlines()[1]


def test_a_status_that_nobody_asks_for_is_told() -> None:
    said = told(client="rauc")
    assert "powercut: status: rauc knows how to ask for its status itself" in said
    assert "client: commands" in said


def test_a_confirmation_without_a_sign_of_it_is_told() -> None:
    assert "'confirmed' is missing, and `accept` needs it" in told(accept="vendor-accept", confirmed=None)
    assert read_setup({**OPTIONS, "accept": "vendor-accept"}, "my.yaml", Path("/lab")).accept == "vendor-accept"


def test_bundles_that_the_origin_would_not_find_are_told() -> None:
    releases = {"base": {"version": "1", "bundle": "out/1"}, "next": {"version": "2", "bundle": "other/2"}}
    assert "releases: next: bundle: 2 is not in /lab/out, where base's is" in told(releases=releases)


# what is judged, and how


@pytest.fixture
def image(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/app").write_text("1.0")
    made = tmp_path / "1.0.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, made, "4M"], check=True, timeout=60)
    return made


@pytest.fixture
def setup(image: Path) -> Setup:
    releases = {role: Release(role, version, bundle=image) for role, version in {"base": "1.0", "next": "1.1"}.items()}
    return Setup("my.yaml", "commands", image.parent, "", releases, "get {url}/{bundle}", status=ASKED)


def asked(text: str, exit_code: int = 0) -> Any:
    return SimpleNamespace(ask=lambda _command, _limit_s=None: SimpleNamespace(text=text, exit_code=exit_code))


def test_the_disk_is_judged_where_it_is_said_what_it_holds() -> None:
    assert shipped().evidence == "auto"
    without = {name: value for name, value in OPTIONS.items() if name not in ("slots", "boot_environment")}
    assert read_setup(without, "my.yaml", Path("/lab")).evidence == "console"


def test_the_environment_chooses_the_client_and_what_it_is_held_to(setup: Setup) -> None:
    client = client_of(setup)
    assert isinstance(client, Commands)
    assert claimed(client, setup) == {Capability.FALLS_BACK, Capability.VERIFIES}
    assert Capability.ROLLS_BACK in claimed(client, replace(setup, rollback="back"))
    with pytest.raises(UsageError, match="claims: collects: commands can't: what an updater stores"):
        claimed(client, replace(setup, claims={"collects": True}))


def test_what_runs_is_told_by_the_version_in_the_status(setup: Setup) -> None:
    client = Commands(setup)
    running = client.running(asked(f"running: 1.1\n{LINUX}"))
    assert (running.boot_id, running.commit, running.slot) == (BOOT_ID, "1.1", None)
    assert client.resolve(setup.release("next")) == running.commit


def test_what_can_be_gone_back_to_is_told_by_the_status(setup: Setup) -> None:
    client = Commands(replace(setup, status=replace(ASKED, others=r"^kept: (\S+)")))
    device = asked(f"running: 1.1\nkept: 1.0\n{LINUX}")
    assert client.has(device, setup.release("base"))
    assert not client.has(device, setup.release("next"))
    assert not Commands(setup).has(device, setup.release("base"))


def test_all_that_is_fetched_is_the_release(setup: Setup) -> None:
    content = Commands(setup).content(setup.release("next"), {})
    assert (content.payload("/1.0.img"), content.payload("/parts/7")) == (True, True)
    assert not content.payload("/powercut/paths")


def test_an_image_of_a_slot_is_a_release_as_it_is(image: Path, tmp_path: Path) -> None:
    found = image_in(image)
    assert len(block_list(found, tmp_path)) == 1024
    assert set(checklist(found, tmp_path).sums) == {"./bin/app"}


def test_a_file_that_nothing_can_be_compared_with_asks_for_the_devices_own_word(setup: Setup, tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    other.write_bytes(b"something else" * 200)
    changed = replace(setup, releases={"base": Release("base", "1.0", bundle=other)})
    with pytest.raises(UsageError, match=r"other\.tar: it is no RAUC bundle(?s:.*)status: whole"):
        Commands(changed).content(changed.release("base"), {})
    trusting = replace(changed, status=replace(ASKED, whole="verify"))
    assert Commands(trusting).content(trusting.release("base"), {}).root == setup.repo


def test_a_file_that_is_not_there_is_told(setup: Setup) -> None:
    changed = replace(setup, releases={"base": Release("base", "1.0", bundle=Path("/gone.bin"))})
    with pytest.raises(UsageError, match=r"releases: base: bundle: no file /gone\.bin"):
        Commands(changed).content(changed.release("base"), {})


def test_the_device_tells_whether_it_is_whole(setup: Setup, tmp_path: Path) -> None:
    client, post = Commands(replace(setup, status=replace(ASKED, whole="verify {version}"))), SimpleNamespace(url="u")
    release = setup.release("base")
    assert client.compare(asked(""), release, tmp_path, post, {}) == ()
    (diff,) = client.compare(asked("block 7 differs\n", 1), release, tmp_path, post, {})
    assert "block 7 differs" in diff.what


# who accepts a release


def accepting(codes: list[int], tries: int = 3) -> list[str]:
    """What a rig does when the command to accept ends with these codes, one after the other."""
    did: list[str] = []

    def run_once(command: str, _limit_s: float) -> Any:
        did.append(command)
        return SimpleNamespace(exit_code=codes.pop(0))

    setup = SimpleNamespace(accept="accept", boot_tries=tries, command_s=1.0)
    rig = SimpleNamespace(setup=setup, device=SimpleNamespace(run_once=run_once), reboot=lambda: did.append("reboot"))
    Rig.accept(rig)  # type: ignore[arg-type]
    return did


def test_a_release_is_told_to_be_accepted_and_restarted_when_it_refuses() -> None:
    assert accepting([0]) == ["accept"]
    assert accepting([1, 1, 0]) == ["accept", "reboot", "accept", "reboot", "accept"]


def test_a_release_that_refuses_for_ever_is_not_restarted_for_ever() -> None:
    assert accepting([1, 1, 1, 1]).count("reboot") == 3
