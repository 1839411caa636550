"""A browser: Debian's Chromium, without a window, that takes tests' certificates and finds every host at 127.0.0.1."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from encrypted import Sites

_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-default-browser-check"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-dev-shm-usage", "--disable-default-apps", "--metrics-recording-only", "--no-proxy-server"),
)


def visit(sites: Sites, url: str, folder: Path) -> str:
    """The page as it stands once all it refers to is loaded. `folder` is for the browser's own files.

    Certificates count as valid, not as excused: only then does a browser use one connection for several names.
    """
    pins = ",".join(_pin(identity.certificate.public_key()) for identity in sites.identities.values())
    command = [
        *("chromium", *_QUIET, f"--user-data-dir={folder}/profile", "--host-resolver-rules=MAP * 127.0.0.1"),
        *(f"--ignore-certificate-errors-spki-list={pins}", "--dump-dom", url),
    ]
    done = subprocess.run(
        command, capture_output=True, env={**os.environ, "HOME": str(folder)}, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode()


def _pin(key: object) -> str:
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return base64.b64encode(hashlib.sha256(der).digest()).decode()
