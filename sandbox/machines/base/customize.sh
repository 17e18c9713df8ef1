#!/bin/sh
# Turns the fresh file tree $1 into the base image: what a provider's cloud image brings beyond
# Debian's packages. Run by mmdebstrap on the host, as root; anything that fails ends the build.
set -eu
root=$1
here=$(dirname "$0")

# Every server makes its own identity.
rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > "$root/etc/hosts"

cp "$here/cloud-init.cfg" "$root/etc/cloud/cloud.cfg.d/90-provider.cfg"

# The resolver that slirp4netns offers inside the machines' network.
rm -f "$root/etc/resolv.conf"
printf 'nameserver 10.0.2.3\n' > "$root/etc/resolv.conf"

# No getty on a console that nobody reads. Debian's daily apt runs keep their calendar, but don't
# catch up at the first boot, where they would fight an installation for dpkg's lock.
ln -sf /dev/null "$root/etc/systemd/system/console-getty.service"
for timer in apt-daily apt-daily-upgrade; do
    mkdir -p "$root/etc/systemd/system/$timer.timer.d"
    printf '[Timer]\nPersistent=false\n' > "$root/etc/systemd/system/$timer.timer.d/calendar.conf"
done

# What this host needs to reach package registries, its guests need too.
: > "$root/etc/environment"
for certificate in /usr/local/share/ca-certificates/*.crt; do
    [ -e "$certificate" ] || continue
    cp "$certificate" "$root/usr/local/share/ca-certificates/"
    extra=yes
done
if [ "${extra:-}" ]; then
    chroot "$root" update-ca-certificates > /dev/null
    bundle=/etc/ssl/certs/ca-certificates.crt
    printf '%s=%s\n' NODE_EXTRA_CA_CERTS $bundle REQUESTS_CA_BUNDLE $bundle PIP_CERT $bundle \
        >> "$root/etc/environment"
fi
for name in http_proxy https_proxy HTTP_PROXY HTTPS_PROXY; do
    value=$(printenv "$name" || true)
    [ -n "$value" ] || continue
    printf '%s=%s\n' "$name" "$value" >> "$root/etc/environment"
    proxy=yes
done
if [ "${proxy:-}" ]; then
    printf '%s=localhost,127.0.0.1,10.77.0.1%s\n' no_proxy "${no_proxy:+,$no_proxy}" \
        NO_PROXY "${NO_PROXY:+,$NO_PROXY}" >> "$root/etc/environment"
fi

rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/*.log
