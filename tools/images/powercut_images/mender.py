"""A Mender artifact: the image of a slot, its name, the kind of device that it is for, and a signature of all three."""

from __future__ import annotations

from pathlib import Path

from .workshop import Workshop


def make_artifact(shop: Workshop, image: Path, what: tuple[str, str], signer: Path | None, artifact: Path) -> None:
    """`what`: its name, and the kind of device that it is for. `signer`: a folder with `sign.key`; None: unsigned.

    gzip: version 3.9 knows no zstd, and its lzma takes three minutes for each release.
    """
    name, kind = what
    signing: tuple[str | Path, ...] = ()
    if signer is not None:
        # openssl makes keys in PKCS#8, which mender-artifact does not read.
        key = image.with_name("sign.key")
        shop.run("openssl", "rsa", "-in", signer / "sign.key", "-traditional", "-out", key)
        signing = ("-k", key)
    shop.run(
        *("mender-artifact", "--compression", "gzip", "write", "rootfs-image", "--no-progress", "-t", kind, "-n", name),
        *("-f", image, *signing, "-o", artifact),
    )
