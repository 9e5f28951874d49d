"""The faults that the lab can be told to have: one entry each, with what its value means."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from powercut.errors import UsageError

LAB = "lab"
ALL = "all"


class Value(str, Enum):
    """What stands behind a fault's name on the command line."""

    NONE = ""
    SECONDS = "SECONDS"
    MILLISECONDS = "MS"
    PROBABILITY = "P"
    BOARD = "BOARD"


@dataclass(frozen=True)
class Fault:
    """One way to misbehave."""

    name: str
    value: Value
    about: str
    of_lab: bool = False


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("late", Value.SECONDS, "PDU: switches at once, answers late"),
        Fault("slow", Value.SECONDS, "PDU: switches late, and answers then"),
        Fault("hangs", Value.NONE, "PDU: takes the request, does nothing and never answers"),
        Fault("errors", Value.NONE, "PDU: does nothing and answers with an error"),
        Fault("refuses", Value.NONE, "PDU: refuses connections"),
        Fault("ignores", Value.NONE, "PDU: says yes, does nothing; read-back tells the truth"),
        Fault("lies", Value.NONE, "PDU: says yes, does nothing; read-back says what was asked for"),
        Fault(
            "sticks", Value.NONE, "PDU: the contact is welded: off is accepted and read back, the board keeps its power"
        ),
        Fault("cycles", Value.SECONDS, "PDU: comes back on by itself after an off"),
        Fault("shared", Value.BOARD, "PDU: the outlet also switches BOARD"),
        Fault("miswired", Value.BOARD, "PDU: the outlet switches BOARD instead of its own"),
        Fault(
            "capacitors", Value.MILLISECONDS, "board: lives on after off; power that is back before that never was away"
        ),
        Fault(
            "brown-out",
            Value.MILLISECONDS,
            "board: dies at once, and hangs when power is back before that",
        ),
        Fault("noise", Value.PROBABILITY, "serial: each byte is corrupted with this probability, both ways"),
        Fault("loses-bytes", Value.PROBABILITY, "serial: each byte is lost with this probability, both ways"),
        Fault("cable-pulled", Value.NONE, "serial: nothing passes"),
        Fault("cable-loose", Value.SECONDS, "serial: nothing passes for so long, then the cable is put back"),
        Fault("adapter-unplugged", Value.NONE, "serial: the tty is gone"),
        Fault(
            "ser2net-killed", Value.NONE, "serial: the exporter starts it again after release and acquire, not before"
        ),
        Fault("ser2net-stopped", Value.NONE, "serial: ser2net hangs: its lines are open, and nothing passes"),
        Fault("exporter-killed", Value.NONE, "lab: the exporter and its ser2net are dead", of_lab=True),
        Fault("exporter-stopped", Value.NONE, "lab: the exporter hangs", of_lab=True),
        Fault("coordinator-killed", Value.NONE, "lab: the coordinator is dead, and the exporter with it", of_lab=True),
        Fault("pdudaemon-killed", Value.NONE, "lab: pdudaemon is dead", of_lab=True),
    )
}


def parse(name: str, text: str | None, boards: Collection[str]) -> float | str | None:
    """The value of a fault as it was typed; raises UsageError."""
    fault = FAULTS.get(name)
    if fault is None:
        raise UsageError(f"no fault {name!r}", "vlab fault", f"one of: {', '.join(FAULTS)}")
    if fault.value is Value.NONE:
        if text is not None:
            raise UsageError(f"{text!r} is too much", f"fault {name}", "it takes no value")
        return None
    if text is None:
        raise UsageError("no value", f"fault {name}", f"give {fault.value.value}: {fault.about}")
    if fault.value is Value.BOARD:
        if text not in boards:
            raise UsageError(f"no board {text!r}", f"fault {name}", f"one of: {', '.join(boards)}")
        return text
    try:
        number = float(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no number", f"fault {name}", f"give {fault.value.value}") from error
    if not 0 <= number <= (1 if fault.value is Value.PROBABILITY else 1e6):
        raise UsageError(f"{text} is out of range", f"fault {name}", f"give {fault.value.value}")
    return number
