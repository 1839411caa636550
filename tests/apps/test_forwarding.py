"""Requests that other servers answer: which, where, and what those are told."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownhost.apps import forwarding
from ownhost.config.directive import ArgumentError, ConfigError
from ownhost.http.message import HTTPError
from ownhost.modules.mod_proxy import backend_of, response_fields
from ownhost.modules.proxying.backend import Backend, parse_url
from ownhost.modules.proxying.parameters import Parameters
from ownhost.modules.proxying.reverse import Reverse, reversed_cookie, reversed_url
from ownhost.request.request import Phase, Request
from ownhost.request.road import advance
from serving import ask, make_request, make_server, make_site


def walked(folder: Path, conf: str, line: str, *fields: str) -> Request:
    root = folder / "root"
    (root / "d").mkdir(parents=True, exist_ok=True)
    (root / "x.php").write_text("")
    asked = make_request(make_site(folder, conf), line, *fields, client="192.0.2.7")
    assert advance(asked.request, Phase.FIXUPS) is None, asked.log
    return asked.request


def shown(folder: Path, conf: str, line: str) -> str:
    """The backend and the target, in short; "" for none."""
    request = walked(folder, conf, line)
    backend = backend_of(request)
    if backend is None:
        return ""
    assert not request.pure
    return f"{backend.scheme} {backend.socket or backend.authority} {backend.target}"


@pytest.mark.parametrize(
    ("conf", "line", "expected"),
    [
        ("ProxyPass / http://b/", "GET /", "http b /"),
        ("ProxyPass / http://b/", "GET /a%20b/%C3%A9?q=%20", "http b /a%20b/%C3%A9?q=%20"),
        ("ProxyPass / http://b/", "GET /a%25b", "http b /a%25b"),
        ("AllowEncodedSlashes NoDecode\nProxyPass / http://b/ nocanon", "GET /a%2525b%2fc?d", "http b /a%2525b%2fc?d"),
        ("ProxyPass / http://b/ noquery", "GET /a?d", "http b /a"),
        ("ProxyPass / http://B:8080", "GET /@evil.test/", "http b:8080 /@evil.test/"),
        ("ProxyPass /a http://b/c", "GET /a/d", "http b /c/d"),
        ("ProxyPass /a http://b/c", "GET /ab", ""),
        ("ProxyPass /a/ http://b/c/", "GET /a", ""),
        ("ProxyPass /a/no !\nProxyPass /a http://b/", "GET /a/no/x", ""),
        ("ProxyPass /u/ unix:/run/x.sock|http:", "GET /u/x", "http /run/x.sock /x"),
        ("ProxyPassMatch ^/a(/.*)?$ http://b:8529$1", "GET /a", "http b:8529 /"),
        ("ProxyPassMatch ^/a(/.*)?$ http://b:8529$1", "GET /a/b?c", "http b:8529 /b?c"),
        ("ProxyPassMatch ^/(.*):(.*):(.*)$ http://$1:$2$3", "GET /b:81:/c", "http b:81 /c"),
        ("<LocationMatch ^/l/(.*)>\nProxyPass http://b\n</LocationMatch>", "GET /l/x", "http b /l/x"),
        ("SetEnvIf Host . no-proxy\nProxyPass / http://b/", "GET /x.php", ""),
        ("ProxyPass /z/ http://b/z/ mapping=servlet", "GET /z;a=1/b;c/d", "http b /z/b;c/d"),
        ("ProxyPass /e/ http://b/e/ mapping=encoded", "GET /e/%41%2f%20", "http b /e/A%2f%20"),
        ("ProxyPass /a http://b/\nProxyPass /a/no !", "GET /a/no/x", "http b //no/x"),
        ("ProxyPass /s unix:/run/x.sock|http://h/", "GET /s/x", "http /run/x.sock //x"),
        ("ProxyPass /s unix:/run/x.sock|http://h/y", "GET /s/x", "http /run/x.sock /y/x"),
        ("ProxyPass /w ws://b/", "GET /w", "ws b /"),
        ("ProxyPass /i http://[::1]:81/", "GET /i", "http [::1]:81 /"),
        ("ProxyPassMatch ^/([a-z]+)/(.*)$ http://b/$2/$1", "GET /a/c", "http b /c/a"),
        ("ProxyPassMatch ^/m http://b", "GET /m/c", "http b /m/c"),
        ("ProxyPassMatch \\.gif$ !\nProxyPass / http://b/", "GET /a.gif", ""),
        ("<Location /a>\nProxyPass http://b/c\n</Location>", "GET /a/d", "http b /c/d"),
        ("<Location /a>\nProxyPass !\n</Location>\nProxyPass / http://b/", "GET /a/d", ""),
        ("<LocationMatch ^/(a)/>\nProxyPassMatch http://b/$1\n</LocationMatch>", "GET /a/d", "http b /a"),
        ("ProxyPass / http://b/\nRedirect /a http://c/", "GET /a", "http b /a"),
        ("ProxyPass / http://b/\n<Directory />\nRequire all denied\n</Directory>", "GET /a", "http b /a"),
        (
            "ProxyPass / http://b/\n<Proxy *>\nRequire all denied\n</Proxy>\n<Proxy http://b/a>\nRequire all granted\n"
            "</Proxy>\n<DirectoryMatch .>\nRequire all denied\n</DirectoryMatch>",
            "GET /a",
            "http b /a",
        ),
        ("ProxyPass / http://b/\n<Location />\nSetHandler x\n</Location>", "GET /a.php", "http b /a.php"),
        ("RewriteEngine On\nRewriteRule ^/r(.*) http://b/c$1 [P]", "GET /rx%20y?q", "http b /cx%20y?q"),
        ("RewriteEngine On\nRewriteRule ^/r /x.php\nProxyPass / http://b/", "GET /r", ""),
        (
            "<Directory @ROOT@>\nRewriteEngine On\nRewriteRule ^r(.*) http://b/c$1 [P]\n</Directory>",
            "GET /rx%20y?q",
            "http b /cx%20y?q",
        ),
    ],
)
def test_where_requests_go(tmp_path: Path, conf: str, line: str, expected: str) -> None:
    assert shown(tmp_path, conf, line) == expected


def test_files_that_another_server_answers_for(tmp_path: Path) -> None:
    conf = '<FilesMatch \\.php$>\nSetHandler "proxy:unix:/run/p.sock|fcgi://localhost/"\n</FilesMatch>'
    request = walked(tmp_path, conf, "GET /x.php/info?q")
    backend = backend_of(request)
    name = f"{tmp_path}/root/x.php"
    assert backend == Backend("fcgi", "localhost", 8000, "/run/p.sock", name, "q")
    told = forwarding.variables(request, backend, 3)
    assert told["SCRIPT_FILENAME"] == f"proxy:fcgi://localhost{name}"
    assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/x.php", "/info")
    assert told["CONTENT_LENGTH"] == "3"
    assert not backend.reuses


def test_a_handler_that_is_no_url(tmp_path: Path) -> None:
    request = walked(tmp_path, "<Location />\nSetHandler proxy:balancer://x/\n</Location>", "GET /x.php")
    with pytest.raises(HTTPError, match="balancer:// is not supported"):
        backend_of(request)


def test_a_fastcgi_server_is_told_a_file_name(tmp_path: Path) -> None:
    conf = (
        "ProxyPassMatch ^/(.*\\.php)$ fcgi://127.0.0.1:9000/srv/$1 enablereuse=on\n"
        'ProxyFCGISetEnvIf "%{REQUEST_URI} =~ /x/" A "%{reqenv:SCRIPT_FILENAME}+"\n'
        "ProxyFCGISetEnvIf true !SERVER_ADMIN\nProxyFCGIBackendType GENERIC\n"
    )
    request = walked(tmp_path, conf, "GET /a/x.php")
    backend = backend_of(request)
    assert backend is not None
    assert backend.reuses
    told = forwarding.variables(request, backend, None)
    assert (told["SCRIPT_FILENAME"], told["A"]) == ("/srv/a/x.php", "/srv/a/x.php+")
    assert "SERVER_ADMIN" not in told
    assert "A" not in request.env
    request = walked(tmp_path, conf.replace("GENERIC", "FPM"), "GET /a/x.php")
    told = forwarding.variables(request, backend, None)
    assert told["SCRIPT_FILENAME"] == "proxy:fcgi://127.0.0.1:9000/srv/a/x.php"


@pytest.mark.parametrize("scheme", ["scgi", "uwsgi"])
def test_others_are_told_a_path(tmp_path: Path, scheme: str) -> None:
    request = walked(tmp_path, f"ProxyPass /app/ {scheme}://127.0.0.1:1/", "GET /app/a/b")
    backend = backend_of(request)
    assert backend is not None
    told = forwarding.variables(request, backend, None)
    assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/app", "/a/b")


def test_fields_of_a_request(tmp_path: Path) -> None:
    fields = ("Accept: x", "Connection: close, X-Hop", "X-Hop: 1", "TE: trailers", "X-Forwarded-For: 203.0.113.9")
    request = walked(tmp_path, "ProxyPass / http://b:81/", "GET /", *fields, "Expect: 100-continue", "Upgrade: h2c")
    backend = backend_of(request)
    assert backend is not None
    assert forwarding.request_fields(request, backend) == [
        ("Host", "b:81"),
        ("Accept", "x"),
        ("X-Forwarded-For", "203.0.113.9, 192.0.2.7"),
        ("X-Forwarded-Host", "site.test"),
        ("X-Forwarded-Server", "site.test"),
    ]


def test_fields_as_they_may_be_told_to_be(tmp_path: Path) -> None:
    conf = "ProxyPreserveHost On\nProxyAddHeaders Off\nProxyVia On\nProxyPass / http://b/ disablereuse=on upgrade=ANY"
    request = walked(tmp_path, conf, "GET /", "Via: 1.0 x", "Upgrade: y", "Connection: upgrade, via")
    backend = backend_of(request)
    assert backend is not None
    assert forwarding.request_fields(request, backend) == [
        ("Host", "site.test"),
        ("Upgrade", "y"),
        ("Connection", "Upgrade"),
        ("Via", "1.1 site.test"),
    ]
    request = walked(tmp_path, conf, "GET /", "Via: 1.0 x")
    assert forwarding.request_fields(request, backend)[1:] == [("Connection", "close"), ("Via", "1.0 x, 1.1 site.test")]


def test_a_websocket(tmp_path: Path) -> None:
    request = walked(tmp_path, "ProxyPass / ws://b/", "GET /", "Upgrade: WebSocket", "Connection: Upgrade")
    backend = backend_of(request)
    assert backend is not None
    assert forwarding.requested_upgrade(request, backend) == "WebSocket"


def test_parameters_are_those_of_the_nearest_url(tmp_path: Path) -> None:
    conf = (
        "ProxyPass /a http://b/ timeout=5 max=3\nProxyPass /c http://b/c connectiontimeout=500ms retry=0\n"
        "RewriteEngine On\nRewriteRule ^/r http://b/c/d [P]"
    )
    backend = backend_of(walked(tmp_path, conf, "GET /r"))
    assert backend is not None
    assert backend.parameters == Parameters(connection_timeout=0.5, retry=0)
    backend = backend_of(walked(tmp_path, conf, "GET /a"))
    assert backend is not None
    assert backend.parameters == Parameters(timeout=5, maximum=3, retry=60)


SAID = """\
ProxyPass /plain http://plain/
ProxyPass /a http://a/ timeout=5
<Proxy http://a>
ProxySet connectiontimeout=3
</Proxy>
<Proxy "unix:/run/x.sock|fcgi://site" retry=0>
ProxySet connectiontimeout=5 timeout=7200
</Proxy>
ProxySet https://set/ max=7 status=+D
<Location /l/>
ProxyPass http://location/ keepalive=On
ProxySet http://location/ receivebuffersize=4096
</Location>
RewriteEngine On
RewriteRule ^/to/(.*?)/(.*) $1://$2 [P]
RewriteRule ^/socket unix:/run/other.sock|fcgi://site/x [P]
<Location /handler>
SetHandler "proxy:unix:/run/x.sock|fcgi://site/"
</Location>
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/plain", Parameters(retry=60)),
        ("/a", Parameters(timeout=5, connection_timeout=3, retry=60)),
        ("/to/http/other/", Parameters()),
        ("/to/http/ab/", Parameters()),
        ("/to/http/location/x", Parameters(keepalive=True, receive_buffer=4096, retry=60)),
        ("/to/fcgi/site/x", Parameters(connection_timeout=5, timeout=7200, retry=0)),
        ("/socket", Parameters(connection_timeout=5, timeout=7200, retry=0)),
        ("/handler", Parameters(connection_timeout=5, timeout=7200, retry=0)),
    ],
)
def test_what_is_said_of_a_server_counts_wherever_it_is_named(tmp_path: Path, path: str, expected: Parameters) -> None:
    backend = backend_of(walked(tmp_path, SAID, f"GET {path}"))
    assert backend is not None
    assert backend.parameters == expected


