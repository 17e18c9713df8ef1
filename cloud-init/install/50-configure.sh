#!/usr/bin/env bash
# Everything that makes this machine one customer's: secrets, certificate, sites, units. What was
# running from something that changed is restarted.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

check_certificate() {
    local certificate key
    certificate=$(openssl x509 -noout -pubkey -in "$scratch/origin.pem" 2>/dev/null) ||
        fail "origin_certificate is not a certificate"
    key=$(openssl pkey -pubout -in "$scratch/origin.key" 2>/dev/null) ||
        fail "origin_key is not a private key"
    [ "$certificate" = "$key" ] || fail "origin_key is not the key of origin_certificate"
    openssl x509 -noout -checkhost "$HOSTNAME" -in "$scratch/origin.pem" | grep -q 'does match' ||
        fail "origin_certificate is not for $HOSTNAME"
    openssl x509 -noout -checkend 0 -in "$scratch/origin.pem" >/dev/null ||
        fail "origin_certificate has expired"
}

configure_caddy() {
    local trouble
    put "$scratch/origin.pem" /etc/caddy/origin.pem 644 root:root
    put "$scratch/origin.key" /etc/caddy/origin.key 640 root:caddy
    trouble=$(HOME=$scratch XDG_DATA_HOME=$scratch XDG_CONFIG_HOME=$scratch \
        /opt/caddy/caddy validate --config "$scratch/Caddyfile" --adapter caddyfile 2>&1) ||
        fail "Caddy refuses its configuration: ${trouble##*$'\n'}"
    put "$scratch/Caddyfile" /etc/caddy/Caddyfile 644 root:root
    local file
    for file in "$scratch"/www/*; do
        put "$file" "/var/www/html/${file##*/}" 644 root:root
    done
}

configure_gateway() {
    put "$scratch/gateway.env" /etc/clawdet/gateway.env 600 root:root
    install -d -m 700 -o openclaw -g openclaw /var/lib/openclaw /var/cache/openclaw
    # As the gateway's own user: these files are in its hands, and root must not follow its links.
    # The gateway's own TMPDIR: checking the configuration leaves its compile cache warm.
    local trouble
    trouble=$(cd / && timeout --foreground 120 runuser -u openclaw -- env HOME=/var/lib/openclaw \
        TMPDIR=/var/cache/openclaw python3 "$HERE/configure_openclaw.py" \
        /opt/openclaw/node_modules/.bin/openclaw 2>&1 <"$scratch/openclaw.json") ||
        fail "OpenClaw's configuration: ${trouble##*$'\n'}"
    [ -z "$trouble" ] || say "$trouble"
}

install_units() {
    local unit
    for unit in openclaw-gateway caddy; do
        put "$HERE/units/$unit.service" "/etc/systemd/system/$unit.service" 644 root:root
    done
    # Also after a run that was killed between writing a unit and this line.
    systemctl daemon-reload
}

restart_changed() {
    local service
    for service in openclaw-gateway caddy; do
        if systemctl --quiet is-active "$service" && ! is_current "$service"; then
            restart "$service"
            say "restarted $service"
        fi
    done
}

read_parameters
[ -x /opt/openclaw/node_modules/.bin/openclaw ] || fail "OpenClaw is missing: run 30-openclaw.sh first"
[ -x /opt/caddy/caddy ] || fail "Caddy is missing: run 40-caddy.sh first"
rm -rf /run/clawdet-configure.??????
scratch=$(mktemp -d /run/clawdet-configure.XXXXXX)  # in memory: it holds secrets
python3 -B "$HERE/render.py" "$scratch" <<<"$PARAMETERS"
check_certificate
configure_gateway
configure_caddy
install_units
restart_changed
say "configured for $SLUG"
