"""The ostree client: what it reads from a console, and what it lets the origin serve."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.clients import CLIENTS, Capability, claimed, client_of
from powercut.clients.ostree import Deployment, OSTree, parse_status
from powercut.environment import MetadataSetup, OwnRecord, Release, Retention, Setup
from powercut.errors import RigError, UsageError

CONSOLE = (Path(__file__).parent.parent / "data" / "console-ostree-status.txt").read_bytes().decode()
NEW = "d73e0c4060165aa9ad8808868268ed37578e60e052d5b7602122ea8146b3a0aa"
OLD = "7c217c5ea5f2b545b8983506dc765119eda32c7665520471b91707b1e8007486"
BOTH = (Deployment("powercut", NEW, 0, True, None), Deployment("powercut", OLD, 0, False, "rollback"))

SIGNED = MetadataSetup(Path("/keys"), "car-7", "board")

# What `ostree admin status` prints for a staged update, beside a pinned deployment
STAGED = f"""\
  poky {NEW}.0 (staged)
    Version: 1.1
    origin refspec: remote:stable
* poky {OLD}.1
    Version: 1.0
    Pinned: yes
    origin refspec: remote:stable
"""


def test_a_recorded_console_is_read() -> None:
    assert parse_status(CONSOLE) == BOTH


def test_lines_may_end_as_a_terminal_ends_them_or_as_a_file_does() -> None:
    assert parse_status(CONSOLE.replace("\r\n", "\n")) == BOTH
    assert parse_status(CONSOLE.replace("\r\n", "\r\r\n")) == BOTH


def test_a_kernel_line_between_the_lines_does_no_harm() -> None:
    kernel = "[   17.415186] random: crng init done\r\n"
    assert parse_status(CONSOLE.replace("    Version", f"{kernel}    Version")) == BOTH


def test_a_line_that_a_kernel_line_tore_is_not_guessed() -> None:
    torn = CONSOLE.replace(OLD[20:], f"[   17.4] random: crng init done\r\n{OLD[20:]}")
    assert parse_status(torn) == BOTH[:1]


@pytest.mark.parametrize("length", [10, 64, 76])
def test_a_line_that_was_cut_off_is_not_guessed(length: int) -> None:
    first = CONSOLE.index("* powercut")
    with pytest.raises(RigError):
        parse_status(CONSOLE[: first + length])


@pytest.mark.parametrize("state", ["rollback", "pending", "staged"])
def test_the_state_in_parentheses_is_kept(state: str) -> None:
    assert parse_status(CONSOLE.replace("(rollback)", f"({state})"))[1].state == state


def test_a_staged_update_and_a_serial_are_told() -> None:
    assert parse_status(STAGED) == (
        Deployment("poky", NEW, 0, False, "staged"),
        Deployment("poky", OLD, 1, True, None),
    )


@pytest.mark.parametrize(
    "text",
    ["", "No deployments.\n", "sh: ostree: not found\r\n", f"* powercut {NEW[:40]}.0\n", f"powercut {NEW}.0\n"],
)
def test_a_text_without_a_deployment_is_quoted(text: str) -> None:
    with pytest.raises(RigError, match="no deployment") as told:
        parse_status(text)
    assert repr(text)[1:-1] in str(told.value)


def test_of_a_long_text_the_end_is_quoted() -> None:
    with pytest.raises(RigError) as told:
        parse_status("x" * 10_000 + "the end")
    assert "the end" in str(told.value)
    assert len(str(told.value)) < 400


@given(st.text(st.characters(codec="ascii")) | st.text(" *.()\r\n0abcf"))
def test_any_text_is_read_or_quoted(text: str) -> None:
    with suppress(RigError):
        assert parse_status(text)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small archive repository with two releases, made by ostree itself."""
    folder = tmp_path_factory.mktemp("ostree")
    tree, repo = folder / "tree", folder / "repo"
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/etc").mkdir()
    (tree / "usr/bin/app").write_text("one")
    (tree / "usr/bin/app").chmod(0o755)
    (tree / "usr/bin/tool").symlink_to("app")
    (tree / "usr/etc/passwd").write_text("root")
    (tree / "usr/etc/same").write_text("root")
    subprocess.run(["ostree", f"--repo={repo}", "init", "--mode=archive"], check=True, timeout=30)
    commit = ["ostree", f"--repo={repo}", "commit", f"--tree=dir={tree}", "--timestamp=2026-01-01"]
    subprocess.run([*commit, "-b", "release/1.0"], check=True, stdout=subprocess.DEVNULL, timeout=30)
    (tree / "usr/bin/app").write_text("two")
    subprocess.run([*commit, "-b", "release/1.1"], check=True, stdout=subprocess.DEVNULL, timeout=30)
    return repo


