# SWUpdate, as the device's own scripts use it. Sourced, behind slots.sh.
# It writes to GRUB's environment by a path of its own, through the page cache and without a flush; so it is told of no
# boot loader, and the environment is written here.
. /usr/lib/os-release
swu() { swupdate -l 2 -k /etc/ota/ca.pem -H "$COMPATIBLE:1.0" -e "stable,$(other_slot)" "$@" >/run/ota.error 2>&1; }
reason() { sed -n 's/^\[ERROR\] : SWUPDATE failed \[.\] \(ERROR : \)\{0,1\}//p' /run/ota.error | head -n 1 >/run/ota.reason; }
# install_release FILE: into the other slot, which boots next. Else /run/ota.reason; 2: the file is not to be trusted.
install_release() {
    other=$(other_slot)
    # All of it is checked before anything is written.
    if [ -e /run/ota.downgrade ]; then swu -c -i "$1"; else swu -c -N "$VERSION_ID" -i "$1"; fi || {
        reason
        swu -c -i "$1" || return 2
        echo "it is older than what runs" >/run/ota.reason
        return 1
    }
    bootenv set "${other}_OK=0" "${other}_TRY=0" "${other}_GOOD=0" "${other}_FAIL=0"
    swu -i "$1" || { reason; return 1; }
    [ "$other" = A ] && sync "$SLOT_A" || sync "$SLOT_B"
    bootenv set "ORDER=$other $(booted_slot)" "${other}_OK=1"
}
# The slot that runs has proven itself.
confirm_slot() { bootenv set "$(booted_slot)_OK=1" "$(booted_slot)_TRY=0"; }
# activate_slot SLOT: it boots next.
activate_slot() { if [ "$1" = A ]; then bootenv set "ORDER=A B"; else bootenv set "ORDER=B A"; fi; }
