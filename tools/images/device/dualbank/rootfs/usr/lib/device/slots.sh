# Which slot is which. Sourced.
. /usr/lib/device/device.conf
booted_slot() { sed -n 's/.*rauc\.slot=\([AB]\).*/\1/p' /proc/cmdline; }
other_slot() { [ "$(booted_slot)" = A ] && echo B || echo A; }
first_slot() { bootenv get | sed -n 's/^ORDER=\(.\).*/\1/p'; }
# RAUC is a service on the message bus, which starts it; nothing else needs the bus, so it runs from the first use on.
start_bus() {
    [ -S /run/dbus/system_bus_socket ] && return
    modprobe -qa loop squashfs dm_mod dm_verity
    dbus-daemon --system --fork
}
