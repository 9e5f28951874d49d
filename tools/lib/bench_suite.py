"""Where the time of a run goes, promise by promise, from the records of its trials.

`known`: to the known state (a fork, or the way back); `update`: the device's own updates that came to their end;
`boot`; `judge`: looking at the device and its disk; `rest`: all else, the interrupted update among it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PARTS = ("known", "update", "boot", "judge", "rest")
BOOTED = re.compile(r" in (\d+) s$")
UPDATES = ("update to", "back to", "activate")


def parts(seen: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of one trial per part, from the observation of its record."""
    steps = [*seen["steps"]]
    updates = [*seen["updates"], *seen["retries"], *(step for step in steps if step["what"].startswith(UPDATES))]
    boots = [boot["boot_s"] for boot in (seen["recovered"], seen["settled"]) if boot]
    boots += [float(booted[1]) for step in steps if (booted := BOOTED.search(step["says"]))]
    found = {
        "known": seen["known_s"] or 0.0,
        "update": sum(update["took_s"] for update in updates),
        "boot": sum(boots),
        "judge": seen.get("looked_s") or 0.0,
    }
    return {**found, "rest": max(0.0, (seen.get("took_s") or 0.0) - sum(found.values()))}


def of_run(out: Path) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Per set of promises that are judged by the same trials: their names, the number of trials, seconds per part."""
    trials: Counter[str] = Counter()
    seconds: dict[str, Counter[str]] = {}
    for file in sorted(out.glob("*/record.json")):
        record = json.loads(file.read_text())
        promise = ", ".join(sorted(record["verdicts"])) or "none"
        trials[promise] += 1
        seconds.setdefault(promise, Counter()).update(parts(record["observation"]))
    for promise, spent in sorted(seconds.items(), key=lambda item: -item[1].total()):
        yield promise, trials[promise], dict(spent)


def table(out: Path) -> str:
    """One line per set of promises, and their sum."""
    rows = [*of_run(out)]
    if not rows:
        raise SystemExit(f"{out}: no record.json in any folder below\n  to do: give the folder of --powercut-out")
    total = Counter[str]()
    for _, _, spent in rows:
        total.update(spent)
    rows.append(("all", sum(count for _, count, _ in rows), dict(total)))
    width = max(len(promise) for promise, _, _ in rows)
    head = f"{'promise':{width}} {'trials':>6} " + " ".join(f"{part:>7}" for part in (*PARTS, "sum"))
    lines = [
        f"{promise:{width}} {count:6} "
        + " ".join(f"{value:7.0f}" for value in (*(spent.get(part, 0.0) for part in PARTS), sum(spent.values())))
        for promise, count, spent in rows
    ]
    return "\n".join([head, *lines, "seconds, summed over all workers"])
