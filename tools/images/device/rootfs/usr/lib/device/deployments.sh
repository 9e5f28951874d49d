# Which deployments there are, by their ids (COMMIT.SERIAL), and how to change them. Sourced.
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

# How many are kept.
VERSIONS=2
[ ! -r /etc/ota.conf ] || . /etc/ota.conf

# add_deployment REF [OPTION...]: the newest from now on; drops what is more than VERSIONS, the oldest first.
add_deployment() {
    if [ "$VERSIONS" -le 2 ]; then
        change_deployments deploy --os="$OSNAME" "$@"
        return
    fi
    change_deployments deploy --retain --os="$OSNAME" "$@" || return
    last=0
    while [ -n "$(entry_id $((last + 1)))" ]; do last=$((last + 1)); done
    while [ $last -gt 0 ]; do
        id=$(entry_id $last)
        new=$(entry_id 0)
        if [ "$id" != "$(booted_id)" ] && { [ $last -ge "$VERSIONS" ] || [ "${id%.*}" = "${new%.*}" ]; }; then
            change_deployments undeploy $last || return
        fi
        last=$((last - 1))
    done
}

# change_deployments deploy|undeploy ARGUMENT...: as `ostree admin`, durable when it returns 0; else see /run/ota.error.
change_deployments() {
    [ -z "$(ls /boot/lost+found 2>/dev/null)" ] || heal_boot
    ostree admin "$@" >/run/ota.error 2>&1 || { heal_boot; ostree admin "$@" >/run/ota.error 2>&1; }
    changed=$?
    sync
    mount -o remount,ro /boot 2>/dev/null   # then it is marked clean, and a boot needs no e2fsck
    return $changed
}
# What a cut in a deploy and e2fsck after it may leave in /boot: parts of the loader directory that isn't in use.
heal_boot() {
    mount -o remount,rw /boot
    active=$(readlink /boot/loader) || return
    for dir in /boot/loader.[01] /boot/loader.tmp; do
        [ "$dir" = "/boot/$active" ] || rm -rf "$dir"
    done
    rm -rf /boot/lost+found/*
    ostree admin cleanup
    sync
}
