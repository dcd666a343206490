#!/bin/bash
# Stops the cluster and takes away what it made on this machine. The state under KT_BASE stays
# (the next kube-up.sh goes on from it); --purge removes that as well.
set -uo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
need_root
[ -d "$RUN" ] || { echo "nothing at $KT_BASE"; exit 0; }
if [ "${KT_LOCKED:-}" != 1 ]; then
  exec 9>"$KT_BASE/lock"
  flock -w 60 9 || die "another kube-up or kube-down holds $KT_BASE/lock"
fi
for c in $(tac -s ' ' <<<"$COMPONENTS "); do [ "$c" = containerd ] || stop "$c" 3; done

kill_members() { # PID…: kills what is in the cluster's cgroups but these; succeeds when there is nothing else
  local spared=" $* " left="" x
  for x in $(cgroup_pids); do
    case "$spared" in *" $x "*) continue ;; esac
    left=$x
    kill -KILL "$x" 2>/dev/null
  done
  [ -z "$left" ]
}
# Pods and their shims first, while containerd is there to hear of it; then the rest.
until_ok 10 kill_members "$(alive holder)" "$(alive containerd)"
stop containerd 5
stop holder 1
until_ok 10 kill_members

if [ -f "$RUN/link.made" ]; then   # not another KT_BASE's
  ip link del "$IF_HOST" 2>/dev/null
  nft delete table inet kube_testbed 2>/dev/null
  for c in "$KT_POD_CIDR" "$KT_SVC_CIDR"; do ip route del "$c" via "$NODE_IP" 2>/dev/null; done
  ip link show "$IF_HOST" >/dev/null 2>&1 && { echo "interface $IF_HOST is still there" >&2; exit 1; }
  rm -f "$RUN/link.made"
fi
# Nothing of ours should be mounted where the host sees it; what is, goes.
awk -v b="$KT_BASE/" 'index($2,b)==1{print $2}' /proc/self/mounts | sort -r | while read -r m; do umount -l "$m"; done
remove_cgroups() {
  local r rc=0
  for r in $(cgroup_roots); do
    [ -d "$r/$CG" ] || continue
    find "$r/$CG" -depth -type d -exec rmdir {} + 2>/dev/null
    [ ! -d "$r/$CG" ] || rc=1
  done
  return $rc
}
until_ok 2 remove_cgroups
[ -f "$RUN/sysctl.saved" ] && sysctl -q -p "$RUN/sysctl.saved" >/dev/null && rm -f "$RUN/sysctl.saved"
[ -f "$RUN/made-dirs" ] && { while read -r d; do rmdir "$d" 2>/dev/null; done <"$RUN/made-dirs"; rm -f "$RUN/made-dirs"; }
left=$(cgroup_pids)
rm -f "$RUN"/*.pid "$SOCK" "$SOCK.ttrpc"
[ "${1:-}" != --purge ] || rm -rf --one-file-system "${KT_BASE:?}"
[ -z "$left" ] || { echo "still running: $left" >&2; exit 1; }
echo "down"
