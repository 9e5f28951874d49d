"""The releases of a dual-bank device: one image of a slot each, in a signed file as its update client takes it.

The tree in a slot is the one that an OSTree release of the same version has, with the scripts of this device, and
`usr/etc` where the system itself looks for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .cpio import checked_member
from .devices import DualBank
from .disk import MIB, file_system
from .errors import BuildError
from .initramfs import make_initramfs
from .mender import make_artifact
from .releases import DEVICE_FILES, ENV_SECTOR, write_release
from .store import Store, remove_tree, source_hash
from .workshop import Workshop

# In the file system of the environment, behind the block of the environment itself; the disk's recipe checks it.
ENV_BACKUP_SECTOR = 46
FILES = DEVICE_FILES / "dualbank"

_HERE = Path(__file__).parent
_SHARED = ("usr/bin/bootenv", "usr/etc/inittab", *(f"usr/lib/device/{name}" for name in ("console", "network", "sshd")))
# What names the device, its slots and its release, in the clients' own configuration.
_CONFIGURATION = ("rauc/system.conf", "mender/mender.conf", "mender/device_type", "mender/artifact_info")
# Slots are read by GRUB, and never repaired: no journal, and nothing that the tools of another release decide.
_SLOT = ("-t", "ext4", "-b", "4096", "-m", "0", "-N", "20000", "-O", "^has_journal,^metadata_csum,^64bit,^resize_inode")
_SQUASHFS = "--mksquashfs-args=-comp zstd -Xcompression-level 9 -no-progress -quiet"
_GZIP_LEVEL = 3
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
    """`bundles/VERSION.raucb` (or as its client takes it), `releases.json`, `first.img`: the first release's slot."""
    inputs = {
        "system": system.name,
        "certificates": certificates.name,
        "device": repr(device),
        "files": source_hash(DEVICE_FILES / "rootfs", FILES / "rootfs", FILES / device.client, FILES / "initramfs"),
        "recipe": source_hash(
            *(
                _HERE / name
                for name in ("bundles.py", "content.py", "cpio.py", "initramfs.py", "mender.py", "releases.py")
            )
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
                make_bundle(shop, image, vendor, device, Wanted(version))
                if number == 1:
                    for kind in device.forged:
                        make_forged(shop, image, certificates, (device, kind), version)
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
    shutil.copytree(FILES / device.client, overlay, symlinks=True, dirs_exist_ok=True)
    for name in _SHARED:
        (overlay / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DEVICE_FILES / "rootfs" / name, overlay / name)
    write_release(overlay, tree, device, number, config)
    for settings in (overlay / "usr/etc" / name for name in _CONFIGURATION):
        if settings.exists():
            settings.write_text(filled(settings.read_text(), device, device.versions[number]))
    trust = overlay / "usr/etc/ota"
    trust.mkdir()
    shutil.copy(vendor / "ca.pem", trust / "ca.pem")
    if device.client == "mender":  # it trusts a key, and knows no certificates
        shop.run("openssl", "x509", "-in", vendor / "sign.pem", "-noout", "-pubkey", "-out", trust / "verify.pem")
    initramfs = overlay / "usr/lib/modules" / (system / "kernel-version").read_text() / "initramfs.img"
    initramfs.parent.mkdir(parents=True)
    script = FILES / "initramfs/init"
    initramfs.write_bytes(make_initramfs(shop, tree, script, config, device.versions[number]))


def device_conf(device: DualBank) -> str:
    """What the scripts on the device need to know about it, as shell assignments."""
    values = {
        "COMPATIBLE": device.compatible,
        "DATA_DEVICE": device.node("data"),
        "SLOT_A": device.node("A"),
        "SLOT_B": device.node("B"),
        "ENV_DEVICE": device.node("env"),
        "ENV_SECTOR": str(ENV_SECTOR),
        "ENV_BACKUP_SECTOR": str(ENV_BACKUP_SECTOR),
        "PROMPT": device.prompt,
        "LOGIN": "yes" if device.password_hash else "",
    }
    return "".join(f"{name}='{value}'\n" for name, value in values.items())


def filled(text: str, device: DualBank, version: str) -> str:
    """The configuration of an update client, for a release of a device."""
    words = {"COMPATIBLE": device.compatible, "VERSION": version, "A": device.node("A"), "B": device.node("B")}
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


@dataclass(frozen=True)
class Wanted:
    """A bundle to be made: of which version, called what, for which kind of device, signed or not."""

    version: str
    name: str = ""
    compatible: str = ""
    signed: bool = True


def make_bundle(shop: Workshop, image: Path, signer: Path, device: DualBank, wanted: Wanted) -> Path:
    """`bundles/NAME.raucb`, or as the device's client takes it; signed by `signer`.

    Raises BuildError when the key is missing or the image does not have the size of a slot.
    """
    name = wanted.name or wanted.version
    where = f"image {shop.name}, bundle {name}"
    for part in ("sign.key", "sign.pem", "ca.pem"):
        if not (signer / part).is_file():
            what = f"the signing key is missing: there is no {signer / part}"
            raise BuildError(where, what, f"remove {signer.parent}, and new ones are made")
    if image.stat().st_size != device.slot_mib * MIB:
        what = f"its image has {image.stat().st_size} bytes, a slot has {device.slot_mib * MIB}"
        raise BuildError(where, what, "make both of one size: `slot_mib` in devices.py")
    make, suffix = _MAKERS[device.client]
    content, bundle = shop.dir / "content", shop.dir / f"bundles/{name}.{suffix}"
    content.mkdir()
    make(shop, image, (signer, content, bundle), device, wanted)
    shutil.rmtree(content)
    return bundle


def _make_raucb(shop: Workshop, image: Path, places: tuple[Path, Path, Path], device: DualBank, wanted: Wanted) -> None:
    signer, content, bundle = places
    (content / "rootfs.img").hardlink_to(image)
    (content / "manifest.raucm").write_text(
        f"[update]\ncompatible={wanted.compatible or device.compatible}\nversion={wanted.version}\n\n"
        "[bundle]\nformat=plain\n\n[image.rootfs]\nfilename=rootfs.img\n"
    )
    signing = (f"--cert={signer / 'sign.pem'}", f"--key={signer / 'sign.key'}", f"--keyring={signer / 'ca.pem'}")
    shop.run("rauc", *signing, _SQUASHFS, "bundle", content, bundle)
    if not wanted.signed:
        data = bundle.read_bytes()
        # The signature lies behind the file system, and its length in the last eight bytes.
        (signature_bytes,) = struct.unpack(">Q", data[-8:])
        bundle.write_bytes(data[: -8 - signature_bytes])


# Both slots have the same image; which one is written, the command on the device selects. Streamed into the slot.
_SELECTION = """ {slot}: {{ images: ( {{ filename = "{packed}"; device = "{node}"; type = "raw"; compressed = "zlib";
   installed-directly = true; sha256 = "{sha256}"; }} ); }};
"""


def _make_swu(shop: Workshop, image: Path, places: tuple[Path, Path, Path], device: DualBank, wanted: Wanted) -> None:
    signer, content, bundle = places
    packed, description = content / "rootfs.img.gz", content / "sw-description"
    with image.open("rb") as file, packed.open("wb") as out:
        out.writelines(_packed(file))
    selections = "".join(
        _SELECTION.format(slot=slot, node=device.node(slot), packed=packed.name, sha256=_sha256(packed))
        for slot in ("A", "B")
    )
    hardware = "another" if wanted.compatible else "1.0"
    description.write_text(
        f'software = {{\n version = "{wanted.version}";\n hardware-compatibility = [ "{hardware}" ];\n'
        f" stable = {{\n{selections} }};\n}}\n"
    )
    signature = content / "sw-description.sig"
    shop.run(
        *(
            "openssl",
            "cms",
            "-sign",
            "-in",
            description,
            "-out",
            signature,
            "-outform",
            "DER",
            "-nosmimecap",
            "-binary",
        ),
        *("-signer", signer / "sign.pem", "-inkey", signer / "sign.key"),
    )
    members = (description, signature, packed) if wanted.signed else (description, packed)
    with bundle.open("wb") as out:
        for member in members:
            data = member.read_bytes()
            out.write(checked_member(member.name, data))
        out.write(checked_member("TRAILER!!!", b""))


def _packed(file: BinaryIO) -> Iterator[bytes]:
    """gzip without a time stamp: equal images are packed the same."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    while piece := file.read(MIB):
        yield packer.compress(piece)
    yield packer.flush()


def _make_mender(
    shop: Workshop, image: Path, places: tuple[Path, Path, Path], device: DualBank, wanted: Wanted
) -> None:
    signer, content, bundle = places
    (content / "rootfs.img").hardlink_to(image)
    kind = wanted.compatible or device.compatible
    make_artifact(shop, content / "rootfs.img", (wanted.version, kind), signer if wanted.signed else None, bundle)


_MAKERS = {"rauc": (_make_raucb, "raucb"), "swupdate": (_make_swu, "swu"), "mender": (_make_mender, "mender")}


def make_forged(shop: Workshop, image: Path, certificates: Path, what: tuple[DualBank, str], version: str) -> None:
    """The second release in a bundle that is wrong in one way."""
    device, kind = what
    if kind == "truncated":
        _cut_short(next((shop.dir / "bundles").glob(f"{version}.*")), version)
        return
    signer = certificates / ("stranger" if kind == "wrongly-signed" else "vendor")
    compatible = "another-device" if kind == "other-device" else ""
    wanted = Wanted(version, f"{version}-{kind}", compatible, signed=kind != "unsigned")
    make_bundle(shop, image, signer, device, wanted)


def _cut_short(good: Path, version: str) -> None:
    """The first half of a bundle."""
    cut = good.with_name(f"{version}-truncated{good.suffix}")
    shutil.copyfile(good, cut)
    os.truncate(cut, good.stat().st_size // 2)


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()
