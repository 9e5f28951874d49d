"""The docs are run: what they name is what the code has, and what the code has they name."""

from __future__ import annotations

import ast
import dataclasses
import fnmatch
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from unittest.mock import MagicMock

import attr
import pytest
import yaml
from labgrid.driver import power
from labgrid.factory import target_factory
from tools.virtual_lab.faults import FAULTS

import powercut
from powercut import lab, plugin
from powercut.clients.ostree import OSTree
from powercut.commands import COMMANDS
from powercut.environment import SCHEMA, BootEnvironment, OriginSetup, Reflash, Setup, Slots, Wear
from powercut.errors import UsageError
from powercut.lab.preflight import check_environment
from powercut.model import LossModel, PowerOff
from powercut.origin.ledger import Entry
from powercut.store.records import Store
from powercut.trial import Plan, Trial
from powercut.triggers import AnyTrigger, Phase
from tests.lab.conftest import aligned

from .observations import GOOD

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
USER_PAGES = {name: text for name, text in TEXTS.items() if name == "README.md" or name.startswith("docs/")}
Row = tuple[str, ...]
# only the boot loader's files tell them
ON_THE_DISK_ALONE = ("during.switch", "during.cleanup")


# what a page says


def table(text: str, heading: str) -> list[Row]:
    """The rows, without header and rule, of the first table after a heading or another line that begins so."""
    lines = text[text.index(f"\n{heading}") :].splitlines()[2:]
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(tuple(cell.strip() for cell in line.strip("|").split("|")))
    return rows


def code(text: str) -> str:
    """What is set as code: blocks and inline."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text)])


def unnamed(names: set[str], text: str) -> set[str]:
    """The names that are nowhere in the code of a text, as whole words."""
    said = code(text)
    return {name for name in names if not re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", said)}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def environments() -> Iterator[tuple[str, str]]:
    for page, text in TEXTS.items():
        for number, block in enumerate(blocks(text, "yaml")):
            if re.search(r"^targets:", block, re.MULTILINE):
                yield f"{page} {number}", block


def tools(text: str) -> set[str]:
    return {name.rstrip("./") for name in re.findall(r"(?<![\w/.])tools/[\w./-]+", text)}


def links(text: str) -> set[str]:
    return {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")} - {""}


def known(message: str, source: str) -> bool:
    """Whether the parts of a message, between what differs, are all in the code."""
    parts = [part.strip() for part in re.split(r"…|\d+|'\w+'", message)]
    return all(part in re.sub(r"\s+", " ", source) for part in parts)


# what the code has


def kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    least, most = schema.get("minimum"), schema.get("maximum")
    return {
        "string": "pattern" if schema.get("format") == "regex" else "text",
        "array": "list of texts",
        "object": "mapping" if "properties" in schema else "mapping of texts",
        "integer": f"integer, {least} to {most}" if most is not None else f"integer, {least} or more",
        "number": "number above 0",
        "boolean": "true or false",
    }[schema["type"]]


def keys(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str, bool]]:
    """(path, type, whether it is required) of every key; the releases' own keys once, as those of ROLE."""
    for name, below in schema.get("properties", {}).items():
        yield f"{path}{name}", kind(below), name in schema.get("required", ())
        if path != "releases: ":
            yield from keys(below, f"{path}{name}: ")
        elif name == "base":
            yield from keys(below, "releases: ROLE: ")


def defaults() -> dict[str, str]:
    """By the last word of a key."""
    fields = {
        field.name: field.default
        for of in (BootEnvironment, OriginSetup, Reflash, Setup, Slots, Wear)
        for field in dataclasses.fields(of)
        if field.default not in (dataclasses.MISSING, None, ())
    }
    return {name: in_yaml(value) for name, value in fields.items()} | {ability.value: "true" for ability in OSTree.can}


def in_yaml(value: object) -> str:
    """Numbers of seconds are written without their zero."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


KEYS = {path: (is_a, required) for path, is_a, required in keys(SCHEMA)}
DEFAULTS = defaults()


def arguments(driver: type) -> dict[str, str]:
    return {
        field.name: "required" if field.default is attr.NOTHING else str(field.default) or '""'
        for field in attr.fields(driver)
        if field.init and field.name not in ("target", "name", "state")
    }


def options() -> set[str]:
    parser = MagicMock(spec=pytest.Parser)
    plugin.pytest_addoption(parser)
    return {call.args[0] for call in parser.getgroup.return_value.addoption.call_args_list}


def markers(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.delenv("LG_ENV", raising=False)
    config = MagicMock(spec=pytest.Config, stash=pytest.Stash())
    config.getoption.return_value = None
    plugin.pytest_configure(config)
    return {re.split("[(:]", call.args[1])[0] for call in config.addinivalue_line.call_args_list}


def fixtures() -> set[str]:
    """Functions of the plugin's source that are decorated as fixtures, without the private ones."""
    source = Path(plugin.__file__).read_text()
    return {
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
        and any("pytest.fixture" in ast.unparse(mark) for mark in node.decorator_list)
        and not node.name.startswith("_")
    }


