"""The devices that can be built: how their disk is laid out, what they are called, how one logs in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Partition:
    """One primary partition; its place in the table is its place in the device's tuple."""

    role: str  # boot, root, env, or anything else for one that nobody uses
    size_mib: int


@dataclass(frozen=True)
class Device:
    """An OSTree device. Nothing outside of this description may assume a partition, a name or a prompt."""

    name: str
    osname: str
    ref: str
    remote: str
    hostname: str
    prompt: str
    partitions: tuple[Partition, ...]
    versions: tuple[str, ...]
    deltas: tuple[tuple[str, str], ...]
    signed: bool = True
    # What a device must refuse: the tree of the second version, each wrong in one way.
    forged: tuple[str, ...] = ()
    # As in /etc/shadow; None for a console that is a root shell from the start.
    password_hash: str | None = None
    # Where the update server is, for `ostree admin upgrade`; ota-update is given a URL.
    url: str = "http://10.0.2.100/"
    # These two show on the disk alone.
    boot_journal: bool = False
    more_arguments: tuple[str, ...] = ()
    # Serial and hardware id, for one that verifies Uptane metadata. It shows in the system that it is built on.
    ecu: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def releases(self) -> Device:
        """The same device without what shows on its disk alone: equal for devices that share their releases."""
        return replace(self, name=self.osname, boot_journal=False, more_arguments=())

    def number(self, role: str) -> int:
        """The number of the partition with this role, counted from 1."""
        return next(number for number, part in enumerate(self.partitions, 1) if part.role == role)

    def node(self, role: str) -> str:
        return f"/dev/vda{self.number(role)}"


@dataclass(frozen=True)
class DualBank:
    """A device with two slots for its system, each overwritten whole, and a partition for what belongs to it."""

    name: str
    osname: str
    hostname: str
    prompt: str
    compatible: str
    versions: tuple[str, ...]
    slot_mib: int
    data_mib: int
    client: str
    # What a device must refuse: the image of the second version, each wrong in one way.
    forged: tuple[str, ...] = ()
    password_hash: str | None = None
    # These show on the disk alone: the boot loader's script, whether it writes down what it counts, and a boot
    # environment on ext4 with a journal, mounted.
    boot_script: str = field(default="grub.cfg", repr=False)
    counts: bool = field(default=True, repr=False)
    env_journal: bool = field(default=False, repr=False)

    @property
    def releases(self) -> DualBank:
        """The same device without what shows on its disk alone: equal for devices that share their bundles."""
        return replace(self, name=self.client, boot_script="grub.cfg", counts=True, env_journal=False)

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """By their place in the table; what GRUB's second stage is in comes first."""
        return (
            *(Partition("grub", 1), Partition("env", 8 if self.env_journal else 1)),
            *(Partition("A", self.slot_mib), Partition("B", self.slot_mib)),
            Partition("data", self.data_mib),
        )

    def number(self, role: str) -> int:
        """The number of the partition with this role, counted from 1."""
        return next(number for number, part in enumerate(self.partitions, 1) if part.role == role)

    def node(self, role: str) -> str:
        return f"/dev/vda{self.number(role)}"


@dataclass(frozen=True)
class UBoot:
    """A board with a boot loader and no system: what its environment survives is seen at its prompt."""

    redundant: bool


REFERENCE = Device(
    name="ostree",
    osname="powercut",
    ref="powercut/x86_64/stable",
    remote="device",
    hostname="device",
    prompt="root@device:# ",
    partitions=(Partition("boot", 160), Partition("root", 900), Partition("env", 1)),
    versions=("1.0", "1.1", "1.2", "1.3-bad", "1.4-panic", "1.5", "1.6"),
    forged=("unsigned", "wrongly-signed", "other-ref"),
    # The agent takes a release that has no delta object by object, so the bad ones need none.
    deltas=(("1.0", "1.1"), ("1.1", "1.2"), ("1.0", "1.2")),
)

# The same releases on disks that are laid out or started wrongly, each in one way: docs/boot-layout.md. The arguments
# are test hooks, read by the initramfs and by bootenv.
BOOT_JOURNAL = replace(REFERENCE, name="ostree-boot-journal", boot_journal=True)
BOOT_NOFSCK = replace(REFERENCE, name="ostree-boot-nofsck", more_arguments=("boot.fsck=no",))
ENV_NOFLUSH = replace(REFERENCE, name="ostree-env-noflush", more_arguments=("env.flush=no",))

# The same system as others lay it out, so that nothing above can lean on the reference's names and numbers.
OTHER = Device(
    name="ostree-other",
    osname="acme",
    ref="acme/prod",
    remote="factory",
    hostname="acme",
    prompt="acme> ",
    partitions=(Partition("env", 1), Partition("root", 900), Partition("boot", 160), Partition("data", 8)),
    versions=("1.0", "1.1"),
    deltas=(),
    signed=False,
    # openssl passwd -6 -salt powercut pw4acme
    password_hash="$6$powercut$edpDhgl5bQRYr9aaHP/dmer0DS5l06KZh0NlWCuqZ3rVOC7hQZuXBKZw02TezVsf/8VjUbx3CXjEAPiz603Nx0",
)

# The reference with signed metadata: its agent asks a director, and verifies before it pulls.
UPTANE = replace(
    REFERENCE,
    name="ostree-uptane",
    versions=("1.0", "1.1", "1.2", "1.3-bad"),
    forged=(),
    deltas=(("1.0", "1.1"), ("1.1", "1.2")),
    ecu=("device-0001", "powercut-x86_64"),
)
# The second family: Debian's RAUC, SWUpdate and Mender with the same content, release by release. The last has no
# kernel.
RAUC = DualBank(
    name="rauc",
    osname="powercut",
    hostname="device",
    prompt="root@device:# ",
    compatible="powercut-dualbank",
    versions=("1.0", "1.1", "1.2", "1.3-bad", "1.4-panic", "1.5-nokernel"),
    slot_mib=256,
    data_mib=400,
    client="rauc",
    forged=("unsigned", "wrongly-signed", "other-device", "truncated"),
)
SWUPDATE = replace(RAUC, name="swupdate", client="swupdate")
MENDER = replace(RAUC, name="mender", client="mender")

# The same bundles on disks that are started wrongly, each in one way: docs/findings.md.
UPSTREAM_GRUB = replace(RAUC, name="rauc-upstream-grub", boot_script="upstream.cfg")
UNCOUNTED = replace(RAUC, name="rauc-uncounted", counts=False)
ENV_JOURNAL = replace(RAUC, name="rauc-env-journal", env_journal=True)

# The stock device is the reference: the same image, updated with `ostree admin upgrade` instead of ota-update.
DEVICES: dict[str, Device | DualBank | UBoot] = {
    "ostree": REFERENCE,
    "ostree-stock": REFERENCE,
    "ostree-other": OTHER,
    **{device.name: device for device in (BOOT_JOURNAL, BOOT_NOFSCK, ENV_NOFLUSH, UPTANE)},
    **{device.name: device for device in (RAUC, SWUPDATE, MENDER)},
    **{device.name: device for device in (UPSTREAM_GRUB, UNCOUNTED, ENV_JOURNAL)},
    "uboot": UBoot(redundant=False),
    "uboot-redundant": UBoot(redundant=True),
}
