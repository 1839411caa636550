"""mod_ssl below the process layer: who is let in, what is told, what is remembered."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from issuing import Authority, make_authority
from ownhost.admin.cli import main
from ownhost.http.tls import TLSFacts
from ownhost.modules.ssl.requests import OPTIONS
from ownhost.request import serve
from ownhost.request.ssl_variables import SSL_OPTIONS
from serving import Asked, ask, make_request, make_site

ENGINE = "SSLEngine on\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = make_authority(tmp_path_factory.mktemp("keys"))
    made.issue("alice")
    made.self_signed("site", "site.test")
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "x.txt").write_text("x")
    return tmp_path


def facts(certificate: bytes = b"", **more: object) -> TLSFacts:
    """A connection, with the client's certificate or without."""
    values = {"server_name": "site.test", "resumed": False, "algorithm_bits": 256, **more}
    return TLSFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, certificate=certificate, **values)  # type: ignore[arg-type]


def in_root(text: str) -> str:
    return f"<Directory @ROOT@>\nRequire all granted\n{text}\n</Directory>"


def asked_of(root: Path, text: str, tls: TLSFacts | None, *fields: str) -> Asked:
    return ask(make_site(root, text), "GET /x.txt", *fields, tls=tls)


def test_facts_move_whole(authority: Authority) -> None:
    der = authority.der("alice")
    told = facts(der, chain=(der, b"\0\xff"), server_certificate=b"\1", secure_renegotiation=True, session_id=b"\2")
    assert TLSFacts.from_text(told.to_text()) == told


# Who is let in


def test_what_must_be_encrypted_is_refused_otherwise(root: Path) -> None:
    asked = asked_of(root, in_root("SSLRequireSSL"), None)
    assert asked.status == 403
    assert asked.log == [f"ssl:error AH02229: access to {root}/root/x.txt failed, reason: SSL connection required"]
    assert asked_of(root, ENGINE + in_root("SSLRequireSSL"), facts()).status == 200


def test_a_section_around_cannot_be_taken_back(root: Path) -> None:
    text = in_root("SSLRequireSSL") + "\n<Files x.txt>\nSSLOptions +StdEnvVars\n</Files>"
    assert asked_of(root, text, None).status == 403


def test_satisfy_any_lets_nobody_in_who_comes_in_clear(root: Path) -> None:
    text = "<Directory @ROOT@>\nOrder allow,deny\nAllow from all\nSatisfy Any\nSSLRequireSSL\n</Directory>"
    assert asked_of(root, text, None).status == 403


def test_an_error_document_may_send_to_where_it_is_encrypted(root: Path) -> None:
    asked = asked_of(root, in_root("SSLRequireSSL\nErrorDocument 403 https://site.test/"), None)
    assert (asked.status, asked.response.header("location")) == (302, "https://site.test/")


@pytest.mark.parametrize(
    ("text", "pure"),
    [
        ("", True),
        ("SSLRequireSSL", False),
        ("SSLRequire true", False),
        ("SSLOptions +StdEnvVars", False),
        ("SSLOptions +ExportCertData", False),
        ("SSLOptions +FakeBasicAuth", False),
        ("SSLOptions +StrictRequire", True),
        ("SSLUserName SSL_CLIENT_S_DN_CN", False),
        ("SSLVerifyClient optional", True),
        ('Header set X 1 "expr=-n %{SSL_PROTOCOL}"', False),
        ('Header set X "%{SSL_PROTOCOL}s"', False),
    ],
)
def test_what_depends_on_the_connection_is_not_remembered(root: Path, text: str, pure: bool) -> None:
    asked = asked_of(root, ENGINE + in_root(text), facts())
    assert asked.status == 200
    assert asked.request.pure == pure


def test_what_a_certificate_opened_is_not_remembered(root: Path, authority: Authority) -> None:
    asked = asked_of(root, ENGINE + in_root(""), facts(authority.der("alice")))
    assert (asked.status, asked.request.pure) == (200, False)


