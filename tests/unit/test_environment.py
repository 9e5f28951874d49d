"""`options: powercut:` of an environment: what it means, and what is said about a slip."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from powercut.environment import SCHEMA, BootEnvironment, MetadataSetup, OwnRecord, Setup, did_you_mean, read_setup
from powercut.errors import UsageError

FOLDER = Path("/lab")
SHORTEST = """
client: ostree
repo: repo
ref: stable
releases:
  base: {version: "1.0", commit: abc}
  next: {version: "1.1", commit: def, metadata: director/1.1.json}
update: ota-update {url}
"""


def read(more: str = "", *, text: str = SHORTEST, slow: float = 1.0) -> Setup:
    return read_setup(yaml.safe_load(text + more), "my.yaml", FOLDER, slow)


def told(more: str = "", *, text: str = SHORTEST) -> str:
    """What is said about an environment that can't be right."""
    with pytest.raises(UsageError) as fault:
        read(more, text=text)
    return str(fault.value)


def test_the_shortest_environment_is_enough() -> None:
    setup = read()
    assert (setup.client, setup.ref, setup.update) == ("ostree", "stable", "ota-update {url}")
    assert (setup.boot_s, setup.update_s, setup.command_s) == (120.0, 300.0, 60.0)
    assert (setup.reboot, setup.evidence, setup.updates_within, setup.boot_tries) == ("reboot", "auto", 2, 3)


def test_paths_are_relative_to_the_environment() -> None:
    setup = read()
    assert setup.repo == Path("/lab/repo")
    assert setup.release("next").metadata == Path("/lab/director/1.1.json")
    assert setup.release("base").metadata is None


def test_an_environment_says_all_that_there_is_to_say() -> None:
    setup = read("""
reboot: systemctl reboot
done: 'OTA: done'
confirmed: 'HEALTH: OK'
refusals: {unsigned: no signature, no-room: no room}
downloads_to: /data
phases: {during.deploy: 'OTA: deploying'}
prepare: [echo one, echo two]
keep: {/etc/app.conf: mine}
ignore: [/etc/machine-id]
boot_environment: {partition: 3, file: /grubenv, at_most: 5}
evidence: disk
claims: {resumes: false}
promises: {refetch_at_most_bytes: 0, updates_within: 1, boot_tries: 7}
limits: {boot_s: 10, command_s: 0.5}
""")
    assert setup.boot_environment == BootEnvironment(3, "/grubenv", at_most=5)
    assert setup.refusals == {"unsigned": "no signature", "no-room": "no room"}
    assert setup.downloads_to == "/data"
    assert setup.phases == {"during.deploy": "OTA: deploying"}
    assert setup.prepare == ("echo one", "echo two")
    assert setup.ignore == ("/etc/machine-id",)
    assert setup.keep == {"/etc/app.conf": "mine"}
    assert setup.claims == {"resumes": False}
    assert (setup.done, setup.confirmed, setup.reboot) == ("OTA: done", "HEALTH: OK", "systemctl reboot")
    assert (setup.refetch_at_most_bytes, setup.updates_within, setup.boot_tries) == (0, 1, 7)
    assert (setup.boot_s, setup.update_s, setup.command_s) == (10, 300.0, 0.5)


def test_whose_metadata_it_is_and_what_the_client_records_is_said() -> None:
    setup = read("""
metadata: {keys: ../keys, serial: car-7, hardware_id: board}
record: {deployed: 'OTA: deployed', installed: cat /var/lib/installed}
""")
    assert setup.metadata == MetadataSetup(Path("/lab/../keys"), "car-7", "board")
    assert setup.record == OwnRecord("OTA: deployed", "cat /var/lib/installed")
    assert (read().metadata, read().record) == (None, None)


def test_a_slow_host_stretches_every_limit_given_or_not() -> None:
    setup = read("limits: {boot_s: 10}", slow=3.0)
    assert (setup.boot_s, setup.update_s, setup.command_s) == (30.0, 900.0, 180.0)


@pytest.mark.parametrize(
    ("more", "where", "hint"),
    [
        ("confirm: OK", "my.yaml: options: powercut", "did you mean 'confirmed'?"),
        ("limits: {boot: 3}", "options: powercut: limits", "did you mean 'boot_s'?"),
        ("promises: {boot_trys: 3}", "options: powercut: promises", "did you mean 'boot_tries'?"),
        ("phases: {during.deploi: x}", "options: powercut: phases", "did you mean 'during.deploy'?"),
        ("claims: {resume: true}", "options: powercut: claims", "did you mean 'resumes'?"),
        ("boot_environment: {partition: 3, fiel: /grubenv}", "powercut: boot_environment", "did you mean 'file'?"),
        ("zzz: 1", "my.yaml: options: powercut", "use one of: accept, boot_environment, "),
    ],
)
def test_a_misspelt_key_gets_the_one_that_was_meant(more: str, where: str, hint: str) -> None:
    said = told(more)
    assert "unknown key" in said
    assert where in said
    assert hint in said


