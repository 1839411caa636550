"""`ownhost check` says where HTTP/2 was asked for and is not offered, from the certificates that it may read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from certificates import Authority
from ownhost.admin.cli import main

pytestmark = pytest.mark.slow  # keys are made

HOST = """\
<VirtualHost 127.0.0.1:19420>
    ServerName {name}
    AssignUserID "#{uid}" "#{uid}"
    SSLEngine on
    SSLCertificateFile {folder}/both.crt
    SSLCertificateKeyFile {folder}/both.key
</VirtualHost>
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    Authority().issue("alice.test", "bob.test").files(tmp_path, "both")
    hosts = (
        HOST.format(folder=tmp_path, name=f"{name}.test", uid=uid) for name, uid in (("alice", 50001), ("bob", 50002))
    )
    file = tmp_path / "site.conf"
    file.write_text("Listen 127.0.0.1:19420\nUser www-data\nGroup www-data\nProtocols h2 http/1.1\n" + "".join(hosts))
    return file


def test_both_virtual_hosts_are_named(configuration: Path) -> None:
    result = CliRunner().invoke(main, ["check", "-f", str(configuration)])
    assert (result.exit_code, result.stdout) == (0, "Syntax OK\n")
    reason = (
        "HTTP/2 is not offered to clients of {}: its certificate also covers {} ({}:{}), which another user may serve"
    )
    expected = [("alice.test", "bob.test", configuration, 12), ("bob.test", "alice.test", configuration, 5)]
    lines = [f"{configuration}:4: note: {reason.format(*one)}" for one in expected]
    assert [line for line in result.stderr.splitlines() if "HTTP/2" in line] == lines


def test_as_json(configuration: Path) -> None:
    answer = json.loads(CliRunner().invoke(main, ["check", "--json", "-f", str(configuration)]).stdout)
    assert answer["ok"]
    assert [note["line"] for note in answer["notes"] if "HTTP/2" in note["message"]] == [4, 4]


def test_certificates_that_nobody_may_read_say_nothing(configuration: Path) -> None:
    (configuration.parent / "both.crt").write_text("no certificate")
    result = CliRunner().invoke(main, ["check", "-f", str(configuration)])
    assert "HTTP/2" not in result.stderr


def test_without_http2_there_is_nothing_to_say(configuration: Path) -> None:
    configuration.write_text(configuration.read_text().replace("Protocols h2", "Protocols"))
    assert "HTTP/2" not in CliRunner().invoke(main, ["check", "-f", str(configuration)]).stderr
