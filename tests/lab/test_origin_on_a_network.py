"""A board fetches over TLS with a secret URL, through the origin before a real server, and from that server itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.conftest import ROOT
from tests.nginx import nginx
from tools.virtual_lab.client import Lab
from tools.virtual_lab.rigs import coordinated, environment, kept

from powercut.model import LossModel, Observation, Outcome
from powercut.trial import Plan, Trial, run_trial
from powercut.triggers import at
from powercut.upkeep import Upkeep

pytestmark = pytest.mark.system
REPO = ROOT / "build/ostree/repo"
CA = "/run/update-ca.pem"
# libostree has its own notion of whom to trust
TRUSTED = f"""ostree config set 'remote "device".tls-ca-path' {CA}"""
UPDATE = f"CURL_CA_BUNDLE={CA} ota-update {{url}}"
PAYLOAD = "^/(objects|deltas|delta-files)/"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One board."""
    with coordinated(1) as lab:
        yield lab


def cut_in_the_download(upkeep: Upkeep, folder: Path) -> Observation:
    """What came of a cut in the middle of the download, and of the update that followed."""
    plan, promises = Plan("cut", "next", at.fraction(0.5), LossModel.NONE, "7"), ["atomicity", "resumption"]
    trial: Trial = run_trial(upkeep.rig, plan, folder, promises_of=lambda _trial: promises)
    assert {name: verdict.outcome for name, verdict in trial.verdicts.items()} == {
        "atomicity": Outcome.HOLDS,
        "resumption": Outcome.HOLDS,
    }, [str(verdict) for verdict in trial.verdicts.values()]
    return trial.seen


def test_the_gate_works_through_tls_and_in_front_of_a_server_that_stays_as_it_is(lab: Lab, tmp_path: Path) -> None:
    with nginx(tmp_path / "nginx", REPO) as port:
        origin = {
            "url": "{scheme}://10.0.2.2:{port}",
            "tls": True,
            "token": True,
            "trust": f"echo {{ca}} | base64 -d >{CA} && {TRUSTED}",
            "server": f"http://127.0.0.1:{port}",
            "payload": PAYLOAD,
        }
        with kept(environment(tmp_path, "vlab-1", origin=origin, update=UPDATE)) as upkeep:
            seen = cut_in_the_download(upkeep, tmp_path)
            assert upkeep.rig.url.startswith("https://10.0.2.2:")
            assert len(upkeep.rig.url.rpartition("/")[2]) > 16
    assert seen.cut is not None
    assert seen.fetched is not None
    assert seen.cut.sent_bytes == round(seen.fetched.whole / 2)


def test_a_relay_counts_what_a_server_sends_to_a_board_that_trusts_nobody_else(lab: Lab, tmp_path: Path) -> None:
    authority, served = trustme.CA(), tmp_path / "served"
    authority.issue_cert("10.0.2.2").private_key_and_cert_chain_pem.write_to_path(tmp_path / "pair.pem")
    authority.cert_pem.write_to_path(served_ca := tmp_path / "ca.pem")
    steered_copy(served)
    with nginx(tmp_path / "nginx", served, tmp_path / "pair.pem") as port:
        pinned = f"cat >{CA} <<'EOF'\n{served_ca.read_text()}EOF\n{TRUSTED}"
        options: dict[str, Any] = {
            "origin": {
                "url": "https://10.0.2.2:{port}",
                "relay": f"127.0.0.1:{port}",
                "offer": f"cd {served}/director && cp {{version}}.json update.json",
            },
            "update": f"{pinned}\n{UPDATE}",
        }
        with kept(environment(tmp_path, "vlab-1", **options)) as upkeep:
            seen = cut_in_the_download(upkeep, tmp_path)
    assert seen.cut is not None
    assert seen.fetched is not None
    delta = json.loads((REPO / "director/1.1.json").read_text())["deltas"][0]["size"]
    assert delta < seen.fetched.whole < 1.05 * delta
    assert seen.cut.sent_bytes == round(seen.fetched.whole / 2)


def steered_copy(folder: Path) -> None:
    """The repository as a server of its own has it: what is on offer is a file there."""
    folder.mkdir()
    for entry in REPO.iterdir():
        if entry.name not in ("director", "refs"):
            (folder / entry.name).symlink_to(entry)
    shutil.copytree(REPO / "director", folder / "director")
    shutil.copytree(REPO / "refs", folder / "refs")
