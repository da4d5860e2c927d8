# shellcheck shell=bash
# For the scripts beside it: Debian's buildah without a Docker engine, in a store of its own.
#
# The store is $KITARAN_IMAGE_STORE (default /var/tmp/kitaran-images); remove the folder to be rid of everything.

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(dirname "$HERE")"
STORE="${KITARAN_IMAGE_STORE:-/var/tmp/kitaran-images}"
IMAGE="${KITARAN_IMAGE:-localhost/kitaran}"
export ROOT IMAGE

say() { printf '%s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

buildah() {
    BUILDAH_ISOLATION=chroot command buildah --storage-driver vfs --root "$STORE/storage" --runroot "$STORE/run" "$@"
}

# need PROGRAM...: installs the Debian packages of the same names whose program is missing.
need() {
    local program missing=()
    for program in "$@"; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [ "${#missing[@]}" -eq 0 ] && return
    say "installing ${missing[*]}"
    command -v apt-get >/dev/null || fail "${missing[*]}: not found, and this is not Debian; install it by hand"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

as_root() { [ "$(id -u)" -eq 0 ] || fail "this script installs packages and makes images: run it as root"; }

# timed WORDS...: runs the words, and says how long that took.
timed() {
    local label="$1" began="$SECONDS"
    shift
    "$@"
    say "$label: $((SECONDS - began)) s"
}