@pytest.mark.parametrize(
    ("conf", "status", "message"),
    [
        ("ProxyPass / http://b/ status=D", 503, "is disabled"),
        ("ProxyPass / http://B.example/\nProxyBlock other b.ex", 403, "b.example is in ProxyBlock"),
        ("ProxyPass / http://b/\nProxyBlock *", 403, "is in ProxyBlock"),
    ],
)
def test_servers_that_are_not_asked(tmp_path: Path, conf: str, status: int, message: str) -> None:
    with pytest.raises(HTTPError, match=message) as caught:
        backend_of(walked(tmp_path, conf, "GET /"))
    assert caught.value.status == status


def test_servers_that_may_be_asked(tmp_path: Path) -> None:
    assert backend_of(walked(tmp_path, "ProxyPass / http://b/ status=-D\nProxyBlock c", "GET /")) is not None


def test_max_forwards(tmp_path: Path) -> None:
    conf = "ProxyPass / http://b/\n"

    def left(said: str, *fields: str) -> int | None:
        return forwarding.forwards_left(walked(tmp_path, conf + said, "GET /", *fields))

    assert left("") is None
    assert left("ProxyMaxForwards 10") == 10
    assert left("ProxyMaxForwards 0") == 0
    assert left("ProxyMaxForwards 10", "Max-Forwards: 1") == 0
    for value in ("0", "00", "x", "-1", "1, 2", ""):
        with pytest.raises(HTTPError) as caught:
            left("", f"Max-Forwards: {value}")
        assert caught.value.status == 400


