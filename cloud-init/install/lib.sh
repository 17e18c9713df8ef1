# shellcheck shell=bash
# What the install steps share; sourced by each, run by none.
#
# A step is run as root with one JSON document on its standard input (see parameters.py), may be run
# any number of times, prints a line for each thing it did, and ends with a non-zero status and one
# clear line on standard error when it can't do its work. Values from the document are shell
# variables and never exported or put on a command line when they are secret.

umask 022
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
set -E  # the ERR trap holds in functions and subshells too

STEP=$(basename "$0" .sh)
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
STATE=/var/lib/clawdet  # what we must remember between runs
readonly STEP HERE STATE
readonly TOLD=70        # exit status of a failure that has had its line already

say() { printf '%s\n' "$*"; }

fail() {
    printf '%s: %s\n' "$STEP" "$*" >&2
    exit "$TOLD"
}

on_error() {  # STATUS LINE COMMAND
    [ "$1" = "$TOLD" ] || printf '%s: line %s failed with status %s: %s\n' "$STEP" "$2" "$1" "$3" >&2
    exit "$TOLD"
}
trap 'on_error $? $LINENO "$BASH_COMMAND"' ERR

scratch=""  # a directory that goes when the step ends
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT

# Read the document into PARAMETERS and its values into the variables that parameters.py names.
# One step at a time: a step whose connection was cut goes on running.
read_parameters() {
    [ "$(id -u)" = 0 ] || fail "must be run as root"
    exec 9>/run/clawdet-install.lock
    flock --wait 60 9 || fail "another install step is still at work here; try again in a few minutes"
    PARAMETERS=$(timeout --foreground 30 cat) || fail "no parameters on standard input within 30 s"
    local assignments
    assignments=$(python3 "$HERE/parameters.py" <<<"$PARAMETERS" 2>&1) || fail "$assignments"
    eval "$assignments"
}

# Make `scratch` an empty directory beside what will be /opt/NAME, so that a rename is atomic. One
# that a killed run left is removed first.
make_scratch() {  # NAME
    rm -rf "/opt/.$1".??????
    scratch=$(mktemp -d "/opt/.$1.XXXXXX")
}

# Put a file in place atomically unless it is there with the same content, owner and mode.
put() {  # SOURCE TARGET MODE OWNER:GROUP
    local source=$1 target=$2 mode=$3 owner=$4
    if cmp -s "$source" "$target" && [ "$(stat -c '%a %U:%G' "$target")" = "$mode $owner" ]; then
        return
    fi
    rm -f "$target.new"
    install -m "$mode" -o "${owner%:*}" -g "${owner#*:}" "$source" "$target.new"
    mv -f "$target.new" "$target"
    say "wrote $target"
}

# Make LINK point to TARGET in one step, so that nothing ever finds it missing.
link() {  # TARGET LINK
    [ "$(readlink "$2" || true)" != "$1" ] || return 0
    ln -sfn "$1" "$2.new"
    mv -fT "$2.new" "$2"
    say "linked $2 to $1"
}

# Download URL into FILE and check it; CHECKSUM is "sha256:…" or "sha512:…".
download() {  # URL CHECKSUM FILE
    local url=$1 algorithm=${2%%:*} expected=${2#*:} file=$3 trouble found
    trouble=$(curl --fail --silent --show-error --location --retry 3 --connect-timeout 15 \
        --max-time 300 --output "$file" "$url" 2>&1) ||
        fail "could not download $url: ${trouble##*$'\n'}"
    found=$("${algorithm}sum" "$file" | cut -d ' ' -f 1)
    [ "$found" = "$expected" ] ||
        fail "$url has the wrong $algorithm checksum: expected $expected, got $found; nothing was installed"
}

# Unpack a release tarball as /opt/NAME-VERSION; other versions stay beside it. STRIP: how many
# leading directories the tarball has. What is in it must say "vVERSION" when it is run with ARGUMENT.
install_release() {  # NAME VERSION URL CHECKSUM STRIP PROGRAM ARGUMENT
    local name=$1 version=$2 url=$3 checksum=$4 strip=$5 program=$6 argument=$7
    local target=/opt/$name-$version trouble found
    if [ "$(cat "$target/.checksum" 2>/dev/null || true)" = "$checksum" ]; then
        say "$name $version is already installed"
        return
    fi
    make_scratch "$name-$version"
    download "$url" "$checksum" "$scratch/archive"
    mkdir "$scratch/tree"
    trouble=$(tar -xzf "$scratch/archive" -C "$scratch/tree" --strip-components "$strip" \
        --no-same-owner 2>&1) || fail "could not unpack $url: ${trouble##*$'\n'}"
    found=$("$scratch/tree/$program" "$argument" 2>&1) ||
        fail "$name from $url does not run: ${found##*$'\n'}"
    [ "${found%% *}" = "v$version" ] ||
        fail "$url was to be $name $version, but calls itself ${found%% *}; nothing was installed"
    printf '%s\n' "$checksum" >"$scratch/tree/.checksum"
    rm -rf "$target"
    mv "$scratch/tree" "$target"
    say "installed $name $version"
}

# What a service runs from: when this changes, it needs a restart.
service_inputs() {  # SERVICE
    case $1 in
        openclaw-gateway)
            cat /etc/systemd/system/openclaw-gateway.service /etc/clawdet/gateway.env \
                /var/lib/openclaw/managed.json
            readlink -f /opt/openclaw /opt/node
            ;;
        caddy)
            cat /etc/systemd/system/caddy.service /etc/caddy/Caddyfile /etc/caddy/origin.pem \
                /etc/caddy/origin.key
            cat /opt/caddy/.checksum
            ;;
    esac | sha256sum | cut -d ' ' -f 1
}

# Restart a service and remember what it was started from.
restart() {  # SERVICE
    local service=$1 inputs trouble
    inputs=$(service_inputs "$service")
    trouble=$(timeout --foreground 60 systemctl restart "$service" 2>&1) ||
        fail "$service does not start: $(last_words "$service" "$trouble")"
    mkdir -p "$STATE/applied"
    printf '%s\n' "$inputs" >"$STATE/applied/$service"
}

is_current() {  # SERVICE: it runs, and from what is on disk now
    systemctl --quiet is-active "$1" &&
        [ "$(service_inputs "$1")" = "$(cat "$STATE/applied/$1" 2>/dev/null || true)" ]
}

# The last line of a service's log, or what systemctl said.
last_words() {  # SERVICE DEFAULT
    local line
    line=$(journalctl --unit "$1" --lines 1 --output cat --no-pager 2>/dev/null || true)
    printf '%s (journalctl -u %s says more)' "${line:-$2}" "$1"
}
