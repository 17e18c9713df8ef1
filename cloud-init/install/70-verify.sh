#!/usr/bin/env bash
# Does everything on this machine do what it should? A line for each check; changes nothing.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

check_services() {
    local service
    for service in openclaw-gateway caddy; do
        systemctl --quiet is-active "$service" || fail "$service is not running: $(last_words "$service")"
        systemctl --quiet is-enabled "$service" || fail "$service would not come back after a reboot"
        is_current "$service" || fail "$service runs from an older configuration: run 60-start.sh"
        say "ok  $service is running, and will be after a reboot"
    done
}

# The gateway's port is open to this machine only.
check_loopback() {
    local exposed
    exposed=$(ss --no-header --listening --tcp --numeric 'sport = :18789' |
        awk '{print $4}' | grep -v -e '^127\.0\.0\.1:' -e '^\[::1\]:' || true)
    [ -z "$exposed" ] || fail "the gateway listens on $exposed, open to the world"
    say "ok  the gateway listens on loopback only"
}

check_secrets() {
    local expected
    for expected in "/etc/clawdet/gateway.env 600 root:root" "/etc/caddy/origin.key 640 root:caddy"; do
        [ "$(stat -c '%n %a %U:%G' "${expected%% *}")" = "$expected" ] ||
            fail "${expected%% *} must be mode and owner ${expected#* }"
    done
    say "ok  secrets are readable by their services only"
}

read_parameters
check_services
check_loopback
check_secrets
node "$HERE/check.mjs" gateway refusal api site <<<"$PARAMETERS" || exit "$TOLD"
