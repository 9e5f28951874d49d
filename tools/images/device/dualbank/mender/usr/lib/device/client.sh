# Mender without its server, as the device's own scripts use it. Sourced, behind slots.sh.
. /usr/lib/os-release
mend() { mender "$@" >/run/ota.error 2>&1; }
because() { echo "$*" >/run/ota.reason; }
member() { tar -xOf "$1" "$2" 2>/dev/null; }
wanted_sum() { sed -n "s#  $1\$##p" /run/ota.manifest; }
sum() { sha256sum | cut -c1-64; }
# check_artifact FILE: all of it, before anything is written. Mender runs Download_Enter scripts before it has seen a
# signature, and finds a damaged image when it is in the slot.
check_artifact() {
    member "$1" manifest >/run/ota.manifest
    member "$1" manifest.sig | base64 -d >/run/ota.signature 2>/dev/null
    openssl dgst -sha256 -verify /etc/ota/verify.pem -signature /run/ota.signature /run/ota.manifest >/run/ota.error 2>&1 ||
        { because "its signature is not one that is trusted"; return 2; }
    [ "$(member "$1" header.tar.gz | sum)" = "$(wanted_sum header.tar.gz)" ] ||
        { because "its header is damaged"; return 2; }
    header=$(member "$1" header.tar.gz | tar -xzO header-info)
    kinds=$(echo "$header" | jq -r '.artifact_depends.device_type[]')
    echo "$kinds" | grep -qxF "$COMPATIBLE" || { because "it is for" $kinds; return 1; }
    version=$(echo "$header" | jq -r .artifact_provides.artifact_name)
    if [ ! -e /run/ota.downgrade ] && [ "$version" != "$VERSION_ID" ] &&
        [ "$(printf '%s\n' "$version" "$VERSION_ID" | sort -V | tail -n 1)" = "$VERSION_ID" ]; then
        because "$version is older than what runs"
        return 1
    fi
    [ "$(member "$1" data/0000.tar.gz | tar -xzO 2>/dev/null | sum)" = "$(wanted_sum data/0000/.*)" ] ||
        { because "its image is damaged"; return 2; }
}
# install_release FILE: into the other slot, which boots next. Else /run/ota.reason; 2: the file is not to be trusted.
install_release() {
    check_artifact "$1" || return
    # An update that was never started, or that the boot loader has left, is still open in Mender's store.
    ! bootenv is "$(booted_slot)_GOOD=1" || mend rollback
    mend install "$1" && return
    grep -v '^\.*$' /run/ota.error | tail -n 1 >/run/ota.reason
    return 1
}
# The slot that runs has proven itself.
confirm_slot() { mend commit; }
# activate_slot SLOT: it boots next. Mender goes back only from what it has not committed yet.
activate_slot() {
    mend rollback
    case $? in
    0 | 2) if [ "$1" = A ]; then bootenv set "ORDER=A B"; else bootenv set "ORDER=B A"; fi ;;
    *) return 1 ;;
    esac
}
