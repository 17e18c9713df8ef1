#!/usr/bin/env bash
# OpenClaw, as the lock file of its release has it, beside other versions.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# A directory named by version and lock file, so that a new lock file is a new installation.
target_directory() {
    local digest
    digest=$(sha256sum "$PACKAGE/package-lock.json" | cut -c 1-8)
    printf '/opt/openclaw-%s+%s' "$RELEASE_OPENCLAW_VERSION" "$digest"
}

check_package() {
    [ -f "$PACKAGE/package-lock.json" ] ||
        fail "release $RELEASE_RELEASE has no lock file: install/openclaw/$RELEASE_OPENCLAW_PACKAGE" \
            "is not among the install files"
    local locked
    locked=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["dependencies"]["openclaw"])' \
        <"$PACKAGE/package.json")
    [ "$locked" = "$RELEASE_OPENCLAW_VERSION" ] ||
        fail "release $RELEASE_RELEASE wants OpenClaw $RELEASE_OPENCLAW_VERSION, but" \
            "install/openclaw/$RELEASE_OPENCLAW_PACKAGE holds $locked"
}

# What went wrong, in a person's words, from npm's log.
explain() {  # LOG
    local version=$RELEASE_OPENCLAW_VERSION code
    code=$(sed -n 's/^npm error code //p' "$1" | head -n 1)
    case $code in
        ETARGET | E404) printf 'the npm registry lacks a package of OpenClaw %s: ' "$version" ;;
        ENOSPC) printf 'the disk is full: ' ;;
        EINTEGRITY) printf 'a package is not the one in the lock file: ' ;;
        ENOTFOUND | EAI_AGAIN | ETIMEDOUT | ECONNREFUSED | ECONNRESET)
            printf 'the npm registry does not answer: ' ;;
    esac
    grep '^npm error' "$1" | grep -v '^npm error \(code\|A complete log\)' | head -n 1 | cut -c 1-300
}

install_openclaw() {  # TARGET
    local target=$1 status=0
    make_scratch "${target##*/}"
    mkdir "$scratch/tree"
    cp "$PACKAGE/package.json" "$PACKAGE/package-lock.json" "$scratch/tree/"
    # No package's own scripts: none is needed, and they would run as root. Node.js trusts the
    # machine's certificate authorities beside its own list.
    HOME=$scratch NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
        timeout --foreground -k 5 420 npm ci --prefix "$scratch/tree" --cache "$scratch/cache" \
        --omit=peer --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error \
        --fetch-timeout=60000 --fetch-retries=2 >"$scratch/log" 2>&1 || status=$?
    [ "$status" != 124 ] || fail "npm was not done with OpenClaw after 420 s"
    [ "$status" = 0 ] || fail "could not install OpenClaw: $(explain "$scratch/log")"
    mv "$scratch/tree" "$target"
    say "installed OpenClaw $RELEASE_OPENCLAW_VERSION"
}

read_parameters
PACKAGE=$HERE/openclaw/$RELEASE_OPENCLAW_PACKAGE
check_package
target=$(target_directory)
if [ -d "$target" ]; then
    say "OpenClaw $RELEASE_OPENCLAW_VERSION is already installed"
else
    install_openclaw "$target"
fi
link "${target##*/}" /opt/openclaw
link /opt/openclaw/node_modules/.bin/openclaw /usr/local/bin/openclaw
