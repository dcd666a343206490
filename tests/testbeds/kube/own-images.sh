#!/bin/bash
# Loads the images the cluster itself runs from: kt.local/pause, coredns, busybox. They are made of this folder's binaries.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
images=$KT_CACHE/images
mkdir -p "$images"
archive() { python3 "$KT_HERE/image_archive.py" "$images/$1.tar" "kt.local/$1:1" "${@:2}"; }
newer() { [ -f "$images/$1.tar" ] && [ ! "$KT_BIN/$1" -nt "$images/$1.tar" ] && [ ! "$KT_HERE/image_archive.py" -nt "$images/$1.tar" ]; }

newer pause || archive pause --entrypoint /pause "$KT_BIN/pause=/pause"
newer coredns || archive coredns --entrypoint /coredns "$KT_BIN/coredns=/coredns"
if ! newer busybox; then
  busybox=$KT_BIN/busybox items=()
  for a in $("$busybox" --list); do [ "$a" = busybox ] || items+=("/bin/$a->busybox"); done
  # Debian's build is shared: with this machine's C library, so that names are looked up as programs do
  for l in $(ldd "$busybox" | sed -n 's#.*=> \(/[^ ]*\).*#\1#p; s#^[[:space:]]*\(/[^ ]*ld-linux[^ ]*\).*#\1#p'); do
    items+=("$(readlink -f "$l")=$l")
  done
  printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$images/nsswitch.conf"
  archive busybox --cmd sh "$busybox=/bin/busybox" "${items[@]}" "$images/nsswitch.conf=/etc/nsswitch.conf@644"
fi

have=$(ctrk images ls -q)
for name in pause coredns busybox; do
  id=$(stat -c '%Y-%s' "$images/$name.tar")
  if ! grep -qx "kt.local/$name:1" <<<"$have" || [ "$(cat "$KT_BASE/containerd/$name.id" 2>/dev/null)" != "$id" ]; then
    ctrk images import "$images/$name.tar" >/dev/null
    echo "$id" >"$KT_BASE/containerd/$name.id"
  fi
done
