# Which slot is which. Sourced.
. /usr/lib/device/device.conf
booted_slot() { sed -n 's/.*rauc\.slot=\([AB]\).*/\1/p' /proc/cmdline; }
other_slot() { [ "$(booted_slot)" = A ] && echo B || echo A; }
first_slot() { bootenv get | sed -n 's/^ORDER=\(.\).*/\1/p'; }
