#!/usr/bin/env bash
# Builds the image where there is no Docker engine and no registry: Debian's buildah, on a base made by debootstrap.
#
#   docker/build-without-engine.sh [--suite bookworm|trixie] [--fresh-base]
#   docker/build-without-engine.sh --clean        removes the images and their store
#
# The base is kept for the next time. Python is that of the suite: 3.11 in bookworm, 3.13 in trixie.
set -euo pipefail
# shellcheck source=docker/buildah-here.sh
source "$(dirname "${BASH_SOURCE[0]}")/buildah-here.sh"

main() {
    local suite=bookworm fresh=no
    while [ "$#" -gt 0 ]; do
        case "$1" in
        --suite) suite="${2:?--suite takes a name}" && shift ;;
        --fresh-base) fresh=yes ;;
        --clean) clean && return ;;
        *) fail "unknown option $1" ;;
        esac
        shift
    done
    as_root
    need buildah debootstrap
    local base="localhost/kitaran-base:$suite"
    if [ "$fresh" = yes ] || ! buildah inspect --type image "$base" >/dev/null 2>&1; then
        timed "base $suite" make_base "$suite" "$base"
    fi
    timed "image $IMAGE on $suite" build "$base"
    say "size: $(buildah images --filter "reference=$IMAGE:latest" --format '{{.Size}}') with the base" \
        "$(buildah images --filter "reference=$base" --format '{{.Size}}')"
}

# What python:3.x-slim is, as far as the Dockerfile needs it: a small Debian with python3, venv and certificates.
make_base() {
    local suite="$1" base="$2" folder container
    folder="$(mktemp -d /var/tmp/kitaran-base.XXXXXX)"
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$folder'" EXIT
    say "base $suite: debootstrap (about a minute) …"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$suite" "$folder/root" \
        >"$folder/log" 2>&1 || { tail -5 "$folder/log" >&2; fail "debootstrap"; }
    rm -rf "$folder"/root/var/cache/apt/archives/*.deb "$folder"/root/var/lib/apt/lists/* "$folder"/root/usr/share/doc
    container="$(buildah from scratch)"
    buildah add --quiet "$container" "$folder/root" / >/dev/null
    buildah config --cmd python3 "$container"
    buildah commit --quiet --rm "$container" "$base" >/dev/null
    rm -rf "$folder"
    trap - EXIT
}

# Where TLS is opened on the way, the caller's certificates (SSL_CERT_FILE) are lent to the build; the image keeps none.
build() {
    local lent=() log
    [ -z "${SSL_CERT_FILE:-}" ] || lent=(--secret "id=ca_bundle,src=$SSL_CERT_FILE")
    log="$(mktemp)"
    buildah bud "${lent[@]}" --pull-never --build-arg "BASE=$1" --file "$HERE/Dockerfile" --tag "$IMAGE" "$ROOT" \
        >"$log" 2>&1 || { tail -40 "$log" >&2; fail "the build failed; all of it is in $log"; }
    rm -f "$log"
    buildah rmi --prune >/dev/null # what an earlier image was
}

clean() {
    if [ -d "$STORE" ]; then
        if command -v buildah >/dev/null; then
            buildah rm --all >/dev/null
            buildah rmi --all --force >/dev/null
        fi
        rm -rf "$STORE"
    fi
    say "removed $STORE"
}

main "$@"
