"""The releases of one device: a repository as an update server has it, with delta files and a description of each."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from .content import write_application
from .devices import Device, DualBank
from .initramfs import make_initramfs
from .store import Store, source_hash
from .workshop import EPOCH_S, Workshop

# Where the environment block's first sector is in its partition; the disk's recipe checks it.
ENV_SECTOR = 44

_HERE = Path(__file__).parent
DEVICE_FILES = _HERE.parent / "device"


def make_keys(store: Store) -> Path:
    """`gpg`, a key ring that signs commits; `powercut.gpg`, what devices trust; `host_key`, the devices' SSH key.

    `stranger`: a key ring that no device knows.
    """

    def make(shop: Workshop) -> None:
        with shop.step("making keys"):
            for name, owner in (("gpg", "powercut@example"), ("stranger", "stranger@example")):
                ring = shop.dir / name
                ring.mkdir(mode=0o700)
                gpg = ("gpg", "--homedir", str(ring), "--batch", "--quiet")
                # A key of 2023 for a device whose clock may stand in 2023.
                past = ("--faked-system-time", f"{EPOCH_S}!")
                shop.run(*gpg, *past, "--passphrase", "", "--quick-gen-key", owner, "ed25519", "sign", "never")
                if name == "gpg":
                    shop.run(*gpg, "--output", shop.dir / "powercut.gpg", "--export")
                shop.run("gpgconf", "--homedir", ring, "--kill", "all")
            shop.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "device", "-f", shop.dir / "host_key")

    return store.get("keys", {"recipe": "2"}, make)


def make_releases(store: Store, system: Path, keys: Path, device: Device) -> Path:
    """`repo` and `releases.json` of the device, and of all that differ from it by their disk alone."""
    device = device.releases
    inputs = {
        "system": system.name,
        "keys": keys.name if device.signed else "",
        "device": repr(device),
        "files": source_hash(DEVICE_FILES / "rootfs", DEVICE_FILES / "initramfs"),
        "recipe": source_hash(*(_HERE / name for name in ("content.py", "cpio.py", "initramfs.py", "releases.py"))),
    }

    def make(shop: Workshop) -> None:
        repo = shop.dir / "repo"
        with shop.step("starting the repository"):
            shop.run("ostree", f"--repo={repo}", "init", "--mode=archive")
            shop.run("ostree", f"--repo={repo}", "config", "set", "core.fsync", "false")
            shop.run("ostree", f"--repo={repo}", "pull-local", system / "repo", "base")
        signing = _signing(shop, keys, device)
        commits: dict[str, str] = {}
        for number, version in enumerate(device.versions):
            with shop.step(f"committing {version}"):
                overlay = shop.dir / "overlay"
                _write_release(shop, overlay, system, device, number)
                commits[version] = _commit(shop, repo, overlay, (device, number), signing)
                shutil.rmtree(overlay)
        for kind in device.forged:
            with shop.step(f"committing one that is {kind}"):
                version = f"{device.versions[1]}-{kind}"
                commits[version] = _forge(shop, repo, keys, (device, kind), signing)
        for ring in ("gpg", "stranger"):
            shop.run("gpgconf", "--homedir", keys / ring, "--kill", "all")
        # What is on offer, until a server says otherwise, is what a new device has.
        shop.run("ostree", f"--repo={repo}", "reset", device.ref, commits[device.versions[0]])
        _describe(shop, repo, commits, device)

    return store.get(f"releases-{device.name}", inputs, make)


def device_conf(device: Device) -> str:
    """What the scripts on the device need to know about it, as shell assignments."""
    values = {
        "ROOT_DEVICE": device.node("root"),
        "BOOT_DEVICE": device.node("boot"),
        "ENV_DEVICE": device.node("env"),
        "ENV_SECTOR": str(ENV_SECTOR),
        "OSNAME": device.osname,
        "REMOTE": device.remote,
        "PROMPT": device.prompt,
        "LOGIN": "yes" if device.password_hash else "",
    }
    return "".join(f"{name}='{value}'\n" for name, value in values.items())


def _write_release(shop: Workshop, overlay: Path, system: Path, device: Device, number: int) -> None:
    tree = system / "tree"
    shutil.copytree(DEVICE_FILES / "rootfs", overlay, symlinks=True)
    config = device_conf(device)
    write_release(overlay, tree, device, number, config)
    kernel = (system / "kernel-version").read_text()
    initramfs = overlay / "usr/lib/modules" / kernel / "initramfs.img"
    initramfs.parent.mkdir(parents=True)
    version = device.versions[number]
    initramfs.write_bytes(make_initramfs(shop, tree, DEVICE_FILES / "initramfs/init", config, version))


def write_release(overlay: Path, tree: Path, device: Device | DualBank, number: int, config: str) -> None:
    """What the release with this number has beside the device's own scripts, however it is installed.

    `config`: what those scripts need to know, as shell assignments.
    """
    version = device.versions[number]
    write_application(overlay, tree, number)
    (overlay / "usr/lib/device/device.conf").write_text(config)
    (overlay / "usr/lib/os-release").write_text(
        f'PRETTY_NAME="Device {version}"\nNAME=Device\nID={device.osname}\nVERSION_ID={version}\n'
    )
    (overlay / "usr/etc/hostname").write_text(f"{device.hostname}\n")
    (overlay / "usr/etc/hosts").write_text(f"127.0.0.1 localhost {device.hostname}\n")
    (overlay / "usr/etc/issue").write_text("")
    shadow = (tree / "usr/etc/shadow").read_text().splitlines(keepends=True)
    root = f"root:{device.password_hash or ''}:19676:0:99999:7:::\n"
    (overlay / "usr/etc/shadow").write_text("".join(root if line.startswith("root:") else line for line in shadow))
    shutil.copystat(tree / "usr/etc/shadow", overlay / "usr/etc/shadow")
    status = (tree / "usr/etc/shadow").stat()
    shutil.chown(overlay / "usr/etc/shadow", status.st_uid, status.st_gid)
    _executable(overlay / "usr/lib/device/selftest", _BAD_SELFTEST if version.endswith("-bad") else _SELFTEST)
    (overlay / "usr/sbin").mkdir(exist_ok=True)
    if version.endswith("-panic"):
        _executable(overlay / "usr/sbin/init", _BROKEN_INIT)
    else:
        (overlay / "usr/sbin/init").symlink_to("../bin/busybox")


_SELFTEST = "#!/usr/bin/busybox sh\nexit 0\n"
_BAD_SELFTEST = "#!/usr/bin/busybox sh\necho 'selftest: the application does not answer'\nexit 1\n"
_BROKEN_INIT = "#!/usr/bin/busybox sh\necho 'init: broken'\nexit 1\n"


def _executable(path: Path, script: str) -> None:
    path.write_text(script)
    path.chmod(0o755)


def _signing(shop: Workshop, keys: Path, device: Device) -> tuple[str, ...]:
    """The options that make `ostree commit` sign, if this device's releases are signed."""
    return _signed_by(shop, keys / "gpg") if device.signed else ()


