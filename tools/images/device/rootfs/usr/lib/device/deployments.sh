# Which deployments there are, by their ids (COMMIT.SERIAL). Sourced.
. /usr/lib/device/device.conf

# The boot loader's entry $1, 0 being the newest.
entry_id() { sed -n "s/^set id$1='\(.*\)'/\1/p" /boot/loader/grub.cfg; }
# Not from the kernel's command line: its link is gone or points elsewhere once something was deployed after the boot.
booted_id() {
    for root in "/ostree/deploy/$OSNAME/deploy"/*; do
        [ ! "$root" -ef / ] || basename "$root"
    done
}
version_of() { sed -n 's/^VERSION_ID=//p' "/ostree/deploy/$OSNAME/deploy/$1/usr/lib/os-release"; }
fell_back() { grep -q ' boot.entry=1 ' /proc/cmdline; }
