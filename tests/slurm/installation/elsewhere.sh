#!/bin/bash
# Runs a command on this computer with other folders at /opt and /shared, where what is built will be found later.
# usage: elsewhere.sh OPT SHARED COMMAND...   (in a mount namespace of its own, see build.py)
set -euo pipefail
opt=$1 shared=$2
shift 2
root=$(mktemp -d)
mount -t tmpfs tmpfs "$root"
for place in /*; do
    name=${place#/}
    if [ "$name" = opt ] || [ "$name" = shared ]; then
        continue
    elif [ -L "$place" ]; then
        ln -s "$(readlink "$place")" "$root/$name"
    elif [ -d "$place" ]; then
        mkdir "$root/$name"
        mount --rbind "$place" "$root/$name"
    fi
done
mkdir "$root/opt" "$root/shared"
mount --bind "$opt" "$root/opt"
mount --bind "$shared" "$root/shared"
chmod 755 "$root"
exec chroot "$root" "$@"
