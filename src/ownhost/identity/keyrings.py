"""Session keyrings: the keys(7) that a process possesses because of the process that started it.

A session keyring is inherited by fork and execve, whatever happens to the uid, and a process may
read what it possesses. So a child of root's would have the keys of root's session, and all owners'
processes would share one keyring.

Sources: keyrings(7), session-keyring(7), keyctl(2).
"""

from __future__ import annotations

import errno

from ownhost.identity.system_calls import system_call

GET_KEYRING_ID, JOIN_SESSION_KEYRING, READ = 0, 1, 11  # keyctl(2): operations
SESSION = -3  # KEY_SPEC_SESSION_KEYRING
NO_KEYS = (errno.ENOSYS, errno.EPERM)  # a kernel without keys, a container's filter that refuses them: to all below us


def session_keyring() -> int:
    """The serial number of this process's session keyring; 0 if there are no keys here. Raises OSError."""
    try:
        return system_call("keyctl", GET_KEYRING_ID, SESSION, 0)
    except OSError as error:
        if error.errno in NO_KEYS:
            return 0
        raise


def join_new_session_keyring() -> None:
    """Replace the session keyring by a new, empty one. Raises OSError (EDQUOT: the user has too many keys)."""
    try:
        system_call("keyctl", JOIN_SESSION_KEYRING, None)
    except OSError as error:
        if error.errno not in NO_KEYS:
            raise


def read_keyring(serial: int) -> None:
    """Read a keyring. Raises OSError if this process may not."""
    system_call("keyctl", READ, serial, None, 0)
