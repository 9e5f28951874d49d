"""The system below every OSTree release: Debian's tree in ostree's layout, with a kernel, committed once.

Releases are this commit with files laid over it, which takes seconds where committing the whole tree takes a minute.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from .store import Store, source_hash
from .workshop import Workshop

# What the kernel needs before it can mount its disk, in the order of insmod, and what is loaded later.
BOOT_MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"),
    "crc32c_generic",
)
_LATER_MODULES = ("virtio_net", "overlay", "loop", "dm_mod", "dm_verity", "squashfs", "nvme", "softdog", "vfat")

# Directories that ostree wants in /var, by their name there.
VAR_DIRS = {
    "root": "roothome",
    "home": "home",
    "srv": "srv",
    "mnt": "mnt",
    "opt": "opt",
}

# systemd comes along as a dependency of rauc and never runs; of GRUB's tools the device uses one.
_DROPPED = (
    *(
        "usr/lib/x86_64-linux-gnu/systemd",
        "usr/lib/systemd/systemd*",
        "usr/lib/systemd/boot",
        "usr/lib/systemd/catalog",
    ),
    *("usr/bin/systemctl", "usr/bin/systemd-*", "usr/bin/journalctl", "usr/bin/loginctl", "usr/bin/networkctl"),
    *("usr/bin/hostnamectl", "usr/bin/localectl", "usr/bin/timedatectl", "usr/bin/busctl", "usr/bin/resolvectl"),
    *("usr/bin/grub-[!e]*", "usr/sbin/grub-*", "usr/lib/grub", "etc/grub.d"),
    *("var/lib/dpkg/info", "var/cache/debconf", "var/lib/apt"),
)

# In the initramfs, besides the libraries that they need.
INITRAMFS_TOOLS = ("usr/bin/busybox", "usr/sbin/e2fsck", "usr/lib/ostree/ostree-prepare-root")


def make_system(store: Store, base: Path) -> Path:
    """`repo` with the ref `base`, `tree` (the same as files), and `kernel-version`."""

    def make(shop: Workshop) -> None:
        tree = shop.dir / "tree"
        tree.mkdir()
        with shop.step("unpacking the base"):
            shop.run("tar", "-C", tree, "-xpf", base / "rootfs.tar", "--numeric-owner", "--exclude=./dev/*")
            _drop(tree, _DROPPED)
        with shop.step("unpacking the kernel"):
            version = _install_kernel(shop, tree, base / "kernel.deb")
            (shop.dir / "kernel-version").write_text(version)
        with shop.step("committing the base tree"):
            _ostree_layout(tree)
            repo = shop.dir / "repo"
            shop.run("ostree", f"--repo={repo}", "init", "--mode=archive")
            shop.run("ostree", f"--repo={repo}", "config", "set", "core.fsync", "false")
            shop.run(
                "ostree", f"--repo={repo}", "commit", "-b", "base", f"--tree=dir={tree}", "--timestamp=@1700000000"
            )

    return store.get("system", {"base": base.name, "recipe": source_hash(Path(__file__))}, make)


def needed_libraries(shop: Workshop, tree: Path, programs: Iterable[str]) -> list[str]:
    """The shared libraries of programs in the tree, as absolute paths there, the loader first."""
    loader = "/lib64/ld-linux-x86-64.so.2"
    found = {loader}
    for program in programs:
        if loader.encode() not in (tree / program).read_bytes():
            continue  # static, and the loader crashes on it
        listed = shop.run("chroot", tree, loader, "--list", f"/{program}")
        found |= set(re.findall(r"=> (/\S+)", listed))
    return sorted(found, key=lambda path: (path != loader, path))


def _drop(tree: Path, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        for path in tree.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _install_kernel(shop: Workshop, tree: Path, package: Path) -> str:
    """Puts the kernel where ostree looks for it, with the few modules that a virtual board needs."""
    unpacked = shop.dir / "kernel"
    shop.run("dpkg-deb", "-x", package, unpacked)
    source = next((unpacked / "lib/modules").iterdir())
    version = source.name
    place = tree / "usr/lib/modules" / version
    place.parent.mkdir(exist_ok=True)
    source.rename(place)
    (unpacked / f"boot/vmlinuz-{version}").rename(place / "vmlinuz")
    shutil.rmtree(unpacked)
    shop.run("chroot", tree, "/usr/sbin/depmod", version)
    wanted = _with_dependencies((place / "modules.dep").read_text(), (*BOOT_MODULES, *_LATER_MODULES))
    for module in place.rglob("*.ko"):
        if str(module.relative_to(place)) not in wanted:
            module.unlink()
    for directory in sorted((path for path in place.rglob("*") if path.is_dir()), reverse=True):
        if not any(directory.iterdir()):
            directory.rmdir()
    for file in place.glob("modules.*"):
        if file.name not in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            file.unlink()
    shop.run("chroot", tree, "/usr/sbin/depmod", version)
    return version


def _with_dependencies(modules_dep: str, names: Iterable[str]) -> set[str]:
    needs = {}
    for line in modules_dep.splitlines():
        path, _, rest = line.partition(":")
        needs[Path(path).name.removesuffix(".ko").replace("-", "_")] = {path, *rest.split()}
    return {path for name in names for path in needs.get(name, set())}


def _ostree_layout(tree: Path) -> None:
    """`/etc` becomes the default of each deployment's own, state goes to `/var`, and the rest is read-only."""
    for name in ("var", "boot", "run", "tmp", "dev"):
        shutil.rmtree(tree / name)
        (tree / name).mkdir()
    (tree / "tmp").chmod(0o1777)
    for name, place in VAR_DIRS.items():
        shutil.rmtree(tree / name)
        (tree / name).symlink_to(f"var/{place}")
    shutil.rmtree(tree / "media")
    (tree / "media").symlink_to("run/media")
    shutil.rmtree(tree / "usr/local")
    (tree / "usr/local").symlink_to("../var/usrlocal")
    for name in ("reboot", "poweroff"):
        (tree / "usr/sbin" / name).unlink(missing_ok=True)
        (tree / "usr/sbin" / name).symlink_to("../bin/busybox")
    (tree / "sysroot").mkdir()
    (tree / "ostree").symlink_to("sysroot/ostree")
    (tree / "etc/fstab").write_text("")
    (tree / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (tree / "etc").rename(tree / "usr/etc")
