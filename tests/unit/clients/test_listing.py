"""A tree compared with its release, by commands that really run: the device is this host, the tree a checkout."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from powercut.clients.listing import PATHS, Checklist, compare_tree, parse_listing, parse_sums
from powercut.clients.ostree import OSTree
from powercut.clock import MonotonicClock
from powercut.device import Answer, Device
from powercut.environment import Release, Setup
from powercut.errors import RigError
from powercut.origin.content import Content
from powercut.origin.server import Origin
from powercut.rig.post import HTTPPost, post

DEBIAN_NAME = r"lib/systemd/system/system-systemd\x2dcryptsetup.slice"


class Host:
    """Answers as a device does, with the checkout in place of /usr."""

    def __init__(self, usr: Path, scratch: Path) -> None:
        self._words = {"cd /usr": f"cd {usr}", "/run/powercut": str(scratch)}
        self.asked: list[str] = []

    def ask(self, command: str, _limit_s: float) -> Answer:
        self.asked.append(command)
        for word, here in self._words.items():
            command = command.replace(word, here)
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
        return Answer(tuple((done.stdout + done.stderr).splitlines()), done.returncode)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one release, among it a name that md5sum escapes."""
    folder = tmp_path_factory.mktemp("listing")
    tree, repo = folder / "tree", folder / "repo"
    (tree / "usr/lib/systemd/system").mkdir(parents=True)
    (tree / "usr/bin").mkdir()
    (tree / "usr" / DEBIAN_NAME).write_text("slice")
    (tree / "usr/bin/app").write_text("one")
    (tree / "usr/bin/app").chmod(0o755)
    (tree / "usr/bin/tool").symlink_to("app")
    subprocess.run(["ostree", f"--repo={repo}", "init", "--mode=archive"], check=True, timeout=30)
    commit = ["ostree", f"--repo={repo}", "commit", f"--tree=dir={tree}", "-b", "release/1.0"]
    subprocess.run(commit, check=True, stdout=subprocess.DEVNULL, timeout=30)
    return repo


@pytest.fixture
def usr(repo: Path, tmp_path: Path) -> Path:
    checkout = ["ostree", f"--repo={repo}", "checkout", "-UC", "release/1.0", str(tmp_path / "tree")]
    subprocess.run(checkout, check=True, timeout=30)
    return tmp_path / "tree/usr"


@pytest.fixture
def checklist(repo: Path, tmp_path: Path) -> Checklist:
    release = Release("base", "1.0", "release/1.0")
    setup = Setup("my.yaml", "ostree", repo, "device/stable", {"base": release}, "ota-update {url}")
    return OSTree(setup).checklist(release, tmp_path / "cache")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[HTTPPost]:
    origin = Origin(MonotonicClock())
    with (
        origin.listen(("127.0.0.1", 0)) as url,
        post(origin, url, lambda: Content(tmp_path / "nothing")) as office,
    ):
        yield office


@pytest.fixture
def host(usr: Path, tmp_path: Path) -> Host:
    return Host(usr, tmp_path / "scratch")


Compare = Callable[[], list[str]]


@pytest.fixture
def compared(host: Host, office: HTTPPost, checklist: Checklist) -> Compare:
    read: dict[str, str] = {}
    return lambda: [str(diff) for diff in compare_tree(cast(Device, host), office, checklist, read)]


def test_a_release_is_as_its_checklist_says(compared: Compare) -> None:
    assert compared() == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param("printf two >bin/app", "./bin/app: content differs", id="content"),
        pytest.param(": >bin/app", "./bin/app: content differs", id="empty"),
        pytest.param("chmod 644 bin/app", "./bin/app: is 644", id="mode"),
        pytest.param("rm bin/app", "./bin/app: missing", id="missing"),
        pytest.param("touch bin/extra", "./bin/extra: not in the release", id="extra"),
        pytest.param("ln -sf other bin/tool", "./bin/tool: is 777", id="link"),
        pytest.param(f"echo more >>'{DEBIAN_NAME}'", "cryptsetup.slice: content differs", id="escaped name"),
    ],
)
def test_whatever_differs_is_found_also_later(compared: Compare, usr: Path, damage: str, says: str) -> None:
    assert compared() == []
    subprocess.run(["sh", "-c", f"cd {usr} && {damage}"], check=True, timeout=30)
    found = compared()
    assert len(found) == 1
    assert says in found[0]


