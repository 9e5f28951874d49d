"""The page on the comparison names every row, claim, option and environment of it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from powercut.commands import compare
from powercut.commands.compare.claims import Ruling, claims
from powercut.commands.compare.figures import ROWS, Basis, Row
from powercut.errors import UsageError

from .devices import comparison

ROOT = Path(__file__).parents[4]
TEXT = (ROOT / "docs/comparison.md").read_text()


def first_words(row: Row) -> str:
    """A title without what differs between the steps, the parts and the numbers."""
    title = re.sub(r", (base|next) to (next|third)$", "", row.title) if row.key != "content.stored" else row.title
    return re.split(r" at \d+%| \d+%| for \d versions|: |, all of it", title)[0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_every_row_is_explained(row: Row) -> None:
    assert re.search(rf"^\| {re.escape(first_words(row))}", TEXT, re.MULTILINE)


@pytest.mark.parametrize("claim", claims(comparison()), ids=lambda claim: claim.key)
def test_every_claim_is_named_as_it_is_quoted(claim: object) -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", TEXT.partition("| claim |")[2], re.MULTILINE)
    assert any(row in str(getattr(claim, "quote", "")) for row in rows)


def test_every_ruling_and_every_basis_is_explained() -> None:
    assert [ruling for ruling in Ruling if f"| {ruling} |" not in TEXT] == []
    assert [basis for basis in Basis if f"**{basis}**" not in TEXT] == []


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser()
    compare.add(whole.add_subparsers(dest="command"))
    return whole


def test_every_option_is_in_the_table() -> None:
    told = set(re.findall(r"^\| `(--[\w-]+)", TEXT, re.MULTILINE))
    assert told == {"--lg-env", "--target", "--out", "--seed", "--loss", "--quick", "--wait"}
    words = ["compare", "--lg-env", "a.yaml", "--target", "b", "--out", "c", "--seed", "7", "--loss", "none", "--quick"]
    options = parser().parse_args([*words, "--wait", "3", "--lg-env", "d.yaml"])
    assert [str(file) for file in options.lg_env] == ["a.yaml", "d.yaml"]


def test_the_devices_of_the_tool_are_those_of_the_page() -> None:
    tool = (ROOT / "tools/compare").read_text()
    names = re.search(r"for name in ([\w -]+);", tool)
    assert names is not None
    files = {f"env/qemu-{name}.yaml" for name in names[1].split()}
    assert set(re.findall(r"^\| `(env/[\w-]+\.yaml)`", TEXT, re.MULTILINE)) == files
    assert all((ROOT / file).exists() for file in files)


def test_without_matplotlib_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="pytest-powercut"):
        compare.run(parser().parse_args(["compare", "--lg-env", "a.yaml", "--out", "c"]))
