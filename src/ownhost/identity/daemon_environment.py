"""The environment of an owner's long-running processes: what systemd gives a service with a User=.

It contains nothing from the environment in which the server was started: that is root's.

Source: systemd.exec(5), "Environment Variables in Spawned Processes".
"""

from __future__ import annotations

import os
import pwd

PATH = "/usr/local/bin:/usr/bin:/bin"
LANG = "C.UTF-8"


def daemon_environment(uid: int | None = None) -> dict[str, str]:
    """PATH, LANG and HOME, and USER and LOGNAME if the uid (this process's own) has an account."""
    environment = {"PATH": PATH, "LANG": LANG, "HOME": "/"}
    try:
        account = pwd.getpwuid(os.geteuid() if uid is None else uid)
    except KeyError:
        return environment
    return environment | {"HOME": account.pw_dir or "/", "USER": account.pw_name, "LOGNAME": account.pw_name}