# the environment


def test_the_table_of_keys_has_every_key_of_the_schema_and_no_other() -> None:
    assert {row[0] for row in table(TEXTS["docs/environment.md"], "## Keys")} == {f"`{path}`" for path in KEYS}


@pytest.mark.parametrize("row", table(TEXTS["docs/environment.md"], "## Keys"), ids=lambda row: row[0].strip("`"))
def test_the_table_of_keys_gives_type_and_default(row: Row) -> None:
    path = row[0].strip("`")
    is_a, required = KEYS[path]
    default = "" if is_a == "mapping" else DEFAULTS.get(path.rpartition(": ")[2], "")
    assert row[1] == is_a
    if row[2] == "see below":
        assert default.split("{seed}")[0] in TEXTS["docs/environment.md"]
    else:
        assert row[2] == ("required" if required else f"`{default}`" if default else "")


@pytest.mark.parametrize("name", lab.__all__)
def test_the_table_of_arguments_has_every_argument_of_a_driver_with_its_default(name: str) -> None:
    page = TEXTS["docs/environment.md"]
    has = arguments(getattr(lab, name))
    below = {argument: default for argument, default in has.items() if f"```\n{default}\n```" in page}
    says = {row[0].strip("`"): row[1].strip("`") for row in table(page, f"## Arguments of `{name}`")}
    assert says == has | dict.fromkeys(below, "see below")


@pytest.mark.parametrize("block", [pytest.param(block, id=place) for place, block in environments()])
def test_an_environment_in_the_docs_stands_the_first_look(block: str, tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text(block)
    check_environment(file)


def test_the_docs_show_a_complete_environment() -> None:
    assert any("powercut:" in block for place, block in environments() if place.startswith("docs/environment.md"))


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, id=f"{page} {n}") for page in TEXTS for n, block in enumerate(blocks(TEXTS[page], "yaml"))],
)
def test_yaml_in_the_docs_is_yaml(block: str) -> None:
    assert isinstance(yaml.safe_load(block), dict)


# names that a user types


def test_every_option_is_documented() -> None:
    assert not unnamed(options(), "\n".join(USER_PAGES.values()))


def test_the_table_of_options_has_them_all_and_no_other() -> None:
    assert {row[0].strip("`") for row in table(TEXTS["docs/results.md"], "## Options")} == options()


def test_the_docs_call_every_command_and_no_other() -> None:
    called = re.findall(
        r"^(?:\S*/)?powercut ([a-z]+(?:-[a-z]+)*)", "\n".join(map(code, USER_PAGES.values())), re.MULTILINE
    )
    assert set(called) == {module.__name__.rpartition(".")[2].replace("_", "-") for module in COMMANDS}


def test_every_marker_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not unnamed(markers(monkeypatch), "\n".join(USER_PAGES.values()))


def test_every_public_fixture_is_documented() -> None:
    assert fixtures()
    assert not unnamed(fixtures(), "\n".join(USER_PAGES.values()))


def test_every_name_that_a_test_imports_is_documented() -> None:
    assert not unnamed(set(powercut.__all__), "\n".join(USER_PAGES.values()))


def test_the_table_of_triggers_has_every_kind() -> None:
    rows = table(TEXTS["docs/loss-models.md"], "## Where a cut is placed")
    assert {row[1].strip("`") for row in rows} == {trigger.kind for trigger in get_args(AnyTrigger)}


def test_the_table_of_phases_has_every_phase() -> None:
    rows = table(TEXTS["docs/loss-models.md"], "All but phases cut a running update")
    assert [row[0].strip("`") for row in rows] == list(Phase.names)


def test_the_table_of_models_has_every_model() -> None:
    rows = table(TEXTS["docs/loss-models.md"], "## The four models")
    assert [row[0].strip("`") for row in rows] == [str(model) for model in LossModel]


def test_the_table_of_phases_without_a_disk_has_only_phases() -> None:
    rows = table(TEXTS["docs/loss-models.md"], "Without a recorded disk, and so on every board")
    assert [row[0].strip("`") for row in rows] == [name for name in Phase.names if name not in ON_THE_DISK_ALONE]


# boards


def test_the_table_of_faults_has_every_fault_of_the_virtual_rack() -> None:
    rows = table(TEXTS["docs/boards.md"], ".venv/bin/python tools/vlab heal")
    assert [name for row in rows for name in re.findall(r"`([\w-]+)`", row[1])] == list(FAULTS)


def test_every_fault_of_the_virtual_rack_meets_a_trial() -> None:
    cases = (ROOT / "tests/lab/test_rig_faults.py").read_text()
    assert [name for name in FAULTS if f'"{name}"' not in cases] == []


