"""After the rehearsal nothing is imported any more: a worker may not be able to read the server's own modules."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # every role is rehearsed

CODE = """
import sys
from ownhost.processes.table import PROCESSES
for process in PROCESSES.values():
    process.rehearse()
before = set(sys.modules)
from ownhost.processes.worker import rehearsal
rehearsal.REHEARSED = (
    "GET /worker.py HTTP/1.0\\r\\n\\r\\n",
    "HEAD /worker.py HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n",
    "OPTIONS * HTTP/1.1\\r\\n\\r\\n",
    "TRACE / HTTP/1.1\\r\\n\\r\\n",
    "GET /%zz HTTP/1.1\\r\\n\\r\\n",
    "GET /%C3%A4/../x HTTP/1.1\\r\\n\\r\\n",
    "GET http://[::1]/ HTTP/1.1\\r\\n\\r\\n",
    "GET /worker.py HTTP/1.1\\r\\nRange: bytes=9999999-\\r\\n\\r\\n",
    "GET /worker.py HTTP/1.1\\r\\nIf-Range: Sunday, 06-Nov-94 08:49:37 GMT\\r\\nRange: bytes=0-1\\r\\n\\r\\n",
    "PUT /worker.py HTTP/1.1\\r\\nContent-Length: 1\\r\\n\\r\\nx",
    "POST / HTTP/1.1\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nzz\\r\\n",
    "GET / HTTP/2.0\\r\\n\\r\\n",
    "GET /" + "a" * 9000 + " HTTP/1.1\\r\\n\\r\\n",
    "\\x00\\r\\n\\r\\n",
)
rehearsal.REHEARSED_PATHS = ("*", "//x/..", "/%zz", "/worker.py?" + "a" * 9000, "/worker.py") * 50
rehearsal.rehearse()
print(sorted(set(sys.modules) - before))
"""


def test_nothing_is_left_to_import() -> None:
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "[]\n", "")
