"""What an owner's processes find in their environment."""

from __future__ import annotations

import pwd

from ownhost.identity.daemon_environment import LANG, PATH, daemon_environment


def test_who_has_an_account_is_told_of_it() -> None:
    games = pwd.getpwnam("games")
    assert daemon_environment(games.pw_uid) == {
        "PATH": PATH,
        "LANG": LANG,
        "HOME": games.pw_dir,
        "USER": "games",
        "LOGNAME": "games",
    }


def test_a_number_alone_has_a_home_and_no_name() -> None:
    assert daemon_environment(3_999_999_999) == {"PATH": PATH, "LANG": LANG, "HOME": "/"}
