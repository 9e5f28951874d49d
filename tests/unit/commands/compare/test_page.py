"""What is written: the page stands alone and is whole, the JSON is read back as the same, the tables name who."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

from powercut.commands.compare.claims import claims
from powercut.commands.compare.figures import ROWS, Comparison, CutResult, Measured
from powercut.commands.compare.page import page
from powercut.commands.compare.plots import plots
from powercut.commands.compare.table import markdown, terminal
from powercut.commands.compare.written import read, to_json, write
from powercut.errors import UsageError
from powercut.model import Outcome

from .devices import comparison, ostree, rauc, stock

KEPT = Path(__file__).parents[2] / "data/compare.json"
XHTML, SVG = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/2000/svg}"
LOADS = ("src", "href", "srcset", "data", "action", "poster", "background", "{http://www.w3.org/1999/xlink}href")


@cache
def four() -> str:
    """The page of a run of four devices, drawn once."""
    return page(comparison())


def tree(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def loads(text: str) -> list[str]:
    """All that a browser would fetch for a page: addresses in attributes and styles, but those within itself."""
    found = [value for element in tree(text).iter() for name, value in element.attrib.items() if name in LOADS]
    found += re.findall(r"url\(\s*['\"]?([^)'\"]+)", text) + re.findall(r"@import\s+\S+", text)
    return [address for address in found if not address.startswith("#")]


def elements(text: str, name: str) -> list[ElementTree.Element]:
    return list(tree(text).iter(name))


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    text = four()
    assert loads(text) == []
    assert elements(text, f"{XHTML}script") == []
    assert elements(text, f"{XHTML}link") == []
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    "spoilt",
    ['<img src="https://example.com/x.png"/>', '<p style="background: url(http://example.com/x)"/>', '<a href="x"/>'],
)
def test_a_page_that_loads_something_is_found(spoilt: str) -> None:
    assert loads(four().replace("<body>", f"<body>{spoilt}"))


def test_every_plot_is_in_the_page_with_its_devices_as_text() -> None:
    text = four()
    drawn = elements(text, f"{SVG}svg")
    assert len(drawn) == len(plots(comparison())) == 7
    for svg in drawn:
        assert "qemu-rauc (rauc 1.8)" in "".join(svg.itertext())


def test_no_two_elements_of_the_page_have_one_id() -> None:
    names = [element.attrib["id"] for element in tree(four()).iter() if "id" in element.attrib]
    assert len(names) == len(set(names))


def test_what_an_svg_refers_to_is_in_the_page() -> None:
    text = four()
    names = {element.attrib["id"] for element in tree(text).iter() if "id" in element.attrib}
    assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", text)) <= names


def test_what_was_not_measured_is_written_where_its_bar_would_be() -> None:
    plot = {each.name: each.svg for each in plots(comparison(stock()))}
    assert "not measured" in plot["times"]
    assert "3 and 5 versions: not measured" in plot["space"]
    assert "not measured" not in {each.name: each.svg for each in plots(comparison(ostree()))}["times"]


def test_equal_figures_make_equal_pages() -> None:
    assert page(comparison(ostree())) == page(comparison(ostree()))


def test_text_of_a_device_is_text_in_the_page() -> None:
    hostile = replace(rauc(), command="rauc install <script>alert(1)</script> & $x_0$", name="a<b>$c$")
    assert elements(page(comparison(hostile)), f"{XHTML}script") == []
    assert "a&lt;b&gt;" in page(comparison(hostile))


def test_every_cell_of_the_page_names_the_client_and_its_version() -> None:
    cells = [cell for cell in elements(four(), f"{XHTML}td") if "title" in cell.attrib]
    assert len(cells) == len(ROWS) * 4
    assert {cell.attrib["title"] for cell in cells} == {"ostree 2022.7", "rauc 1.8"}


@pytest.mark.parametrize("show", [terminal, markdown, page])
def test_every_view_has_every_row_every_claim_and_every_fault(show: object) -> None:
    assert callable(show)
    early = replace(
        rauc("qemu-swupdate"), client="swupdate", version="2022.12", figures={}, fault="QEMU is gone", cuts=()
    )
    found = comparison(ostree(), early)
    text = show(found).replace("&#x27;", "'")
    assert [row.title for row in ROWS if row.title not in text] == []
    assert [claim.quote for claim in claims(found) if claim.quote not in text] == []
    assert "QEMU is gone" in text
    assert "swupdate 2022.12" in text


def test_a_run_without_devices_is_shown() -> None:
    empty = Comparison("0.1.0", "7", True)
    assert tree(page(empty)) is not None
    assert "seed 7, --quick" in markdown(empty)
    assert "can't be told" in terminal(empty).lower()


def test_what_is_written_is_read_back_as_the_same(tmp_path: Path) -> None:
    cut = CutResult("fraction:0.5", {"atomicity": Outcome.VIOLATED}, {"atomicity": "a mix"}, False)
    device = replace(rauc(), cuts=(cut, CutResult("x", fault="QEMU is gone")), inconclusive=("two updates: slow",))
    found = comparison(ostree(), stock(), device, replace(rauc("left"), fault="QEMU is gone"))
    write(found, tmp_path / "compare.json")
    assert read(tmp_path / "compare.json") == found
    assert list(tmp_path.iterdir()) == [tmp_path / "compare.json"]


def test_each_figure_in_the_file_names_whose_it_is() -> None:
    figures = to_json(comparison(ostree()))["devices"][0]["figures"]
    assert {figure["of"] for figure in figures.values()} == {"ostree 2022.7"}


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 1, "devices": [{}]}'])
def test_a_file_that_is_no_comparison_is_the_users_fault(text: str, tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text(text)
    with pytest.raises(UsageError, match=r"compare\.json"):
        read(tmp_path / "compare.json")


def test_the_kept_comparison_is_one() -> None:
    found = read(KEPT)
    assert [type(device) for device in found.devices] == [Measured] * 4
    assert loads(page(found)) == []
