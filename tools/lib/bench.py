"""What powercut costs, as ratios against a baseline in the same run. Figures of an idle machine; nothing asserts them.

The baseline trial is what a careful user writes with labgrid alone: boot the image, update, kill QEMU when half of the
update was fetched, boot again, check what runs. The baseline of drawing and judging is a loop over the same states with
the tools one has: qemu-img, e2fsck and debugfs on a copy of the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random

from labgrid import Environment

from powercut.clock import MonotonicClock
from powercut.disk.qcow2 import write_overlay
from powercut.lab.reader import ConsoleReader
from powercut.model import LossModel
from powercut.origin.gate import Gate, Limit
from powercut.rehearsal import Rehearsal, Stimulus, rehearse
from powercut.rig import Rig, attach
from powercut.trial import Plan, drawn, recording_of, run_trial
from powercut.triggers import at

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tools.lib import bench_suite  # noqa: E402  (the tools are no package of an installation)
from tools.lib.bench_lab import through_the_lab  # noqa: E402

ENVIRONMENT = ROOT / "env/qemu-ostree.yaml"
MIB = 1 << 20
GOAL = re.compile(r"at (most|least) ([0-9.]+)")


@dataclass(frozen=True)
class Figure:
    """One line of the table. `ratio` compares with the baseline; `goal` is what it is meant to be."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    goal: str = ""

    @property
    def missed(self) -> bool:
        """Whether a goal was set and not reached, by the ratio where there is one."""
        goal = GOAL.match(self.goal)
        found = self.value if self.ratio is None else self.ratio
        return goal is not None and (found > float(goal[2]) if goal[1] == "most" else found < float(goal[2]))


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


@contextmanager
def rig_on_reference() -> Iterator[Rig]:
    env = Environment(str(ENVIRONMENT))
    try:
        with attach(env.get_target()) as rig:
            yield rig
    finally:
        env.cleanup()


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def boot_to_prompt(rig: Rig) -> list[Figure]:
    """A cold boot of the image, recorded."""
    device = rig.device
    power = device.power
    power.rest()
    for stack in power._stacks:
        stack.reset()
    device.power_on()
    began, before = time.monotonic(), power.cpu_s()
    device.await_shell(rig.setup.boot_s)
    wall, cpu = time.monotonic() - began, power.cpu_s() - before
    device.power_off()
    return [Figure("boot to prompt", wall, "s"), Figure("boot to prompt, QEMU", cpu, "CPU s", goal="8 to 10")]


def fork_to_command(rig: Rig, samples: int) -> Figure:
    """From nothing to the output of a first command, the device on its base release."""

    def once() -> None:
        with rig.known(Random(1)):
            rig.device.run("true")

    return Figure("fork to first command", statistics.median(timed(once) for _ in range(samples)), "s")


def baseline_trial(rig: Rig, half: int) -> None:
    """Boot, update, kill at half, boot, check: labgrid alone, on the same virtual board and origin."""
    device, power = rig.device, rig.device.power
    power.rest()
    for stack in power._stacks:
        stack.reset()
    device.power_on()
    device.await_shell(rig.setup.boot_s)
    release = rig.setup.release("next")
    rig.offer(release)
    killed = threading.Event()

    def kill() -> None:
        power.cut()
        killed.set()

    rig.origin.arm(Gate(Limit(payload_bytes=half, dwell_s=0.5), kill))
    try:
        device.run(rig.client.filled(rig.setup.update, release, rig.url), rig.setup.update_s)
    except Exception:
        killed.wait(10)
    device.power_off()
    rig.origin.drop_connections()
    device.power_on()
    device.await_shell(rig.setup.boot_s)
    rig.client.running(device)
    device.power_off()


def whole_trial(rig: Rig, number: int, then: str) -> object:
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(f"bench {number}", "next", at.fraction(0.5), LossModel.CACHE, str(number), then=then)
        return run_trial(rig, plan, Path(folder)).seen


