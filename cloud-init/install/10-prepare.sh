#!/usr/bin/env bash
# The machine itself: first boot finished, packages, users, swap, security updates, firewall.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

SWAP_FILE=/swapfile
SWAP_MIB=2048

check_system() {
    [ "$(uname -m)" = x86_64 ] || fail "this is a $(uname -m) machine; the release is for x86_64"
    [ -d /run/systemd/system ] || fail "systemd does not run this machine"
    # shellcheck disable=SC1091
    case $(. /etc/os-release && printf '%s' "$ID") in
        ubuntu | debian) ;;
        *) fail "neither Ubuntu nor Debian" ;;
    esac
}

# Its first-boot work holds apt's lock and changes what we are about to look at.
await_cloud_init() {
    command -v cloud-init >/dev/null || return 0
    local status=0
    timeout --foreground 180 cloud-init status --wait >/dev/null 2>&1 || status=$?
    case $status in
        0 | 2) say "first boot is finished" ;;  # 2: finished, with warnings
        124) fail "cloud-init was not done after 180 s (see /var/log/cloud-init.log)" ;;
        *) say "cloud-init reports errors (see /var/log/cloud-init.log); going on" ;;
    esac
}

apt_get() {
    local trouble
    trouble=$(DEBIAN_FRONTEND=noninteractive timeout --foreground 240 apt-get --quiet --quiet --yes \
        -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 -o Acquire::http::Timeout=30 "$@" 2>&1) ||
        fail "apt-get $1 failed: $(tail -n 1 <<<"$trouble")"
}

install_packages() {
    local package missing=()
    for package in ca-certificates curl openssl ufw; do
        dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null |
            grep -q 'install ok installed' || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || { say "packages are there"; return 0; }
    apt_get update
    apt_get install --no-install-recommends "${missing[@]}"
    say "installed ${missing[*]}"
}

add_user() {  # NAME HOME
    if ! id "$1" >/dev/null 2>&1; then
        useradd --system --user-group --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"
        say "added user $1"
    fi
}

# OpenClaw needs more than a small server's memory now and then.
add_swap() {
    if [ -n "$(swapon --noheadings --show=NAME)" ]; then
        say "swap is there"
    elif systemd-detect-virt --quiet --container; then
        say "no swap: this machine is a container, and swap belongs to its host's kernel"
    else
        rm -f "$SWAP_FILE"
        fallocate --length "${SWAP_MIB}MiB" "$SWAP_FILE" || fail "no room for $SWAP_MIB MiB of swap"
        chmod 600 "$SWAP_FILE"
        mkswap "$SWAP_FILE" >/dev/null
        swapon "$SWAP_FILE"
        grep -q "^$SWAP_FILE " /etc/fstab || printf '%s none swap sw 0 0\n' "$SWAP_FILE" >>/etc/fstab
        say "added $SWAP_MIB MiB of swap"
    fi
}

enable_security_updates() {
    if [ ! -x /usr/bin/unattended-upgrade ]; then
        say "no unattended upgrades: the package is not on this machine"
        return
    fi
    put "$HERE/20auto-upgrades" /etc/apt/apt.conf.d/20auto-upgrades 644 root:root
    say "security updates install themselves"
}

raise_firewall() {
    local port status
    status=$(LC_ALL=C ufw status)
    for port in 22 80 443; do
        grep -q "^$port/tcp  *ALLOW" <<<"$status" || ufw allow "$port/tcp" >/dev/null
    done
    grep -q '^Status: active' <<<"$status" || ufw --force enable >/dev/null
    say "firewall is up: 22, 80 and 443 are open"
}

read_parameters
check_system
await_cloud_init
install_packages
add_user openclaw /var/lib/openclaw
add_user caddy /var/lib/caddy
install -d -m 755 "$STATE" /etc/clawdet /etc/caddy /var/www/html
add_swap
enable_security_updates
raise_firewall
