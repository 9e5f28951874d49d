# RAUC, as the device's own scripts use it. Sourced, behind slots.sh.
# It is a service on the message bus, which starts it; nothing else needs the bus, so it runs from the first use on.
start_bus() {
    [ -S /run/dbus/system_bus_socket ] && return
    modprobe -qa loop squashfs dm_mod dm_verity
    dbus-daemon --system --fork
}
# install_release FILE: into the other slot, which boots next. Else /run/ota.reason; 2: the file is not to be trusted.
install_release() {
    start_bus
    rm -f /run/ota.refused
    rauc install "$1" >/run/ota.error 2>&1 && return
    if [ -e /run/ota.refused ]; then mv /run/ota.refused /run/ota.reason; return 1; fi
    sed -n 's/^LastError: //p' /run/ota.error | tail -n 1 >/run/ota.reason
    ! grep -q 'ignature\|undle' /run/ota.reason || return 2
    return 1
}
# The slot that runs has proven itself.
confirm_slot() { start_bus; rauc status mark-good >/run/ota.error 2>&1; }
# activate_slot SLOT: it boots next.
activate_slot() {
    start_bus
    [ "$1" = "$(booted_slot)" ] && which=booted || which=other
    rauc status mark-active $which >/run/ota.error 2>&1
}
