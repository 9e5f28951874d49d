"""Devices as a run might have measured them: figures of the right size, made up."""

from __future__ import annotations

from collections.abc import Mapping

from powercut.commands.compare.derived import completed
from powercut.commands.compare.figures import Comparison, CutResult, Family, Measured, by_nature, measured, unit_of
from powercut.model import Outcome

MB = 1_000_000
HELD = {"atomicity": Outcome.HOLDS, "user data": Outcome.HOLDS}

_STEPS = {"next": 1.0, "third": 1.1, "skip": 1.9}
_OSTREE: Mapping[str, float] = {
    **{f"fetched.{step}": 9 * MB * size for step, size in _STEPS.items()},
    **{f"content.{step}": 21 * MB * size for step, size in _STEPS.items()},
    **{f"written.{step}": 70 * MB * size for step, size in _STEPS.items()},
    **{f"peak.{step}": 60 * MB * size for step, size in _STEPS.items()},
    **{f"took.{step}": 12 * size for step, size in _STEPS.items()},
    **{f"service.{step}": 8 * size for step, size in _STEPS.items()},
    "again.0.25": 12_000,
    "again.0.5": 15_000,
    "again.0.75": 9_000,
    "space.1": 130 * MB,
    "space.2": 170 * MB,
    "space.3": 212 * MB,
    "space.5": 296 * MB,
    "space.added": 40 * MB,
    "cost": 1.05,
    "content.stored": 38 * MB,
    "collected": 0,
    "back.fetched": 11 * MB,
    "disk.size": 900 * MB,
    "partitions": 3,
    "shared": 1,
    "kept": 5,
    "rollback.command": 0.6,
    "rollback": 9,
}
_RAUC: Mapping[str, float] = {
    **{f"{row}.{step}": 62 * MB for row in ("fetched", "content") for step in _STEPS},
    **{f"written.{step}": 330 * MB for step in _STEPS},
    **{f"peak.{step}": 64 * MB for step in _STEPS},
    **{f"took.{step}": 20 for step in _STEPS},
    **{f"service.{step}": 9 for step in _STEPS},
    "again.0.25": 130_000,
    "again.0.5": 140_000,
    "again.0.75": 120_000,
    "space.1": 128 * MB,
    "back.fetched": 62 * MB,
    "partitions": 5,
    "shared": 0,
    "disk.size": 256 * MB,
    "rollback.command": 0.9,
    "rollback": 10,
}
_CUTS = ("fraction:0.25", "fraction:0.5", "fraction:0.75", "phase:during.deploy")
_ALL_HELD = tuple(CutResult(cut, HELD, {}, True) for cut in _CUTS)


def device(
    name: str,
    family: Family,
    client: tuple[str, str],
    figures: Mapping[str, float],
    *,
    cuts: tuple[CutResult, ...] = _ALL_HELD,
    lacks: Mapping[str, str] | None = None,
) -> Measured:
    """One device; `lacks`: rows that are missing, and why."""
    told = {row: measured(value, unit_of(row)) for row, value in figures.items() if row not in (lacks or {})}
    if family is Family.SLOTS:
        told["space.2"] = by_nature(512 * MB, "bytes", "two slots of 256 MB")
    whole = completed(family, told, "this run did not come to it")
    return Measured(
        name=name,
        family=family,
        client=client[0],
        version=client[1],
        command="ota-update {url}",
        figures=whole,
        cuts=cuts,
        promises={"update": Outcome.HOLDS},
        refetch_at_most_bytes=524_288,
        hardware="QEMU 7.2.22",
        releases={"base": "1.0", "next": "1.1", "third": "1.2"},
    )


def ostree(name: str = "qemu-ostree", **changed: float) -> Measured:
    return device(name, Family.OBJECTS, ("ostree", "2022.7"), {**_OSTREE, **_rows(changed)})


def rauc(name: str = "qemu-rauc", **changed: float) -> Measured:
    return device(name, Family.SLOTS, ("rauc", "1.8"), {**_RAUC, **_rows(changed)})


def stock() -> Measured:
    """Plain `ostree admin upgrade`: whole objects, nothing resumed, two versions."""
    figures = dict(_OSTREE)
    for step, size in _STEPS.items():
        figures[f"fetched.{step}"] = 21.2 * MB * size
    figures |= {"again.0.25": 5 * MB, "again.0.5": 10 * MB, "again.0.75": 15 * MB, "kept": 2}
    for row in ("space.3", "space.5", "back.fetched", "rollback", "rollback.command"):
        del figures[row]
    return device("qemu-ostree-stock", Family.OBJECTS, ("ostree", "2022.7"), figures)


def comparison(*devices: Measured) -> Comparison:
    """A run; by default of four devices."""
    return Comparison(
        "0.1.0", "7", False, devices or (ostree(), stock(), rauc(), rauc("qemu-rauc-stock", **_STOCK_RAUC))
    )


def _rows(changed: Mapping[str, float]) -> Mapping[str, float]:
    """`again_50` is the row `again.0.5`, any other underscore a dot."""
    return {_row(name): value for name, value in changed.items()}


def _row(name: str) -> str:
    kind, _, part = name.partition("_")
    return f"again.{int(part) / 100:g}" if kind == "again" else name.replace("_", ".")


_STOCK_RAUC = {"again_25": 15 * MB, "again_50": 31 * MB, "again_75": 46 * MB}
