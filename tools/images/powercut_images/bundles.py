"""The releases of a dual-bank device: one image of a slot each, in a signed bundle as RAUC takes it.

The tree in a slot is the one that an OSTree release of the same version has, with the scripts of this device, and
`usr/etc` where the system itself looks for it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from pathlib import Path

from .devices import DualBank
from .disk import MIB, file_system
from .errors import BuildError
from .initramfs import make_initramfs
from .releases import DEVICE_FILES, ENV_SECTOR, write_release
from .store import Store, remove_tree, source_hash
from .workshop import Workshop

# In the file system of the environment, behind the block of the environment itself; the disk's recipe checks it.
ENV_BACKUP_SECTOR = 46
FILES = DEVICE_FILES / "dualbank"

_HERE = Path(__file__).parent
_SHARED = ("usr/bin/bootenv", "usr/etc/inittab", *(f"usr/lib/device/{name}" for name in ("console", "network", "sshd")))
# Slots are read by GRUB, and never repaired: no journal, and nothing that the tools of another release decide.
_SLOT = ("-t", "ext4", "-b", "4096", "-m", "0", "-N", "20000", "-O", "^has_journal,^metadata_csum,^64bit,^resize_inode")
_SQUASHFS = "--mksquashfs-args=-comp zstd -Xcompression-level 9 -no-progress -quiet"
_DAYS = "7300"
_SIGNER = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=emailProtection,codeSigning\n"


def make_certificates(store: Store) -> Path:
    """`NAME/ca.pem`, `NAME/sign.pem`, `NAME/sign.key`: `vendor`, whom devices trust, and `stranger`, whom none does."""

    def make(shop: Workshop) -> None:
        with shop.step("making certificates"):
            for name in ("vendor", "stranger"):
                _make_signer(shop, shop.dir / name, name)

    return store.get("certificates", {"recipe": "1"}, make)


def _make_signer(shop: Workshop, place: Path, name: str) -> None:
    place.mkdir()
    (place / "ext").write_text(_SIGNER)
    new = ("-newkey", "rsa:2048", "-nodes")
    authority = ("-subj", f"/O={name}/CN={name} CA", "-keyout", "ca.key", "-out", "ca.pem")
    shop.run("openssl", "req", "-x509", *new, "-days", _DAYS, *authority, cwd=place)
    request = ("-subj", f"/O={name}/CN={name} releases", "-keyout", "sign.key", "-out", "sign.csr")
    shop.run("openssl", "req", *new, *request, cwd=place)
    signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    shop.run(
        *("openssl", "x509", "-req", "-in", "sign.csr", *signed_by, "-days", _DAYS, "-extfile", "ext"),
        *("-out", "sign.pem"),
        cwd=place,
    )


def make_bundles(store: Store, system: Path, certificates: Path, device: DualBank) -> Path:
    """`bundles/VERSION.raucb`, `releases.json`, and `first.img`, the slot of the first release."""
    inputs = {
        "system": system.name,
        "certificates": certificates.name,
        "device": repr(device),
        "files": source_hash(DEVICE_FILES / "rootfs", FILES / "rootfs", FILES / "initramfs"),
        "recipe": source_hash(
            *(_HERE / name for name in ("bundles.py", "content.py", "cpio.py", "initramfs.py", "releases.py"))
        ),
    }

    def make(shop: Workshop) -> None:
        (shop.dir / "bundles").mkdir()
        vendor = certificates / "vendor"
        releases = []
        for number, version in enumerate(device.versions):
            image = shop.dir / "rootfs.img"
            with shop.step(f"slot of {version}"):
                make_slot(shop, image, system, vendor, (device, number))
            with shop.step(f"bundle of {version}"):
                make_bundle(shop, image, vendor, device, version)
                if number == 1:
                    for kind in device.forged:
                        _forge(shop, image, certificates, (device, kind), version)
            releases.append({"version": version, "sha256": _sha256(image), "size": image.stat().st_size})
            if number == 0:
                image.rename(shop.dir / "first.img")
            else:
                image.unlink()
        (shop.dir / "releases.json").write_text(json.dumps(releases, indent=1) + "\n")

    return store.get(f"bundles-{device.name}", inputs, make)


def make_slot(shop: Workshop, image: Path, system: Path, vendor: Path, release: tuple[DualBank, int]) -> None:
    """The image of a slot with a release: equal inputs give an equal image."""
    device, number = release
    overlay, tree = shop.dir / "overlay", shop.dir / "tree"
    _write_overlay(shop, overlay, system, vendor, release)
    # Links to the files of the system, which are replaced and never written to.
    shop.run("cp", "-al", system / "tree", tree)
    shop.run("cp", "-a", "--remove-destination", f"{overlay}/.", tree)
    (tree / "usr/etc").rename(tree / "etc")
    (tree / "data").mkdir()
    kernel = (system / "kernel-version").read_text()
    if device.versions[number].endswith("-nokernel"):
        (tree / f"usr/lib/modules/{kernel}/vmlinuz").unlink()
    for name in ("vmlinuz", "initramfs.img"):
        (tree / "boot" / name).symlink_to(f"../usr/lib/modules/{kernel}/{name}")
    _check_size(shop, tree, device)
    file_system(shop, image, ("root", device.slot_mib), tree, *_SLOT)
    shutil.rmtree(overlay)
    remove_tree(tree)


def _check_size(shop: Workshop, tree: Path, device: DualBank) -> None:
    needed_mib = int(shop.run("du", "-sk", "--apparent-size", tree).split()[0]) // 1024
    if needed_mib * 1.05 > device.slot_mib:
        raise BuildError(
            f"image {shop.name}",
            f"the release takes {needed_mib} MiB, a slot has {device.slot_mib} MiB",
            "raise `slot_mib` in devices.py",
        )


def _write_overlay(shop: Workshop, overlay: Path, system: Path, vendor: Path, release: tuple[DualBank, int]) -> None:
    device, number = release
    tree, config = system / "tree", device_conf(device)
    shutil.copytree(FILES / "rootfs", overlay, symlinks=True)
    for name in _SHARED:
        (overlay / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DEVICE_FILES / "rootfs" / name, overlay / name)
    write_release(overlay, tree, device, number, config)
    settings = overlay / "usr/etc/rauc/system.conf"
    settings.write_text(filled(settings.read_text(), device))
    shutil.copy(vendor / "ca.pem", overlay / "usr/etc/rauc/ca.pem")
    initramfs = overlay / "usr/lib/modules" / (system / "kernel-version").read_text() / "initramfs.img"
    initramfs.parent.mkdir(parents=True)
    script = FILES / "initramfs/init"
    initramfs.write_bytes(make_initramfs(shop, tree, script, config, device.versions[number]))


def device_conf(device: DualBank) -> str:
    """What the scripts on the device need to know about it, as shell assignments."""
    values = {
        "DATA_DEVICE": device.node("data"),
        "ENV_DEVICE": device.node("env"),
        "ENV_SECTOR": str(ENV_SECTOR),
        "ENV_BACKUP_SECTOR": str(ENV_BACKUP_SECTOR),
        "PROMPT": device.prompt,
        "LOGIN": "yes" if device.password_hash else "",
    }
    return "".join(f"{name}='{value}'\n" for name, value in values.items())


def filled(text: str, device: DualBank) -> str:
    """RAUC's configuration of a device."""
    words = {"COMPATIBLE": device.compatible, "A": device.node("A"), "B": device.node("B")}
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def make_bundle(
    shop: Workshop, image: Path, signer: Path, device: DualBank, version: str, *, name: str = "", compatible: str = ""
) -> Path:
    """`bundles/NAME.raucb` (default: the version), signed by `signer`.

    Raises BuildError when the key is missing or the image does not have the size of a slot.
    """
    where = f"image {shop.name}, bundle {name or version}"
    for part in ("sign.key", "sign.pem", "ca.pem"):
        if not (signer / part).is_file():
            what = f"the signing key is missing: there is no {signer / part}"
            raise BuildError(where, what, f"remove {signer.parent}, and new ones are made")
    if image.stat().st_size != device.slot_mib * MIB:
        what = f"its image has {image.stat().st_size} bytes, a slot has {device.slot_mib * MIB}"
        raise BuildError(where, what, "make both of one size: `slot_mib` in devices.py")
    content = shop.dir / "content"
    content.mkdir()
    (content / "rootfs.img").hardlink_to(image)
    (content / "manifest.raucm").write_text(
        f"[update]\ncompatible={compatible or device.compatible}\nversion={version}\n\n"
        "[bundle]\nformat=plain\n\n[image.rootfs]\nfilename=rootfs.img\n"
    )
    bundle = shop.dir / f"bundles/{name or version}.raucb"
    signing = (f"--cert={signer / 'sign.pem'}", f"--key={signer / 'sign.key'}", f"--keyring={signer / 'ca.pem'}")
    shop.run("rauc", *signing, _SQUASHFS, "bundle", content, bundle)
    shutil.rmtree(content)
    return bundle


def _forge(shop: Workshop, image: Path, certificates: Path, what: tuple[DualBank, str], version: str) -> None:
    """The second release in a bundle that is wrong in one way."""
    device, kind = what
    name = f"{version}-{kind}"
    signer = certificates / ("stranger" if kind == "wrongly-signed" else "vendor")
    compatible = "another-device" if kind == "other-device" else ""
    bundle = make_bundle(shop, image, signer, device, version, name=name, compatible=compatible)
    if kind == "unsigned":
        data = bundle.read_bytes()
        # The signature lies behind the file system, and its length in the last eight bytes.
        (signature_bytes,) = struct.unpack(">Q", data[-8:])
        bundle.write_bytes(data[: -8 - signature_bytes])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
