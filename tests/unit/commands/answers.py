"""Answers to `powercut init`: what has no default, for each kind of rig."""

DEVICE = {
    "repo": "/srv/repo",
    "ref": "example/stable",
    "base_commit": "release/1.0",
    "next_commit": "0" * 64,
    "update": "ota-update {url}",
}
QEMU = DEVICE | {"device": "qemu", "image": "disk.img"}
BOARD = DEVICE | {"device": "board", "power_model": "apc", "power_host": "pdu.lab"}
