# The node: cgroups, namespaces, and the link to the host. Sourced by kube-up.sh.
# shellcheck shell=bash disable=SC2154,SC2086

# What the kubelet changes machine-wide is put back by kube-down.sh.
remember_settings() {
  local s
  if [ ! -f "$RUN/sysctl.saved" ]; then
    for s in vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys \
             kernel.keys.root_maxbytes fs.inotify.max_user_instances; do
      echo "$s=$(sysctl -n $s)"
    done >"$RUN/sysctl.saved"
  fi
  [ "$(sysctl -n fs.inotify.max_user_instances)" -ge 1024 ] || sysctl -qw fs.inotify.max_user_instances=1024
  : >>"$RUN/made-dirs"
  [ -d /var/lib/kubelet ] || { mkdir /var/lib/kubelet; echo /var/lib/kubelet >>"$RUN/made-dirs"; }
}

make_cgroups() {
  local r d
  for r in $(cgroup_roots); do
    mkdir -p "$r/$CG/sys" 2>/dev/null || continue
    for d in "$r/$CG" "$r/$CG/sys"; do
      if [ -f "$d/cpuset.cpus" ] && [ -f "$d/cpuset.mems" ]; then
        [ -n "$(cat "$d/cpuset.cpus")" ] || cat "$(dirname "$d")/cpuset.cpus" >"$d/cpuset.cpus"
        [ -n "$(cat "$d/cpuset.mems")" ] || cat "$(dirname "$d")/cpuset.mems" >"$d/cpuset.mems"
      fi
    done
  done
}

# A process that does nothing keeps the node's network and mounts; components and pods live in them.
make_namespaces() {
  mkdir -p "$KT_BASE"/{kubelet,varlog,volumes/local,volumes/shared,cni/ipam,cni/net.d,containerd/root}
  rm -f "$(pid_file holder)"
  # shellcheck disable=SC2016
  KT_PID_FILE=$(pid_file holder) KT_CG="$CG" KT_CGROUPS="$(cgroup_roots | tr '\n' ' ')" \
    setsid unshare --mount --net --propagation slave -- /bin/bash -c '
      set -e
      mount --make-rshared /
      mount -t tmpfs -o mode=755 kt-run /run
      mkdir -p /run/lock /run/netns
      mount --bind "$1/kubelet" /var/lib/kubelet; mount --make-shared /var/lib/kubelet
      mount --bind "$1/varlog" /var/log
      set +e'"$INTRODUCTION"'; exec sleep infinity' kt "$KT_BASE" </dev/null >"$KT_BASE/log/holder.log" 2>&1 9>&- &
  disown
  until_ok 5 alive holder || { cat "$KT_BASE/log/holder.log" >&2; die "the node's namespaces could not be made"; }
}

# One veth pair. The host forwards nothing for the cluster, and nothing meant for it leaves by another interface.
make_link() {
  touch "$RUN/link.made"
  ip link add $IF_HOST type veth peer name $IF_NODE netns "$(alive holder)"
  ip addr add "$HOST_IP/30" dev $IF_HOST
  ip link set $IF_HOST up
  nft -f - <<NFT
table inet kube_testbed
delete table inet kube_testbed
table inet kube_testbed {
  chain output {
    type filter hook output priority -10; policy accept;
    ip daddr { $KT_POD_CIDR, $KT_SVC_CIDR, $KT_LINK.0/30 } oifname != { "$IF_HOST", "lo" } reject
  }
  chain forward {
    type filter hook forward priority -10; policy accept;
    ip daddr { $KT_POD_CIDR, $KT_SVC_CIDR, $KT_LINK.0/30 } drop
    ip saddr { $KT_POD_CIDR, $KT_SVC_CIDR, $KT_LINK.0/30 } drop
  }
}
NFT
  ip route add "$KT_POD_CIDR" via "$NODE_IP" dev $IF_HOST src "$HOST_IP"
  ip route add "$KT_SVC_CIDR" via "$NODE_IP" dev $IF_HOST src "$HOST_IP"
  # Inside there is no default route: pods and components reach the cluster and $HOST_IP, nothing else.
  in_node bash -e <<NS
ip link set lo up
ip addr add $NODE_IP/30 dev $IF_NODE
ip link set $IF_NODE up
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 net.ipv4.ip_forward=1
sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
ip route add $KT_SVC_CIDR dev $IF_NODE src $NODE_IP
iptables -w -N KT-GUARD
iptables -w -A KT-GUARD -d $KT_SVC_CIDR -j REJECT
iptables -w -A KT-GUARD -o $IF_NODE ! -d $KT_LINK.0/30 -j REJECT
iptables -w -A FORWARD -j KT-GUARD
iptables -w -A OUTPUT -j KT-GUARD
NS
  note "namespaces and link $HOST_IP - $NODE_IP"
}