@pytest.mark.parametrize("engine", ["", ENGINE])
def test_the_wrong_kind_of_connection_is_answered_anew(root: Path, engine: str) -> None:
    site = make_site(root, engine + in_root("SSLOptions +StrictRequire"))
    for tls in (facts(), None):
        request = make_request(site, "GET /x.txt", tls=tls).request
        expected = (tls is not None) != bool(engine)
        assert [is_exception(request) for is_exception in site.memory.exceptions] == [expected]
        assert ask(site, "GET /x.txt", tls=tls).request.pure != expected


def test_a_section_may_require_a_certificate(root: Path, authority: Authority) -> None:
    text = ENGINE + in_root("SSLVerifyClient require")
    asked = asked_of(root, text, facts())
    assert asked.status == 403
    assert asked.log == [f"ssl:error AH02229: access to {root}/root/x.txt failed, reason: client certificate missing"]
    assert asked_of(root, text, facts(authority.der("alice"))).status == 200
    site = make_site(root, text)
    request = make_request(site, "GET /x.txt").request
    request.endpoints.secure = True
    assert serve.respond(request).status == 403, "nothing is known of the connection"


def test_a_certificate_that_cannot_be_read_lets_nobody_in(root: Path) -> None:
    asked = asked_of(root, ENGINE + in_root(""), facts(b"0\x03\x02\x01\x01"))
    assert asked.status == 403
    assert "reason: a certificate cannot be read" in asked.log[0]


def test_all_requirements_around_count(root: Path) -> None:
    outer = in_root("SSLRequire %{SSL_PROTOCOL} eq 'TLSv1.3'")
    for inner, status in (("true", 200), ("false", 403)):
        text = f"{ENGINE}{outer}\n<Files x.txt>\nSSLRequire {inner}\n</Files>"
        assert asked_of(root, text, facts()).status == status
    asked = asked_of(root, f"{ENGINE}{outer}", facts())
    assert asked.status == 200
    refused = asked_of(root, ENGINE + in_root("SSLRequire %{SSL_CIPHER_USEKEYSIZE} < 1000 and 1 == 2"), facts())
    assert refused.log == [
        "ssl:info AH02228: Failed expression: %{SSL_CIPHER_USEKEYSIZE} < 1000 and 1 == 2",
        f"ssl:error AH02229: access to {root}/root/x.txt failed, reason: SSL requirement expression not fulfilled",
    ]


# What is told


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("+StdEnvVars", "", {"StdEnvVars"}),
        ("+StdEnvVars", "+StrictRequire", {"StdEnvVars", "StrictRequire"}),
        ("+StdEnvVars", "-StdEnvVars", set()),
        ("+StdEnvVars", "ExportCertData", {"ExportCertData"}),
        ("StdEnvVars", "-StdEnvVars +OptRenegotiate", {"OptRenegotiate"}),
        ("StdEnvVars ExportCertData", "", {"ExportCertData"}),
        ("StdEnvVars +ExportCertData", "", {"StdEnvVars", "ExportCertData"}),
        ("-StdEnvVars", "+stdenvvars", {"StdEnvVars"}),
    ],
)
def test_options_of_sections(root: Path, outer: str, inner: str, expected: set[str]) -> None:
    text = f"SSLOptions {outer}\n" + in_root(f"SSLOptions {inner}" if inner else "")
    settings = asked_of(root, text, None).request.settings
    assert {one for one in OPTIONS if one in settings[SSL_OPTIONS]} == expected


def test_https_is_told_always_and_the_rest_on_request(root: Path) -> None:
    env = asked_of(root, ENGINE + in_root(""), facts()).request.env
    assert env == {"HTTPS": "on", "SSL_TLS_SNI": "site.test"}
    assert asked_of(root, in_root("SSLOptions +StdEnvVars"), None).request.env == {}
    env = asked_of(root, ENGINE + in_root("SSLOptions +StdEnvVars"), facts()).request.env
    assert (env["SSL_PROTOCOL"], env["SSL_CLIENT_VERIFY"]) == ("TLSv1.3", "NONE")


