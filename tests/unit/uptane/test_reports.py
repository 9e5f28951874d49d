"""What a device reports is taken, kept in the ledger and read."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from powercut.uptane import Manifest, is_report, parse_manifest

from .conftest import Backend

COMMIT = "ab" * 32
RESULT = {"success": False, "code": "board:INSTALL_FAILED", "description": "Wrong version booted"}


def manifest(**more: Any) -> str:
    installed = {"filepath": "unknown", "fileinfo": {"length": 0, "hashes": {"sha256": COMMIT}}}
    ecu = {"signatures": [], "signed": {"ecu_serial": "car-7", "installed_image": installed, "report_counter": "3"}}
    signed = {"primary_ecu_serial": "car-7", "ecu_version_manifests": {"car-7": ecu}, **more}
    return json.dumps({"signatures": [], "signed": signed})


def send(backend: Backend, method: str, path: str, body: str) -> int:
    line = http.client.HTTPConnection(backend.url.removeprefix("http://"), timeout=10)
    line.request(method, path, body.encode())
    return line.getresponse().status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/director/ecus"),
        ("PUT", "/director/manifest"),
        ("PUT", "/core/installed"),
        ("PUT", "/system_info"),
        ("PUT", "/system_info/network"),
        ("POST", "/system_info/config"),
        ("POST", "/events"),
    ],
)
def test_a_report_is_answered_and_kept(backend: Backend, method: str, path: str) -> None:
    backend.offer()
    assert is_report(path)
    assert send(backend, method, path, '{"said": "é"}') == 200
    (entry,) = backend.origin.ledger.entries()
    assert (entry.method, entry.path, entry.status, entry.report) == (method, path, 200, '{"said": "é"}')


@pytest.mark.parametrize("path", ["/director/targets.json", "/devices", "/treehub/config", "/eventsx"])
def test_nothing_else_is_taken(backend: Backend, path: str) -> None:
    backend.offer()
    assert not is_report(path)
    assert send(backend, "PUT", path, "{}") == 405


def test_a_report_without_end_ends_the_line(backend: Backend) -> None:
    backend.offer()
    with pytest.raises((http.client.HTTPException, OSError)):
        send(backend, "PUT", "/core/installed", "x" * (1 << 20) + "x")


def test_a_manifest_says_what_is_installed() -> None:
    assert parse_manifest(manifest()) == Manifest("car-7", COMMIT)


def test_a_manifest_says_how_the_installation_went() -> None:
    report = {"content_type": "application/vnd.com.here.otac.installationReport.v1", "report": {"result": RESULT}}
    assert parse_manifest(manifest(installation_report=report)) == Manifest(
        "car-7", COMMIT, False, "board:INSTALL_FAILED"
    )


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"signed": 5}', manifest()[:-20], manifest(primary_ecu_serial=1)]
)
def test_what_is_no_manifest_is_none(text: str) -> None:
    assert parse_manifest(text) is None
