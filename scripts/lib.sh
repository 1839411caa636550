# Shared by the scripts here. Source it: it changes to the checkout and stops at the first error.

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
    mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
    [[ -z ${packages[*]} ]] || apt_install "${packages[@]}"
}

APT=(env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)

# Install Debian packages; none of them may start a service while this runs.
apt_install() (
    command -v apt-get >/dev/null || fail "please install these first, there is no apt-get here: $*."
    local log policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    log=$(mktemp)
    apt_update "$log"
    echo "Installing Debian's $*$(apt_size "$@") ..." >&2
    "${APT[@]}" install -y --no-install-recommends "$@" >"$log" 2>&1 || apt_failed "could not install $*" "$log"
    rm -f "$log"
)

# apt-get waits for another apt's lock on packages, but not for one on their lists.
apt_update() {
    local deadline=$((SECONDS + 300)) told=
    until "${APT[@]}" update >"$1" 2>&1; do
        grep -q "^E: Could not get lock" "$1" && ((SECONDS < deadline)) || apt_failed "could not read the lists of packages" "$1"
        [[ $told ]] || echo "Another apt is running: waiting for it, for 5 minutes at most ..." >&2
        told=yes
        sleep 1
    done
}

# What packages take: " (52.1 MB to download, 198 MB of disk: a minute or two)"; nothing where apt does not say it.
apt_size() {
    local said download disk time="some seconds"
    said=$("${APT[@]}" install -o Debug::NoLocking=1 --assume-no --no-install-recommends "$@" 2>/dev/null) || true
    download=$(sed -nE 's/^Need to get ([^/]*\/)?(.*) of archives\.$/\2/p' <<<"$said")
    disk=$(sed -nE 's/^After this operation, (.*) of additional disk space will be used\.$/\1/p' <<<"$said")
    [[ $download != *" MB" ]] || time="a minute or two"
    [[ -z $download ]] || echo " ($download to download, ${disk:-0 B} of disk: $time)"
}

# apt_failed WHAT LOG: one sentence, with the first error of apt-get's.
apt_failed() {
    fail "apt-get $1: $(sed -n 's/^[EW]: //p' "$2" | head -n 1) (its whole output is in $2)"
}

# Whether a Python is new enough, and usable by all users: programs of a site's owner must be able to load its modules.
usable() {
    local -a as_nobody=()
    [[ $(id -u) != 0 ]] || as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups env)  # env: setpriv may still start anything
    (cd / && "${as_nobody[@]}" "$1" -c 'import encodings.idna, sys; sys.exit(sys.version_info < (3, 11))') 2>/dev/null
}

# The first Python that is usable.
find_python() {
    local candidate path
    # The system's first: owners' programs run on it, and cannot reach one below /root.
    for candidate in /usr/bin/python3.11 /usr/bin/python3 python3.11 python3 python3.12 python3.13; do
        path=$(command -v "$candidate") && usable "$path" && echo "$path" && return
    done
    [[ $(id -u) == 0 ]] || fail "Python 3.11 or newer is needed and was not found (on Debian: apt-get install python3)."
    apt_install python3 python3-venv
    usable /usr/bin/python3 || fail "Python 3.11 or newer is needed; /usr/bin/python3 is older."
    echo /usr/bin/python3
}

# Run a command as the checkout's owner: files that root makes there would be in the owner's way.
as_owner() {
    if [[ $(id -u) != 0 || -O . ]]; then
        "$@"
    else
        local uid gid home
        read -r uid gid <<<"$(stat -c '%u %g' .)"
        home=$(getent passwd "$uid" | cut -d: -f6) || home=
        setpriv --reuid="$uid" --regid="$gid" --clear-groups env HOME="${home:-/nonexistent}" "$@"
    fi
}

# make_venv DIR [COMMAND...]: a virtual environment; the command (as_owner) makes it.
make_venv() {
    local python folder=$1
    shift
    python=$(find_python)
    echo "Making $folder with $python ..." >&2
    rm -rf "$folder"
    "$@" "$python" -m venv "$folder" >/dev/null 2>&1 && return
    rm -rf "$folder"
    [[ $(id -u) == 0 ]] || fail "'$python -m venv' does not work (on Debian: apt-get install python3-venv)."
    apt_install python3-venv
    [[ ! -x /usr/bin/python3 ]] || python=/usr/bin/python3
    "$@" "$python" -m venv "$folder" || fail "'$python -m venv' does not work."
}

# venv EXTRAS: .venv has this checkout and what it needs; EXTRAS is "run" or "dev". Quick when nothing changed.
venv() {
    local wanted
    wanted=$({ pwd && cat pyproject.toml; } | sha256sum)
    [[ -x .venv/bin/python ]] && .venv/bin/python -c '' 2>/dev/null || make_venv .venv as_owner
    if [[ $(cat ".venv/installed-$1" 2>/dev/null) != "$wanted" ]]; then
        echo "Installing Ownhost and what it needs into .venv ..." >&2
        local target=.
        [[ $1 == run ]] || target=".[$1]"
        as_owner .venv/bin/python -m pip install --quiet --disable-pip-version-check -e "$target" ||
            fail "pip could not install what Ownhost needs; its message is above."
        echo "$wanted" | as_owner tee .venv/installed-run ".venv/installed-$1" >/dev/null
    fi
    # With its modules compiled, a server starts in half of the time.
    [[ ! -O . && $(id -u) != 0 ]] || as_owner .venv/bin/python -m compileall -q src demo bench
    [[ -O . ]] || export PYTHONDONTWRITEBYTECODE=1  # root leaves nothing in another user's checkout
}
