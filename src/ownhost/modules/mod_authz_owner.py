"""mod_authz_owner: the rule that files are for their owners: Require file-owner."""

from __future__ import annotations

from ownhost.config.arguments import words
from ownhost.config.words import Word
from ownhost.modules.mod_authz_core import PROVIDERS, Provider, Verdict
from ownhost.modules.mod_authz_user import known_user, seen_user
from ownhost.request.module import Module, register
from ownhost.request.request import Level, Request
from ownhost.request.variables import owner


def _check_owner(request: Request, _: object) -> Verdict:
    user = known_user(request)
    if user is None:
        return Verdict.NEEDS_USER
    name = owner(request)
    if name and name == user:
        return Verdict.GRANTED
    if request.stat is None:
        number, reason = "AH01634", f"could not stat file {request.filename}"
    elif not name:
        number, reason = "AH01636", "could not get name of file owner"
    else:
        number, reason = "AH01637", f"file owner {name} does not match."
    said = f"Authorization of user {user} to access {request.uri} failed, reason: {reason}"
    request.log(Level.ERROR, "authz_owner", f"{number}: {said}")
    return Verdict.DENIED


PROVIDERS.add(
    Word(
        "file-owner",
        "",
        "Lets in the user with the name of the file's owner.",
        Provider(words(0, 0), _check_owner, seen_user),
    )
)

register(Module(name="mod_authz_owner", identifier="authz_owner_module"))