def test_variables_that_change_how_a_server_is_asked(tmp_path: Path) -> None:
    for name, closes in (("proxy-nokeepalive", True), ("force-proxy-request-1.0", True), ("other", False)):
        request = walked(tmp_path, f"ProxyPass / http://b/\nSetEnv {name} 1", "GET /")
        backend = backend_of(request)
        assert backend is not None
        assert (("Connection", "close") in forwarding.request_fields(request, backend)) is closes
    for value, hears in (("RFC", True), ("rfc", True), ("Suppress", False), ("", False)):
        request.env["proxy-interim-response"] = value
        assert forwarding.accepts_interim(request) is hears


def test_a_fastcgi_variable_from_what_its_condition_found(tmp_path: Path) -> None:
    conf = (
        "ProxyPass / fcgi://b/\n"
        'ProxyFCGISetEnvIf "reqenv(\'REQUEST_URI\') =~ m#/(.\\..)/(.*)#" FOUND "<$1|$2|$3>"\n'
        'ProxyFCGISetEnvIf "true" NOTHING "<$1>"\nProxyFCGISetEnvIf "reqenv(\'FOUND\') =~ /z/" NEVER "x"\n'
    )
    request = walked(tmp_path, conf, "GET /1.1/rest")
    backend = backend_of(request)
    assert backend is not None
    found = forwarding.variables(request, backend, None)
    assert (found["FOUND"], found["NOTHING"]) == ("<1.1|rest|>", "<>")
    assert "NEVER" not in found


