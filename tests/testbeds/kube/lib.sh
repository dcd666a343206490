# What the scripts of this folder share: names, and processes that are known by pid and start time. Sourced, not run.
# shellcheck shell=bash disable=SC2034
KT_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KT_CACHE=${KT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sampan-kube-testbed}
# by what they are built from; $KT_CACHE/bin leads to those built last
KT_BIN=$KT_CACHE/programs-$(cd "$KT_HERE" && find go build.sh pause.c -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-12)
KT_BASE=${KT_BASE:-${TMPDIR:-/tmp}/kube-testbed}
KT_POD_CIDR=${KT_POD_CIDR:-10.201.0.0/16}
KT_SVC_CIDR=${KT_SVC_CIDR:-10.202.0.0/16}
KT_LINK=${KT_LINK:-10.203.0}            # the host's end is .1, the node's .2
KT_WAIT=${KT_WAIT:-180}                 # bound of a whole start, seconds
KT_NODE=kt-node-0
HOST_IP=$KT_LINK.1
NODE_IP=$KT_LINK.2
SVC_API=${KT_SVC_CIDR%.*/*}.1
SVC_DNS=${KT_SVC_CIDR%.*/*}.10
IF_HOST=kt-host
IF_NODE=kt-node
CG=kube-testbed-$(echo "$KT_BASE" | sha256sum | cut -c1-8)   # one cgroup per KT_BASE, in every hierarchy
RUN=$KT_BASE/run
SOCK=$RUN/containerd.sock
PKI=$KT_BASE/pki
ADMIN=$KT_BASE/kubeconfig
KT_T0=${KT_T0:-$(date +%s.%N)}
# in the order in which they start; they stop in the other one
COMPONENTS="etcd containerd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kube-router local-path-provisioner kwok"
export PATH=$KT_BIN:$PATH:/usr/sbin:/sbin

die() { echo "kube-testbed: $*" >&2; exit 1; }
note() { printf '[%5.1f s] %s\n' "$(awk -v a="$(date +%s.%N)" -v b="$KT_T0" 'BEGIN{print a-b}')" "$*" >&2; }
need_root() { [ "$(id -u)" = 0 ] || die "run as root"; }
until_ok() { # SECONDS COMMAND…: repeats it until it succeeds
  local end=$((SECONDS + $1)); shift
  while ! "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done
}
time_left() { local l=$((KT_WAIT - $(date +%s) + ${KT_T0%.*})); [ $l -gt 5 ] || l=5; echo $l; }
k() { kubectl --kubeconfig "$ADMIN" "$@"; }
ctrk() { ctr -a "$SOCK" -n k8s.io "$@"; }
# The tool that builds images, with this folder's own store.
buildah_here() { "$KT_HERE/bin/buildah" "$@"; }

# ---- processes: a pid alone may be another's by now ---------------------------
start_time() { awk '{sub(/^.*\) /,""); print $20}' "/proc/$1/stat" 2>/dev/null; }
pid_file() { echo "$RUN/$1.pid"; }
alive() { # NAME: prints the pid if the recorded process still is that process
  local p s
  read -r p s 2>/dev/null <"$(pid_file "$1")" || return 1
  [ -n "$p" ] && [ -n "$s" ] && [ "$(start_time "$p")" = "$s" ] || return 1
  [ "$(awk '{sub(/^.*\) /,""); print $1}' "/proc/$p/stat" 2>/dev/null)" != Z ] || return 1
  echo "$p"
}
in_node() { nsenter -t "$(alive holder)" -m -n -- "$@"; }
cgroup_roots() { awk '$3=="cgroup"||$3=="cgroup2"{print $2}' /proc/self/mounts; }
cgroup_pids() {
  local r
  for r in $(cgroup_roots); do
    [ -d "$r/$CG" ] && find "$r/$CG" -name cgroup.procs -exec cat {} + 2>/dev/null
  done | sort -un
}

# Said by the process about itself, before it becomes the component: into the cgroup, and who it is.
# shellcheck disable=SC2016
INTRODUCTION='
  for r in $KT_CGROUPS; do [ -d $r/$KT_CG/sys ] && echo $$ >$r/$KT_CG/sys/cgroup.procs 2>/dev/null; done
  echo "$$ $(awk "{sub(/^.*\\) /,\"\"); print \$20}" /proc/$$/stat)" >"$KT_PID_FILE.new"
  mv "$KT_PID_FILE.new" "$KT_PID_FILE"; unset KT_CG KT_CGROUPS KT_PID_FILE r; cd /'
start() { # NAME: runs its command line inside the node's namespaces
  local name=$1 holder p
  [ -f "$KT_BASE/etc/components/$name" ] || die "no such component: $name"
  p=$(alive "$name") && { echo "$name already runs ($p)" >&2; return 0; }
  holder=$(alive holder) || die "the cluster is not up"
  rm -f "$(pid_file "$name")"
  KT_PID_FILE=$(pid_file "$name") KT_CG="$CG" KT_CGROUPS="$(cgroup_roots | tr '\n' ' ')" \
    setsid nsenter -t "$holder" -m -n -- /bin/bash -c "$INTRODUCTION; . \"\$1\"" kt "$KT_BASE/etc/components/$name" \
    </dev/null >>"$KT_BASE/log/$name.log" 2>&1 9>&- &
  disown
  until_ok 5 test -s "$(pid_file "$name")" || die "$name did not start: see $KT_BASE/log/$name.log"
}
stop() { # NAME [SECONDS]: TERM, then KILL
  local p
  if p=$(alive "$1"); then
    kill -TERM "$p" 2>/dev/null
    until_ok "${2:-5}" ended "$1" || { kill -KILL "$p" 2>/dev/null; until_ok 3 ended "$1"; }
  fi
  rm -f "$(pid_file "$1")"
}
ended() { ! alive "$1" >/dev/null; }