def test_the_user_is_named_by_the_certificate(root: Path, authority: Authority) -> None:
    text = ENGINE + in_root("SSLUserName SSL_CLIENT_S_DN_Email")
    asked = asked_of(root, text, facts(authority.der("alice")))
    assert (asked.request.user, asked.request.auth_type) == ("a@alice.test", "ClientCert")
    asked = asked_of(root, text, facts())
    assert asked.request.user is None
    assert asked.log == ["ssl:warn AH02227: Failed to set r->user to 'SSL_CLIENT_S_DN_Email'"]


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_a_certificate_stands_for_user_and_password(root: Path, authority: Authority) -> None:
    text = ENGINE + in_root("SSLOptions +FakeBasicAuth")
    asked = asked_of(root, text, facts(authority.der("alice")), f"Authorization: {basic('bob:x')}")
    user, password = base64.b64decode(asked.request.head.values["authorization"].split()[1]).decode().rsplit(":", 1)
    assert user.startswith("/C=DE/O=Ex, ample; <GmbH>/OU=One/OU=Zw\\xC3\\xA9i")
    assert password == "password"
    own = [value for name, value in asked.request.head.fields if name == "Authorization"]
    assert own == [asked.request.head.values["authorization"]]
    again = asked_of(root, text, facts(authority.der("alice")), f"Authorization: {own[0]}")
    assert again.status == 200, "as in an internal redirect"


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (basic("bob:secret"), 200),
        (basic("/CN=alice:other"), 200),
        ("Bearer L0NOPXg6cGFzc3dvcmQ=", 200),
        (basic("/CN=alice:password"), 403),
        (basic("/CN=alice:password").replace("Basic ", "basic   "), 403),
        (basic("/CN=alice:password").replace("Basic ", "Basic \t"), 403),
        (basic("/CN=alice:password").replace("=", ""), 403),
        (basic("/CN=alice:password")[:9] + "!" + basic("/CN=alice:password")[9:], 403),
    ],
)
@pytest.mark.parametrize("has_certificate", [True, False])
def test_nobody_makes_up_a_certificate(
    root: Path, authority: Authority, value: str, status: int, has_certificate: bool
) -> None:
    tls = facts(authority.der("alice") if has_certificate else b"")
    asked = asked_of(root, ENGINE + in_root("SSLOptions +FakeBasicAuth"), tls, f"Authorization: {value}")
    assert asked.status == status


# The name that the server goes by


def test_redirects_lead_to_https_without_a_port(root: Path) -> None:
    site = make_site(root, ENGINE + "Redirect /old /new\nUseCanonicalName On\nHeader always set X yes env=HTTPS")
    request = make_request(site, "GET /old", tls=facts()).request
    request.endpoints.local_port = 443
    assert serve.respond(request).header("location") == "https://site.test/new"


def test_hsts_is_for_https(root: Path) -> None:
    said = in_root(
        'Header always set Strict-Transport-Security "max-age=1" "expr=-T %{HTTPS}"\nHeader set X on env=HTTPS'
    )
    for tls, expected in ((facts(), ("max-age=1", "on")), (None, (None, None))):
        response = asked_of(root, (ENGINE if tls else "") + said, tls).response
        assert (response.header("strict-transport-security"), response.header("x")) == expected


# Whole configurations

CERTBOT = """\
SSLEngine on
SSLProtocol             all -SSLv2 -SSLv3 -TLSv1 -TLSv1.1
SSLCipherSuite          ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305
SSLHonorCipherOrder     off
SSLSessionTickets       off
SSLOptions +StrictRequire
LogFormat "%h %l %u %t \\"%r\\" %>s %b \\"%{Referer}i\\" \\"%{User-agent}i\\"" vhost_combined
LogFormat "%v %h %l %u %t \\"%r\\" %>s %b" vhost_common
"""
DEBIAN = Path(__file__).parents[1] / "config" / "debian"


def check(path: Path, text: str) -> Result:
    file = path / "whole.conf"
    file.write_text(f"User www-data\nGroup www-data\n{text}")
    return CliRunner().invoke(main, ["check", "-f", str(file)])