@pytest.fixture
def setup(repo: Path) -> Setup:
    releases = {
        "base": Release("base", "1.0", "release/1.0"),
        "next": Release("next", "1.1", "release/1.1", metadata=repo / "config"),
    }
    return Setup("my.yaml", "ostree", repo, "device/stable", releases, "ota-update {url}")


@pytest.fixture
def client(setup: Setup) -> OSTree:
    return OSTree(setup)


def test_an_object_is_as_large_as_a_device_has_it(client: OSTree, setup: Setup, repo: Path, tmp_path: Path) -> None:
    device, release = tmp_path / "repo", setup.release("next")
    subprocess.run(["ostree", f"--repo={device}", "init", "--mode=bare-user"], check=True, timeout=30)
    pull = ["ostree", f"--repo={device}", "pull-local", str(repo), client.resolve(release)]
    subprocess.run(pull, check=True, stdout=subprocess.DEVNULL, timeout=30)
    sizes = client.stored_sizes(release)
    found = {name: (device / "objects" / name[:2] / name[2:]).lstat().st_size for name in sizes}
    link = _checksum(repo, "/usr/bin/tool")
    assert sizes[f"{link}.file"] == len("app")
    assert sizes == found | {f"{link}.file": len("app")}  # bare-user has a link's target in an attribute as well


def _checksum(repo: Path, path: str) -> str:
    listed = ["ostree", f"--repo={repo}", "ls", "-C", "release/1.1", path]
    return subprocess.run(listed, check=True, capture_output=True, text=True, timeout=30).stdout.split()[4]


def test_the_ref_that_the_device_follows_names_the_release_on_offer(client: OSTree, setup: Setup) -> None:
    commit = client.resolve(setup.release("next"))
    content = client.content(setup.release("next"), {"/more": b"more"})
    assert content.values["/refs/heads/device/stable"] == commit.encode() + b"\n"
    assert content.values["/more"] == b"more"
    assert client.resolve(setup.release("base")) != commit


def test_the_metadata_of_the_release_on_offer_is_served(client: OSTree, setup: Setup, repo: Path) -> None:
    values = client.content(setup.release("next"), {}).values
    assert values["/director/update.json"] == (repo / "config").read_bytes()
    assert "/director/update.json" not in client.content(setup.release("base"), {}).values


def test_with_signed_metadata_the_repository_is_below_treehub_and_what_nobody_signed_is_not_served(
    client: OSTree, setup: Setup
) -> None:
    signed = OSTree(replace(setup, metadata=SIGNED)).content(setup.release("next"), {"/repo/root.json": b"{}"})
    assert set(signed.values) == {"/treehub/refs/heads/device/stable", "/repo/root.json"}
    assert signed.find("/treehub/config") is not None
    assert signed.find("/config") is None
    assert signed.payload("/treehub/objects/ab/cdef.filez")
    assert signed.reports("/director/manifest")
    assert not client.content(setup.release("next"), {}).reports("/director/manifest")


def test_an_image_is_the_commit_and_what_the_releases_file_tells_but_for_its_own_word_on_the_commit(
    setup: Setup, tmp_path: Path
) -> None:
    told = tmp_path / "1.1.json"
    told.write_text('{"version": "1.1", "commit": "another", "deltas": [{"path": "a.delta"}]}')
    release = replace(setup.release("next"), metadata=told)
    client = OSTree(setup)
    image = client.image(release)
    assert (image.commit, image.name) == (client.resolve(release), f"device-stable-{client.resolve(release)}")
    assert image.details == {"version": "1.1", "ref": "device/stable", "deltas": [{"path": "a.delta"}]}
    assert client.image(setup.release("base")).details == {"version": "1.0", "ref": "device/stable", "deltas": []}


