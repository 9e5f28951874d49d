"""What is written can be read again, and replayed; evidence is kept within a bound."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from powercut.disk.blocks import Blocks, open_blocks
from powercut.disk.qcow2 import write_overlay
from powercut.errors import UsageError
from powercut.invariants import INVARIANTS
from powercut.lab.commandline import Hardware, Machine
from powercut.lab.saves import image_identity
from powercut.model import LossModel
from powercut.store import Store, load_record
from powercut.trial import Plan, Recording, Trial, drawn
from powercut.triggers import AnyTrigger, at
from tests.unit.observations import MIX, OLD, seen, view

NODE = "test_power_loss.py::test_old_or_new[fraction:0.5]"
BROKEN = seen(after_cut=view(OLD, MIX))
PLENTY = 1 << 30


@pytest.fixture
def image(tmp_path: Path) -> Iterator[tuple[Path, Blocks]]:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20))
    with open_blocks(path) as blocks:
        yield path, blocks


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "powercut-out"


@pytest.fixture
def make_trial(image: tuple[Path, Blocks], tmp_path: Path) -> Callable[..., Trial]:
    """A judged trial in its folder, with the log of three writes and a flush, as a live cut leaves it there."""

    def make(store: Store, *, observation: object = BROKEN, cut: AnyTrigger | None = None, name: str = "") -> Trial:
        cut = cut or at.fraction(0.5)
        plan = Plan(name or f"base-next {cut} retry cache", "next", cut, LossModel.CACHE, "c7f2")
        folder = store.folder(plan.name)
        log = folder / "disk0-0.log"
        log.touch()
        written = tmp_path / "written.img"
        written.write_bytes(bytes(1 << 20))
        layers = f"driver=blklogwrites,file.driver=file,file.filename={written},log.driver=file,log.filename={log}"
        words = ["-c", "write -P 1 0 4k", "-c", "flush", "-c", "write -P 2 8k 4k", "-c", "write -P 3 16k 4k"]
        killed = ["qemu-io", "-t", "writeback", "--image-opts", layers, *words, "-c", "sigraise 9"]
        subprocess.run(killed, check=False, stdout=subprocess.DEVNULL, timeout=30)
        before = image[1]
        trial = Trial(plan, observation, folder, Recording((log,), 0, None, before, before))  # type: ignore[arg-type]
        assert [trial.judge(name) for name in INVARIANTS]
        return trial

    return make


def test_a_record_is_read_as_it_was_written(
    out: Path, image: tuple[Path, Blocks], make_trial: Callable[..., Trial]
) -> None:
    store = Store(out, PLENTY)
    trial = make_trial(store)
    store.write(trial, NODE, "env/board.yaml", image[0])
    record = load_record(trial.folder)
    assert record.plan == trial.plan
    assert (record.nodeid, record.environment, record.base) == (NODE, "env/board.yaml", image[0])
    assert (record.began, record.cut_at, record.logs) == (0, None, (trial.folder / "disk0-0.log",))


def test_a_record_knows_its_image_by_its_content_wherever_it_lies(
    out: Path, image: tuple[Path, Blocks], make_trial: Callable[..., Trial], tmp_path: Path
) -> None:
    store = Store(out, PLENTY)
    trial = make_trial(store)
    virtual = Hardware(
        Machine("qemu", "q35", "max", "512M", "tcg"), ("virtio-blk-pci",), "7.2", image_identity(image[0])
    )
    store.write(trial, NODE, "env/board.yaml", image[0], hardware=virtual)
    record = load_record(trial.folder)
    assert record.sha256 == hashlib.sha256(bytes(1 << 20)).hexdigest()
    copy, other = tmp_path / "copy.img", tmp_path / "other.img"
    copy.write_bytes(image[0].read_bytes())
    other.write_bytes(bytes((1 << 20) - 1) + b"x")
    told = [record.began_with(path) for path in (image[0], copy, other, tmp_path / "gone.img")]
    assert told == [True, True, False, False]


def test_a_record_holds_what_was_seen_and_judged(
    out: Path, image: tuple[Path, Blocks], make_trial: Callable[..., Trial]
) -> None:
    store = Store(out, PLENTY)
    trial = make_trial(store)
    store.write(trial, NODE, "env/board.yaml", image[0])
    raw = load_record(trial.folder).raw
    assert raw["observation"]["after_cut"]["systems"][1]["differs"] == [
        {"path": "/usr/bin/app", "what": "content differs"}
    ]
    assert raw["observation"]["cut"]["losses"][0]["model"] == "cache"
    assert raw["verdicts"]["atomicity"]["outcome"] == 2
    assert raw["verdicts"]["user data"]["outcome"] == 0


@pytest.mark.parametrize("cut", [at.bytes(7, dwell_s=2.0), at.console("OTA: a/b (.*)"), at.phase("during.switch")])
def test_any_cut_is_read_as_it_was_written(
    out: Path, image: tuple[Path, Blocks], make_trial: Callable[..., Trial], cut: AnyTrigger
) -> None:
    store = Store(out, PLENTY)
    trial = make_trial(store, cut=cut)
    store.write(trial, NODE, "env/board.yaml", image[0])
    assert load_record(trial.folder).plan.cut == cut


def test_a_trial_without_a_cut_is_read_as_it_was_written(out: Path) -> None:
    store = Store(out, PLENTY)
    plan = Plan("base-next undisturbed", "next", None, LossModel.NONE, "c7f2")
    trial = Trial(plan, seen(cut=None), store.folder(plan.name))
    store.write(trial, NODE, "env/board.yaml", None)
    record = load_record(trial.folder)
    assert (record.plan, record.base, record.began, record.logs) == (plan, None, None, ())


def test_the_kept_evidence_is_the_very_disk_that_was_drawn(
    out: Path, image: tuple[Path, Blocks], make_trial: Callable[..., Trial], tmp_path: Path
) -> None:
    store = Store(out, PLENTY)
    trial = make_trial(store)
    store.write(trial, NODE, "env/board.yaml", image[0])
    record = load_record(trial.folder)
    assert trial.recording is not None
    state, _ = drawn(replace(trial.recording, logs=record.logs), record.plan.loss, record.plan.rng("loss"), "c7f2")
    write_overlay(tmp_path / "again.qcow2", state, image[0])
    same = subprocess.run(
        ["qemu-img", "compare", tmp_path / "again.qcow2", trial.folder / "crash.qcow2"], check=False, timeout=30
    )
    assert same.returncode == 0


def test_logs_of_a_rehearsal_are_copied(
    out: Path, image: tuple[Path, Blocks], make_trial: Callable[..., Trial], tmp_path: Path
) -> None:
    store = Store(out, PLENTY)
    trial = make_trial(store)
    assert trial.recording is not None
    cached = tmp_path / "cached.log"
    trial.recording.logs[0].rename(cached)
    trial.recording = replace(trial.recording, logs=(cached, cached))
    store.write(trial, NODE, "env/board.yaml", image[0])
    assert [log.name for log in load_record(trial.folder).logs] == ["disk0-0.log", "disk0-1.log"]
    assert cached.exists()


def test_of_a_trial_that_kept_its_promises_no_log_is_kept(
    out: Path, image: tuple[Path, Blocks], make_trial: Callable[..., Trial]
) -> None:
    store = Store(out, PLENTY)
    trial = make_trial(store, observation=seen())
    store.write(trial, NODE, "env/board.yaml", image[0])
    assert sorted(path.name for path in trial.folder.iterdir()) == ["record.json"]
    assert load_record(trial.folder).logs == ()


def test_evidence_beyond_the_bound_is_dropped_and_that_is_said(
    out: Path, image: tuple[Path, Blocks], make_trial: Callable[..., Trial]
) -> None:
    first = make_trial(Store(out, PLENTY))
    size = (first.folder / "disk0-0.log").stat().st_size
    store = Store(out, size)
    store.write(first, NODE, "env/board.yaml", image[0])
    second = make_trial(store, name="second")
    store.write(second, NODE, "env/board.yaml", image[0])
    assert (first.folder / "disk0-0.log").exists()
    assert sorted(path.name for path in second.folder.iterdir()) == ["record.json"]
    record = load_record(second.folder)
    assert record.logs == ()
    assert record.raw["observation"]["notes"] == ["evidence dropped: the bound on kept evidence is reached"]


def test_a_bound_of_nothing_keeps_nothing(
    out: Path, image: tuple[Path, Blocks], make_trial: Callable[..., Trial]
) -> None:
    store = Store(out, 0)
    trial = make_trial(store)
    store.write(trial, NODE, "env/board.yaml", image[0])
    assert not list(out.glob("*/crash.qcow2"))


def test_an_earlier_run_is_replaced(out: Path) -> None:
    folder = Store(out, PLENTY).folder("base-next fraction:0.5")
    (folder / "console.log").write_text("old")
    assert Store(out, PLENTY).folder("base-next fraction:0.5") == folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("base-next console:a b cache", "base-next console:a/b cache"),
        ("base-next console:a:b cache", "base-next console:a-b cache"),
        (f"base-next console:{'x' * 99} cache", f"base-next console:{'x' * 99} none"),
        ("base-next console:(a) cache", "base-next console:[a] cache"),
        ("base-next console:ä cache", "base-next console:ö cache"),
    ],
)
def test_two_plans_never_share_a_folder(out: Path, name: str, other: str) -> None:
    store = Store(out, PLENTY)
    assert store.folder(name) != store.folder(other)
    assert store.folder(name) == store.folder(name)


@pytest.mark.parametrize("name", ["base-next console:../../x", "../up", "console:\n\0", "-rf", f"console:{'/' * 500}"])
def test_a_folder_lies_below_the_others_whatever_the_plan_is_called(out: Path, name: str) -> None:
    folder = Store(out, PLENTY).folder(name)
    assert folder.resolve().parent == out
    assert folder.name.isprintable()


def test_workers_keep_apart(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(out, PLENTY)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    first = store.folder("plan")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    assert store.folder("plan") != first
    assert first.is_dir()


def test_a_replay_leaves_the_record_that_it_replays(
    out: Path, image: tuple[Path, Blocks], make_trial: Callable[..., Trial]
) -> None:
    first = make_trial(Store(out, PLENTY))
    Store(out, PLENTY).write(first, NODE, "env/board.yaml", image[0])
    replay = Store(out, PLENTY, replayed=first.folder)
    again = replay.folder(first.plan.name)
    assert again != first.folder
    assert "replay" in again.name
    assert load_record(first.folder).logs[0].exists()
    assert Store(out, PLENTY, replayed=again).folder(first.plan.name) != again
    assert load_record(first.folder).logs[0].exists()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param('{"version": 1', id="cut off"),
        pytest.param("[]", id="a list"),
        pytest.param("{}", id="no version"),
        pytest.param('{"version": 1}', id="no plan"),
        pytest.param('{"version": 2}', id="another version"),
        pytest.param('{"version": 1, "plan": 5}', id="a plan of another kind"),
        pytest.param('{"version": 1, "plan": {"cut": 5, "loss": "cache"}}', id="a cut of another kind"),
        pytest.param('{"version": 1, "plan": {"cut": "moon:full", "loss": "cache"}}', id="no such trigger"),
        pytest.param('{"version": 1, "plan": {"cut": null, "loss": "hope"}}', id="no such loss model"),
    ],
)
def test_what_is_no_record_is_the_users_to_mend(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(UsageError):
        load_record(tmp_path)


def test_a_folder_without_a_record_is_the_users_to_correct(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no record of a trial"):
        load_record(tmp_path / "nowhere")


def test_a_record_of_a_later_version_is_told_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(json.dumps({"version": 2}))
    with pytest.raises(UsageError, match="a record of version 2"):
        load_record(tmp_path)