def test_a_role_that_there_is_not_gets_the_one_that_was_meant() -> None:
    said = told(text=SHORTEST.replace("next:", "nxt:"))
    assert "releases: unknown key 'nxt'" in said
    assert "did you mean 'next'?" in said


@pytest.mark.parametrize(
    ("more", "where", "what"),
    [
        ("limits: {boot_s: soon}", "powercut: limits: boot_s", "'soon' is not of type 'number'"),
        ("limits: {boot_s: 0}", "powercut: limits: boot_s", "0 is less than or equal to the minimum"),
        ("limits: 30", "powercut: limits", "30 is not of type 'object'"),
        ("prepare: echo one", "powercut: prepare", "'echo one' is not of type 'array'"),
        ("prepare: [1]", "powercut: prepare: 0", "1 is not of type 'string'"),
        ("keep: {/etc/app.conf: 5}", "powercut: keep: /etc/app.conf", "5 is not of type 'string'"),
        ("promises: {updates_within: 6}", "powercut: promises: updates_within", "6 is greater than the maximum of 5"),
        ("promises: {updates_within: true}", "powercut: promises: updates_within", "True is not of type 'integer'"),
        ("evidence: deep", "powercut: evidence", "'deep' is not one of"),
        ("reboot: ''", "powercut: reboot", "should be non-empty"),
        ("done: 'OTA('", "powercut: done", "'OTA(' is not a 'regex'"),
        ("phases: {during.write: '['}", "powercut: phases: during.write", "'[' is not a 'regex'"),
        ("metadata: {keys: k, serial: s}", "powercut: metadata", "'hardware_id' is a required property"),
        ("record: {deployed: x}", "powercut: record", "'installed' is a required property"),
        ("boot_environment: {partition: 3}", "powercut: boot_environment", "'file' is a required property"),
    ],
)
def test_a_wrong_value_is_told_with_the_path_to_it(more: str, where: str, what: str) -> None:
    assert re.search(re.escape(where) + ": .*" + re.escape(what), told(more))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param(SHORTEST.replace("client: ostree", ""), "'client' is a required property", id="no client"),
        pytest.param(SHORTEST.replace("ostree", "rpm"), "client: 'rpm' is not one of ['ostree', ", id="no such client"),
        pytest.param(SHORTEST.replace('"1.0"', "1.0"), "releases: base: version: 1.0 is not of type", id="not a text"),
        pytest.param("", "None is not of type 'object'", id="nothing"),
        pytest.param("[1]", "[1] is not of type 'object'", id="a list"),
    ],
)
def test_what_is_missing_or_of_another_type_is_told(text: str, what: str) -> None:
    assert what in told(text=text)


@pytest.mark.parametrize("role", ["base", "next"])
def test_a_missing_role_is_told(role: str) -> None:
    options = yaml.safe_load(SHORTEST)
    del options["releases"][role]
    assert f"releases: {role!r} is a required property" in told(text=yaml.safe_dump(options))


def test_a_role_that_a_test_asks_for_and_the_environment_lacks_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"powercut: releases: no release plays 'third'(?s:.*)'base', 'next'"):
        read().release("third")


def keys(schema: dict[str, Any], path: str = "") -> dict[str, dict[str, Any]]:
    """Every key of a schema, by its path."""
    found = {}
    for name, value in schema.get("properties", {}).items():
        found[f"{path}{name}"] = value
        found |= keys(value, f"{path}{name}: ")
    return found


@pytest.mark.parametrize(("path", "schema"), keys(SCHEMA).items(), ids=list(keys(SCHEMA)))
def test_every_key_says_what_it_is_for(path: str, schema: dict[str, Any]) -> None:
    assert len(schema.get("description", "")) > 10, path


def test_a_hint_is_given_for_what_is_near_and_a_list_for_what_is_not() -> None:
    assert did_you_mean("bootz", ["boot", "reboot"]) == "did you mean 'boot'?"
    assert did_you_mean("?", ["b", "a"]) == "use one of: a, b"
