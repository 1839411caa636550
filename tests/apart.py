"""Commands with mounts of their own, in a chroot, too."""

from __future__ import annotations

# unshare(1) itself cannot make a root private that is no mount point, as in a chroot: whoever made that has seen to it.
_PRIVATE = 'mount --make-rprivate / 2>/dev/null || :; exec "$@"'


def apart(*options: str) -> list[str]:
    """What to put before a command, for its mounts to be its own; more options of unshare(1)."""
    return ["unshare", "--mount", "--propagation", "unchanged", *options, "sh", "-c", _PRIVATE, "sh"]
