#!/bin/sh
# system-packages.sh PACKAGE...: installs the Debian packages that are missing when root, else
# names them. Exit code 0 if all are there in the end. Quiet when they already are.
set -u

missing=
for package in "$@"; do
    if ! dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
        missing="$missing $package"
    fi
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    printf 'missing packages:%s\n       As root: apt-get install%s\n' "$missing" "$missing" >&2
    exit 1
fi

install() {
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y -o DPkg::Lock::Timeout=120 --no-install-recommends $missing </dev/null
}

log=$(mktemp)
# PostgreSQL's package would make a server of its own and start it; nobody asked for that.
no_cluster=/etc/postgresql-common/createcluster.d/clawdet.conf
case "$missing " in *" postgresql "*)
    mkdir -p "${no_cluster%/*}" && echo 'create_main_cluster = false' >"$no_cluster" ;;
esac
trap 'rm -f "$log" "$no_cluster"' EXIT
trap 'exit 130' INT
printf 'installing with apt-get:%s\n' "$missing" >&2
# Fresh package lists only if the ones at hand won't do.
if ! install >"$log" 2>&1; then
    { apt-get update -q && install; } >"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        printf 'error: apt-get could not install:%s\n       Install them by hand, then run it again.\n' "$missing" >&2
        exit 1
    }
fi
