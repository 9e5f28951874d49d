"""What stops the build of a dual-bank image, with one clear message each."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tools.images.powercut_images.bundles import Wanted, filled, make_bundle, make_certificates, make_forged, make_slot
from tools.images.powercut_images.devices import DEVICES, RAUC, DualBank
from tools.images.powercut_images.errors import BuildError
from tools.images.powercut_images.store import Store
from tools.images.powercut_images.workshop import Workshop

from powercut.clients.artifact import image_of

SMALL = replace(RAUC, slot_mib=1)


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    (tmp_path / "shop/bundles").mkdir(parents=True)
    return Workshop("rauc", tmp_path / "shop")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with Store.locked(tmp_path_factory.mktemp("cache")) as store:
        return make_certificates(store)


@pytest.fixture
def image(shop: Workshop) -> Path:
    image = shop.dir / "rootfs.img"
    image.write_bytes(bytes(1 << 20))
    return image


def test_a_missing_signing_key_is_told(shop: Workshop, image: Path, tmp_path: Path) -> None:
    signer = tmp_path / "keys/vendor"
    signer.mkdir(parents=True)
    with pytest.raises(BuildError) as told:
        make_bundle(shop, image, signer, SMALL, Wanted("1.1"))
    assert "image rauc, bundle 1.1: the signing key is missing" in str(told.value)
    assert "to do: remove" in str(told.value)


@pytest.mark.parametrize("size", [0, (1 << 20) - 512, 2 << 20])
def test_an_image_of_another_size_than_a_slot_is_told(
    shop: Workshop, image: Path, certificates: Path, size: int
) -> None:
    image.write_bytes(bytes(size))
    with pytest.raises(BuildError, match=f"its image has {size} bytes, a slot has 1048576"):
        make_bundle(shop, image, certificates / "vendor", SMALL, Wanted("1.1"))


def test_a_bundle_has_its_image_and_a_signature(shop: Workshop, image: Path, certificates: Path) -> None:
    bundle = make_bundle(shop, image, certificates / "vendor", SMALL, Wanted("1.1"))
    said = shop.run("rauc", f"--keyring={certificates / 'vendor/ca.pem'}", "info", bundle)
    assert "powercut-dualbank" in said and "1.1" in said
    stranger = subprocess.run(
        ["rauc", f"--keyring={certificates / 'stranger/ca.pem'}", "info", bundle], capture_output=True, check=False
    )
    assert stranger.returncode != 0


def test_a_truncated_bundle_is_the_first_half_of_the_good_one(shop: Workshop, image: Path, certificates: Path) -> None:
    bundle = make_bundle(shop, image, certificates / "vendor", SMALL, Wanted("1.1"))
    make_forged(shop, image, certificates, (SMALL, "truncated"), "1.1")
    cut = shop.dir / "bundles/1.1-truncated.raucb"
    assert cut.read_bytes() == bundle.read_bytes()[: bundle.stat().st_size // 2]


@pytest.mark.parametrize(("signed", "compatible"), [(True, ""), (False, ""), (True, "another-device")])
def test_an_artifact_of_mender_has_its_image_its_kind_and_a_signature(
    shop: Workshop, image: Path, certificates: Path, signed: bool, compatible: str
) -> None:
    image.write_bytes(b"release" + bytes((1 << 20) - 7))
    wanted = Wanted("1.1", compatible=compatible, signed=signed)
    bundle = make_bundle(shop, image, certificates / "vendor", replace(SMALL, client="mender"), wanted)
    assert not (shop.dir / "content").exists()
    found = image_of(bundle)
    assert b"".join(found.pieces()) == image.read_bytes()
    assert (found.version, found.compatible) == ("1.1", (compatible or "powercut-dualbank",))
    key = shop.dir / "verify.pem"
    shop.run("openssl", "x509", "-in", certificates / "vendor/sign.pem", "-noout", "-pubkey", "-out", key)
    assert ("signed and verified correctly" in shop.run("mender-artifact", "read", "-k", key, bundle)) == signed


def test_a_release_that_does_not_fit_a_slot_is_told(shop: Workshop, certificates: Path, tmp_path: Path) -> None:
    tree = tmp_path / "system/tree"
    for name in ("usr/etc", "usr/bin", "boot", "usr/lib/x86_64-linux-gnu", "usr/lib/modules/6.1"):
        (tree / name).mkdir(parents=True)
    (tree / "usr/etc/shadow").write_text("root:*:1::::::\n")
    (tree / "usr/bin/large").write_bytes(bytes(3 << 20))
    (tmp_path / "system/kernel-version").write_text("6.1")
    for tool in ("usr/bin/busybox", "usr/sbin/e2fsck", "usr/lib/ostree/ostree-prepare-root"):
        (tree / tool).parent.mkdir(parents=True, exist_ok=True)
        (tree / tool).write_bytes(b"static")
    (tree / "lib64").mkdir()
    (tree / "lib64/ld-linux-x86-64.so.2").write_bytes(b"loader")
    with pytest.raises(BuildError, match=r"the release takes \d+ MiB, a slot has 1 MiB"):
        make_slot(shop, shop.dir / "rootfs.img", tmp_path / "system", certificates / "vendor", (SMALL, 0))


def test_the_configuration_of_rauc_names_the_slots_of_the_device() -> None:
    assert (
        filled("device=@A@ @B@ @COMPATIBLE@ @VERSION@", RAUC, "1.1")
        == "device=/dev/vda3 /dev/vda4 powercut-dualbank 1.1"
    )


def test_devices_whose_disks_alone_differ_share_their_bundles() -> None:
    made = [device for device in DEVICES.values() if isinstance(device, DualBank) and device.client == "rauc"]

    assert len(made) > 1
    assert {repr(device.releases) for device in made} == {repr(RAUC)}
