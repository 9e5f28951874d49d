"""One place of a real labgrid coordinator for each process; none is kept by a run that is over, however it ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from labgrid import Environment

from powercut.clock import MonotonicClock, poll
from powercut.errors import RigError, UsageError
from powercut.lab.places import Wanted, free_places, hold
from powercut.lab.places.holding import GRACE_S
from powercut.lab.places.owner import owner_of
from powercut.lab.places.session import forget_session

BIN = Path(sys.executable).parent
CLOCK = MonotonicClock()
# a killed holder's guard has to start a Python and to look twice
GIVEN_BACK_S = 30.0
ENVIRONMENT = """
targets:
  main:
    resources:
      RemotePlace: {{name: '{name}'}}
    drivers: {{}}
    options:
      powercut:
        client: ostree
        repo: repo
        ref: stable
        releases:
          base: {{version: "1.0", commit: abc}}
          next: {{version: "1.1", commit: def}}
        update: ota-update {{url}}
{places}
imports: [powercut.lab]
"""
CONFTEST = """
import os
from pathlib import Path

import pytest
from powercut.clock import MonotonicClock, poll
from powercut.plugin import HOLD

HERE = Path(__file__).parent

@pytest.fixture(autouse=True)
def noted(request, target):
    place = request.config.stash[HOLD].place
    with (HERE / "ran.txt").open("a") as file:
        file.write(f"{os.getpid()} {place} {request.node.nodeid}\\n")
    yield

def until(ready):
    assert poll(ready, MonotonicClock(), limit_s=60)
"""
SUITE = """
import pytest

@pytest.mark.parametrize("cut", "abcdef")
def test_cut(cut):
    pass
"""
# runs until it is killed
ENDLESS = """
import pytest
from conftest import HERE, until

@pytest.mark.parametrize("cut", "abcd")
def test_cut(cut):
    until(lambda: (HERE / "go").exists())
"""
HOLDER = """
import os, subprocess, sys
from powercut.lab.places import Wanted, hold
held = hold(Wanted("test", sys.argv[1], None, {"board": "virtual"}), run="the run", limit_s=10)
sleeper = [sys.executable, "-c", "import signal; signal.pause()"]
child = subprocess.Popen(sleeper, pass_fds=[held.lifeline]) if "child" in sys.argv else None
print(held.place, held.owner, child and child.pid, flush=True)
sys.stdin.read()
"""


class Lab:
    """A coordinator on loopback with places that have no exporter, unless `export` starts one."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.folder = folder
        self._stack = stack
        self._coordinator: subprocess.Popen[bytes] | None = None

    def has(self, **matches: str | None) -> None:
        """Places by name, each with what it matches, if anything; all are tagged board=virtual."""
        known = {
            name: {
                "tags": {"board": "virtual"},
                "matches": [dict(zip(("exporter", "group", "cls"), match.split("/"), strict=True))] if match else [],
            }
            for name, match in matches.items()
        }
        (self.folder / "places.yaml").write_text(yaml.safe_dump(known))

    @property
    def pid(self) -> int:
        assert self._coordinator is not None
        return self._coordinator.pid

    def start(self) -> None:
        self._coordinator = self._run("coordinator", "-l", self.address)
        assert poll(self._listens, CLOCK, limit_s=30)

    def stop(self) -> None:
        assert self._coordinator is not None
        self._coordinator.kill()
        self._coordinator.wait()

    def export(self) -> None:
        (self.folder / "exporter.yaml").write_text("desk: {NetworkService: {address: 127.0.0.1, username: root}}")
        self._run("exporter", "-c", self.address, "-n", "bench", "--hostname", "127.0.0.1", "exporter.yaml")

    def client(self, *words: str, user: str = "tester") -> str:
        line = [str(BIN / "labgrid-client"), "-x", self.address, *words]
        shell = {**os.environ, "LG_USERNAME": user, "LG_HOSTNAME": "desk"}
        return subprocess.run(line, env=shell, capture_output=True, text=True, timeout=30, check=True).stdout

    def holders(self) -> dict[str, str]:
        """User by place."""
        return {place: user for user, _, place, *_ in (line.split() for line in self.client("who").splitlines()[1:])}

    def is_idle(self) -> bool:
        return not self.holders() and not self.client("reservations")

    def becomes_idle(self) -> bool:
        return bool(poll(self.is_idle, CLOCK, limit_s=GIVEN_BACK_S, every_s=0.5))

    def _run(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{program}.log").open("ab") as log:
            process = subprocess.Popen([BIN / f"labgrid-{program}", *words], cwd=self.folder, stdout=log, stderr=log)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def _listens(self) -> bool:
        host, _, port = self.address.partition(":")
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return True
        return False


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Two places, a and b, both free."""
    monkeypatch.setenv("LG_HOSTNAME", "desk")
    monkeypatch.setenv("LG_USERNAME", "tester")
    for name in ("LG_ENV", "LG_TOKEN", "LG_COORDINATOR"):
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as stack:
        (tmp_path / "lab").mkdir()
        lab = Lab(tmp_path / "lab", stack)
        lab.has(a=None, b=None)
        lab.start()
        yield lab
        assert poll(lambda: not guards(lab), CLOCK, limit_s=GIVEN_BACK_S, every_s=0.1)


def guards(lab: Lab) -> list[str]:
    """The command lines of the guards that still have to do with this lab."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(file.read_bytes().replace(b"\0", b" ").decode().strip())
    return [line for line in lines if line.endswith(f"powercut.lab.places.guard {lab.address}")]


@pytest.fixture
def suite(lab: Lab, pytester: pytest.Pytester) -> pytest.Pytester:
    describe(pytester)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_cuts=SUITE)
    return pytester


