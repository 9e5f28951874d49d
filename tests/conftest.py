"""Rigs on the project's own devices, for tests that need more than `powercut.update`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from labgrid import Environment

from powercut.rig import Rig, attach

ROOT = Path(__file__).parent.parent
Vary = Callable[[dict[str, Any]], None]


@contextmanager
def rig_of(environment: Path) -> Iterator[Rig]:
    """Everything that an environment describes, as the plugin would attach it."""
    env = Environment(str(environment))
    try:
        with attach(env.get_target()) as rig:
            yield rig
    finally:
        env.cleanup()


@pytest.fixture(scope="session")
def reference() -> Iterator[Rig]:
    """The reference device."""
    with rig_of(ROOT / "env/qemu-ostree.yaml") as rig:
        yield rig


@pytest.fixture
def variant(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Makes a rig from one of the project's environments with some of its options changed: a device, as data."""
    with ExitStack() as stack:

        def make(name: str = "qemu-ostree", *, driver: dict[str, Any] | None = None, **options: Any) -> Rig:
            environment = varied(ROOT / f"env/{name}.yaml", tmp_path, driver or {}, options)
            return stack.enter_context(rig_of(environment))

        yield make


def varied(source: Path, folder: Path, driver: dict[str, Any], options: dict[str, Any]) -> Path:
    """A copy of an environment with changed driver arguments and powercut options, and with absolute paths."""
    text = source.read_text().replace("../build/", f"{ROOT}/build/")
    data = copy.deepcopy(yaml.safe_load(text))
    target = data["targets"]["main"]
    target["drivers"]["PowercutQEMUDriver"].update(driver)
    target["options"]["powercut"].update(options)
    file = folder / source.name
    file.write_text(yaml.safe_dump(data))
    return file
