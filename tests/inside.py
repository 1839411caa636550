"""Programs of owners that run whatever code they are sent: what an attacker who is an owner can do."""

from __future__ import annotations

import textwrap

from harness import PYTHON, Server

CGI = f"""#!{PYTHON}
import sys
print("Content-Type: text/plain\\n", flush=True)
exec(sys.stdin.read(), {{"__name__": "inside"}})
"""


def inside(server: Server, way: str, code: str, name: str = "alice.test") -> str:
    """What code says that runs inside an owner's program."""
    client = server.client(60)
    try:
        client.request("POST", f"/{way}", textwrap.dedent(code).encode(), {"Host": name})
        response = client.getresponse()
        said = response.read().decode()
        assert response.status == 200, f"{response.status} {said} {server.log(name.split('.')[0] + '.error')}"
        return said
    finally:
        client.close()
