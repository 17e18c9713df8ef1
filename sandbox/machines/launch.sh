#!/bin/sh
# launch.sh FILE… -- COMMAND…: enter the control groups whose cgroup.procs are named, then run
# COMMAND with mounts and process ids of its own, which the kernel removes with their first process.
set -eu
while [ "$1" != -- ]; do
    echo 0 > "$1"
    shift
done
shift
exec unshare --mount --propagation private --pid --fork --kill-child "$@"
