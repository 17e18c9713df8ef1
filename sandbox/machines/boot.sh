#!/bin/sh
# boot.sh DIRECTORY BASE NETNS MACHINE HOSTNAME CGROUP: mount a server's disk and boot it with
# systemd-nspawn, in the control group whose cgroup.procs is named. The first process of its own pid
# and mount namespaces: nothing of this shows on the host, and all of it ends with this process.
set -eu
directory=$1 base=$2 netns=$3 machine=$4 hostname=$5 cgroup=$6

echo 0 > "$cgroup"

# Relative from here on: mount's options can't quote colons and commas.
cd "$directory"
mkdir -p mnt
mount -t tmpfs -o mode=700 machine mnt
mkdir mnt/base mnt/disk mnt/root
: > mnt/netns
mount --bind "$netns" mnt/netns
mount --bind "$base" mnt/base

lower=mnt/base
for layer in layers/*.img; do
    [ -e "$layer" ] || continue
    point=mnt/$(basename "$layer" .img)
    mkdir "$point"
    mount -o loop,ro,noload "$layer" "$point"
    lower=$point/upper:$lower
done
mount -o loop,noinit_itable,noatime disk.img mnt/disk
# "volatile" spares the guest's package managers their thousands of fsyncs (an unmount still writes
# everything); it marks the work directory, which must be new at each boot.
rm -rf mnt/disk/work
mkdir -p mnt/disk/upper mnt/disk/work
mount -t overlay -o "lowerdir=$lower,upperdir=mnt/disk/upper,workdir=mnt/disk/work,volatile" \
    machine mnt/root
mkdir -p mnt/root/var/lib/cloud/seed/nocloud
mount --bind seed mnt/root/var/lib/cloud/seed/nocloud

mount -t proc proc /proc
mkdir -p /run/systemd/nspawn  # where nspawn keeps locks: ours are our own
mount -t tmpfs -o mode=755 nspawn /run/systemd/nspawn
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
exec systemd-nspawn --quiet --boot --directory="$PWD/mnt/root" \
    --machine="$machine" --hostname="$hostname" --register=no --keep-unit --console=pipe \
    --network-namespace-path="$PWD/mnt/netns" --capability=CAP_NET_ADMIN \
    --link-journal=no --resolv-conf=off --timezone=off
