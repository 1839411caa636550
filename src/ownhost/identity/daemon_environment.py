"""The environment of an owner's processes that are not a shell's: what systemd gives a service with a User=.

Nothing of the environment that the server was started in is in it: that is root's.

Source: systemd.exec(5), "Environment Variables in Spawned Processes".
"""

from __future__ import annotations

import os
import pwd

PATH = "/usr/local/bin:/usr/bin:/bin"
LANG = "C.UTF-8"


def daemon_environment(uid: int | None = None) -> dict[str, str]:
    """PATH, LANG and HOME, and USER and LOGNAME where the uid (this process's own) has an account."""
    environment = {"PATH": PATH, "LANG": LANG, "HOME": "/"}
    try:
        account = pwd.getpwuid(os.geteuid() if uid is None else uid)
    except KeyError:
        return environment
    return environment | {"HOME": account.pw_dir or "/", "USER": account.pw_name, "LOGNAME": account.pw_name}
