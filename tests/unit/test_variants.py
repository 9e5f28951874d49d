"""The devices with a known defect: each is a sound environment, and the page of findings has each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from powercut.lab.preflight import check_environment

from .test_docs import ROOT, TEXTS, table

VARIANTS = sorted(yaml.safe_load((ROOT / "env/variants/variants.yaml").read_text()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which tools/variants made them."""
    folder = tmp_path_factory.mktemp("variants")
    subprocess.run([sys.executable, ROOT / "tools/variants", "--out", folder], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_stands_the_first_look(made: Path, name: str) -> None:
    check_environment(made / f"{name}.yaml")


def test_a_variant_differs_from_its_environment(made: Path) -> None:
    changed = yaml.safe_load((made / "fixed-boot-id.yaml").read_text())["targets"]["main"]["options"]["powercut"]
    stock = yaml.safe_load((ROOT / "env/qemu-ostree-stock.yaml").read_text())["targets"]["main"]["options"]["powercut"]

    assert changed.pop("update") != stock.pop("update")
    assert changed.pop("repo") == str(ROOT / "build/ostree-stock/repo")
    assert changed.pop("ref") == stock.pop("ref")


def test_the_page_has_a_row_for_each_variant() -> None:
    assert sorted(row[0].strip("`") for row in table(TEXTS["docs/findings.md"], "## The table")) == VARIANTS
