# Sourced by the tools: makes this clone runnable. Each step is done only when something is missing.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
VENV=$ROOT/.venv
CACHE=${POWERCUT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/powercut}

# What runs and judges (QEMU, ostree, e2fsck), and what builds the images.
PACKAGES=(qemu-system-x86 qemu-utils socat curl ostree e2fsprogs fdisk squashfs-tools python3-venv
    mmdebstrap debian-archive-keyring grub-pc-bin grub-common lz4 gnupg openssh-client openssl rauc cpio
    mender-artifact)

say() { printf '\n== %s\n' "$*"; }
stop() { # WHERE WHAT DO
    printf '%s: %s\n  to do: %s\n' "$1" "$2" "$3" >&2
    exit 2
}

say_needs() {
    cat <<EOT
powercut needs, for the first run:
  system      Debian 12 or newer on x86_64; root or sudo for apt-get and for the owners of files in the images
  disk        6 GB: 0.5 GB in $VENV, the rest in $CACHE
  memory      3 GB
  download    about 400 MB: Debian packages, Python packages, and 110 MB for the system images
EOT
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

check_room() {
    local place=$CACHE free
    while [ ! -e "$place" ]; do place=$(dirname "$place"); done
    free=$(df --output=avail -BG "$place" | tail -n 1 | tr -dc 0-9)
    [ "$free" -ge 6 ] || [ -d "$ROOT/build" ] ||
        stop "$place" "only $free GB free" "make room for 6 GB, or set POWERCUT_CACHE to a folder on another disk"
    free=$(awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)
    [ "$free" -ge 2500 ] || stop "this machine" "only $free MB of memory available" "end something: 3 GB are needed"
}

setup_packages() {
    local package missing=()
    for package in "${PACKAGES[@]}"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ -x /usr/bin/apt-get ] || stop "this machine" "no apt-get" "install ${missing[*]} by your own package manager"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || stop "this machine" "not root, and no sudo" \
        "as root: apt-get install --no-install-recommends ${missing[*]}"
    say "Debian packages: apt-get install -y --no-install-recommends ${missing[*]}"
    as_root apt-get update -q || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" ||
        stop "apt-get" "could not install" "run the line above by hand and see what it says"
}

setup_python() {
    local stamp want python=${PYTHON:-python3}
    stamp=$VENV/.powercut-stamp
    want=$(sha256sum "$ROOT/pyproject.toml" | cut -c1-64)
    [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return 0
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        stop "$python" "older than 3.10" "set PYTHON to a newer one"
    say "Python packages into $VENV"
    "$python" -m venv "$VENV" || stop "$python" "can't make a virtual environment" "install python3-venv"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check -e "$ROOT[dev]" ||
        stop "pip" "could not install" "see what it says above"
    echo "$want" >"$stamp"
}

setup_images() { # NAME...
    say "system images: $*"
    mkdir -p "$CACHE" "$ROOT/build"     # as the user: what is built as root lies below
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || stop "this machine" "not root, and no sudo" \
        "as root: POWERCUT_CACHE=$CACHE $ROOT/tools/images/build $*"
    if [ "$(id -u)" = 0 ]; then
        "$ROOT/tools/images/build" "$@"
    else
        sudo env "POWERCUT_CACHE=$CACHE" "$ROOT/tools/images/build" "$@"
    fi || exit $?
}

setup_browser() { # what the page of a comparison is looked at with
    command -v chromium >/dev/null && return
    [ -x /usr/bin/apt-get ] || stop "this machine" "no apt-get" "install chromium by your own package manager"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || stop "this machine" "not root, and no sudo" \
        "as root: apt-get install --no-install-recommends chromium"
    say "a browser: apt-get install -y --no-install-recommends chromium"
    as_root apt-get update -q || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium ||
        stop "apt-get" "could not install chromium" "run the line above by hand and see what it says"
}

setup_lab() { # what a virtual rack runs, unpacked into the cache and not installed
    say "lab software: ser2net, snmpd, pdudaemon, nginx"
    export POWERCUT_CACHE=$CACHE    # tests change their HOME
    "$ROOT/tools/lib/lab-packages" >/dev/null && return
    as_root apt-get update -q >/dev/null || true    # a container may come without lists
    "$ROOT/tools/lib/lab-packages" >/dev/null || stop "tools/lib/lab-packages" "could not unpack" "see what it says above"
}
