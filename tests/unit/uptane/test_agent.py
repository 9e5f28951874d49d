"""The agent of the device with metadata: what it believes, what it keeps, and how it settles its record."""

from __future__ import annotations

import json
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

from powercut.uptane import Flaw, Spoilt

from .conftest import IMAGE, OTHER, Backend

AGENT = Path(__file__).parents[3] / "tools/images/device/uptane/usr/bin/ota-uptane"
EACH = [Spoilt(flaw, *place) for flaw in Flaw for place in flaw.places]


@pytest.fixture
def agent(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The agent itself, with the paths of a device that is a folder."""
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader = SourceFileLoader("ota_uptane", str(AGENT))
    spec = spec_from_loader("ota_uptane", loader)
    assert spec is not None
    module: Any = module_from_spec(spec)
    loader.exec_module(module)
    module.TRUST, module.KEEP, module.WORK = (tmp_path / name for name in ("trust", "var/lib/uptane", "run"))
    module.RECORD = module.KEEP / "installed.json"
    module.time.sleep = lambda _seconds: None
    for name in ("director", "repo"):
        (module.TRUST / name).mkdir(parents=True)
        (module.TRUST / name / "root.json").write_bytes(backend.root(name))
    (module.TRUST / "ecu.json").write_text('{"serial": "car-7", "hardwareId": "board"}')
    module.KEEP.mkdir(parents=True)
    return module


def kept(agent: Any) -> dict[str, bytes]:
    return {str(file.relative_to(agent.KEEP)): file.read_bytes() for file in agent.KEEP.rglob("*") if file.is_file()}


def runs(agent: Any, monkeypatch: pytest.MonkeyPatch, booted: str, newest: str) -> None:
    monkeypatch.setattr(agent, "booted", lambda: f"/ostree/deploy/os/deploy/{booted}.0")
    monkeypatch.setattr(agent, "newest", lambda: f"{newest}.1")


def test_what_both_say_is_chosen_and_what_was_verified_is_kept(agent: Any, backend: Backend) -> None:
    backend.offer()
    assert agent.chosen(backend.url) == {"version": "1.1", "ref": "stable", "deltas": [], "commit": IMAGE.commit}
    names = {f"{name}/{file}.json" for name in ("director", "repo") for file in ("snapshot", "targets", "timestamp")}
    assert set(kept(agent)) == names | {f"{name}/root_history/1.root.json" for name in ("director", "repo")}


@pytest.mark.parametrize("spoilt", EACH, ids=str)
def test_what_is_wrong_is_refused_with_a_reason_and_nothing_of_it_is_kept(
    agent: Any, backend: Backend, capsys: pytest.CaptureFixture[str], spoilt: Spoilt
) -> None:
    backend.offer(IMAGE)
    agent.chosen(backend.url)
    before = kept(agent)
    backend.offer(OTHER, spoilt)
    with pytest.raises(SystemExit) as ended:
        agent.chosen(backend.url)
    assert ended.value.code == 1
    assert "UPTANE: refused: " in capsys.readouterr().out
    assert kept(agent) == before


def test_another_device_finds_nothing(agent: Any, backend: Backend) -> None:
    backend.offer()
    (agent.TRUST / "ecu.json").write_text('{"serial": "car-8", "hardwareId": "board"}')
    assert agent.chosen(backend.url) is None


def test_another_kind_of_device_refuses(agent: Any, backend: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    backend.offer()
    (agent.TRUST / "ecu.json").write_text('{"serial": "car-7", "hardwareId": "desk"}')
    with pytest.raises(SystemExit):
        agent.chosen(backend.url)
    assert "is for other hardware" in capsys.readouterr().out


@pytest.mark.parametrize("spoil", [b"", b"\0" * 400, b"{}"], ids=["empty", "zeros", "no metadata"])
def test_a_file_that_a_cut_damaged_is_fetched_again(agent: Any, backend: Backend, spoil: bytes) -> None:
    backend.offer()
    agent.chosen(backend.url)
    for file in agent.KEEP.rglob("*.json"):
        if file.name != "timestamp.json":
            file.write_bytes(spoil)
    backend.offer(OTHER)
    assert agent.chosen(backend.url)["commit"] == OTHER.commit


def test_a_server_that_is_down_is_given_up(agent: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        agent.chosen("http://127.0.0.1:9")
    assert "UPTANE: failed: metadata of repo" in capsys.readouterr().out


def test_a_record_names_what_runs_and_what_is_next(agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(agent, monkeypatch, "a", "a")
    assert not agent.settle()
    assert json.loads(agent.RECORD.read_text()) == {"installed": "a", "pending": None}
    runs(agent, monkeypatch, "a", "b")
    agent.settle()
    assert json.loads(agent.RECORD.read_text()) == {"installed": "a", "pending": "b"}
    runs(agent, monkeypatch, "b", "b")
    assert not agent.settle()
    assert json.loads(agent.RECORD.read_text()) == {"installed": "b", "pending": None}


def test_a_record_that_a_cut_left_behind_is_settled(agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(agent, monkeypatch, "a", "a")
    agent.settle()
    runs(agent, monkeypatch, "b", "b")
    assert agent.settle()
    assert json.loads(agent.RECORD.read_text()) == {"installed": "b", "pending": None}
    assert not agent.settle()


def test_a_fallback_is_what_runs(agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(agent, monkeypatch, "a", "b")
    agent.settle()
    assert not agent.settle()
    assert json.loads(agent.RECORD.read_text()) == {"installed": "a", "pending": "b"}
