#!/bin/bash
# base-image.sh NAME…: a minimal Debian with python3, in place of a base image from a registry.
# Made by debootstrap once; the archive is cached. It goes into the store of bin/buildah.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
[ $# -ge 1 ] || { sed -n 2,3p "$0"; exit 2; }
suite=$(. /etc/os-release; echo "$VERSION_CODENAME")
include=python3,python3-venv,ca-certificates
archive=$KT_CACHE/images/debian-$(echo "$suite|$include|3" | sha256sum | cut -c1-12).tar
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
if [ ! -f "$archive" ]; then
  mkdir -p "$KT_CACHE/images" "$KT_CACHE/debs"
  debootstrap --variant=minbase --include="$include" --cache-dir="$KT_CACHE/debs" "$suite" "$work/root" \
    >"$KT_CACHE/images/debootstrap.log" 2>&1 || { tail -5 "$KT_CACHE/images/debootstrap.log" >&2; exit 1; }
  rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/* \
    "$work"/root/usr/share/{doc,man,locale}/* "$work"/root/etc/{resolv.conf,hostname}
  : >"$work/root/etc/machine-id"
  tar --numeric-owner --one-file-system -C "$work/root" -cf "$archive.new" .
  mv "$archive.new" "$archive"
fi
mkdir "$work/context"
cp "$archive" "$work/context/base.tar"
cat >"$work/context/Containerfile" <<'C'
FROM scratch
ADD base.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python3"]
C
for name in "$@"; do
  buildah_here build --quiet --layers --tag "$name" "$work/context" >/dev/null
  echo "$name"
done
