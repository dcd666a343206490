#!/bin/bash
# The first process of a machine, in new namespaces: gives it a root folder of its own, then waits for ever.
# usage: machine.sh NAME ROOT SOURCE:TARGET[:ro]...   What a machine shares with the computer is in that list, and nowhere else.
set -euo pipefail
name=$1 root=$2
shift 2
hostname "$name"
mount --bind "$root" "$root"
cd "$root"

mount -t proc proc proc
mount --rbind /sys sys # the cgroups that Slurm uses are mounted below
mount -t tmpfs -o mode=1777,nosuid tmpfs tmp
mount -t tmpfs -o mode=1777,nosuid tmpfs var/tmp
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777,nosuid tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for stream in 0=stdin 1=stdout 2=stderr; do ln -s "/proc/self/fd/${stream%=*}" "dev/${stream#*=}"; done
device() { mknod -m 666 "dev/$1" c "$2" "$3"; }
device null 1 3
device zero 1 5
device full 1 7
device random 1 8
device urandom 1 9
device tty 5 0
device fakegpu0 1 3
device fakegpu1 1 3

for bind in "$@"; do
    IFS=: read -r source target mode <<<"$bind"
    mkdir -p "$root$target"
    mount --bind "$source" "$root$target"
    [ "$mode" != ro ] || mount -o remount,bind,ro "$root$target"
done

for owner in munge mysqld:mysql; do install -d -o "${owner#*:}" -g "${owner#*:}" "run/${owner%:*}"; done
mkdir -p .outside
pivot_root . .outside
umount -l .outside
rmdir .outside
cd /
# bash, because it ends the zombies that fall to the first process
exec -a "sampan-testbed-machine $name" bash -c 'trap : TERM; while :; do sleep infinity & wait $!; done'