def test_a_file_that_can_not_be_read_is_a_difference(compared: Compare, usr: Path, host: Host) -> None:
    host._words["md5sum --"] = "false --"
    assert "./bin/app: can't be read" in compared()


def asked_for(office: HTTPPost) -> list[bytes]:
    """The files that the device was last asked to read."""
    return [path for path in office._content.values[PATHS].split(b"\0") if path]


BORN = "1700000000.5000000000"  # in place of what this host's file system may not keep


def test_what_was_read_is_not_read_again(compared: Compare, usr: Path, office: HTTPPost, host: Host) -> None:
    host._words["%B@"] = BORN
    compared()
    assert len(asked_for(office)) == 2
    (usr / "bin/link").hardlink_to(usr / "bin/app")  # as a deployment does
    (usr / "bin/link").unlink()
    compared()
    assert asked_for(office) == []


def test_a_new_inode_with_the_old_content_is_read(compared: Compare, usr: Path, office: HTTPPost) -> None:
    compared()
    (usr / "bin/app").unlink()
    (usr / "bin/app").write_text("one")
    (usr / "bin/app").chmod(0o755)
    assert compared() == []
    assert asked_for(office) == [b"./bin/app"]


def test_without_a_birth_a_change_of_the_inode_is_enough_to_read_again(
    compared: Compare, usr: Path, office: HTTPPost, host: Host
) -> None:
    host._words["%B@"] = "-1.-000000010"  # as findutils 4.9 says it
    compared()
    (usr / "bin/link").hardlink_to(usr / "bin/app")
    (usr / "bin/link").unlink()
    assert compared() == []
    assert asked_for(office) == [b"./bin/app"]


def state(birth: str, change: str = "170.5") -> str:
    return parse_listing(f"644 0 0 f 7 {birth} {change} 0.0000000000 3 ./bin/app\t\n")["./bin/app"].state


def test_an_inode_that_is_used_again_is_another_state() -> None:
    """Number, size and time are those of the file that was removed: all files of a release have one time."""
    assert state("160.0000000001") != state("160.0000000002")
    assert state("160.5", "170.5") == state("160.5", "180.5")


@pytest.mark.parametrize("birth", ["", "0", "0.0000000000", "-1.-000000010"])
def test_an_unknown_birth_leaves_the_change_time(birth: str) -> None:
    assert state(birth, "170.5") != state(birth, "180.5")
    assert state(birth, "170.5") == state("0", "170.5")


def test_a_device_that_can_not_compare_is_no_difference(compared: Compare, host: Host) -> None:
    host._words["find ."] = "no-such-find ."
    with pytest.raises(RigError, match="could not compare"):
        compared()


def test_a_line_that_is_none_is_not_guessed() -> None:
    with pytest.raises(RigError, match="unknown line 'find: x'"):
        parse_listing("find: x\n")


def test_names_are_read_as_md5sum_writes_them() -> None:
    digest = "0" * 32
    assert parse_sums(f"{digest}  ./plain\n\\{digest}  ./a\\\\x2d\\nb\n") == {
        "./plain": digest,
        "./a\\x2d\nb": digest,
    }


def test_an_origin_takes_what_is_sent_only_while_somebody_waits_for_it(tmp_path: Path) -> None:
    origin = Origin(MonotonicClock())
    send = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-T", "-"]

    def sent(url: str) -> Any:
        done = subprocess.run([*send, f"{url}/x"], input="hello", capture_output=True, text=True, check=True)
        return int(done.stdout)

    with origin.listen(("127.0.0.1", 0)) as url:
        with post(origin, url, lambda: Content(tmp_path)) as office:
            assert sent(url) == 201
            assert office.take("/x") == b"hello"
            with pytest.raises(RigError, match="sent nothing to /x"):
                office.take("/x")
        assert sent(url) == 405
