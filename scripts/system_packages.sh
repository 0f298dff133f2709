#!/usr/bin/env bash
# Finds QGIS, a Python with PyQGIS and a Python for the engine; installs with apt-get what is
# missing. Writes what it found to .build/system.env, and does nothing while that holds true.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/.build
bin=${UNET_SEGMENTER_SYSTEM_BIN:-/usr/bin} # tests name a folder of their own
found=$build/system.env
minimum='(3, 11)'
mkdir -p "$build"

export QT_QPA_PLATFORM=offscreen
export QGIS_CUSTOM_CONFIG_PATH=$build/profile # never the user's own profile

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    printf 'setup: error: %s\n' "$*" >&2
    exit 1
}

# Size and age of a program, to notice that it was upgraded or removed.
fingerprint() { stat -L -c '%n %s %Y' "$@" 2>/dev/null || true; }

all_named() { # every program called NAME on PATH, and Debian's, each once
    { type -aP "$1" || true; echo "$bin/$1"; } | awk '!seen[$0]++'
}

find_qgis_process() {
    # Debian 12's wrapper passes an option that qgis_process does not know, so try each.
    local name program
    for name in qgis_process qgis_process.bin; do
        for program in $(all_named "$name") "/Applications/QGIS.app/Contents/MacOS/bin/$name"; do
            if [ -x "$program" ] && "$program" --version </dev/null >/dev/null 2>&1; then
                echo "$program"
                return
            fi
        done
    done
}

find_python() { # prints the first python3 that runs the given line
    local name program
    for program in "$bin/python3" $(for name in python3 python3.13 python3.12 python3.11; do all_named $name; done); do
        if [ -x "$program" ] && "$program" -c "$1" </dev/null >/dev/null 2>&1; then
            echo "$program"
            return
        fi
    done
}

look() {
    qgis_process=$(find_qgis_process)
    qgis_python=$(find_python 'import qgis.core, venv, ensurepip')
    base_python=$(find_python "import sys, venv, ensurepip; assert sys.version_info[:2] >= $minimum")
    missing=()
    [ -n "$qgis_process" ] || missing+=(qgis qgis-providers)
    [ -n "$(find_python 'import qgis.core')" ] || missing+=(python3-qgis)
    [ -n "$qgis_python" ] && [ -n "$base_python" ] || missing+=(python3 python3-venv)
}

install() {
    local sudo=() list=$*
    if ! command -v apt-get >/dev/null; then
        fail "these packages are missing, and there is no apt-get here: $list." \
            "Install QGIS 3.22 or newer with PyQGIS, and Python 3.11 or newer with venv, then run make again."
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null || ! { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
            fail "these packages are missing, and installing needs root: $list." \
                "Run as root: apt-get update && apt-get install -y --no-install-recommends $list"
        fi
        sudo=(sudo)
    fi
    say "installing $list"
    "${sudo[@]}" apt-get -q update >&2 ||
        fail "apt-get update failed, so these packages are missing: $list. Is there a network?"
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends "$@" </dev/null >&2 ||
        fail "apt-get could not install: $list. Its own message is above."
}

if [ -f "$found" ]; then
    # shellcheck disable=SC1090
    . "$found"
    if [ "$FINGERPRINT" = "$(fingerprint "$QGIS_PROCESS" "$QGIS_PYTHON" "$BASE_PYTHON")" ]; then
        exit 0
    fi
fi

look
if [ ${#missing[@]} -gt 0 ]; then
    install "${missing[@]}"
    look
    [ ${#missing[@]} -eq 0 ] ||
        fail "still missing after apt-get: ${missing[*]}. QGIS 3.22 and Python 3.11 or newer are needed (Debian 12 or newer)."
fi

{
    printf 'QGIS_PROCESS=%q\n' "$qgis_process"
    printf 'QGIS_PYTHON=%q\n' "$qgis_python"
    printf 'BASE_PYTHON=%q\n' "$base_python"
    printf 'FINGERPRINT=%q\n' "$(fingerprint "$qgis_process" "$qgis_python" "$base_python")"
} >"$found.partial"
mv "$found.partial" "$found"
say "QGIS: $qgis_process; PyQGIS: $qgis_python; the engine's Python: $base_python"
