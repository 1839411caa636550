"""A launcher's signals: a flood of them, which whoever has its uid may send, holds nothing up."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import asyncio, os, signal
from ownhost.processes.launcher import signals

async def main():
    loop = asyncio.get_running_loop()
    heard, done = [], loop.create_future()
    signals.handle(loop, {
        signal.SIGCHLD: lambda: heard.append("SIGCHLD"),
        signal.SIGTERM: lambda: done.set_result(None),
    })
    # The loop stands still meanwhile, and whatever signals are written to is soon full.
    for _ in range(100_000):
        os.kill(os.getpid(), signal.SIGCHLD)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(done, 20)
    print(heard)
    heard.clear()
    os.kill(os.getpid(), signal.SIGCHLD)
    while not heard:
        await asyncio.sleep(0)
    print(heard)

asyncio.run(main())
"""


def test_a_flood_is_one_signal_and_no_other_is_lost() -> None:
    """The interpreter must not complain of a full pipe: it would wait for a lock that it may hold, for ever."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["['SIGCHLD']", "['SIGCHLD']"]
