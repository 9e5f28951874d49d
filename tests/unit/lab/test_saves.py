"""What is made once, shared by all workers, and never found half made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.errors import UsageError
from powercut.lab.saves import cache_folder, image_identity, key_of, made_once

from .conftest import CLOCK, LIMIT_S, Fork, eventually, kill

parts = st.lists(st.text(st.characters(exclude_characters="\0"), max_size=5), min_size=1, max_size=4)


def build(folder: Path, notes: Path) -> None:
    """What a worker does: build if nobody has, and note who did."""
    with made_once(folder) as part:
        if part is not None:
            with notes.open("a") as file:
                file.write(f"{os.getpid()}\n")
            CLOCK.rest(0.1)
            (part / "ram").write_text("whole")
    assert (folder / "ram").read_text() == "whole"


def build_for_ever(folder: Path, notes: Path) -> None:
    with made_once(folder) as part:
        assert part is not None
        (part / "ram").write_text("half")
        notes.write_text("began")
        CLOCK.rest(60)


def build_half(part: Path | None) -> None:
    assert part is not None
    (part / "ram").write_text("half")
    (part / "no folder" / "devices").write_text("")


def test_of_two_workers_one_builds_and_both_have_it(tmp_path: Path, fork: Fork) -> None:
    folder, notes = tmp_path / "saves" / "key", tmp_path / "notes"
    workers = [fork(build, folder, notes) for _ in range(4)]
    for worker in workers:
        worker.join(LIMIT_S)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert len(notes.read_text().splitlines()) == 1


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    build(tmp_path / "key", tmp_path / "notes")
    with made_once(tmp_path / "key") as part:
        assert part is None


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), made_once(tmp_path / "key") as part:
        build_half(part)
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


def test_a_build_that_was_killed_is_not_taken_for_whole_and_gone_after_the_next(tmp_path: Path, fork: Fork) -> None:
    folder, notes = tmp_path / "key", tmp_path / "notes"
    builder = fork(build_for_ever, folder, notes)
    assert eventually(notes.exists)
    kill(builder)
    assert not folder.exists()
    build(folder, notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.lock", "notes"]


def test_who_waits_for_a_builder_that_dies_builds(tmp_path: Path, fork: Fork) -> None:
    folder, notes = tmp_path / "key", tmp_path / "notes"
    builder = fork(build_for_ever, folder, notes)
    assert eventually(notes.exists)
    waiting = fork(build, folder, tmp_path / "second")
    kill(builder)
    waiting.join(LIMIT_S)
    assert waiting.exitcode == 0
    assert int((tmp_path / "second").read_text()) == waiting.pid


@given(parts, parts)
def test_a_key_depends_on_every_part_and_on_where_it_begins(one: list[str], other: list[str]) -> None:
    assert (key_of(one) == key_of(other)) == (one == other)


def test_an_image_is_another_one_when_it_was_written_or_replaced(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"one")
    first = image_identity(image)
    assert image_identity(image) == first
    os.utime(image, ns=(0, 1))
    assert image_identity(image) != first
    (tmp_path / "link").symlink_to(image)
    assert image_identity(tmp_path / "link") == image_identity(image)


def test_an_image_that_is_missing_is_the_users_to_build(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.img"):
        image_identity(tmp_path / "no.img")


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        pytest.param({"POWERCUT_CACHE": "/big/cache", "XDG_CACHE_HOME": "/c"}, "/big/cache", id="set by the user"),
        pytest.param({"XDG_CACHE_HOME": "/c"}, "/c/powercut", id="set by the desktop"),
        pytest.param({"XDG_CACHE_HOME": "", "POWERCUT_CACHE": ""}, "/home/me/.cache/powercut", id="empty"),
        pytest.param({}, "/home/me/.cache/powercut", id="not set"),
        pytest.param({"POWERCUT_CACHE": "~/here"}, "/home/me/here", id="in the home"),
    ],
)
def test_the_cache_lies_where_users_expect_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], folder: str
) -> None:
    monkeypatch.setattr(os, "environ", {"HOME": "/home/me", **environment})
    assert cache_folder() == Path(folder)
