"""The disk of a dual-bank device with its first release in slot A, put together without a mount."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

from .bundles import ENV_BACKUP_SECTOR, FILES
from .devices import DualBank
from .disk import (
    GRUB,
    KERNEL_ARGUMENTS,
    MIB,
    SECTOR,
    check_sector,
    file_system,
    grub_core,
    make_environment,
    write_state,
)
from .releases import DEVICE_FILES
from .store import Store, source_hash
from .workshop import Workshop

_HERE = Path(__file__).parent
_BIOS_BOOT, _LINUX = "21686148-6449-6E6F-744E-656564454649", "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
_DISK = "0b5ca1ed-0000-4000-8000-000000000000"
_CORE_AT_MIB = 1
_GRUB_SEGMENT = 0x820


def make_dual_disk(store: Store, bundles: Path, keys: Path, device: DualBank) -> Path:
    """`disk.img`, `releases.json`, and `bundles`, a link to the folder that an update server would serve."""
    inputs = {
        "bundles": bundles.name,
        "keys": keys.name,
        "device": repr((device, device.boot_script, device.counts, device.env_journal)),
        "files": source_hash(FILES / "grub", FILES / "env-journal", DEVICE_FILES / "rootfs/usr/etc/inittab"),
        "recipe": source_hash(_HERE / "dualdisk.py", _HERE / "disk.py"),
    }

    def make(shop: Workshop) -> None:
        with shop.step("putting the disk together"):
            first = json.loads((bundles / "releases.json").read_text())[0]
            sizes = {part.role: part.size_mib for part in device.partitions}
            parts = {"A": bundles / "first.img", "env": shop.dir / "env.img", "data": shop.dir / "data.img"}
            _environment(shop, parts["env"], sizes["env"], device)
            data = shop.dir / "data"
            _write_data(data, keys, device, first)
            file_system(shop, parts["data"], ("data", sizes["data"]), data, "-t", "ext4", "-J", "size=8")
            _assemble(shop, shop.dir / "disk.img", parts, device)
            shutil.rmtree(data)
            parts["env"].unlink()
            parts["data"].unlink()
        shutil.copy(bundles / "releases.json", shop.dir / "releases.json")
        (shop.dir / "bundles").symlink_to(f"../{bundles.name}/bundles")

    return store.get(f"disk-{device.name}", inputs, make)


def _environment(shop: Workshop, image: Path, size_mib: int, device: DualBank) -> None:
    """Slot A was confirmed, slot B is empty; and the same once more, for when the first is damaged."""
    variables = {"ORDER": "A B"}
    for slot, good in (("A", "1"), ("B", "0")):
        variables |= {f"{slot}_OK": good, f"{slot}_TRY": "0", f"{slot}_GOOD": good, f"{slot}_FAIL": "0"}
    block = make_environment(shop, image, size_mib, variables)
    if device.env_journal:
        _journaled(shop, image, size_mib, block)
        return
    copy = shop.dir / "grubenv.bak"
    copy.write_bytes(block)
    shop.run("debugfs", "-w", "-R", f"write {copy} grubenv.bak", image)
    copy.unlink()
    check_sector(image, ENV_BACKUP_SECTOR, block)


def _journaled(shop: Workshop, image: Path, size_mib: int, block: bytes) -> None:
    """The environment as a file like any other, without a copy."""
    content = shop.dir / "env"
    content.mkdir()
    (content / "grubenv").write_bytes(block)
    image.unlink()
    options = ("-t", "ext4", "-b", "1024", "-m", "0", "-J", "size=1", "-O", "has_journal,^metadata_csum,^64bit")
    file_system(shop, image, ("env", size_mib), content, *options)
    shutil.rmtree(content)


def _write_data(data: Path, keys: Path, device: DualBank, first: dict[str, str | int]) -> None:
    """What belongs to the device: /var, the upper half of /etc, downloads, and what RAUC says of its slots."""
    for name in ("var", "etc", "etc.work", "ota"):
        (data / name).mkdir(parents=True)
    write_state(data / "var", keys, device.prompt)
    if device.client == "mender":
        (data / "var/lib/mender").mkdir()
    if device.env_journal:
        shutil.copytree(FILES / "env-journal", data / "etc", dirs_exist_ok=True)
        inittab = (DEVICE_FILES / "rootfs/usr/etc/inittab").read_text()
        (data / "etc/inittab").write_text(f"::sysinit:/etc/env-journal\n{inittab}")
    if device.client == "rauc":
        (data / "rauc.status").write_text(
            f"[slot.rootfs.0]\nbundle.compatible={device.compatible}\nbundle.version={first['version']}\n"
            f"status=ok\nsha256={first['sha256']}\nsize={first['size']}\n"
        )


def _assemble(shop: Workshop, disk: Path, parts: dict[str, Path], device: DualBank) -> None:
    total_mib = _CORE_AT_MIB + sum(part.size_mib for part in device.partitions) + 1
    with disk.open("wb") as file:
        os.truncate(file.fileno(), total_mib * MIB)
    table = [f"label: gpt\nlabel-id: {_DISK}"]
    start_mib = _CORE_AT_MIB
    for number, part in enumerate(device.partitions, 1):
        if part.role in parts:
            seek = f"seek={start_mib}"
            shop.run("dd", f"if={parts[part.role]}", f"of={disk}", "bs=1M", seek, "conv=notrunc,sparse", "status=none")
        kind = _BIOS_BOOT if part.role == "grub" else _LINUX
        uuid = f"{_DISK[:-1]}{number}"
        sectors = f"start={start_mib * MIB // SECTOR}, size={part.size_mib * MIB // SECTOR}"
        table.append(f"{sectors}, type={kind}, uuid={uuid}, name={part.role}")
        start_mib += part.size_mib
    shop.run("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", disk, stdin="\n".join(table).encode())
    _install_grub(shop, disk, device)


def _install_grub(shop: Workshop, disk: Path, device: DualBank) -> None:
    """GRUB's first stage before the table, its second in the partition that a GPT has for it."""
    config = (FILES / "grub" / device.boot_script).read_text()
    if not device.counts:
        config = "".join(line for line in config.splitlines(keepends=True) if "save_env" not in line)
    words = {role.upper(): str(device.number(role)) for role in ("env", "A", "B")}
    for word, value in {**words, "ARGUMENTS": " ".join(("ro", *KERNEL_ARGUMENTS))}.items():
        config = config.replace(f"@{word}@", value)
    at = _CORE_AT_MIB * MIB // SECTOR
    code = bytearray((GRUB / "boot.img").read_bytes()[:440])
    # Where the second stage begins; and, as grub-install does it, the drive is the one that the BIOS names.
    struct.pack_into("<Q", code, 0x5C, at)
    code[0x64], code[0x66:0x68] = 0xFF, b"\x90\x90"
    core = bytearray(grub_core(shop, config, "part_gpt"))
    core += bytes(-len(core) % SECTOR)
    # The first sector of the second stage loads the others: from where, how many, to which segment.
    struct.pack_into("<QHH", core, SECTOR - 12, at + 1, len(core) // SECTOR - 1, _GRUB_SEGMENT)
    with disk.open("r+b") as file:
        file.write(code)
        file.seek(at * SECTOR)
        file.write(core)