def _signed_by(shop: Workshop, ring: Path) -> tuple[str, ...]:
    listed = shop.run("gpg", "--homedir", ring, "--batch", "--list-keys", "--with-colons")
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    return (f"--gpg-sign={fingerprint}", f"--gpg-homedir={ring}")


def _forge(shop: Workshop, repo: Path, keys: Path, what: tuple[Device, str], signing: tuple[str, ...]) -> str:
    """The tree of the second version in a commit that is wrong in one way."""
    device, kind = what
    signed = {"unsigned": (), "wrongly-signed": _signed_by(shop, keys / "stranger"), "other-ref": signing}[kind]
    ref = f"{device.ref}-other" if kind == "other-ref" else device.ref
    version = f"{device.versions[1]}-{kind}"
    commit = shop.run(
        *("ostree", f"--repo={repo}", "commit", "-b", ref, f"--tree=ref=release/{device.versions[1]}"),
        *(f"--timestamp=@{EPOCH_S + 86400 * len(device.versions) + 86400}", f"--add-metadata-string=version={version}"),
        *("-s", f"release {version}", *signed),
    ).strip()
    shop.run("ostree", f"--repo={repo}", "refs", f"--create=release/{version}", commit)
    return commit


def _commit(shop: Workshop, repo: Path, overlay: Path, release: tuple[Device, int], signing: tuple[str, ...]) -> str:
    device, number = release
    version = device.versions[number]
    commit = shop.run(
        *("ostree", f"--repo={repo}", "commit", "-b", device.ref, "--tree=ref=base", f"--tree=dir={overlay}"),
        *(f"--timestamp=@{EPOCH_S + 86400 * (number + 1)}", f"--add-metadata-string=version={version}"),
        *("-s", f"release {version}", *signing),
    ).strip()
    shop.run("ostree", f"--repo={repo}", "refs", f"--create=release/{version}", commit)
    return commit


def _describe(shop: Workshop, repo: Path, commits: dict[str, str], device: Device) -> None:
    """Delta files, and `director/VERSION.json`, which a device is shown as `director/update.json`."""
    (repo / "delta-files").mkdir()
    (repo / "director").mkdir()
    deltas: dict[str, list[dict[str, str | int]]] = {version: [] for version in commits}
    for old, new in device.deltas:
        with shop.step(f"delta {old} to {new}"):
            path = f"delta-files/{old}-{new}.delta"
            shop.run(
                *("ostree", f"--repo={repo}", "static-delta", "generate", "--inline", "--min-fallback-size=0"),
                *(f"--filename={repo / path}", f"--from={commits[old]}", f"--to={commits[new]}"),
            )
            data = (repo / path).read_bytes()
            sha256 = hashlib.sha256(data).hexdigest()
            deltas[new].append({"from": commits[old], "path": path, "sha256": sha256, "size": len(data)})
    if device.deltas:
        old, new = device.deltas[0]
        with shop.step(f"delta {old} to {new} for ostree's own clients"):
            generate = ("ostree", f"--repo={repo}", "static-delta", "generate", "--min-fallback-size=0")
            shop.run(*generate, f"--from={commits[old]}", f"--to={commits[new]}")
    releases = []
    for version, commit in commits.items():
        offer = {"version": version, "ref": device.ref, "commit": commit, "deltas": deltas[version]}
        (repo / f"director/{version}.json").write_text(json.dumps(offer, indent=1) + "\n")
        releases.append({"version": version, "ref": device.ref, "commit": commit})
    (shop.dir / "releases.json").write_text(json.dumps(releases, indent=1) + "\n")
