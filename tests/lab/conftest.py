"""The table of what came of each fault of the lab, at the end of a run that injected some."""

from __future__ import annotations

import pytest

FAULT = "fault of the lab"
Terminal = pytest.TerminalReporter


def pytest_terminal_summary(terminalreporter: Terminal) -> None:
    """Fault, outcome, time: of each test that was run, here or in a worker."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    rows = [
        str(value)
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == FAULT
    ]
    if rows:
        terminalreporter.section("faults of the lab")
        for line in aligned(rows):
            terminalreporter.write_line(line)


def aligned(rows: list[str]) -> list[str]:
    """Rows whose cells stand two spaces apart, as columns."""
    cells = [row.split("  ") for row in ["fault  outcome  time", *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