def test_a_file_of_a_release_that_is_no_json_is_the_users_to_build(setup: Setup) -> None:
    with pytest.raises(UsageError, match=r"my\.yaml: releases: next: metadata"):
        OSTree(setup).image(setup.release("next"))


@pytest.mark.parametrize("path", ["/objects/ab/" + "c" * 62 + ".filez", "/treehub/objects/ab/" + "c" * 62 + ".filez"])
def test_an_object_is_known_by_its_path(client: OSTree, path: str) -> None:
    assert client.object_at(path) == "ab" + "c" * 62 + ".file"


def test_metadata_that_is_missing_is_the_users_to_build(client: OSTree, setup: Setup) -> None:
    release = replace(setup.release("next"), metadata=Path("/nowhere.json"))
    with pytest.raises(UsageError, match=r"my\.yaml: releases: next: metadata"):
        client.content(release, {})


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/objects/ab/cdef.filez", True),
        ("/deltas/ab/cd/superblock", True),
        ("/delta-files/x", True),
        ("/config", False),
        ("/refs/heads/device/stable", False),
        ("/director/update.json", False),
    ],
)
def test_objects_and_deltas_are_payload(client: OSTree, setup: Setup, path: str, counts: bool) -> None:
    assert client.content(setup.release("next"), {}).payload(path) is counts


def test_placeholders_are_replaced_and_other_braces_left_to_the_shell(client: OSTree, setup: Setup) -> None:
    release = setup.release("next")
    filled = client.filled("pull {url} {ref} {commit} {version} ${HOME} {a,b}", release, "http://10.0.2.100")
    assert filled == f"pull http://10.0.2.100 device/stable {client.resolve(release)} 1.1 ${{HOME}} {{a,b}}"


def test_a_release_that_the_repository_lacks_is_the_users_to_build(client: OSTree) -> None:
    with pytest.raises(UsageError, match=r"'release/9' is not in the repository .*/repo"):
        client.resolve(Release("third", "9", "release/9"))


def test_a_checklist_is_made_once(client: OSTree, setup: Setup, tmp_path: Path) -> None:
    first = client.checklist(setup.release("next"), tmp_path)
    with_another_repo = OSTree(replace(setup, repo=setup.repo))
    assert with_another_repo.checklist(setup.release("next"), tmp_path) == first


def test_the_environment_chooses_the_client(setup: Setup) -> None:
    assert isinstance(client_of(setup), OSTree)
    assert CLIENTS["ostree"].name == "ostree"


@pytest.mark.parametrize(
    ("claims", "taken_back"),
    [
        ({}, set()),
        ({"resumes": False}, {Capability.RESUMES}),
        ({"resumes": True, "deltas": False, "stores once": False}, {Capability.DELTAS, Capability.STORES_ONCE}),
    ],
)
def test_the_environment_corrects_what_the_client_claims(
    client: OSTree, setup: Setup, claims: dict[str, bool], taken_back: set[Capability]
) -> None:
    able = replace(
        setup,
        rollback="back",
        retention=Retention("keep {n}", "run {version}"),
        metadata=SIGNED,
        record=OwnRecord("deployed", "cat record"),
    )
    assert claimed(client, replace(able, claims=claims)) == client.can - taken_back


def test_what_a_device_has_no_command_for_it_does_not_claim(client: OSTree, setup: Setup) -> None:
    assert client.can - claimed(client, setup) == {
        Capability.ROLLS_BACK,
        Capability.KEEPS,
        Capability.CHECKS,
        Capability.RECORDS,
    }


def test_deployments_in_one_file_system_spare_nothing(client: OSTree, setup: Setup) -> None:
    assert {*Capability} - client.can == {Capability.SPARES}
    with pytest.raises(UsageError, match=r"my\.yaml: claims: spares what runs: ostree can't: all deployments share"):
        claimed(client, replace(setup, claims={"spares what runs": True}))
