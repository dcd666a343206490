#!/bin/bash
# Starts a real Kubernetes cluster of one node on this machine, as root; see README.md. Safe to call again.
# Env: KT_FRESH=1 (an empty cluster; loaded images stay) or all, KT_KWOK_NODES, KT_KWOK_CPU, KT_KWOK_MEMORY, KT_KWOK_EXTRA,
#      KT_BASE, KT_CACHE, KT_POD_CIDR, KT_SVC_CIDR, KT_LINK, KT_WAIT
set -euo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
. "$KT_HERE/machine.sh"
. "$KT_HERE/pki.sh"
need_root
for b in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl coredns kube-router \
         local-path-provisioner kwok pause busybox; do
  [ -x "$KT_BIN/$b" ] || die "$b is missing in $KT_BIN: run build.sh first"
done
for b in containerd ctr runc nft iptables ipset ip nsenter unshare openssl python3 curl; do
  command -v "$b" >/dev/null || die "$b is missing: run build.sh first"
done
case "$KT_BASE" in /run|/run/*|/var/run*|/var/log*|/var/lib/kubelet*) die "KT_BASE must not lie under $KT_BASE" ;; esac
[ ${#SOCK} -lt 100 ] || die "KT_BASE is too long for a socket path: $KT_BASE"
mkdir -p "$RUN" "$KT_BASE/log" "$KT_CACHE/images"
chmod 711 "$KT_BASE"
exec 9>"$KT_BASE/lock"
flock -w 120 9 || die "another kube-up or kube-down holds $KT_BASE/lock"

simulated_nodes() { # those of an earlier start come back with its state
  local i nodes=${KT_KWOK_NODES:-$(cat "$KT_BASE/kwok-nodes" 2>/dev/null || echo 0)}
  [ "$nodes" -gt 0 ] || return 0
  echo "$nodes" >"$KT_BASE/kwok-nodes"
  start kwok
  local room="{cpu: \"${KT_KWOK_CPU:-32}\", memory: ${KT_KWOK_MEMORY:-256Gi}, pods: \"110\"${KT_KWOK_EXTRA:+, $KT_KWOK_EXTRA}}"
  for i in $(seq 0 $((nodes - 1))); do
    cat <<Y
---
apiVersion: v1
kind: Node
metadata:
  name: kwok-node-$i
  annotations: {kwok.x-k8s.io/node: fake, node.alpha.kubernetes.io/ttl: "0"}
  labels: {kubernetes.io/arch: amd64, kubernetes.io/os: linux, kubernetes.io/hostname: kwok-node-$i, type: kwok}
spec: {taints: [{key: kwok.x-k8s.io/node, value: fake, effect: NoSchedule}]}
status: {allocatable: $room, capacity: $room}
Y
  done | k apply -f - >/dev/null
  k wait --for=condition=Ready node -l type=kwok --timeout="$(time_left)s" >/dev/null ||
    die "the simulated nodes are not ready: see $KT_BASE/log/kwok.log"
}

ready() { echo "READY KUBECONFIG=$ADMIN"; exit 0; }

# ---- up already: start what is missing; only if that does not help, start over (the state stays)
node_ready() { k get --raw /readyz && k wait --for=condition=Ready "node/$KT_NODE" --timeout=5s; }
if alive holder >/dev/null && [ "${KT_FRESH:-0}" = 0 ]; then
  for c in $COMPONENTS; do
    { [ "$c" != kwok ] && ! alive "$c" >/dev/null; } || continue
    start "$c"
    note "$c was not running: started"
  done
  if until_ok 60 node_ready; then simulated_nodes; ready; fi
fi

# ---- what an earlier run or a crash left behind
KT_LOCKED=1 "$KT_HERE/kube-down.sh" >/dev/null 2>&1 || true
[ -z "$(cgroup_pids)" ] || die "processes of an earlier cluster are still there: $(cgroup_pids | tr '\n' ' ')"
! ip link show "$IF_HOST" >/dev/null 2>&1 || die "interface $IF_HOST exists: a cluster with another KT_BASE is up"
if [ "${KT_FRESH:-0}" != 0 ]; then
  rm -rf "${KT_BASE:?}"/{etcd,kubelet,volumes,varlog,pki,kubeconfig,cni,kwok-nodes}
  [ "$KT_FRESH" != all ] || rm -rf "${KT_BASE:?}/containerd"
fi
mkdir -p "$RUN" "$KT_BASE/log" "$PKI"
find "$KT_BASE/log" -name '*.log' -size +64M -exec truncate -s 0 {} +
python3 "$KT_HERE/ranges.py" "$KT_POD_CIDR" "$KT_SVC_CIDR" "$KT_LINK.0/30"

remember_settings
make_cgroups
make_namespaces
make_link
(umask 077; make_pki)
chmod 711 "$PKI"
export KT_BASE KT_BIN KT_NODE KT_POD_CIDR KT_SVC_CIDR PKI SOCK CG NODE_IP SVC_DNS
python3 "$KT_HERE/render.py" "$KT_HERE/templates" "$KT_BASE/etc"

# ---- control plane
start etcd
start containerd
until_ok 20 in_node curl -sf http://127.0.0.1:2379/health || die "etcd: see $KT_BASE/log/etcd.log"
start kube-apiserver
start kube-controller-manager
start kube-scheduler
until_ok 20 ctrk version || die "containerd: see $KT_BASE/log/containerd.log"
if [ "${KT_FRESH:-0}" = 1 ]; then
  for c in $(ctrk containers ls -q); do ctrk containers rm "$c" >/dev/null 2>&1 || true; done
fi
"$KT_HERE/own-images.sh"
until_ok 60 k get --raw /readyz || die "kube-apiserver: see $KT_BASE/log/kube-apiserver.log"
note "API server answers"

# ---- the node
start kubelet
apply_objects() { k apply --server-side --force-conflicts -f "$KT_BASE/etc/objects"; }
until_ok 40 apply_objects || { apply_objects; die "the cluster's own objects were refused"; }
start kube-proxy
pod_range() { cidr=$(k get node "$KT_NODE" -o jsonpath='{.spec.podCIDR}') && [ -n "$cidr" ]; }
until_ok 60 pod_range || die "the node did not register: see $KT_BASE/log/kubelet.log"
cat >"$KT_BASE/cni/net.d/.new" <<J
{"cniVersion": "0.4.0", "name": "kt", "plugins": [
 {"type": "bridge", "bridge": "kt-br0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "$KT_BASE/cni/ipam", "ranges": [[{"subnet": "$cidr"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
 {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
J
mv "$KT_BASE/cni/net.d/.new" "$KT_BASE/cni/net.d/10-kt.conflist"
start kube-router
start local-path-provisioner
note "node registered, pods $cidr"
k wait --for=condition=Ready "node/$KT_NODE" --timeout="$(time_left)s" >/dev/null || die "node not ready: see $KT_BASE/log/kubelet.log"
note "node ready"

# ---- names: a real answer, through the service address
until_ok "$(time_left)" k -n kube-system rollout status deployment/coredns --timeout=5s || die "coredns not ready"
names() { busybox nslookup kubernetes.default.svc.cluster.local "$SVC_DNS" 2>/dev/null | grep -q "$SVC_API"; }
until_ok 20 names || die "no name service on $SVC_DNS"
until_ok 20 k -n default get serviceaccount default || die "no default service account"
simulated_nodes
note "up"
ready
