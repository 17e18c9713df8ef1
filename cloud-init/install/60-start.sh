#!/usr/bin/env bash
# Start what is installed, now and at every boot, and wait until it answers.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

READY_WITHIN_S=60

await_gateway() {
    local deadline=$((SECONDS + READY_WITHIN_S)) answer
    while ! answer=$(node "$HERE/check.mjs" gateway <<<"$PARAMETERS" 2>&1); do
        systemctl --quiet is-failed openclaw-gateway &&
            fail "the gateway gave up: $(last_words openclaw-gateway)"
        [ "$SECONDS" -lt "$deadline" ] ||
            fail "the gateway was not ready after $READY_WITHIN_S s: ${answer##*$'\n'};" \
                "$(last_words openclaw-gateway)"
        sleep 0.5
    done
    say "the gateway answers"
}

read_parameters
for service in caddy openclaw-gateway; do
    [ -f "/etc/systemd/system/$service.service" ] || fail "no $service: run 50-configure.sh first"
    systemctl --quiet is-enabled "$service" || systemctl --quiet enable "$service"
    if is_current "$service"; then
        say "$service already runs"
    else
        restart "$service"
        say "started $service"
    fi
    systemctl --quiet is-active "$service" || fail "$service stopped again: $(last_words "$service")"
done
await_gateway
