#!/bin/bash
# image-load.sh IMAGE REGISTRY/NAME:TAG: from the store of bin/buildah into the running cluster, under that name.
# Only layers that the cluster lacks are sent; nothing if it has that very image already.
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
[ $# -eq 2 ] || { sed -n 2,3p "$0"; exit 2; }
alive containerd >/dev/null || die "the cluster is not up"
id=$(buildah_here inspect --type image --format '{{.FromImageID}}' "$1")
loaded=$KT_BASE/containerd/loaded/${2//\//_}
if [ "$(cat "$loaded" 2>/dev/null)" = "$id" ] && ctrk images ls -q | grep -xF -- "$2" >/dev/null; then exit 0; fi
mkdir -p "$(dirname "$loaded")"
have=$(mktemp)
trap 'rm -f "$have"' EXIT
ctrk content ls -q >"$have"
# through pipes: no second copy on disk, no compression
timeout 900 "$KT_HERE/bin/buildah" push --quiet "$1" docker-archive:/dev/fd/3 3>&1 >/dev/null |
  python3 "$KT_HERE/image_delta.py" "$2" "$have" | ctrk images import - >/dev/null
echo "$id" >"$loaded"
