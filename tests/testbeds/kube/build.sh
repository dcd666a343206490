#!/bin/bash
# Installs the Debian packages and builds the programs of the test cluster, from pinned Go modules, into the cache folder.
# What is there already is left alone. Env: KT_CACHE
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
need_root
packages=()
for p in containerd runc containernetworking-plugins buildah debootstrap iptables nftables ipset conntrack iproute2 kmod openssl \
         busybox gcc libc6-dev ca-certificates curl procps; do
  packages+=("$p=/var/lib/dpkg/info/${p}[.:]*list")
done
"$KT_HERE/../../../tools/install-system" "${packages[@]}"
[ ! -f "$KT_BIN/complete" ] || exit 0

# ---- Go: this machine's, else a pinned one from the place the modules come from
go_is_new_enough() { command -v go >/dev/null && [ "$(go env GOVERSION | tr -dc '0-9.' | cut -d. -f2)" -ge 24 ]; }
if ! go_is_new_enough; then
  export PATH=$KT_CACHE/go/bin:$PATH
  [ -x "$KT_CACHE/go/bin/go" ] || python3 "$KT_HERE/fetch_go.py" "$KT_CACHE/go"
fi

export CGO_ENABLED=0 GOFLAGS="-mod=readonly -trimpath -buildvcs=false" GOWORK=off GOTOOLCHAIN=local
unset GOOS GOARCH
version=v1.34.4 flags="-s -w"
for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  flags="$flags -X $p.gitVersion=$version -X $p.gitMajor=1 -X $p.gitMinor=34 -X $p.gitTreeState=clean"
done
h=helm.sh/helm/v3
flags="$flags -X $h/internal/version.version=v3.18.6"
for p in pkg/lint/rules pkg/chartutil; do flags="$flags -X $h/$p.k8sVersionMajor=1 -X $h/$p.k8sVersionMinor=34"; done
mkdir -p "$KT_BIN"
echo "building Kubernetes $version and what it needs into $KT_BIN: some ten minutes on two cores"
began=$SECONDS
kube=()
for c in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do kube+=("k8s.io/kubernetes/cmd/$c"); done
make() { (cd "$KT_HERE/go" && go build -gcflags=all=-dwarf=false -ldflags "$flags" -o "$KT_BIN/$1" "${@:2}"); }
# One call for most, so that no core waits; without debugging data it takes a sixth less.
make / "${kube[@]}" ./coredns ./kube-router $h/cmd/helm sigs.k8s.io/kwok/cmd/kwok
make / github.com/rancher/local-path-provisioner   # apart: it and others spell the name of one module differently
make etcd go.etcd.io/etcd/server/v3
gcc -static -Os -s -o "$KT_BIN/pause" "$KT_HERE/pause.c"
cp /usr/bin/busybox "$KT_BIN/"
touch "$KT_BIN/complete"
ln -sfn "$(basename "$KT_BIN")" "$KT_CACHE/bin"
echo "built in $((SECONDS - began)) s"
