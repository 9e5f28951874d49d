"""U-Boot's prompt in QEMU, through labgrid's own UBootDriver, on disks and flash that are recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from labgrid import Environment, Target
from labgrid.driver import UBootDriver

from powercut.disk.blocks import Blocks
from powercut.lab import PowercutQEMUDriver

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Recorded:
    """What the board's first disk was at power-on, and what was written to it since."""

    before: Blocks
    logs: tuple[Path, ...]


@dataclass(frozen=True)
class Board:
    """A board that has power only within `powered`."""

    target: Target
    qemu: Any
    uboot: Any

    @contextmanager
    def powered(self) -> Iterator[UBootDriver]:
        """U-Boot at its prompt; the power is cut at the end, and what was written until then is kept."""
        self.qemu.on()
        try:
            self.target.activate(self.uboot)
            yield self.uboot
        finally:
            self.target.deactivate(self.uboot)
            self.qemu.off()

    @property
    def recorded(self) -> Recorded:
        """All since power-on; to be asked for before the power is cut."""
        return Recorded(self.qemu.before, self.qemu.logs)

    def value(self, name: str) -> str | None:
        """What a variable of the environment is."""
        lines, _, code = self.uboot.run(f"printenv {name}")
        return "\n".join(lines).removeprefix(f"{name}=") if code == 0 else None

    @property
    def said(self) -> str:
        """All that the console has printed."""
        return "\n".join(line.text for line in self.qemu.reader.lines())


@contextmanager
def board(image: str, folder: Path, disks: list[dict[str, str]] | None = None) -> Iterator[Board]:
    """The loader of an image, with its own flash or with other disks; skips where the image is not built."""
    needs(image)
    text = (ROOT / "env/uboot/stock.yaml").read_text().replace("../../build/uboot/", f"{ROOT}/build/{image}/")
    data = yaml.safe_load(text)
    if disks is not None:
        data["targets"]["main"]["drivers"]["PowercutQEMUDriver"]["disks"] = disks
    file = folder / f"{image}.yaml"
    file.write_text(yaml.safe_dump(data))
    env = Environment(str(file))
    try:
        target = env.get_target("main")
        assert target is not None
        qemu = target.get_driver(PowercutQEMUDriver)
        yield Board(target, qemu, target.get_driver(UBootDriver, activate=False))
    finally:
        env.cleanup()


def needs(image: str) -> None:
    """Skips a test whose image is not built, and says how to build it."""
    if not (ROOT / "build" / image).exists():
        pytest.skip(f"build/{image} is not there: tools/images/build {image}")
