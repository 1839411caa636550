"""Certificates for tests, made by openssl(1)."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

CLIENT = """\
oid_section = oids
[oids]
unheardOf = 1.3.6.1.4.1.99999.1
[req]
distinguished_name = subject
prompt = no
string_mask = utf8only
utf8 = yes
[subject]
C = DE
O = "Ex, ample; <GmbH>"
0.OU = One
1.OU = Zw\u00e9i \u2713
CN = "alice"
emailAddress = a@alice.test
UID = al
serialNumber = 42
title = Dr
initials = A
givenName = Alice
surname = "Sm\\\\ith"
description = "#first "
street = Route 1
unheardOf = "unknown"
[client]
subjectAltName = email:a@alice.test,email:b@alice.test,DNS:c.alice.test,otherName:msUPN;UTF8:alice@ad.test,IP:192.0.2.1
nsComment = hello
1.2.3.4.5 = ASN1:UTF8String:world
basicConstraints = CA:FALSE
"""


@dataclass
class Authority:
    """A root and an intermediate authority, and what they issue, in a folder."""

    folder: Path
    made: dict[str, Path] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The root's certificate."""
        return self.folder / "root.pem"

    @property
    def between(self) -> Path:
        """The intermediate authority's."""
        return self.folder / "between.pem"

    def pem(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def der(self, name: str) -> bytes:
        return ssl.PEM_cert_to_DER_cert(self.pem(name).read_text())

    def issue(self, name: str, *, by: str = "between", config: str = CLIENT, kind: str = "rsa:2048") -> None:
        """A client's certificate of this subject, with what sent it after it in `NAME-chain.pem`."""
        (self.folder / f"{name}.cnf").write_text(config, encoding="utf-8")
        _openssl(
            self.folder, f"req -new -newkey {kind} -nodes -keyout {name}.key -out {name}.csr -config {name}.cnf -utf8"
        )
        _openssl(
            self.folder,
            f"x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -set_serial 0x0ABC -days 20 -out {name}.pem"
            f" -extfile {name}.cnf -extensions client",
        )
        (self.folder / f"{name}-chain.pem").write_text(self.pem(name).read_text() + self.pem(by).read_text())

    def self_signed(self, name: str, *names: str, kind: str = "-newkey rsa:2048") -> None:
        """A server's certificate for host names."""
        alternatives = ",".join(f"DNS:{one}" for one in names)
        _openssl(
            self.folder,
            f"req -x509 {kind} -nodes -keyout {name}.key -out {name}.pem -days 30 -subj /C=DE/CN={names[0]}"
            f" -addext subjectAltName={alternatives}",
        )


def make_authority(folder: Path) -> Authority:
    """Both authorities."""
    folder.mkdir(parents=True, exist_ok=True)
    _openssl(folder, "req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 30 -subj /O=Test/CN=Root")
    _openssl(folder, "req -new -newkey rsa:2048 -nodes -keyout between.key -out between.csr -subj /O=Test/CN=Between")
    (folder / "ca.ext").write_text("basicConstraints = CA:TRUE\n")
    _openssl(
        folder,
        "x509 -req -in between.csr -CA root.pem -CAkey root.key -set_serial 7 -days 25 -out between.pem"
        " -extfile ca.ext",
    )
    return Authority(folder)


def _openssl(folder: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)