def test_responses(tmp_path: Path) -> None:
    conf = (
        "ProxyPass /a/ http://b/\nProxyPassReverse /a/ http://b/\nProxyPassReverseCookieDomain b c.test\n"
        "ProxyPassReverseCookiePath / /a/\n<Location /l>\nProxyPassReverse http://l\n</Location>"
    )
    request = walked(tmp_path, conf, "GET /a/")
    fields = [("Location", "HTTP://B/x"), ("Set-Cookie", "s=/; Path=/; domain=B; x"), ("X", "http://b/")]
    assert response_fields(request, fields) == [
        ("Location", "http://site.test/a/x"),
        ("Set-Cookie", "s=/; Path=/a/; domain=c.test; x"),
        ("X", "http://b/"),
    ]
    request = walked(tmp_path, conf, "GET /l/")
    assert response_fields(request, [("Location", "http://l/x")]) == [("Location", "http://site.test/l/x")]


def test_a_proxy_section_may_refuse(tmp_path: Path) -> None:
    site = make_site(tmp_path, "ProxyPass / http://b/\n<ProxyMatch /[ab]$>\nRequire all denied\n</ProxyMatch>")
    assert ask(site, "GET /a").status == 403
    assert ask(site, "GET /c").status != 403


@pytest.mark.parametrize(
    "section",
    [
        "Proxy http://h/a",
        "Proxy unix:/run/x|http://h/",
        "ProxyMatch ^http://h/a",
        "ProxyMatch ^unix:/run/x",
        "Proxy */a*",
    ],
)
def test_a_proxy_section_is_for_what_is_behind_a_socket_too(tmp_path: Path, section: str) -> None:
    kind = section.partition(" ")[0]
    conf = f"ProxyPass / unix:/run/x|http://h/\n<{section}>\nRequire all denied\n</{kind}>"
    assert ask(make_site(tmp_path, conf), "GET /a").status == 403


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("ProxyRequests On", "On is not supported"),
        ("ProxyPass / http://b/ interpolate", "interpolate is not supported"),
        ("ProxyPass / http://b/ secret=x", "the parameter secret is not supported"),
        ("ProxyPass / http://b/ status=X", "expected some of D, S"),
        ("ProxyPass / http://b/ receivebuffersize=100", "at least 512 bytes"),
        ("ProxyPass / http://b/ mapping=any", "expected mapping=encoded or mapping=servlet, not 'any'"),
        ("ProxyPass / unix:/a|http", "expected a URL such as"),
        ("ProxyPassMatch ^/(.*) $1", "expected a URL such as"),
        ("ProxyPassMatch ^/(.*) http://b:$1x/", "expected a host, and perhaps a port"),
        ("ProxySet http://b/", "expected key=value, got none"),
        ("ProxySet b timeout=5", "expected a URL such as"),
        ("ProxySet balancer://b lbmethod=byrequests", "balancer:// is not supported"),
        ("<Proxy *>\nProxySet timeout=5\n</Proxy>", "expected a URL such as"),
        ("<Proxy http://b/ timeout>\n</Proxy>", "expected key=value, not 'timeout'"),
        ("<ProxyMatch ^http://b/>\nProxySet timeout=5\n</ProxyMatch>", "cannot stand in <ProxyMatch>"),
        ("ProxyBadHeader Ignore", "Ignore is not supported"),
        ("ProxyRemote * http://p:8080", "name the other proxy in ProxyPass"),
        ("ProxySourceAddress host.example", "expected a numeric address"),
        ("ProxyReceiveBufferSize 100", "at least 512 bytes"),
        ("ProxyPassInterpolateEnv On", "RewriteRule .P. can do that"),
        ("ProxyRequests On", "ProxyPass is enough"),
        ("ProxyPass / http://b/ timeout", "nocanon, noquery or key=value, not 'timeout'"),
        ("ProxyPass / balancer://b/", "balancer:// is not supported"),
        ("ProxyPass / b", "expected a URL such as"),
        ("ProxyPass / unix:x|http://h/", "the absolute path of a socket"),
        ("ProxyPass / http://u:p@b/", "expected a host, and perhaps a port"),
        ("ProxyPass / http://b:99999/", "number from 1 to 65535"),
        ("ProxyPass / http:///x", "expected a host"),
        ("ProxyPass http://b/", "expected a path and a URL"),
        ("ProxyPass x http://b/", "begins with /"),
        ("<Location /a>\nProxyPass /a http://b/\n</Location>", "expected a URL alone"),
        ("<If true>\nProxyPass http://b/\n</If>", "cannot stand in <If>"),
        ("<Directory /a>\nProxyPass http://b/\n</Directory>", "cannot stand in <Directory>"),
        ("ProxyErrorOverride On 200", "number from 400 to 599"),
        ("ProxyVia x", "expected On, Off, Full or Block"),
    ],
)
def test_what_is_refused(tmp_path: Path, conf: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_server(tmp_path, conf)


def test_settings_pickle(tmp_path: Path) -> None:
    conf = "ProxyPassMatch a http://b/ max=2\nProxyErrorOverride On\nProxyFCGISetEnvIf true a b\nProxyPassReverse / http://b"
    server = make_server(tmp_path, conf)
    again = pickle.loads(pickle.dumps(server.settings))
    assert repr(again.values) == repr(server.settings.values)


@given(st.text() | st.from_regex(r"(unix:/a\|)?(http|fcgi)://[a-z@\[\]:.0-9]*(/.*)?", fullmatch=True))
def test_urls_are_read_or_refused(text: str) -> None:
    try:
        backend = parse_url(text)
    except ArgumentError:
        return
    assert backend.target.isascii()
    assert not set(backend.target) & set(" \r\n\0")
    assert backend.host
    assert "@" not in backend.host
    assert 0 < backend.port < 65536


@given(st.text(), st.lists(st.builds(Reverse, st.text(min_size=1, max_size=4), st.text(max_size=4))))
def test_reversing_never_fails(text: str, reverses: list[Reverse]) -> None:
    reversed_url(text, tuple(reverses), lambda: "http://x")
    reversed_cookie(text, tuple(reverses), tuple(reverses))