def test_debians_and_certbots_files_load(tmp_path: Path, authority: Authority) -> None:
    site = (DEBIAN / "default-ssl.conf").read_text()
    for old, new in (
        ("/etc/ssl/certs/ssl-cert-snakeoil.pem", authority.pem("site")),
        ("/etc/ssl/private/ssl-cert-snakeoil.key", authority.key("site")),
    ):
        assert old in site
        site = site.replace(old, str(new))
    (tmp_path / "default-ssl.conf").write_text(site)
    (tmp_path / "options-ssl-apache.conf").write_text(CERTBOT)
    result = check(
        tmp_path,
        f"Listen 443\nDefine APACHE_RUN_DIR {tmp_path}\nDefine APACHE_LOG_DIR {tmp_path}\nLogFormat %h combined\n"
        f"LoadModule ssl_module modules/mod_ssl.so\nInclude {DEBIAN}/ssl.conf\nInclude {tmp_path}/default-ssl.conf\n"
        f"<VirtualHost *:443>\nServerName site.test\nSSLCertificateFile {authority.pem('site')}\n"
        f"SSLCertificateKeyFile {authority.key('site')}\nInclude {tmp_path}/options-ssl-apache.conf\n</VirtualHost>\n",
    )
    assert (result.exit_code, result.stdout) == (0, "Syntax OK\n"), result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SSLRequireSSL", "cannot stand in the server configuration"),
        ("SSLOptions StdEnv", "did you mean StdEnvVars?"),
        ("SSLUserName SSL_CLIENT_S_DN_EMAIL", "there is no variable SSL_CLIENT_S_DN_EMAIL"),
        ("<Location />\nSSLRequire %{SSL_CIPHR} eq 'x'\n</Location>", "column 3: there is no variable SSL_CIPHR"),
        ("<Location />\nSSLRequire %{SSL_CIPHER} eq\n</Location>", "column 17: expected a word in quotes"),
        ("<Location />\nSSLRequire 'a' in PeerExtList('2.5.29.17')\n</Location>", "reads extensions that are texts"),
        ("SSLOCSPEnable on", "clients' certificates are not checked by OCSP"),
        (
            "<Location />\nSSLProxyEngine on\n</Location>",
            "expected in the server configuration, <VirtualHost> or <Proxy>",
        ),
        ("SSLVerifyClient maybe", "expected none, off, optional, require or on, not 'maybe'"),
        ("SSLVerifyClient optional_no_ca", "optional_no_ca is not supported"),
        ("<Location />\nSSLCipherSuite TLSv1.3 TLS_AES_128_GCM_SHA256\n</Location>", "cannot be chosen in a section"),
        ("SSLProxyVerify maybe", "expected none, off, optional, require, on or optional_no_ca, not 'maybe'"),
        ("SSLProxyCARevocationCheck leaf all", "expected no_crl_for_cert_ok or nothing, not 'all'"),
        ("SSLProxyProtocol SSLv3", "SSLv3 is broken"),
        ("SSLVHostSNIPolicy lax", "expected strict, secure, authonly or insecure"),
        ("SSLSRPVerifierFile x", "no passwords (SRP)"),
        ("SSLLog logs/ssl.log", "use ErrorLog"),
    ],
)
def test_errors_say_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    result = check(tmp_path, text)
    assert result.exit_code == 1
    assert message in result.output


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("SSLOptions StdEnvVars ExportCertData", "ExportCertData without a + replaces all options"),
        ("<Location />\nSSLCipherSuite HIGH\n</Location>", "with other ciphers are refused here with 403"),
        ("<Location />\nSSLCipherSuite NO-SUCH\n</Location>", "OpenSSL knows no cipher in 'NO-SUCH'"),
        ("SSLVHostSNIPolicy insecure", "insecure has the effect of secure"),
    ],
)
def test_notes_say_what_is_done_instead(tmp_path: Path, text: str, note: str) -> None:
    result = check(tmp_path, f"Listen 80\n{text}")
    assert result.exit_code == 0
    assert note in result.output