def describe(pytester: pytest.Pytester, name: str = "+", places: str = "        places: {board: virtual}") -> None:
    pytester.makefile(".yaml", board=ENVIRONMENT.format(name=name, places=places))


def run(suite: pytest.Pytester, lab: Lab, *options: str) -> pytest.RunResult:
    return suite.runpytest_subprocess(*arguments(lab), *options, timeout=120)


def arguments(lab: Lab) -> tuple[str, ...]:
    return ("-p", "no:hypothesispytest", "--lg-env=board.yaml", f"--lg-coordinator={lab.address}")


def ran(suite: pytest.Pytester) -> list[tuple[int, str, str]]:
    """(process, place, test) for each test that was run."""
    file = suite.path / "ran.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(pid), place, test) for pid, place, test in (line.split() for line in lines)]


def text_of(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def places_wanted(lab: Lab) -> Wanted:
    return Wanted("board.yaml", lab.address, None, {"board": "virtual"})


def resources_seen_by_labgrid(lab: Lab) -> list[str]:
    """The classes of a new target's resources."""
    file = lab.folder / "seen.yaml"
    main = {"resources": {"RemotePlace": {"name": "+"}}}
    file.write_text(yaml.safe_dump({"targets": {"main": main}, "options": {"coordinator_address": lab.address}}))
    return [type(resource).__name__ for resource in Environment(str(file)).get_target().resources]


def lives(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


@contextmanager
def holder(lab: Lab, *words: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A process that holds a place, and what it says: place, owner, process id of a child."""
    line = [sys.executable, "-c", HOLDER, lab.address, *words]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline().split()
        try:
            yield process, said
        finally:
            process.kill()
            if words:
                with suppress(ProcessLookupError):
                    os.kill(int(said[2]), signal.SIGKILL)


def test_each_worker_has_a_place_of_its_own_and_gives_it_back(suite: pytest.Pytester, lab: Lab) -> None:
    result = run(suite, lab, "-n2", "--lg-log=log")
    assert result.ret == 0
    places = {pid: place for pid, place, _ in ran(suite)}
    assert sorted(places.values()) == ["a", "b"]
    assert len(ran(suite)) == 6
    assert lab.is_idle()
    assert {folder.name for folder in (suite.path / "log").iterdir()} == {"gw0", "gw1"}


def test_without_workers_the_only_process_has_a_place(suite: pytest.Pytester, lab: Lab) -> None:
    assert run(suite, lab, "-p", "no:xdist").ret == 0
    assert len({place for _, place, _ in ran(suite)}) == 1
    assert lab.is_idle()


def test_a_worker_that_gets_no_place_takes_no_tests_and_holds_nobody_up(suite: pytest.Pytester, lab: Lab) -> None:
    result = run(suite, lab, "-n3")
    assert result.ret == 0
    assert result.duration < 60
    assert len(ran(suite)) == 6
    assert {place for _, place, _ in ran(suite)} == {"a", "b"}
    result.stdout.fnmatch_lines(["*NoPlace: *no place with board=virtual was free*a is held by desk/powercut-*"])
    assert lab.is_idle()


def test_as_many_workers_as_there_are_free_places(suite: pytest.Pytester, lab: Lab) -> None:
    run(suite, lab, "-nauto").stdout.fnmatch_lines(["2 workers *"])
    lab.client("-p", "b", "acquire", user="colleague")
    run(suite, lab, "-nauto").stdout.fnmatch_lines(["1 worker *"])


def test_a_lab_that_others_use_makes_all_inconclusive_and_says_who(suite: pytest.Pytester, lab: Lab) -> None:
    lab.client("-p", "a", "acquire", user="colleague")
    lab.client("-p", "b", "acquire", user="colleague")
    result = run(suite, lab, "-n2", "--powercut-wait=1")
    assert result.ret == 10
    result.stderr.fnmatch_lines(["powercut: waiting up to 1 s for a place with board=virtual: a is held by desk/col*"])
    result.stdout.fnmatch_lines(["*a is held by desk/colleague; b is held by desk/colleague*", "*6 inconclusive*"])
    alone = run(suite, lab, "-p", "no:xdist", "--powercut-wait=1")
    assert alone.ret == 10
    alone.stderr.fnmatch_lines(["powercut: waiting up to 1 s for a place with board=virtual: a is held by desk/col*"])
    assert text_of(alone).count("was free within") == 1
    assert set(lab.holders().values()) == {"colleague"}


@pytest.mark.parametrize("workers", [("-p", "no:xdist"), ("-n2",), ("-nauto",)], ids=["alone", "two", "auto"])
def test_a_lab_that_is_away_is_one_message(suite: pytest.Pytester, lab: Lab, workers: tuple[str, ...]) -> None:
    lab.stop()
    result = run(suite, lab, *workers)
    assert result.ret == 10
    assert text_of(result).count("can't be reached") == 1
    assert f"labgrid coordinator {lab.address}" in text_of(result)
    assert "to do: start labgrid-coordinator" in text_of(result)
    assert "Traceback" not in text_of(result)


@pytest.mark.parametrize("workers", [("-p", "no:xdist"), ("-n2",), ("-nauto",)], ids=["alone", "two", "auto"])
def test_tags_that_no_place_has_are_one_message_and_status_4(
    suite: pytest.Pytester, lab: Lab, workers: tuple[str, ...]
) -> None:
    describe(suite, places="        places: {board: rapsberry}")
    result = run(suite, lab, *workers)
    assert result.ret == 4
    assert text_of(result).count("has no place with board=rapsberry") == 1
    assert "there are a (board=virtual); b (board=virtual)" in text_of(result)
    assert "Traceback" not in text_of(result)


def test_what_runs_no_tests_asks_for_no_place(suite: pytest.Pytester, lab: Lab) -> None:
    lab.stop()
    assert run(suite, lab, "--collect-only").ret == 0
    assert run(suite, lab, "--fixtures").ret == 0


def test_one_place_by_name_is_held_by_one_worker(suite: pytest.Pytester, lab: Lab) -> None:
    describe(suite, name="b", places="")
    result = run(suite, lab, "-n2")
    assert result.ret == 0
    assert len({pid for pid, _, _ in ran(suite)}) == 1
    assert {place for _, place, _ in ran(suite)} == {"b"}
    assert lab.is_idle()


def test_a_place_that_the_user_acquired_is_used_and_left_to_him(suite: pytest.Pytester, lab: Lab) -> None:
    describe(suite, name="b", places="")
    lab.client("-p", "b", "acquire")
    assert run(suite, lab, "-p", "no:xdist").ret == 0
    assert lab.holders() == {"b": "tester"}


@contextmanager
def endless(suite: pytest.Pytester, lab: Lab) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """A run of two workers in the middle of its tests, and who holds which place."""
    suite.makepyfile(test_cuts=ENDLESS)
    line = [sys.executable, "-m", "pytest", *arguments(lab), "-n2"]
    out = (suite.path / "out.txt").open("wb")

    def heeding() -> None:
        """A shell lets what runs in its background ignore SIGINT, these tests as well."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with (
        out,
        subprocess.Popen(
            line,
            cwd=suite.path,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=heeding,  # noqa: PLW1509
        ) as process,
    ):
        try:
            assert poll(lambda: len({pid for pid, *_ in ran(suite)}) == 2, CLOCK, limit_s=60, every_s=0.1)
            yield process, lab.holders()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_a_run_that_is_killed_leaves_no_place_and_no_process(
    suite: pytest.Pytester, lab: Lab, how: signal.Signals
) -> None:
    with endless(suite, lab) as (process, holders):
        assert set(holders) == {"a", "b"}
        os.killpg(process.pid, how)
        process.wait(60)
        assert lab.becomes_idle()
        owners = [owner for user in holders.values() if (owner := owner_of(user)) is not None]
        assert len(owners) == 2
        guards = [owner.guard for owner in owners]
        assert poll(lambda: not any(map(lives, guards)), CLOCK, limit_s=GIVEN_BACK_S)


def test_workers_whose_controller_is_killed_leave_no_place(suite: pytest.Pytester, lab: Lab) -> None:
    with endless(suite, lab) as (process, _):
        process.kill()
        assert lab.becomes_idle()


def test_the_place_of_a_worker_that_is_killed_goes_to_the_one_that_replaces_it(
    suite: pytest.Pytester, lab: Lab
) -> None:
    with endless(suite, lab) as (process, holders):
        victim = owner_of(holders["a"])
        assert victim is not None
        os.kill(victim.pid, signal.SIGKILL)
        assert poll(lambda: lab.holders().get("a", holders["a"]) != holders["a"], CLOCK, limit_s=GIVEN_BACK_S)
        (suite.path / "go").touch()
        assert process.wait(60) == 1
    assert lab.is_idle()
    assert "replacing crashed worker" in (suite.path / "out.txt").read_text()
    assert {test.rpartition("::")[2] for _, _, test in ran(suite)} == {f"test_cut[{cut}]" for cut in "abcd"}


def test_who_inherits_the_lifeline_keeps_the_place(lab: Lab) -> None:
    with holder(lab, "child") as (process, (place, owner, child)):
        process.kill()
        process.wait()
        assert place not in free_places(places_wanted(lab))
        # what a guard that does not wait would need to give it back
        assert not poll(lab.is_idle, CLOCK, limit_s=5, every_s=0.5)
        assert lab.holders() == {place: owner.partition("/")[2]}
        os.kill(int(child), signal.SIGKILL)
        assert lab.becomes_idle()


def test_a_process_waits_for_what_a_killed_one_of_its_run_will_let_go(lab: Lab) -> None:
    with holder(lab, "child") as (process, (place, _, child)):
        lab.client("-p", "b" if place == "a" else "a", "acquire", user="colleague")
        process.kill()
        process.wait()
        ends = threading.Timer(2 * GRACE_S, os.kill, (int(child), signal.SIGKILL))
        ends.start()
        held = hold(places_wanted(lab), run="the run", limit_s=30)
        ends.join()
        assert held.place == place
        held.release()


def test_a_guard_keeps_no_pipe_of_a_run_open(lab: Lab) -> None:
    with holder(lab) as (process, (_, text, _)):
        owner = owner_of(text)
        assert owner is not None
        lab.stop()
        process.kill()
        process.communicate(timeout=10)
        assert lives(owner.guard)
        os.kill(owner.guard, signal.SIGKILL)


def test_what_even_the_guard_left_behind_is_swept_by_the_next_run(lab: Lab) -> None:
    with holder(lab) as (process, (place, text, _)):
        owner = owner_of(text)
        assert owner is not None
        assert place not in free_places(places_wanted(lab))
        os.kill(owner.guard, signal.SIGKILL)
        assert place not in free_places(places_wanted(lab))
        process.kill()
        process.wait()
        assert list(lab.holders()) == [place]
        assert free_places(places_wanted(lab)) == ["a", "b"]
        assert lab.is_idle()


def test_what_others_left_behind_is_theirs(lab: Lab) -> None:
    lab.client("-p", "a", "acquire", user="powercut-4194301.7-4194302.7-00000000-00000000")
    lab.client("-p", "b", "acquire", user="colleague")
    assert free_places(places_wanted(lab)) == []


def test_who_holds_a_place_is_told(lab: Lab) -> None:
    lab.client("-p", "a", "acquire", user="colleague")
    with pytest.raises(RigError, match="no place a was free within 0 s: a is held by desk/colleague"):
        hold(Wanted("board.yaml", lab.address, "a", {}), limit_s=0)
    lab.client("reserve", "name=b", user="stranger")
    with pytest.raises(RigError, match="no place b was free within 0 s: b is reserved by desk/stranger"):
        hold(Wanted("board.yaml", lab.address, "b", {}), limit_s=0)
    assert re.findall("owner: (.*)", lab.client("reservations")) == ["desk/stranger"]
    with pytest.raises(UsageError, match="has no places called 'c'"):
        hold(Wanted("board.yaml", lab.address, "c", {}), limit_s=0)


def test_a_place_is_taken_as_soon_as_it_is_let_go(lab: Lab) -> None:
    lab.client("-p", "a", "acquire", user="colleague")
    with holder(lab) as (other, _):

        def let_go(told: str) -> None:
            assert "b is held by desk/powercut-" in told
            other.communicate()

        held = hold(places_wanted(lab), limit_s=10, say=let_go)
        assert held.place == "b"
        held.release()


def test_a_place_is_held_again_after_the_coordinator_forgot_it(lab: Lab) -> None:
    held = hold(places_wanted(lab), limit_s=5)
    before = os.environ["LG_TOKEN"]
    assert held.renew(5) == held.place
    assert os.environ["LG_TOKEN"] == before
    lab.stop()
    with pytest.raises(RigError, match=f"place {held.place} did not come back within 1 s: can't be reached"):
        held.renew(1)
    lab.start()
    assert lab.is_idle()
    assert held.renew(10) == held.place
    assert list(lab.holders()) == [held.place]
    assert os.environ["LG_TOKEN"] in lab.client("reservations")
    held.release()
    assert lab.is_idle()
    assert "LG_TOKEN" not in os.environ


def test_another_place_is_held_where_somebody_was_faster(lab: Lab) -> None:
    held = hold(places_wanted(lab), limit_s=5)
    first = held.place
    lab.stop()
    lab.start()
    lab.client("-p", first, "acquire", user="colleague")
    assert held.renew(10) != first
    assert set(lab.holders()) == {"a", "b"}
    held.release()
    assert lab.holders() == {first: "colleague"}


def test_a_place_is_held_again_only_with_its_resources(lab: Lab) -> None:
    lab.stop()
    lab.has(a="bench/desk/NetworkService")
    lab.start()
    with pytest.raises(RigError, match="place a lacks bench/desk/NetworkService"):
        hold(places_wanted(lab), limit_s=5)
    lab.export()
    assert poll(lambda: "bench" in lab.client("resources"), CLOCK, limit_s=30, every_s=0.3)
    held = hold(places_wanted(lab), limit_s=5)
    assert resources_seen_by_labgrid(lab) == ["RemotePlace", "NetworkService"]
    lab.stop()
    lab.start()
    with pytest.raises(RigError, match="within 1 s: place a lacks bench/desk/NetworkService"):
        held.renew(1)
    lab.export()
    assert held.renew(30) == "a"
    assert list(lab.holders()) == ["a"]
    assert resources_seen_by_labgrid(lab) == ["RemotePlace", "NetworkService"]
    forget_session()
    held.release()


def test_a_place_whose_exporter_is_dead_is_passed_over_and_said_once(lab: Lab) -> None:
    said: list[str] = []
    lab.stop()
    lab.has(a="bench/desk/NetworkService", b=None, c=None)
    lab.start()
    assert free_places(places_wanted(lab)) == ["b", "c"]
    first = hold(places_wanted(lab), limit_s=5, say=said.append)
    second = hold(places_wanted(lab), limit_s=5)
    assert {first.place, second.place} == {"b", "c"}
    assert said == ["powercut: passed over: place a lacks bench/desk/NetworkService, no exporter offers it"]
    with pytest.raises(RigError, match=r"a lacks bench/desk/NetworkService; b is held by"):
        hold(places_wanted(lab), limit_s=0)
    second.release()
    first.release()
    assert lab.is_idle()


def test_a_place_by_its_name_is_never_passed_over(lab: Lab) -> None:
    lab.stop()
    lab.has(a="bench/desk/NetworkService", b=None)
    lab.start()
    with pytest.raises(RigError, match="place a lacks bench/desk/NetworkService"):
        hold(Wanted("board.yaml", lab.address, "a", {}), limit_s=5)


def test_workers_are_counted_by_the_places_that_can_be_used(suite: pytest.Pytester, lab: Lab) -> None:
    lab.stop()
    lab.has(a="bench/desk/NetworkService", b=None)
    lab.start()
    result = run(suite, lab, "-nauto")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 worker *"])
    assert text_of(result).count("passed over: place a lacks") == 1
    assert {place for _, place, _ in ran(suite)} == {"b"}


def test_where_every_exporter_is_dead_that_is_one_message(suite: pytest.Pytester, lab: Lab) -> None:
    lab.stop()
    lab.has(a="bench/desk/NetworkService", b="bench/desk/NetworkService")
    lab.start()
    result = run(suite, lab, "-n2")
    assert result.ret == 10
    assert text_of(result).count("place a lacks") == text_of(result).count("place b lacks") == 1


def test_a_place_is_given_back_though_the_coordinator_was_away(lab: Lab) -> None:
    held = hold(places_wanted(lab), limit_s=5)
    os.kill(lab.pid, signal.SIGSTOP)
    held.release()
    os.kill(lab.pid, signal.SIGCONT)
    assert lab.becomes_idle()
