#!/usr/bin/env bash
# Node.js, unpacked beside other versions, with npm.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

read_parameters
version=$RELEASE_NODE_VERSION
install_release node "$version" "$RELEASE_NODE_URL" "$RELEASE_NODE_CHECKSUM" 1 bin/node --version
link "node-$version" /opt/node
for program in node npm npx; do
    link "/opt/node/bin/$program" "/usr/local/bin/$program"
done
