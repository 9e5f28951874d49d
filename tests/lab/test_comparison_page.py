"""The page of a comparison in a real browser: the plots are drawn, and nobody is asked for anything.

The browser has no network: every name is unknown to it. What it would have asked is in its own network log, where a
request names the page that caused it; its own ones (updates, time) name none.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from powercut.commands.compare.page import page
from powercut.commands.compare.plots import plots
from powercut.commands.compare.written import read

ROOT = Path(__file__).parents[2]
FOUND = read(ROOT / "tests/unit/data/compare.json")
LIMIT_S = 120
WIDTH, HEIGHT = 1200, 9000
# what the devices' bars are drawn with, and the cuts that were held
COLOURS = ((0x1B, 0x6C, 0xA8), (0x6F, 0xB1, 0xE0), (0xB5, 0x54, 0x1C), (0xE6, 0xA1, 0x5C), (0x2E, 0x8B, 0x57))
ENOUGH_PIXELS = 2000
OUTSIDE = ("http:", "https:", "ws:", "wss:", "ftp:")
POLICY = re.compile(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*/>")
SIZES = """<script>addEventListener("load", () => { document.title = JSON.stringify(
[...document.querySelectorAll("svg")].map(svg => [svg, ...svg.querySelectorAll("path")].map(
    each => each.getBoundingClientRect()).filter(box => box.width > 5 && box.height > 5).length)) })</script>"""


def browse(file: Path, *words: str) -> str:
    """Open a page, and end."""
    browser = shutil.which("chromium")
    assert browser is not None, "no chromium: tools/check installs it, or apt-get install chromium"
    folder = file.parent
    line = [browser, "--headless", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
    line += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    line += [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / 'net.json'}"]
    line += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={WIDTH},{HEIGHT}", *words, file.as_uri()]
    if os.getuid() == 0:
        line.insert(1, "--no-sandbox")  # it refuses to have root in one
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    return done.stdout


def asked_by(file: Path) -> list[str]:
    """The addresses outside of this machine's files that a page, once opened, made the browser ask for."""
    browse(file, "--dump-dom")
    log = json.loads((file.parent / "net.json").read_text())
    starts = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requests = [event.get("params") or {} for event in log["events"] if event["type"] == starts]
    assert any("url" in request for request in requests) or requests == [], "the log has another form"
    by_pages = [request for request in requests if request.get("initiator") not in (None, "not an origin")]
    return [request["url"] for request in by_pages if request["url"].startswith(OUTSIDE)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The page, where a browser can open it."""
    written = tmp_path / "compare.html"
    written.write_text(page(FOUND))
    return written


def test_the_page_asks_nobody_for_anything(file: Path) -> None:
    assert asked_by(file) == []


def test_a_page_that_asks_somebody_is_found(file: Path) -> None:
    load = '<img src="http://plots.example/x.png"/><script src="https://cdn.example/y.js"></script>'
    file.write_text(POLICY.sub("", file.read_text()).replace("<body>", f"<body>{load}"))
    assert sorted(asked_by(file)) == ["http://plots.example/x.png", "https://cdn.example/y.js"]


def test_the_page_itself_forbids_what_it_must_not_ask(file: Path) -> None:
    file.write_text(file.read_text().replace("<body>", '<body><img src="http://plots.example/x.png"/>'))
    assert asked_by(file) == []


def test_every_plot_has_shapes_that_take_up_room(file: Path) -> None:
    file.write_text(POLICY.sub("", file.read_text()).replace("</body>", f"{SIZES}</body>"))
    told = re.search(r"<title>(\[.*?\])</title>", browse(file, "--dump-dom"))
    assert told is not None
    shapes = json.loads(told[1])
    assert len(shapes) == len(plots(FOUND))
    assert min(shapes) > len(FOUND.devices), shapes


def test_the_plots_colours_are_on_the_screen(file: Path) -> None:
    picture = file.with_suffix(".png")
    browse(file, f"--screenshot={picture}")
    with Image.open(picture) as image:
        pixels = image.convert("RGB").getcolors(WIDTH * HEIGHT)
    assert pixels is not None
    seen = {colour: count for count, colour in pixels}
    assert [colour for colour in COLOURS if seen.get(colour, 0) < ENOUGH_PIXELS] == []


def test_a_page_whose_plots_are_gone_is_found(file: Path) -> None:
    file.write_text(re.sub(r"<svg.*?</svg>", "", file.read_text(), flags=re.DOTALL))
    picture = file.with_suffix(".png")
    browse(file, f"--screenshot={picture}")
    with Image.open(picture) as image:
        pixels = image.convert("RGB").getcolors(WIDTH * HEIGHT)
    seen = {colour: count for count, colour in pixels or []}
    assert [colour for colour in COLOURS if seen.get(colour, 0) < ENOUGH_PIXELS] == list(COLOURS)
