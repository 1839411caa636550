"""What mod_ssl says of a connection: Apache and Ownhost, with one configuration and the same certificates, compared."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import ALICE, BOB, World, free_port
from issuing import Authority, make_authority
from oracle.servers import APACHE, MODULES
from waiting import eventually

LOADED = "mpm_prefork authz_core headers mime dir alias env rewrite ssl socache_shmcb cgi setenvif"
NAMES = """\
HTTPS REMOTE_ADDR REQUEST_URI SERVER_NAME THE_REQUEST REMOTE_PORT ENV:MINE SSL_NONE SSL_VERSION_LIBRARY
SSL_PROTOCOL SSL_SESSION_RESUMED SSL_SECURE_RENEG SSL_COMPRESS_METHOD SSL_TLS_SNI SSL_SRP_USER SSL_SRP_USERINFO
SSL_CIPHER SSL_CIPHER_EXPORT SSL_CIPHER_USEKEYSIZE SSL_CIPHER_ALGKEYSIZE
SSL_CLIENT_VERIFY SSL_CLIENT_M_VERSION SSL_CLIENT_M_SERIAL SSL_CLIENT_S_DN SSL_CLIENT_I_DN SSL_CLIENT_V_START
SSL_CLIENT_V_END SSL_CLIENT_V_REMAIN SSL_CLIENT_A_SIG SSL_CLIENT_A_KEY SSL_CLIENT_CERT SSL_CLIENT_CERT_RFC4523_CEA
SSL_CLIENT_CERT_CHAIN_0 SSL_CLIENT_CERT_CHAIN_1 SSL_CLIENT_S_DN_C SSL_CLIENT_S_DN_ST SSL_CLIENT_S_DN_O
SSL_CLIENT_S_DN_OU SSL_CLIENT_S_DN_OU_0 SSL_CLIENT_S_DN_OU_1 SSL_CLIENT_S_DN_OU_2 SSL_CLIENT_S_DN_CN
SSL_CLIENT_S_DN_CN_RAW SSL_CLIENT_S_DN_OU_1_RAW SSL_CLIENT_S_DN_T SSL_CLIENT_S_DN_I SSL_CLIENT_S_DN_G SSL_CLIENT_S_DN_S
SSL_CLIENT_S_DN_D SSL_CLIENT_S_DN_UID SSL_CLIENT_S_DN_Email SSL_CLIENT_S_DN_EMAIL SSL_CLIENT_S_DN_SerialNumber
SSL_CLIENT_SAN_Email_0 SSL_CLIENT_SAN_Email_1 SSL_CLIENT_SAN_Email_2 SSL_CLIENT_SAN_DNS_0 SSL_CLIENT_SAN_OTHER_msUPN_0
SSL_CLIENT_I_DN_CN SSL_CLIENT_I_DN_O SSL_SERVER_M_VERSION SSL_SERVER_M_SERIAL SSL_SERVER_S_DN SSL_SERVER_I_DN
SSL_SERVER_S_DN_C SSL_SERVER_V_START SSL_SERVER_V_END SSL_SERVER_V_REMAIN SSL_SERVER_A_SIG SSL_SERVER_A_KEY
SSL_SERVER_CERT SSL_SERVER_SAN_DNS_0 SSL_SERVER_SAN_DNS_1 SSL_SERVER_SAN_DNS_2
""".split()  # noqa: SIM905 - a table
REQUIREMENTS = """\
"10" lt "9"
"10" -lt "9"
"10" < "9"
"9" < "10"
"9" lt "10"
"a" eq "a"
"01" -eq "1"
"b" gt "abc"
"2" ge "10"
%{SSL_CIPHER_USEKEYSIZE} >= 128
%{SSL_CIPHER_USEKEYSIZE} >= 1280
"hello" in PeerExtList("2.16.840.1.113730.1.13")
"hello" in PeerExtList("nsComment")
"world" in PeerExtList("1.2.3.4.5")
"moon" in PeerExtList("1.2.3.4.5")
%{SSL_CLIENT_S_DN_OU} in {"One", "CA"}
%{SSL_CLIENT_S_DN_Email} eq "a@alice.test" and %{SSL_CLIENT_VERIFY} eq "SUCCESS"
%{SSL_CLIENT_S_DN_CN} =~ m/^ali/ and not %{SSL_PROTOCOL} == "SSLv3"
%{SSL_CLIENT_SAN_Email_1} eq "b@alice.test" && %{REMOTE_ADDR} =~ m/^127[.]/
%{SSL_CLIENT_S_DN_ST} eq ""
%{HTTPS} eq "on" and -n %{SSL_CLIENT_S_DN}
""".splitlines()
LOG = "%{SSL_PROTOCOL}x|%{SSL_CLIENT_S_DN_CN}x|%{HTTPS}x|%{SSL_NONE}x|%{version}c|%{cipher}c|%{errcode}c|%{errstr}c|%u"
COMMON = """\
ServerName server.test
SSLSessionCache shmcb:@OWN@/cache(512000)
LogFormat "%U%q %>s {LOG} %{{issuerdn}}c" tls
<Directory />
AllowOverride None
</Directory>
<VirtualHost 127.0.0.1:@CLEAR@>
ServerName site.test
DocumentRoot @SITE@
AssignUserID "#{ALICE}" "#{ALICE}"
<Directory @SITE@>
Require all granted
</Directory>
<Location /only>
SSLRequireSSL
</Location>
<Location /required>
SSLRequire false
</Location>
@SHOWN@
CustomLog @OWN@/access.log tls
</VirtualHost>
<VirtualHost 127.0.0.1:@PORT@>
ServerName site.test
DocumentRoot @SITE@
AssignUserID "#{ALICE}" "#{ALICE}"
<Directory @SITE@>
Require all granted
</Directory>
SSLEngine on
SSLCertificateFile @KEYS@/site.pem
SSLCertificateKeyFile @KEYS@/site.key
SSLCertificateFile @KEYS@/elliptic.pem
SSLCertificateKeyFile @KEYS@/elliptic.key
SSLCACertificateFile @KEYS@/root.pem
SSLVerifyClient optional
SSLVerifyDepth 3
ScriptAlias /cgi/ @SITE@/cgi/
CustomLog @OWN@/access.log tls
@SHOWN@
SetEnv MINE mine
<Location /cgi/standard>
SSLOptions +StdEnvVars
</Location>
<Location /cgi/all>
SSLOptions +StdEnvVars +ExportCertData
SSLUserName SSL_CLIENT_S_DN_CN
</Location>
<Location /cgi/legacy>
SSLOptions +StdEnvVars +LegacyDNStringFormat
</Location>
<Location /cgi/last>
SSLOptions ExportCertData StdEnvVars
</Location>
<Location /cgi/bob>
AssignUserID "#{BOB}" "#{BOB}"
SSLOptions +StdEnvVars +ExportCertData
</Location>
<Location /only>
SSLRequireSSL
</Location>
RewriteEngine On
RewriteCond %{{SSL:SSL_CLIENT_S_DN_CN}} ^alice$
RewriteRule ^/who$ /who-alice [R,L]
RewriteCond %{{SSL:HTTPS}}%{{SSL_CLIENT_S_DN_CN}} ^on$
RewriteRule ^/who$ /who-else [R,L]
<Location /if>
<If "%{{SSL_CLIENT_VERIFY}} == 'SUCCESS' && -T %{{HTTPS}} && %{{SSL_CLIENT_S_DN_OU_1}} =~ /^Zw/">
Redirect /if /if-alice
</If>
</Location>
@REQUIREMENTS@
</VirtualHost>
"""
SCRIPT = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nexec env -0\n"


@dataclass
class Site:
    """A server of the configuration."""

    port: int
    clear: int
    log: Path
    authority: Authority

    def curl(self, path: str, *arguments: str, client: str = "", https: bool = True) -> str:
        """The response, head and body."""
        port, scheme = (self.port, "https") if https else (self.clear, "http")
        command = [
            "curl",
            "-s",
            "-i",
            "-k",
            "--resolve",
            f"site.test:{port}:127.0.0.1",
        ]
        if client:
            command += [
                "--cert",
                str(self.authority.pem(client)),
                "--key",
                str(self.authority.key(client.removesuffix("-chain"))),
            ]
        done = subprocess.run(
            [*command, *arguments, f"{scheme}://site.test:{port}{path}"], capture_output=True, check=True
        )
        return done.stdout.decode("utf-8", "surrogateescape")

    def status(self, path: str, *arguments: str, client: str = "", https: bool = True) -> int:
        return int(self.curl(path, *arguments, client=client, https=https).split()[1])

    def environment(self, path: str, *arguments: str, client: str = "") -> dict[str, str]:
        """What a program is told of TLS and the user."""
        body = self.curl(path, *arguments, client=client).partition("\r\n\r\n")[2]
        found = dict(pair.split("=", 1) for pair in body.split("\0") if "=" in pair)
        return {name: found[name] for name in found if name.startswith(("SSL_", "HTTPS", "REMOTE_USER", "AUTH"))}


@dataclass
class Both:
    """Apache and Ownhost."""

    apache: Site
    ownhost: Site


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    world = World()
    try:
        authority = make_authority(world.folder / "keys")
        authority.issue("alice")
        authority.self_signed("site", "site.test", "www.site.test")
        authority.self_signed("elliptic", "site.test", kind="-newkey ec -pkeyopt ec_paramgen_curve:P-256")
        site = world.site("site", ALICE, {"index.html": "site\n", **{f"cgi/{one}": SCRIPT for one in PROGRAMS}}, 0o755)
        ownhost = _site(world, site, authority, "ownhost")
        server = world.server((ownhost.log.parent / "main.conf").read_text(), start=False)
        server.start()
        with _apache(_site(world, site, authority, "apache")) as apache:
            # In their first second, certificates last for a whole day more (V_REMAIN).
            made = time.time()
            eventually(lambda: time.time() > made + 1)
            yield Both(apache, ownhost)
    finally:
        world.close()


PROGRAMS = ("plain", "standard", "all", "legacy", "last", "bob")


def _site(world: World, site: Path, authority: Authority, name: str) -> Site:
    folder = world.folder / name
    folder.mkdir()
    values = {
        "PORT": str(free_port()),
        "CLEAR": str(free_port()),
        "SITE": str(site),
        "KEYS": str(authority.folder),
        "OWN": str(folder),
        "SHOWN": "\n".join(f'Header always set X-{place} "[%{{{one}}}s]"' for place, one in enumerate(NAMES)),
        "REQUIREMENTS": "\n".join(
            f"<Location /require/{place}/>\nSSLRequire {one}\n</Location>" for place, one in enumerate(REQUIREMENTS)
        ),
    }
    text = (
        COMMON.replace("{LOG}", LOG)
        .replace("{ALICE}", str(ALICE))
        .replace("{BOB}", str(BOB))
        .replace("{{", "{")
        .replace("}}", "}")
    )
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    listen = f"Listen 127.0.0.1:{values['PORT']}\nListen 127.0.0.1:{values['CLEAR']}\n"
    if name == "apache":
        loaded = "\n".join(f"LoadModule {one}_module {MODULES}/mod_{one}.so" for one in LOADED.split())
        listen += f"{loaded}\nLoadModule mpm_itk_module {MODULES}/mpm_itk.so\nUser www-data\nGroup www-data\n"
        listen += (
            f"PidFile {folder}/pid\nErrorLog {folder}/error.log\nTypesConfig /etc/mime.types\nServerRoot {folder}\n"
        )
    (folder / "main.conf").write_text(listen + text)
    return Site(int(values["PORT"]), int(values["CLEAR"]), folder / "access.log", authority)


@contextlib.contextmanager
def _apache(site: Site) -> Iterator[Site]:
    configuration = site.log.parent / "main.conf"
    process = subprocess.Popen(
        [APACHE, "-f", configuration, "-DFOREGROUND"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,  # it ends its whole group
    )
    try:
        eventually(lambda: process.poll() is not None or (site.log.parent / "pid").exists(), 20)
        assert process.poll() is None, f"Apache ended: {process.communicate()[1]!r}"
        yield site
    finally:
        process.terminate()
        process.communicate(timeout=20)


def compared(found: dict[str, str]) -> dict[str, str]:
    """Without what is another at each server or connection."""
    left_out = ("SSL_SESSION_ID", "SSL_VERSION_INTERFACE")
    return {name: value for name, value in found.items() if name not in left_out}


@pytest.mark.parametrize("client", ["", "alice-chain"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_are_told_the_same(both: Both, program: str, version: str, client: str) -> None:
    arguments = (f"--tlsv{version}", "--tls-max", version)
    apache = both.apache.environment(f"/cgi/{program}", *arguments, client=client)
    ownhost = both.ownhost.environment(f"/cgi/{program}", *arguments, client=client)
    assert compared(ownhost) == compared(apache)
    assert len(ownhost.get("SSL_SESSION_ID", "")) == len(apache.get("SSL_SESSION_ID", ""))
    assert ("SSL_VERSION_INTERFACE" in ownhost) == ("SSL_VERSION_INTERFACE" in apache)
    assert apache["HTTPS"] == "on"


@pytest.mark.parametrize("ciphers", ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"])
def test_the_certificate_that_the_client_was_shown(both: Both, ciphers: str) -> None:
    arguments = ("--tls-max", "1.2", "--ciphers", ciphers)
    apache = both.apache.environment("/cgi/all", *arguments)
    ownhost = both.ownhost.environment("/cgi/all", *arguments)
    assert compared(ownhost) == compared(apache)
    assert ownhost["SSL_SERVER_A_KEY"] == ("id-ecPublicKey" if "ECDSA" in ciphers else "rsaEncryption")


@pytest.mark.parametrize("client", ["", "alice-chain"])
@pytest.mark.parametrize("https", [True, False])
def test_each_variable_is_the_same(both: Both, https: bool, client: str) -> None:
    def shown(site: Site) -> dict[str, str]:
        head = site.curl("/?a=b", client=client if https else "", https=https).partition("\r\n\r\n")[0]
        found = dict(re.findall(r"X-(\d+): (.*?)\r\n", head + "\r\n"))
        port = str(site.port if https else site.clear)
        return {one: found[str(place)].replace(port, "PORT") for place, one in enumerate(NAMES)}

    assert shown(both.ownhost) == shown(both.apache)


@pytest.mark.parametrize("client", ["", "alice-chain"])
def test_rewriting_and_expressions_ask_them(both: Both, client: str) -> None:
    def answers(site: Site) -> list[tuple[int, str]]:
        found = []
        for path in ("/who", "/if"):
            head = site.curl(path, client=client)
            location = re.search(r"Location: (.*?)\r\n", head)
            found.append((int(head.split()[1]), location[1].replace(str(site.port), "PORT") if location else ""))
        return found

    apache = answers(both.apache)
    assert answers(both.ownhost) == apache
    assert apache[0][1] == f"https://site.test:PORT/who-{'alice' if client else 'else'}"


def test_requirements_hold_alike(both: Both) -> None:
    def statuses(site: Site) -> dict[str, int]:
        return {
            f"{one}{' of ' if client else ''}{client}": site.status(f"/require/{place}/", client=client)
            for client in ("", "alice-chain")
            for place, one in enumerate(REQUIREMENTS)
        }

    apache = statuses(both.apache)
    assert statuses(both.ownhost) == apache
    assert set(apache.values()) == {403, 404}


@pytest.mark.parametrize(
    ("path", "https", "status"),
    [("/only", True, 404), ("/only", False, 403), ("/required", False, 404), ("/", True, 200)],
)
def test_what_is_for_encrypted_requests_only(both: Both, path: str, https: bool, status: int) -> None:
    assert both.ownhost.status(path, https=https) == status
    assert both.apache.status(path, https=https) == status


def test_logs_say_the_same(both: Both) -> None:
    def lines(site: Site) -> list[str]:
        site.curl("/?logged", "--tls-max", "1.2", client="alice-chain")
        site.curl("/cgi/all?logged", client="alice-chain")
        site.curl("/?logged", https=False)

        def written() -> list[str]:
            return [line for line in site.log.read_text().splitlines() if "?logged" in line]

        eventually(lambda: len(written()) == 3)
        return written()

    apache = lines(both.apache)
    assert lines(both.ownhost) == apache
    assert apache[1].split("|")[1] == "alice"
