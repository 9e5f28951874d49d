"""Nothing of what is planted leaves the house; what a maintainer needs stays."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.commands.export.secrets import Cleaner, cleaner

NOBODY = Cleaner((), (), (), ())
COMMIT = "1dba00fb1b82eb691dba00fb1b82eb691dba00fb1b82eb691dba00fb1b82eb69"
KEY = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACDhP4aQ==
-----END OPENSSH PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        pytest.param("login with password=hunter2secret, please", "hunter2secret", id="password"),
        pytest.param('{"db_password": "hunter2 secret"}', "hunter2 secret", id="password in JSON"),
        pytest.param("WIFI_PSK='correct horse'", "correct horse", id="psk"),
        pytest.param("deviceToken: abc123def", "abc123def", id="token"),
        pytest.param("X-Api-Key: 9f8e7d", "9f8e7d", id="API key"),
        pytest.param("mender --tenant-token eyJhbGciOi", "eyJhbGciOi", id="option"),
        pytest.param("sshpass -p geheim ssh root@board", "geheim", id="sshpass"),
        pytest.param("curl -s -u ota:geheim https://x", "geheim", id="curl"),
        pytest.param("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30", "eyJhbGciOiJIUzI1NiJ9", id="bearer"),
        pytest.param("proxy-authorization: Basic b3RhOmdlaGVpbQ==", "b3RhOmdlaGVpbQ", id="basic"),
        pytest.param("GET https://ota:geheim@updates.example/repo", "geheim", id="user in a URL"),
        pytest.param("GET https://updates.example/repo?sig=a%2Fb&exp=17", "a%2Fb", id="query of a URL"),
        pytest.param("ota-update http://10.0.2.2:80/Zk3_a-9QwErTyUiOpAsDf/summary", "Zk3_a-9Q", id="token in a path"),
        pytest.param("Set-Cookie: session=0a1b2c3d", "0a1b2c3d", id="cookie"),
        pytest.param("Cookie: lang=en; session=0a1b2c3d", "0a1b2c3d", id="second cookie"),
        pytest.param("curl --user ota:geheim https://x", "geheim", id="long option of curl"),
        pytest.param("PresharedKey = FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=", "FpCyhws9", id="WireGuard"),
        pytest.param("sent eyJhbGciOiJIUzI1NiJ9.e30.Zm9v at last", "Zm9v", id="JSON web token"),
        pytest.param("fetch with ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_0123", id="token of GitHub"),
        pytest.param(
            "ota-update http://10.0.2.2:80/Zk_a-QwErTyUiOpAsDfGhJ/x", "Zk_a-QwE", id="own token without digits"
        ),
        pytest.param("evidence: /home/alice/work/out", "alice", id="home"),
        pytest.param("/Users/alice/x.img", "alice", id="home of a Mac"),
        pytest.param(KEY, "b3BlbnNzaC1r", id="private key"),
        pytest.param(KEY, "QyNTUxOQAA", id="end of a private key"),
    ],
)
def test_a_planted_secret_is_taken_out_by_its_form(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in NOBODY(text)


@pytest.mark.parametrize(
    "text",
    [
        f"GET http://10.0.2.100/objects/1d/{COMMIT}.filez 200",
        f"Booting ostree:0 {COMMIT}.0",
        "[    1.234567] EXT4-fs (vda2): mounted filesystem with ordered data mode. Quota mode: none.",
        "device login: root",
        "Password: \ndevice# ",
        "qemu-system-x86_64 -machine q35,hpet=off -drive file=crash.qcow2,format=qcow2,if=none,id=image0,snapshot=on",
        "atomicity: violated: the console had confirmed 1.1, but on the disk 1.0 is confirmed",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert NOBODY(text) == text


def test_a_key_that_the_console_broke_off_goes_and_the_console_goes_on() -> None:
    stamped = "".join(f"12.{number} {line}\n" for number, line in enumerate(KEY.splitlines()[:2]))
    cleaned = NOBODY(f"11.0 boot\n{stamped}13.0 Linux version 6.1 (gcc 12)\n14.0 more\n")
    assert cleaned == "11.0 boot\nTAKEN-OUT: a private key\n13.0 Linux version 6.1 (gcc 12)\n14.0 more\n"


@pytest.mark.parametrize("prefix", ["     0.000 ", "  1234.567 ", "12.345678 ", "         | ", ""])
def test_a_key_goes_from_each_text_of_a_bundle_and_what_was_said_in_between_stays(prefix: str) -> None:
    between = "    1234 write    sector 56              4096 bytes  lost        partition 2: /ostree/repo/objects\n"
    lines = [f"{prefix}{line}\n" for line in KEY.splitlines()]
    cleaned = NOBODY("".join((*lines[:2], between, *lines[2:], f"{prefix}login:\n")))
    assert cleaned == f"TAKEN-OUT: a private key\n{between}{prefix}login:\n"


def test_a_key_of_gnupg_goes_with_its_headers_and_its_checksum() -> None:
    key = "\n".join(("Version: GnuPG v2", "", "lQVYBGUr7nMBDADKFNKF1mAkHnbBzHBM", "=7xYz"))
    text = f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{key}\n-----END PGP PRIVATE KEY BLOCK-----\nlogin:\n"
    assert NOBODY(text).split() == ["TAKEN-OUT:", "a", "private", "key", "login:"]


@given(
    st.lists(st.sampled_from((*KEY.splitlines(), "password=hunter2", "https://a:b@c/d?e=f", "", "boot")), max_size=9)
)
def test_what_was_cleaned_is_clean(lines: list[str]) -> None:
    once = NOBODY("\n".join(lines))
    assert NOBODY(once) == once


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("password: correct horse", "login: correct horse"),
        ("password: 1234567", "typed 1234567"),
        ("password: |\n  two\n  lines", "two and lines"),
        ("tokens: {ota_token: [one1, two]}", "one1 two"),
        ("password: !template '${PASSWORD} x9'", "${PASSWORD} x9"),
        ("server: https://ota:two@host.example/x", "two at host.example"),
    ],
)
def test_a_secret_is_what_yaml_reads(tmp_path: Path, stated: str, said: str) -> None:
    file = tmp_path / "env.yaml"
    file.write_text(f"{stated}\n")
    cleaned = cleaner(file)(f"{said}!")
    assert "TAKEN-OUT" in cleaned
    assert [
        word for word in ("correct", "horse", "1234567", "two", "lines", "one1", "x9", ".example") if word in cleaned
    ] == []


@pytest.mark.parametrize(
    "stated", ["server: https://ota:geheim@pdu.lab.example/x", "relay: pdu.lab.example:443", "host: me@pdu.lab.example"]
)
def test_a_host_is_known_behind_whoever_signs_in(tmp_path: Path, stated: str) -> None:
    file = tmp_path / "env.yaml"
    file.write_text(f"{stated}\n")
    assert cleaner(file)("ota: at pdu.lab.example") == "ota: at HOST"


def test_whether_there_is_a_token_is_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text("origin: {token: true, tls: false}\npassword: null\n")
    assert cleaner(file)("True, true, None") == "True, true, None"


def test_an_environment_that_is_no_yaml_is_read_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text("drivers: [\n  password: T0pSecret\n")
    assert cleaner(file)("T0pSecret") == "TAKEN-OUT"


def test_a_command_that_was_cleaned_is_still_one() -> None:
    line = (
        "qemu-system-x86_64 -fw_cfg name=opt/x,string=password=geheim -append 'a token=b1 c' --token q1 https://u:p@h/"
    )
    assert [len(shlex.split(text)) for text in (line, NOBODY(line))] == [8, 8]
    assert not {*"<>|&;$"} & {*NOBODY(line)}


def test_what_the_environment_names_is_taken_out_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text(
        "targets:\n  main:\n    drivers:\n"
        "      ShellDriver: {username: root, password: 'T0p-Secret!'}\n"
        "      HTTPPower: {host: http://pdu.lab.example/outlet, may_cut_power: true}\n"
        "      NetworkService: {address: rack7, port: 22}\n"
    )
    clean = cleaner(file)
    said = f"typed T0p-Secret! at rack7 over pdu.lab.example on {socket.gethostname()}, {Path.home()}/x; true, root"
    cleaned = clean(said)
    assert cleaned == "typed TAKEN-OUT at HOST over HOST on HOST, ~/x; true, root"


def test_an_environment_that_is_gone_is_no_reason_to_say_more(tmp_path: Path) -> None:
    assert socket.gethostname() not in cleaner(tmp_path / "gone.yaml")(f"host {socket.gethostname()}!")
