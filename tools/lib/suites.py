"""The conformance suite on several devices, and one table of it: device x promise.

A promise is a test of the suite, in the words of its name. Each cell counts its cases: held, VIOLATED, INCONCLUSIVE
(the rig's fault), ERROR (ours), skipped; the reasons stand below the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from powercut.report.junit import TYPE

ROOT = Path(__file__).resolve().parents[2]
DEVICES = ("ostree", "rauc", "swupdate", "mender")
HELD, VIOLATED, INCONCLUSIVE, ERROR, SKIPPED = "held", "VIOLATED", "INCONCLUSIVE", "ERROR", "skipped"
# exit codes of a run that came to its end: all held, one violated, only inconclusive ones
ENDED = {0, 1, 10}


@dataclass(frozen=True)
class Case:
    """One test of a run: the promise that it is about, what came of it, and why."""

    promise: str
    outcome: str
    why: str = ""


def cases(file: Path) -> Iterator[Case]:
    """Those of a JUnit file of the plugin."""
    for case in ET.parse(file).iter("testcase"):
        promise = case.get("name", "").partition("[")[0].removeprefix("test_").replace("_", " ")
        skipped, failure, error = (case.find(what) for what in ("skipped", "failure", "error"))
        if skipped is not None:
            yield Case(promise, SKIPPED, _why(skipped))
        elif error is not None and error.get("type") == TYPE:
            yield Case(promise, INCONCLUSIVE, _why(error))
        elif error is not None:
            yield Case(promise, ERROR, _why(error))
        elif failure is not None:
            yield Case(promise, VIOLATED, _why(failure))
        else:
            yield Case(promise, HELD)


def _why(said: ET.Element | None) -> str:
    text = said.get("message", "") if said is not None else ""
    return text.splitlines()[0].strip() if text.strip() else ""


def table(runs: Mapping[str, Sequence[Case]]) -> str:
    """Markdown: a row per promise, a column per device, and the reasons below."""
    promises = list(dict.fromkeys(case.promise for found in runs.values() for case in found))
    reasons: dict[str, int] = {}
    lines = [f"| promise | {' | '.join(runs)} |", "|---" * (len(runs) + 1) + "|"]
    for promise in promises:
        cells = [_cell([case for case in found if case.promise == promise], reasons) for found in runs.values()]
        lines.append(f"| {promise} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"[{number}] {why}" for why, number in reasons.items())])


def _cell(found: Sequence[Case], reasons: dict[str, int]) -> str:
    counts = Counter(case.outcome for case in found)
    told = []
    for outcome in (VIOLATED, INCONCLUSIVE, ERROR, HELD, SKIPPED):
        whys = dict.fromkeys(case.why for case in found if case.outcome == outcome and case.why)
        notes = "".join(f" [{reasons.setdefault(why, len(reasons) + 1)}]" for why in whys)
        if counts[outcome]:
            told.append(f"{outcome if counts[outcome] == 1 else f'{counts[outcome]} {outcome}'}{notes}")
    return ", ".join(told) or "not run"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/suites", description=__doc__)
    parser.add_argument("--seed", default="7")
    parser.add_argument("--out", type=Path, default=ROOT / "powercut-out/suites")
    parser.add_argument(
        "environments", type=Path, nargs="*", default=[ROOT / f"env/qemu-{name}.yaml" for name in DEVICES]
    )
    ours, theirs = sys.argv[1:], list[str]()
    if "--" in ours:
        at = ours.index("--")
        ours, theirs = ours[:at], ours[at + 1 :]
    options = parser.parse_args(ours)
    runs: dict[str, list[Case]] = {}
    status = 0
    for environment in options.environments:
        name = environment.stem.removeprefix("qemu-")
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        junit = folder / "junit.xml"
        junit.unlink(missing_ok=True)
        line = [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            "2",
            "--lg-env",
            str(environment),
            "--powercut-seed",
            options.seed,
        ]
        line += ["--powercut-out", str(folder / "out"), "--junitxml", str(junit), "--pyargs", "powercut.conformance"]
        ended = subprocess.run([*line, *theirs], cwd=ROOT, check=False).returncode
        status = max(status, ended)
        if ended not in ENDED or not junit.exists():
            print(f"{environment}: pytest ended with {ended}, see above; it has no column", file=sys.stderr)
            continue
        runs[name] = list(cases(junit))
        (options.out / "table.md").write_text(table(runs) + "\n")
        (options.out / "table.json").write_text(
            json.dumps({device: [vars(case) for case in found] for device, found in runs.items()}, indent=1)
        )
    print(table(runs))
    return status


if __name__ == "__main__":
    sys.exit(main())
