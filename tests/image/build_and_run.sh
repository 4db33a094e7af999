#!/usr/bin/env bash
# Builds the Dockerfile and starts the image for real: healthy within 30 s, not as root, the store in its volume, exit 0
# on SIGTERM. Needs root, buildah, crun and debootstrap (Debian's packages), no container engine and no image registry:
# the base image that FROM names is Debian with its own Python, made once and kept in the user's cache.
# It runs in namespaces of its own: no port of the machine is used, and no process of it can stay behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { echo "image: $*"; }

cache=${XDG_CACHE_HOME:-$HOME/.cache}/keepwarm
base=$cache/bookworm-python3-minbase.tar
work=$(mktemp -d)
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
buildah() { command buildah --root "$work/storage" --runroot "$work/run" "$@"; }
trap 'rm -rf "$work"' EXIT

if [ ! -e "$base" ]; then
  say "making the base with debootstrap, once: about a minute"
  debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$work/root" \
    >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
  rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/*
  mkdir -p "$cache"
  tar -C "$work/root" -cf "$base.$$" . && mv "$base.$$" "$base"
  rm -rf "$work/root"
fi

from=$(sed -n 's/^FROM \([^ ]*\).*/\1/p' Dockerfile | sort -u)
say "importing $(basename "$base") as $from"
container=$(buildah from scratch)
buildah add -q "$container" "$base" / >/dev/null
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
buildah commit -q --rm "$container" "$from" >/dev/null

say "building the Dockerfile"
# The certificates are mounted for machines whose way to the package registry has an authority of its own.
buildah bud --quiet --pull-never --format docker -v /etc/ssl/certs:/etc/ssl/certs:ro -t keepwarm . >"$work/log" 2>&1 ||
  { tail -40 "$work/log"; exit 1; }
buildah inspect --type image keepwarm >"$work/image.json"
container=$(buildah from --pull-never keepwarm)

say "starting it, in network and process namespaces of its own"
unshare --net --pid --fork --mount-proc --kill-child \
  python3 tests/image/check_container.py "$work/image.json" \
  buildah --root "$work/storage" --runroot "$work/run" run "$container" --
