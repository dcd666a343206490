#!/bin/bash
# component.sh NAME start|stop|restart|kill|pid|log     one component of the running cluster; without words, a list
#   kill is kill -9; nothing restarts a component by itself
set -uo pipefail
. "$(cd "$(dirname "$0")" && pwd)/lib.sh"
if [ $# -ne 2 ]; then
  sed -n 2,3p "$0"
  for c in holder $COMPONENTS; do printf '%-26s %s\n' "$c" "$(alive "$c" || echo -)"; done
  exit 2
fi
case "$2" in
  start) start "$1" ;;
  stop) stop "$1" 10 ;;
  restart) stop "$1" 10; start "$1" ;;
  kill)
    p=$(alive "$1") || die "$1 does not run"
    kill -KILL "$p"
    until_ok 5 ended "$1" || die "$1 did not die" ;;
  pid) alive "$1" ;;
  log) exec tail -n 100 "$KT_BASE/log/$1.log" ;;
  *) die "unknown action $2" ;;
esac
