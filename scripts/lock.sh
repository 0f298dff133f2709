#!/usr/bin/env bash
# Remakes the locks from requirements/*.in: one version a package for every Python from 3.11 on,
# with the hashes of all its files. No lock names an index.
#
# openvino-telemetry is left out: OpenVINO reports each import to its maker where it finds it, and
# works without. Nothing that this plugin does is reported to anybody.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

compile() { # compile SOURCE LOCK [constraints...]
    .build/dev/bin/uv pip compile --quiet --no-config --upgrade --universal \
        --python-version 3.11 --fork-strategy fewest --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-annotate \
        --no-emit-package openvino-telemetry \
        --custom-compile-command 'make lock' "$1" -o "$2" "${@:3}"
}

compile requirements/engine.in resources/requirements/engine.txt
compile requirements/optional.in resources/requirements/optional.txt \
    -c resources/requirements/engine.txt --no-emit-package=numpy
compile requirements/dev.in requirements/dev.txt -c resources/requirements/engine.txt
compile requirements/build.in resources/requirements/build.txt -c requirements/dev.txt
compile requirements/backends.in requirements/backends.txt \
    -c resources/requirements/engine.txt -c requirements/dev.txt
# Training is laid over the engine's environment: what the engine has is left out, name by name.
mapfile -t engine < <(grep -oE '^[a-z0-9._-]+==' resources/requirements/engine.txt | tr -d =)
compile requirements/training.in resources/requirements/training.txt \
    -c resources/requirements/engine.txt -c requirements/dev.txt \
    "${engine[@]/#/--no-emit-package=}"
compile requirements/qgis.in requirements/qgis.txt -c requirements/dev.txt

if grep -nE '^-|://|^openvino-telemetry' resources/requirements/*.txt requirements/*.txt; then
    echo 'lock: error: the lines above name an index or an option' >&2
    exit 1
fi
