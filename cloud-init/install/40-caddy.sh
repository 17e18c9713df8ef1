#!/usr/bin/env bash
# Caddy, unpacked beside other versions.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

read_parameters
version=$RELEASE_CADDY_VERSION
install_release caddy "$version" "$RELEASE_CADDY_URL" "$RELEASE_CADDY_CHECKSUM" 0 caddy version
link "caddy-$version" /opt/caddy
link /opt/caddy/caddy /usr/local/bin/caddy
