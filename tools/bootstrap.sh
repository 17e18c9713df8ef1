#!/bin/sh
# The virtual environment from requirements.txt, kept in the cache and linked as .venv.
# Quiet and quick when it is already there. PYTHON names the interpreter to use.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%4d s  %s\n' "$(($(date +%s) - started))" "$*" >&2; }
fail() {
    printf 'error: %s\n       %s\n' "$1" "$2" >&2
    exit 1
}
started=$(date +%s)

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer (tried: ${PYTHON:-python3})." \
        "Install one (Debian: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3.11"
}

# What the environment depends on: the pinned packages and the interpreter they are installed for.
environment_key() {
    "$python" - <<'PY'
import hashlib, pathlib, platform, sysconfig
content = pathlib.Path("requirements.txt").read_bytes()
tag = f"{platform.python_version()} {sysconfig.get_config_var('SOABI')}"
print(hashlib.sha256(content + tag.encode()).hexdigest()[:16])
PY
}

# Debian ships Python without what `python3 -m venv` needs.
need_venv_module() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    tools/system-packages.sh "$package" || true
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments." \
            "Install its venv module (Debian: apt-get install $package), then run it again."
}

# Runs its arguments with the output in $log; a line every ten seconds, and pip ends with us.
watched() {
    "$@" >"$log" 2>&1 &
    child=$!
    trap 'kill "$child" 2>/dev/null; wait "$child" || true; trap - INT; kill -INT $$' INT
    trap 'kill "$child" 2>/dev/null; exit 143' TERM HUP
    ticks=0
    while kill -0 "$child" 2>/dev/null; do
        sleep 1
        ticks=$((ticks + 1))
        if [ $((ticks % 10)) -eq 0 ]; then
            found=$(grep -c '^Collecting' "$log" || true)
            if [ "$found" -lt "$total" ]; then
                say "python environment: fetching, $found of $total packages"
            else
                say "python environment: unpacking"
            fi
        fi
    done
    status=0
    wait "$child" || status=$?
    trap - INT TERM HUP
    return "$status"
}

explain_failure() {
    tail -n 5 "$log" >&2
    if grep -qi 'no space left' "$log"; then
        fail "the disk is full: no room for the Python packages in $venv." \
            "Free about 2 GB, or set XDG_CACHE_HOME to a larger disk; then run it again."
    elif grep -qiE 'connection|resolve|timed out|no matching distribution' "$log"; then
        fail "the Python packages cannot be downloaded." \
            "Check this machine's connection, or point pip at a mirror (PIP_INDEX_URL); then run it again."
    elif grep -qi 'hash' "$log"; then
        fail "a Python package is not the one requirements.txt pins." \
            "Run it again; if it stays so, the package index serves other files than the locked ones."
    fi
    fail "the virtual environment cannot be made." "All that was said is in $log."
}

# Not relocatable, so it is made in place: a marker says that nothing was cut short.
ready() { [ -e "$venv/complete" ] && "$venv/bin/python" -c '' 2>/dev/null; }

build() {
    total=$(grep -c '^[^#]*==' requirements.txt)
    say "python environment: $total packages from requirements.txt (one to three minutes, once)"
    rm -rf "$venv"
    log=$venv.log
    watched "$python" -m venv "$venv" || explain_failure
    watched "$venv/bin/python" -m pip install --require-hashes --no-deps \
        --no-input --disable-pip-version-check --progress-bar off -r requirements.txt ||
        explain_failure
    rm -f "$log"
    touch "$venv/complete"
    say "python environment: ready"
}

python=$(find_python)
key=$(environment_key)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/clawdet/venv
venv=$cache/$key
if ! ready; then
    need_venv_module
    mkdir -p "$cache" || fail "cannot write to $cache." "Make it writable or set XDG_CACHE_HOME."
    exec 9>"$cache/.$key.lock"
    if ! flock -n 9; then
        say "python environment: another set-up is making it, waiting for that one"
        flock 9
    fi
    ready || build
fi
if [ "$(readlink .venv || true)" != "$venv" ]; then
    { ln -s "$venv" ".venv.$$" && mv -T ".venv.$$" .venv; } ||
        { rm -f ".venv.$$"; fail "cannot make the link .venv." "If .venv is a folder, remove it."; }
fi
