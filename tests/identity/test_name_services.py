"""Which libraries look names up."""

from __future__ import annotations

from ownhost.identity import name_services


def test_services_of_what_is_looked_up() -> None:
    text = (
        "# hosts: nothing\n"
        "passwd:         files systemd sss # the last one is a comment: ldap\n"
        "group: compat [SUCCESS=merge] systemd\n"
        "shadow: files secret\n"
        "  hosts : files mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns\n"
        "netgroup: nis"
    )
    wanted = ["files", "systemd", "sss", "compat", "mdns4_minimal", "resolve", "dns"]
    assert name_services.services(text) == wanted


def test_no_services() -> None:
    assert name_services.services("") == []
    assert name_services.services("hosts\nhosts:\n") == []