def test_the_table_of_what_came_of_faults_has_straight_columns() -> None:
    assert aligned(["late=2  HOLDS  20 s", "cable-pulled  INCONCLUSIVE  7 s"]) == [
        "fault         outcome       time",
        "late=2        HOLDS         20 s",
        "cable-pulled  INCONCLUSIVE  7 s",
    ]


def test_every_message_that_the_page_on_boards_explains_is_in_the_code() -> None:
    said = " ".join(file.read_text() for file in (ROOT / "fixtures").rglob("*.py"))
    rows = table(TEXTS["docs/boards.md"], "## Faults of the rig")
    assert [row[0] for row in rows if not known(row[0], said)] == []


def test_every_power_driver_of_labgrid_and_every_model_that_the_page_on_boards_names_is_there() -> None:
    names = " ".join(row[0] for row in table(TEXTS["docs/boards.md"], "## Supplies"))
    drivers = set(re.findall(r"`(\w+Driver)`", names))
    models = set(re.findall(r"`([a-z][\w*]+)`", names))
    there = {module.name for module in pkgutil.iter_modules(power.__path__)}
    assert drivers <= target_factory.drivers.keys()
    assert [model for model in models if not fnmatch.filter(there, model)] == []
    assert [model for model in there if not any(fnmatch.fnmatch(model, name) for name in models)] == []


def test_the_templates_for_boards_are_named_where_boards_are_explained() -> None:
    templates = {str(file.relative_to(ROOT)) for file in (ROOT / "env").glob("board-*.yaml")}
    assert set(re.findall(r"env/board-[\w-]+\.yaml", TEXTS["docs/boards.md"])) == templates


# results


def test_a_record_has_the_fields_that_the_docs_list(tmp_path: Path) -> None:
    page = TEXTS["docs/results.md"]
    trial = Trial(Plan("plan", "next", None, LossModel.NONE, "1"), GOOD, tmp_path)
    Store(tmp_path, 0).write(trial, "test.py::test", "env.yaml", None)
    record = yaml.safe_load((tmp_path / "record.json").read_text())  # JSON is YAML

    assert {row[0].strip("`") for row in table(page, "### record.json, version 1")} == set(record)
    listed = " ".join(row[0] for row in table(page, "| `observation`"))
    assert set(re.findall(r"`(\w+)`", listed)) == set(record["observation"])
    parts = ("cut", "after_cut", "recovered", "fetched")
    inner = {name for part in parts for name in record["observation"][part]} | {*record["observation"]["retries"][0]}
    assert not unnamed(inner | set(record["plan"]), page)
    off = [row[0].strip("`") for row in table(page, "How the power went:")]
    assert off == [field.name for field in dataclasses.fields(PowerOff)]


def test_the_ledger_has_the_fields_that_the_docs_list() -> None:
    rows = table(TEXTS["docs/results.md"], "### ledger.jsonl")
    assert [row[0].strip("`") for row in rows] == [field.name for field in dataclasses.fields(Entry)]


def test_the_exit_status_of_inconclusive_runs_is_the_documented_one() -> None:
    says = {row[0]: row[1] for row in table(TEXTS["docs/results.md"], "## Exit status")}
    assert "inconclusive" in says[str(plugin.ONLY_INCONCLUSIVE)]
    assert "usage" in says[str(int(pytest.ExitCode.USAGE_ERROR))]


# what a page leads to


@pytest.mark.parametrize("page", TEXTS)
def test_a_tool_that_the_docs_call_is_there(page: str) -> None:
    assert [name for name in sorted(tools(code(TEXTS[page]))) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", TEXTS)
def test_a_link_within_the_project_leads_somewhere(page: str) -> None:
    folder = (ROOT / page).parent
    assert [link for link in sorted(links(TEXTS[page])) if not (folder / link).exists()] == []


# shown red once


def test_a_name_that_a_page_lacks_is_found() -> None:
    doctored = USER_PAGES["docs/results.md"].replace("--powercut-strict", "--powercut-strictly")
    assert unnamed(options(), doctored) == {"--powercut-strict"}
    assert unnamed({"phase"}, "the phase is a word here, and `phases` is another key") == {"phase"}


def test_a_key_that_the_schema_lacks_is_found() -> None:
    doctored = TEXTS["docs/environment.md"].replace("| `limits: boot_s` |", "| `limits: boot` |")
    assert {row[0] for row in table(doctored, "## Keys")} ^ {f"`{path}`" for path in KEYS} == {
        "`limits: boot`", "`limits: boot_s`"
    }  # fmt: skip


def test_an_environment_with_a_slip_is_found(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text(dict(environments())["docs/environment.md 0"].replace("confirmed:", "confirm:"))
    with pytest.raises(UsageError, match="did you mean 'confirmed'"):
        check_environment(file)


def test_a_tool_and_a_link_that_are_not_there_are_found() -> None:
    assert tools("run tools/chekc --fast, or tools/check.") == {"tools/chekc", "tools/check"}
    assert links("see [this](docs/nowhere.md#there) and [that](https://example.com)") == {"docs/nowhere.md"}
