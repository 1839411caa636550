"""CGI scripts, a server that has some, and what they say."""

from __future__ import annotations

import json

from harness import ALICE, Answer, Process, Server, World

# Its name, and what it was told.
ECHO = """#!/usr/bin/python3
import json, os, sys
print("Content-Type: application/json\\n")
print(json.dumps({"uid": os.getuid(), "gids": os.getgroups(), "arguments": sys.argv[1:], "cwd": os.getcwd(),
                  "body": sys.stdin.buffer.read().decode() if "CONTENT_LENGTH" in os.environ else None,
                  "env": dict(os.environ)}))
"""
SHELL = '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\nshell %s\\n" "$(id -u)"\n'
PERL = '#!/usr/bin/perl\nprint "Content-Type: text/plain\\r\\n\\r\\nperl $<\\n";\n'


def said(*lines: str) -> str:
    """A shell script that says these lines."""
    return "#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n"


def serve(world: World, extra: str = "", **scripts: str) -> Server:
    """alice.test, whose cgi-bin has these scripts: `name_sh` is name.sh."""
    files: dict[str, str | bytes] = {"index.html": "alice\n", "cgi-bin/echo": ECHO}
    files.update((f"cgi-bin/{name.replace('_', '.')}", content) for name, content in scripts.items())
    alias = "ScriptAlias /cgi-bin/ @DIR@/alice/cgi-bin/\n"
    return world.server(world.virtual_host("alice", ALICE, alias + extra, files))


def told(response: Answer) -> dict[str, object]:
    """What ECHO says it was told."""
    assert response.status == 200, response.content
    found = json.loads(response.content)
    assert isinstance(found, dict)
    return found


def environment(response: Answer) -> dict[str, str]:
    """The environment that ECHO found."""
    found = told(response)["env"]
    assert isinstance(found, dict)
    return found


def content(response: Answer) -> bytes:
    found = response.content
    assert isinstance(found, bytes)
    return found


def children_of(server: Server) -> list[Process]:
    """Programs that the server's launchers run."""
    return [process for process in server.processes() if not process.role and process.pid != server.pid]