def trials(rig: Rig, rehearsal: Rehearsal, pairs: int) -> list[Figure]:
    """Interleaved pairs, so that a busy moment of the host meets both."""
    ours, bare = [], []
    for number in range(pairs):
        ours.append(timed(partial(whole_trial, rig, number, "boot")))
        bare.append(timed(lambda: baseline_trial(rig, rehearsal.whole_bytes // 2)))
    mine, theirs = statistics.median(ours), statistics.median(bare)
    return [
        Figure("trial (fork, update, cut, loss, judge, boot)", mine, "s", theirs, theirs / mine, "at least 1.4 x"),
    ]


def overhead(rig: Rig, count: int) -> Figure:
    """CPU seconds of the whole process tree over what the guest itself has to do: update, boots, retry."""
    power = rig.device.power
    guest, whole = power.cpu_s(), cpu_s()
    for number in range(count):
        whole_trial(rig, 1000 + number, "retry")
    mine, total = power.cpu_s() - guest, cpu_s() - whole
    name = "CPU of a trial over its guest's own"
    return Figure(name, total / count, "CPU s", mine / count, total / mine, "at most 1.15")


def states(rig: Rig, rehearsal: Rehearsal, count: int, bare_count: int) -> Figure:
    """States drawn and judged on the host per minute, against a bare loop of qemu-img, e2fsck and debugfs."""
    assert rig.judge is not None
    recording = recording_of(rig, rehearsal.log_paths, rehearsal.done, rehearsal.began)
    rig.judge.look(drawn(recording, LossModel.CACHE, Random(0), "0")[0])

    def ours() -> None:
        for seed in range(count):
            rig.judge.look(drawn(recording, LossModel.CACHE, Random(seed), str(seed))[0])  # type: ignore[union-attr]

    def bare() -> None:
        for seed in range(bare_count):
            bare_state(rig, drawn(recording, LossModel.CACHE, Random(seed), str(seed))[0])

    mine = 60 * count / timed(ours)
    theirs = 60 * bare_count / timed(bare)
    return Figure("states drawn and judged", mine, "per minute", theirs, mine / theirs, "at least 20 x")


def bare_state(rig: Rig, state: object) -> None:
    """One state judged with what is at hand, as deep as ours: fsck, every object, every file of every deployment."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        overlay, raw = Path(folder) / "state.qcow2", Path(folder) / "state.img"
        write_overlay(overlay, state, rig.device.power.base)  # type: ignore[arg-type]
        run("qemu-img", "convert", "-O", "raw", str(overlay), str(raw))
        for name, start, size in (("boot", 1, 160), ("root", 161, 900)):
            part = Path(folder) / f"{name}.img"
            run(
                "dd", f"if={raw}", f"of={part}", "bs=1M", f"skip={start}", f"count={size}", "conv=sparse", "status=none"
            )
            run("e2fsck", "-fy", str(part))
        dump = Path(folder) / "ostree"
        run("debugfs", "-R", f"rdump /ostree {folder}", str(Path(folder) / "root.img"))
        run("ostree", "fsck", "-q", "--all", f"--repo={dump}/repo")
        run("sh", "-c", f"find {dump}/deploy -type f -print0 | xargs -0 sha256sum | sort >{folder}/found")


def run(*args: str) -> None:
    subprocess.run(args, capture_output=True, check=False)


def reaction(samples: int) -> list[Figure]:
    """A line readable on the host's end of the console, until kill(2) was called, and until the victim is reaped."""
    import socket

    called, reaped = [], []
    for _ in range(samples):
        ours, theirs = socket.socketpair()
        victim = subprocess.Popen(["sleep", "60"])
        reader, done = ConsoleReader(MonotonicClock()), threading.Event()
        marks: list[float] = []

        reader.attach(ours)
        reader.watch("Deploying", partial(_kill, victim, marks, done))
        began = time.monotonic()
        theirs.sendall(b"Deploying\n")
        done.wait(5)
        called.append(1000 * (marks[0] - began))
        reaped.append(1000 * (marks[1] - began))
        theirs.close()
        reader.detach()
        ours.close()
    return [
        Figure("line readable to kill(2) called", statistics.median(called), "ms", goal="at most 1"),
        Figure("line readable to process reaped", statistics.median(reaped), "ms"),
    ]


def _kill(victim: subprocess.Popen[bytes], marks: list[float], done: threading.Event, _line: str) -> None:
    victim.kill()
    marks.append(time.monotonic())
    victim.wait()
    marks.append(time.monotonic())
    done.set()


def table(figures: list[Figure]) -> str:
    rows = [("figure", "value", "unit", "baseline", "ratio", "goal")]
    for figure in figures:
        baseline = f"{figure.baseline:.2f}" if figure.baseline is not None else ""
        ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else ""
        rows.append((figure.name, f"{figure.value:.2f}", figure.unit, baseline, ratio, _goal(figure)))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _goal(figure: Figure) -> str:
    return f"{figure.goal}: MISSED" if figure.missed else figure.goal


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("--json", type=Path, default=ROOT / "powercut-out/bench.json", help="where the figures go")
    parser.add_argument("--pairs", type=int, default=3, help="interleaved pairs of trials (default: 3)")
    parser.add_argument("--cuts", type=int, default=30, help="cuts per way to a supply (default: 30)")
    parser.add_argument("--suite", type=Path, help="tell only where the time of a run went: its --powercut-out folder")
    options = parser.parse_args()
    if options.suite is not None:
        print(bench_suite.table(options.suite))
        return 0
    if os.getloadavg()[0] > 1:
        print(f"the load is {os.getloadavg()[0]:.1f}: figures of a busy machine", file=sys.stderr)
    figures = reaction(30)
    with rig_on_reference() as rig:
        figures += boot_to_prompt(rig)
        rehearsal = rehearse(rig, Stimulus(rig.setup.release("next")))
        figures.append(fork_to_command(rig, 5))
        figures.append(states(rig, rehearsal, 60, 3))
        figures += trials(rig, rehearsal, options.pairs)
        figures.append(overhead(rig, 2))
    figures += [Figure(name, value, unit, goal=goal) for name, value, unit, goal in through_the_lab(options.cuts)]
    print(table(figures))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1))
    return 1 if any(figure.missed for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
