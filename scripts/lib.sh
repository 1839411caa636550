# What the scripts here share. Source it: it moves to the checkout and stops at the first error.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

need_root() {
    [[ $(id -u) == 0 ]] || fail "this needs root, to become each site's owner: run 'sudo ./scripts/$(basename "$0")'."
}

# Install the Debian packages that provide missing commands: apt_need COMMAND PACKAGE [COMMAND PACKAGE]...
# A command may be the path of any file.
apt_need() {
    local packages=()
    while (($#)); do
        command -v "$1" >/dev/null || [[ -e $1 ]] || packages+=("$2")
        shift 2
    done
    ((${#packages[@]} == 0)) || apt_install "${packages[@]}"
}

# Install Debian packages; none of them may start a service while this runs.
apt_install() (
    command -v apt-get >/dev/null || fail "please install these first, there is no apt-get here: $*."
    echo "Installing Debian's $* ..." >&2
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    local log
    log=$(mktemp)
    {
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
    } >"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        fail "apt-get could not install $*; all it said is in $log."
    }
    rm -f "$log"
)

# Whether a Python is new enough, and everybody's: what a site's owner runs must be able to load its modules.
usable() {
    local -a as_nobody=()
    [[ $(id -u) != 0 ]] || as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    (cd / && "${as_nobody[@]}" "$1" -c 'import encodings.idna, sys; sys.exit(sys.version_info < (3, 11))') 2>/dev/null
}

# The first Python that is usable.
find_python() {
    local candidate path
    # The system's first: owners' programs run on it, and one below /root they could not reach.
    for candidate in /usr/bin/python3.11 /usr/bin/python3 python3.11 python3 python3.12 python3.13; do
        path=$(command -v "$candidate") && usable "$path" && echo "$path" && return
    done
    [[ $(id -u) == 0 ]] || fail "Python 3.11 or newer is needed and was not found (on Debian: apt-get install python3)."
    apt_install python3 python3-venv
    usable /usr/bin/python3 || fail "Python 3.11 or newer is needed; /usr/bin/python3 is older."
    echo /usr/bin/python3
}

make_venv() {
    local python
    python=$(find_python)
    echo "Making .venv with $python ..." >&2
    rm -rf .venv
    "$python" -m venv .venv >/dev/null 2>&1 && return
    rm -rf .venv
    [[ $(id -u) == 0 ]] || fail "'$python -m venv' does not work (on Debian: apt-get install python3-venv)."
    apt_install python3-venv
    [[ ! -x /usr/bin/python3 ]] || python=/usr/bin/python3
    "$python" -m venv .venv || fail "'$python -m venv' does not work."
}

# venv EXTRAS: .venv has this checkout and what it needs; EXTRAS is "run" or "dev". Quick when nothing changed.
venv() {
    local wanted
    wanted=$({ pwd && cat pyproject.toml; } | sha256sum)
    [[ -x .venv/bin/python ]] && .venv/bin/python -c '' 2>/dev/null || make_venv
    [[ $(cat ".venv/installed-$1" 2>/dev/null) != "$wanted" ]] || return 0
    echo "Installing Ownhost and what it needs into .venv ..." >&2
    local target=.
    [[ $1 == run ]] || target=".[$1]"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore -e "$target" ||
        fail "pip could not install what Ownhost needs; its message is above."
    echo "$wanted" | tee ".venv/installed-$1" >.venv/installed-run
    # Made by root in someone's checkout: leave it theirs.
    [[ $(id -u) != 0 ]] || chown -R --reference=. .venv src/*.egg-info
}
