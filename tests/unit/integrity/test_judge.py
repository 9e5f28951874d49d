"""The judge against a real deployed disk: an undamaged one holds, and each single damage is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from powercut.disk.blocks import Blocks, open_blocks
from powercut.environment import BootEnvironment
from powercut.errors import UsageError
from powercut.integrity.judge import DiskJudge
from powercut.model import PathDiff

from .conftest import BOOT_AT, DISK_END, ENV_AT, ENVIRONMENT, ROOT_AT, Device, Edited, build_device, debugfs, flip


def grubenv(device: Device, state: Blocks, **variables: str) -> None:
    lines = "".join(f"{name}={value}\n" for name, value in variables.items())
    block = f"# GRUB Environment Block\n{lines}".encode().ljust(1024, b"#")
    state.write(device.content_at(ENV_AT, "/grubenv"), block)


def test_an_undamaged_disk_holds(device: Device, judge: DiskJudge, state: Blocks) -> None:
    view = judge.look(state)
    assert [(system.release, system.deployment) for system in view.systems] == [
        ("1.1", device.deployments["1.1"]),
        ("1.0", device.deployments["1.0"]),
    ]
    assert all(system.complete for system in view.systems), view.systems
    assert view.boots == 0
    assert view.problems == ()
    assert view.bad_objects == 0
    assert view.objects > 20
    assert [(fs.partition, fs.kind, fs.clean) for fs in view.filesystems] == [
        (1, "ext4", True),
        (2, "ext4", True),
        (3, "ext2", True),
    ]


def test_every_path_of_a_release_is_compared(device: Device, judge: DiskJudge, state: Blocks) -> None:
    assert judge.look(state).systems[0].paths == len(device.manifests["1.1"].entries)


def test_what_the_user_wrote_is_read_out_of_the_deployment_that_boots(judge: DiskJudge, state: Blocks) -> None:
    assert judge.look(state).kept == (
        ("/etc/app/user.conf", "written by the user of 1.1\n"),
        ("/var/lib/app/data", "the user's data\n"),
        ("/etc/none", None),
    )


@pytest.mark.parametrize("path", ["/usr/bin/app", "/usr/share/big", "/usr/lib/os-release"])
def test_a_flipped_bit_in_a_file_is_found_in_the_tree_and_in_the_repository(
    device: Device, judge: DiskJudge, state: Blocks, path: str
) -> None:
    flip(state, device.content_at(ROOT_AT, device.path("1.1", path)) + 7)
    view = judge.look(state)
    assert [diff.path for diff in view.systems[0].differs] == [path]
    assert not view.systems[0].complete
    assert view.systems[1].complete
    assert view.bad_objects == 1


def test_a_file_shared_by_both_releases_breaks_both(device: Device, judge: DiskJudge, state: Blocks) -> None:
    flip(state, device.content_at(ROOT_AT, device.path("1.1", "/usr/share/same")))
    assert [system.differing for system in judge.look(state).systems] == [1, 1]


def test_a_setuid_bit_is_found(device: Device, judge: DiskJudge, state: Blocks) -> None:
    flip(state, device.inode_at(ROOT_AT, device.path("1.1", "/usr/bin/app")) + 1, 0x08)
    assert judge.look(state).systems[0].differs == (PathDiff("/usr/bin/app", "mode 4755, not 755"),)


def test_another_mode_of_a_directory_is_found(device: Device, judge: DiskJudge, state: Blocks) -> None:
    flip(state, device.inode_at(ROOT_AT, device.path("1.1", "/usr/share/empty")), 0x02)
    assert [diff.what for diff in judge.look(state).systems[0].differs] == ["mode 757, not 755"]


def test_another_owner_is_found(device: Device, judge: DiskJudge, state: Blocks) -> None:
    flip(state, device.inode_at(ROOT_AT, device.path("1.1", "/usr/bin/app")) + 2)
    (diff,) = judge.look(state).systems[0].differs
    assert diff.what == f"owner {os.getuid() ^ 1}:{os.getgid()}, not {os.getuid()}:{os.getgid()}"


@pytest.mark.parametrize("name", ["vmlinuz-6.1", "initramfs-6.1.img"])
def test_a_flipped_bit_in_what_the_boot_loader_loads_is_found(
    device: Device, judge: DiskJudge, state: Blocks, name: str
) -> None:
    path = device.boot_file("1.1", name)
    flip(state, device.content_at(BOOT_AT, path) + 100)
    view = judge.look(state)
    assert [diff.path for diff in view.systems[0].differs] == [path]
    assert view.systems[0].differing == 1
    assert view.systems[1].complete


def test_a_missing_file_is_found(device: Device, judge: DiskJudge, edited: Edited) -> None:
    state = edited(ROOT_AT, f"unlink {device.path('1.1', '/usr/bin/app')}")
    assert judge.look(state).systems[0].differs == (PathDiff("/usr/bin/app", "missing"),)


def test_an_extra_file_is_found(device: Device, judge: DiskJudge, edited: Edited) -> None:
    state = edited(ROOT_AT, f"write /dev/null {device.path('1.1', '/usr/bin/extra')}")
    assert judge.look(state).systems[0].differs == (PathDiff("/usr/bin/extra", "not in the release"),)


def test_a_file_where_a_directory_should_be_is_found(device: Device, judge: DiskJudge, edited: Edited) -> None:
    place = device.path("1.1", "/usr/share/empty")
    state = edited(ROOT_AT, f"rmdir {place}", f"write /dev/null {place}")
    assert [diff.what for diff in judge.look(state).systems[0].differs] == ["is of type 100666"]


def test_a_deployment_without_its_etc_is_found(device: Device, judge: DiskJudge, edited: Edited) -> None:
    state = edited(ROOT_AT, f"unlink {device.path('1.1', '/etc')}")
    assert PathDiff("/etc", "missing") in judge.look(state).systems[0].differs


def test_ignored_paths_may_differ(device: Device, state: Blocks, edited: Edited) -> None:
    lenient = DiskJudge(device.image, device.manifests, ignore=("/usr/bin",))
    edited(ROOT_AT, f"unlink {device.path('1.1', '/usr/bin/app')}")
    assert lenient.look(state).systems[0].complete


def test_a_directory_block_of_zeros_is_found(device: Device, judge: DiskJudge, state: Blocks) -> None:
    state.write(device.content_at(ROOT_AT, device.path("1.1", "/usr/bin")), bytes(4096))
    (diff,) = judge.look(state).systems[0].differs
    assert diff.path == "/usr/bin"
    assert diff.what.startswith("can't be read")


def test_many_differences_are_counted_and_a_few_shown(device: Device, judge: DiskJudge, edited: Edited) -> None:
    extras = [f"write /dev/null {device.path('1.1', f'/usr/bin/extra{number}')}" for number in range(30)]
    system = judge.look(edited(ROOT_AT, *extras)).systems[0]
    assert (system.differing, len(system.differs)) == (30, 20)


def test_a_damaged_metadata_object_is_found(device: Device, judge: DiskJudge, state: Blocks) -> None:
    revision = device.deployments["1.0"].split(".")[0]
    flip(state, device.content_at(ROOT_AT, f"/ostree/repo/objects/{revision[:2]}/{revision[2:]}.commit"))
    view = judge.look(state)
    assert (view.bad_objects, all(system.complete for system in view.systems)) == (1, True)
    assert view.bad_examples[0].startswith(f"{revision}.commit")


def test_an_unknown_commit_is_of_no_release(device: Device, state: Blocks) -> None:
    knows_one = DiskJudge(device.image, {"1.0": device.manifests["1.0"]})
    assert [system.release for system in knows_one.look(state).systems] == [None, "1.0"]
    assert not knows_one.look(state).systems[0].complete


def test_a_new_deployment_is_on_trial_and_boots(device: Device, judge: DiskJudge, state: Blocks) -> None:
    grubenv(device, state, good=device.deployments["1.0"], trial="", tries="0")
    view = judge.look(state)
    assert (view.boots, view.problems) == (0, ())
    assert dict(view.environment)["good"] == device.deployments["1.0"]


def test_with_its_tries_used_up_the_system_before_it_boots(device: Device, judge: DiskJudge, state: Blocks) -> None:
    grubenv(device, state, good=device.deployments["1.0"], trial=device.deployments["1.1"], tries="3")
    view = judge.look(state)
    assert view.boots == 1
    assert view.chosen is not None
    assert view.chosen.release == "1.0"
    assert view.kept[0] == ("/etc/app/user.conf", "written by the user of 1.0\n")
    assert judge.default_deployment(state) == device.deployments["1.0"]


def test_the_default_deployment_is_found_without_a_whole_look(device: Device, judge: DiskJudge, state: Blocks) -> None:
    assert judge.default_deployment(state) == device.deployments["1.1"]


@pytest.mark.parametrize("byte", [0, 10, 24, 27, 30, 95, 99, 102, 106, 111, 112, 1000, 1023])
def test_a_flipped_bit_in_the_environment_block_is_a_problem(
    device: Device, judge: DiskJudge, state: Blocks, byte: int
) -> None:
    before = judge.look(state)
    flip(state, device.content_at(ENV_AT, "/grubenv") + byte)
    after = judge.look(state)
    assert after.problems
    assert after.systems == before.systems


def test_a_loader_link_that_leads_nowhere_is_a_problem(judge: DiskJudge, edited: Edited) -> None:
    view = judge.look(edited(BOOT_AT, "unlink /loader"))
    assert view.systems == ()
    assert view.boots is None
    assert "loader" in view.problems[0]


def test_a_configuration_of_zeros_is_a_problem(device: Device, judge: DiskJudge, state: Blocks) -> None:
    state.write(device.content_at(BOOT_AT, "/loader/grub.cfg"), bytes(4096))
    view = judge.look(state)
    assert view.problems == ("grub.cfg holds zeros from byte 0 on", "grub.cfg has no entry")


def test_an_entry_whose_deployment_is_gone_is_a_broken_system(device: Device, judge: DiskJudge, edited: Edited) -> None:
    view = judge.look(edited(ROOT_AT, f"unlink {device.path('1.0', '')}"))
    assert view.systems[0].complete
    assert view.systems[1].release is None
    assert view.systems[1].differing == 1
    assert "no '" in view.systems[1].differs[0].what


def test_a_file_system_that_is_gone_is_not_clean(judge: DiskJudge, state: Blocks) -> None:
    state.write(BOOT_AT, bytes(8192))
    boot = judge.look(state).filesystems[0]
    assert not boot.clean
    assert "no ext4 super block" in boot.says[0]


@pytest.mark.parametrize(
    ("at", "says"),
    [
        pytest.param(0, "partition table", id="partition table"),
        pytest.param(BOOT_AT, "boot file system can't be read", id="boot"),
        pytest.param(ROOT_AT, "root file system can't be read", id="root"),
        pytest.param(ENV_AT, "boot environment can't be read", id="environment"),
    ],
)
def test_a_wiped_beginning_is_a_problem_and_no_exception(judge: DiskJudge, state: Blocks, at: int, says: str) -> None:
    state.write(at, bytes(8192))
    assert says in " ".join(judge.look(state).problems)


def test_what_the_journal_holds_counts_for_the_root_file_system(
    device: Device, judge: DiskJudge, edited: Edited, tmp_path: Path
) -> None:
    """The very damage that another test finds on the disk is mended by a replay, and one in the journal is found."""
    at = device.content_at(ROOT_AT, device.path("1.1", "/usr/share/big"))
    with open_blocks(device.image) as blocks:
        good = blocks.read(at, 4096)
    (tmp_path / "good").write_bytes(good)
    number = (at - ROOT_AT) // 4096
    state = edited(ROOT_AT, "journal_open", f"journal_write -b {number} {tmp_path / 'good'}", "journal_close")
    state.write(at, bytes(4096))
    view = judge.look(state)
    assert view.systems[0].complete
    assert view.filesystems[1].clean, view.filesystems[1].says


def test_damage_in_the_journal_is_damage_after_the_replay(
    device: Device, judge: DiskJudge, edited: Edited, tmp_path: Path
) -> None:
    at = device.content_at(ROOT_AT, device.path("1.1", "/usr/share/big"))
    (tmp_path / "bad").write_bytes(bytes(4096))
    number = (at - ROOT_AT) // 4096
    state = edited(ROOT_AT, "journal_open", f"journal_write -b {number} {tmp_path / 'bad'}", "journal_close")
    assert [diff.path for diff in judge.look(state).systems[0].differs] == ["/usr/share/big"]


def test_a_committed_transaction_that_is_torn_makes_the_file_system_unmountable(
    device: Device, judge: DiskJudge, edited: Edited, tmp_path: Path
) -> None:
    (tmp_path / "block").write_bytes(b"\1" * 4096)
    state = edited(ROOT_AT, "journal_open -c -v 3", f"journal_write -b 8000 {tmp_path / 'block'}", "journal_close")
    at = next(at for at in range(ROOT_AT, ENV_AT, 4096) if at // 4096 in state.changed and state.read(at, 2) == b"\1\1")
    flip(state, at + 100)
    root = judge.look(state).filesystems[1]
    assert not root.clean
    assert "block 8000 in transaction 1 has a wrong checksum" in root.says[0]


def test_the_boot_loader_does_not_see_what_only_a_journal_holds(tmp_path: Path) -> None:
    device = build_device(tmp_path, "-O", "has_journal", "-J", "size=4")
    judge = DiskJudge(device.image, device.manifests)
    at = device.content_at(BOOT_AT, "/loader/grub.cfg")
    with open_blocks(device.image) as blocks:
        (tmp_path / "config").write_bytes(blocks.read(at, 4096))
    number = (at - BOOT_AT) // 4096
    debugfs(device.image, BOOT_AT, "journal_open", f"journal_write -b {number} {tmp_path / 'config'}", "journal_close")
    with open_blocks(device.image) as state:
        assert len(judge.look(state).systems) == 2
        state.write(at, bytes(4096))
        assert judge.look(state).systems == ()


def test_entry_files_are_read_when_there_is_no_grub(device: Device, tmp_path: Path, edited: Edited) -> None:
    copy = tmp_path / "without-grub.raw"
    state = edited(BOOT_AT, "rm /loader/grub.cfg")
    copy.write_bytes(state.read(0, state.size))
    with open_blocks(copy) as blocks:
        view = DiskJudge(copy, device.manifests).look(blocks)
    assert [(system.release, system.complete) for system in view.systems] == [("1.1", True), ("1.0", True)]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    flips=st.lists(
        st.tuples(st.sampled_from([0, BOOT_AT, ROOT_AT, ENV_AT]), st.integers(0, 1 << 18), st.integers(1, 255)),
        min_size=1,
        max_size=40,
    )
)
def test_no_damage_raises(judge: DiskJudge, state: Blocks, flips: list[tuple[int, int, int]]) -> None:
    damaged = state.fork()
    for start, inside, change in flips:
        flip(damaged, min(start + inside, DISK_END - 1), change)
    judge.look(damaged)


def test_a_disk_without_ostree_is_the_users_mistake(tmp_path: Path, device: Device) -> None:
    image = tmp_path / "empty.raw"
    image.write_bytes(bytes(1 << 20))
    with pytest.raises(UsageError, match="no partition holds /ostree/repo"):
        DiskJudge(image, device.manifests)


def test_a_boot_environment_on_no_partition_is_the_users_mistake(device: Device) -> None:
    with pytest.raises(UsageError, match="there is no partition 7"):
        DiskJudge(device.image, device.manifests, boot_environment=BootEnvironment(7, "/grubenv"))


def test_a_kept_path_outside_of_etc_and_var_is_the_users_mistake(device: Device) -> None:
    with pytest.raises(UsageError, match="/usr/bin/app"):
        DiskJudge(device.image, device.manifests, boot_environment=ENVIRONMENT, kept=("/usr/bin/app",))


def test_a_root_with_fast_commit_is_refused_at_once(tmp_path: Path, device: Device, edited: Edited) -> None:
    image = tmp_path / "fast.raw"
    state = edited(ROOT_AT, "feature fast_commit")
    image.write_bytes(state.read(0, state.size))
    with pytest.raises(UsageError, match="fast_commit"):
        DiskJudge(image, device.manifests)
