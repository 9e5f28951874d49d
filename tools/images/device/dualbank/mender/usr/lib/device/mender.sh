# The boot environment as Mender thinks of it: the slot that boots next, and whether it is on trial. Sourced.
. /usr/lib/device/slots.sh
saved=$(bootenv get)
saved() { echo "$saved" | sed -n "s/^$1=//p"; }
partition() { [ "$1" = A ] && echo "${SLOT_A##*[!0-9]}" || echo "${SLOT_B##*[!0-9]}"; }
booted=$(booted_slot)
next=
for slot in $(saved ORDER); do
    [ -n "$next" ] || [ "$(saved "${slot}_OK")" != 1 ] || next=$slot
done
# One that does not run and has used tries was left by the boot loader, which changes no more than their number.
if [ -z "$next" ] || { [ "$next" != "$booted" ] && [ "$(saved "${next}_TRY")" != 0 ]; }; then next=$booted; fi
[ "$(saved "${next}_GOOD")" = 1 ] && on_trial=0 || on_trial=1
