"""The initramfs: busybox, the modules of a virtio disk, e2fsck, and ostree's own ostree-prepare-root."""

from __future__ import annotations

from pathlib import Path

from .cpio import Archive
from .system import BOOT_MODULES, INITRAMFS_TOOLS, needed_libraries
from .workshop import Workshop


def make_initramfs(shop: Workshop, tree: Path, script: Path, config: str, version: str) -> bytes:
    """The compressed initramfs of one release.

    What differs between releases comes last, so that the compressed files are equal up to there, as they would be with
    a careful vendor.
    """
    archive = Archive()
    for directory in ("dev", "proc", "sys", "run", "sysroot"):
        archive.directory(directory)
    archive.file("etc/initrd-release", b"")
    for tool in INITRAMFS_TOOLS:
        place = tool if tool.startswith("usr/lib/") else f"bin/{Path(tool).name}"
        archive.file(place, tree / tool, executable=True)
    archive.link("bin/sh", "busybox")
    for library in needed_libraries(shop, tree, INITRAMFS_TOOLS):
        archive.file(library, _inside(tree, library), executable=True)
    modules = {path.stem.replace("-", "_"): path for path in tree.glob("usr/lib/modules/*/kernel/**/*.ko")}
    present = [modules[name] for name in BOOT_MODULES if name in modules]
    for number, module in enumerate(present):
        archive.file(f"modules/{number:02}-{module.name}", module)
    archive.file("init", script, executable=True)
    archive.file("etc/device.conf", config.encode())
    archive.file("etc/release", f"{version}\n".encode())
    plain, packed = shop.dir / "initramfs.cpio", shop.dir / "initramfs.lz4"
    plain.write_bytes(archive.finished())
    shop.run("lz4", "-l", "-9", "-f", "-q", plain, packed)  # -l is the only LZ4 format that the kernel reads
    data = packed.read_bytes()
    plain.unlink()
    packed.unlink()
    return data


def _inside(tree: Path, path: str) -> Path:
    """The file that an absolute path means inside the tree, following the tree's own links."""
    place = tree / path.lstrip("/")
    for parent in reversed(place.relative_to(tree).parents):
        link = tree / parent
        if link.is_symlink():
            return _inside(tree, str((parent.parent / link.readlink() / place.relative_to(link)).as_posix()))
    if place.is_symlink():
        return _inside(tree, str((place.relative_to(tree).parent / place.readlink()).as_posix()))
    return place
