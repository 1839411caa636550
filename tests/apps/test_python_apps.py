"""WSGI's and ASGI's directives: which request is for which application, and which program runs it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from ownhost import modules
from ownhost.apps import asgi, wsgi
from ownhost.apps.app import App, Protocol
from ownhost.config.directive import ConfigError
from ownhost.config.model import VirtualHost
from ownhost.config.reader import read
from ownhost.http.head import parse_head
from ownhost.http.limits import head_limits
from ownhost.http.message import HTTPError
from ownhost.modules import mod_asgi, mod_wsgi
from ownhost.request.request import Endpoints, Phase, Request
from ownhost.request.road import advance
from ownhost.request.site import Site

pytestmark = pytest.mark.slow

modules.load()
WRONG_USER = "#54321"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with scripts in it."""
    for name in ("site.wsgi", "apps/one.wsgi", "docs/page.wsgi", "docs/static/x.css", "asgi.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def server_of(root: Path, text: str, main: str = "") -> VirtualHost:
    path = root / "site.conf"
    text = (
        f"ServerRoot {root}\nListen 127.0.0.1:80\nServerName main.test\nTypesConfig /dev/null\n{main}\n"
        f"<VirtualHost *:80>\nServerName site.test\nDocumentRoot {root}/docs\n{text}\n</VirtualHost>\n"
    )
    path.write_text(text.replace("@ROOT@", str(root)))
    return read(str(path)).virtual_hosts[0]


def request_for(server: VirtualHost, path: str) -> Request:
    site = Site(server, lambda _: True, lambda _: None)
    head = parse_head(f"GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n".encode(), head_limits(site.settings))
    return Request(head, Endpoints("127.0.0.1", 4000, "127.0.0.1", 80), site, 0.0, lambda *_: None)


def found(root: Path, text: str, path: str = "/", main: str = "") -> Request:
    """A request, up to its handler."""
    request = request_for(server_of(root, text, main), path)
    assert advance(request, Phase.FIXUPS) is None
    return request


def script_name(request: Request) -> str:
    return request.uri.removesuffix(request.path_info)


@pytest.mark.parametrize(
    ("text", "path", "script", "name", "info"),
    [
        ("WSGIScriptAlias / @ROOT@/site.wsgi", "/", "site.wsgi", "", "/"),
        ("WSGIScriptAlias / @ROOT@/site.wsgi", "/a/b", "site.wsgi", "", "/a/b"),
        ("WSGIScriptAlias /app @ROOT@/site.wsgi", "/app", "site.wsgi", "/app", ""),
        ("WSGIScriptAlias /app site.wsgi", "/app/x", "site.wsgi", "/app", "/x"),
        ("WSGIScriptAlias /s/ @ROOT@/apps/", "/s/one.wsgi/x", "apps/one.wsgi", "/s/one.wsgi", "/x"),
        (r"WSGIScriptAliasMatch ^/(\w+)-app @ROOT@/apps/$1.wsgi", "/one-app/x", "apps/one.wsgi", "/one-app", "/x"),
        ("WSGIScriptAliasMatch ^/ @ROOT@/site.wsgi", "/x", "site.wsgi", "", "/x"),
        ("AddHandler wsgi-script .wsgi\nOptions ExecCGI", "/page.wsgi/x", "docs/page.wsgi", "/page.wsgi", "/x"),
    ],
)
def test_where_an_application_is(root: Path, text: str, path: str, script: str, name: str, info: str) -> None:
    request = found(root, text, path)
    assert request.handler == "wsgi-script"
    assert request.filename == str(root / script)
    assert (script_name(request), request.path_info) == (name, info)
    assert wsgi.app_of(request).command[-2:] == (str(root / script), "application")


def test_an_alias_leaves_the_rest_to_the_application(root: Path) -> None:
    text = "WSGIScriptAlias / @ROOT@/site.wsgi\nAlias /static @ROOT@/docs/static"
    assert found(root, text, "/static/x.css").handler == ""
    assert found(root, text, "/other").handler == "wsgi-script"


def test_elsewhere_is_no_application(root: Path) -> None:
    assert found(root, "WSGIScriptAlias /app @ROOT@/site.wsgi", "/application").handler == ""


@pytest.mark.parametrize(
    ("text", "path", "status"),
    [
        ("AddHandler wsgi-script .wsgi", "/page.wsgi", 403),
        ("WSGIScriptAlias / @ROOT@/gone.wsgi", "/", 404),
        ("WSGIScriptAlias / @ROOT@/apps", "/", 404),
        ("WSGIScriptAlias / @ROOT@/site.wsgi\nAcceptPathInfo Off", "/x", 404),
        ("WSGIScriptAlias / @ROOT@/site.wsgi process-group=nobodys", "/", 500),
        (f"WSGIScriptAlias / @ROOT@/site.wsgi process-group=g\nWSGIDaemonProcess g user={WRONG_USER}", "/", 500),
        ("WSGIScriptAlias / @ROOT@/site.wsgi process-group=g\nWSGIDaemonProcess g group=no-such-group", "/", 500),
    ],
)
def test_what_is_refused(root: Path, text: str, path: str, status: int) -> None:
    with pytest.raises(HTTPError) as refused:
        wsgi.app_of(found(root, text, path))
    assert refused.value.status == status


def test_every_option_of_a_group(root: Path) -> None:
    text = (
        f"WSGIDaemonProcess blog processes=2 threads=1 home=@ROOT@/apps python-home=/srv/venv python-path=/a:/b "
        f"display-name=%{{GROUP}} maximum-requests=9 request-timeout=30 inactivity-timeout=40 lang=de_DE.UTF-8 "
        f'locale=C.UTF-8 umask=0027 user="#{os.geteuid()}" group=#{os.getegid()} deadlock-timeout=60\n'
        "WSGIProcessGroup blog\nWSGIApplicationGroup %{GLOBAL}\nWSGIScriptReloading Off\nWSGICallableObject app\n"
        "WSGIScriptAlias / @ROOT@/site.wsgi"
    )
    app = wsgi.app_of(found(root, text))
    python, runner, *arguments = app.command
    assert (python, runner) == ("/srv/venv/bin/python", "{folder}/wsgi_runner.py")
    assert arguments == [
        f"--home={root}/apps",
        "--python-path=/a:/b",
        "--maximum-requests=9",
        "--request-timeout=30",
        "--process-group=blog",
        "--umask=0027",
        "--title=(wsgi:blog)",
        "--no-reload",
        "--",
        f"{root}/site.wsgi",
        "app",
    ]
    assert app.environment == (("LANG", "de_DE.UTF-8"), ("LC_ALL", "C.UTF-8"))
    assert (app.folder, app.processes, app.max_requests) == (f"{root}/apps", 2, 9)
    assert (app.request_timeout, app.idle_timeout, app.protocol) == (30, 40, Protocol.FASTCGI)
    assert pickle.loads(pickle.dumps(app)) == app
    assert {name: text.splitlines()[0] for name, text in app.files}.keys() == {"wsgi_runner.py", "fastcgi_responder.py"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("user=\"#9\" group='#8'", {"user": "#9", "group": "#8"}),
        ('user="#9"group="#8"', {"user": "#9", "group": "#8"}),
        ("user= news", {"user": "news"}),
        ('home="/a b" python-path="/c d:/e"', {"home": "/a b", "python_path": "/c d:/e"}),
        ('display-name="my \\"app\\"" processes="2"', {"display_name": 'my "app"', "processes": 2}),
        ('display-name=a"b lang=""', {"display_name": 'a"b', "lang": ""}),
        ('user="#9', {"user": "#9"}),
    ],
)
def test_values_of_options_may_be_in_quotes(root: Path, options: str, expected: dict[str, str | int]) -> None:
    """All of these are what Debian's mod_wsgi 4.9.4 takes, too."""
    for module, name in ((mod_wsgi, "WSGIDaemonProcess"), (mod_asgi, "ASGIDaemonProcess")):
        daemon = server_of(root, f'{name} "g" {options}').settings[module.DAEMONS]["g"]
        assert {key: getattr(daemon, key) for key in expected} == expected


def test_values_of_an_aliass_options_may_be_in_quotes(root: Path) -> None:
    text = (
        'WSGIDaemonProcess "a b"\n'
        'WSGIScriptAlias "/" "@ROOT@/site.wsgi" process-group="a b" application-group="x y"\n'
        'ASGIDaemonProcess "a b"\nASGIScriptAlias "/asgi" "@ROOT@/asgi.py" process-group="a b"'
    )
    app = wsgi.app_of(found(root, text))
    assert {"--process-group=a b", "--application-group=x y"} <= set(app.command)
    assert asgi_app(root, text, "/asgi")[0].name == "a b"


def test_the_main_servers_settings_hold_where_nothing_else_is_said(root: Path) -> None:
    main = "WSGIPythonHome /srv/all\nWSGIPythonPath /lib\nMaxConnectionsPerChild 7\nWSGIDaemonProcess shared"
    app = wsgi.app_of(found(root, "WSGIScriptAlias / @ROOT@/site.wsgi process-group=shared", main=main))
    assert app.command[0] == "/srv/all/bin/python"
    assert "--python-path=/lib" in app.command
    assert (app.name, app.max_requests) == ("shared", 7)


def test_a_virtual_hosts_group_comes_before_the_main_servers(root: Path) -> None:
    text = "WSGIDaemonProcess g processes=2\nWSGIScriptAlias / @ROOT@/site.wsgi\nWSGIProcessGroup g"
    assert wsgi.app_of(found(root, text, main="WSGIDaemonProcess g processes=5")).processes == 2


def test_sections_choose_groups_and_aliases_choose_for_themselves(root: Path) -> None:
    text = (
        "WSGIDaemonProcess a\nWSGIDaemonProcess b\nWSGIDaemonProcess c\nSetEnv GROUP c\nWSGIProcessGroup a\n"
        "WSGIScriptAlias /own @ROOT@/apps/one.wsgi process-group=b application-group=x callable-object=app "
        "pass-authorization=On\nWSGIScriptAlias / @ROOT@/site.wsgi\n"
        "<Location /b>\nWSGIProcessGroup b\n</Location>\n<Location /c>\nWSGIProcessGroup %{ENV:GROUP}\n</Location>\n"
        "<Location /none>\nWSGIProcessGroup %{GLOBAL}\nWSGIPassAuthorization On\n</Location>"
    )
    groups = {path: wsgi.app_of(found(root, text, path)).name for path in ("/", "/b", "/c", "/none", "/own")}
    assert groups == {"/": "a", "/b": "b", "/c": "c", "/none": "site.wsgi", "/own": "b"}
    assert wsgi.app_of(found(root, text, "/own")).command[-1] == "app"
    passed = {path: mod_wsgi.passes_authorization(found(root, text, path)) for path in ("/", "/none", "/own")}
    assert passed == {"/": False, "/none": True, "/own": True}


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("%{RESOURCE}", "site.test|@ROOT@/site.wsgi"),
        ("%{SERVER}", "site.test"),
        ("%{HOST}", "site.test"),
        ("%{ENV:NAME}", "alice"),
        ("%{GLOBAL}", ""),
        ("mine", "mine"),
    ],
)
def test_application_groups(root: Path, group: str, expected: str) -> None:
    text = f"SetEnv NAME alice\nWSGIApplicationGroup {group}\nWSGIScriptAlias / @ROOT@/site.wsgi"
    assert mod_wsgi.application_group(found(root, text)) == expected.replace("@ROOT@", str(root))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("WSGIDaemonProcess", "expected a name"),
        ("WSGIDaemonProcess a processes", "expected an option such as processes=2"),
        ("WSGIDaemonProcess a processes=0", "a number of at least 1"),
        ("WSGIDaemonProcess a prcesses=2", "did you mean processes?"),
        ("WSGIDaemonProcess a chroot=/srv", "chroot= is not supported"),
        ('WSGIDaemonProcess a "user=#9"', "did you mean user?"),
        ("WSGIDaemonProcess a user = news", "expected an option such as processes=2"),
        ('WSGIDaemonProcess a user=""', "expected a value for user="),
        ("WSGIDaemonProcess a group=", "expected a value for group="),
        ("WSGIDaemonProcess a home=srv", "must be an absolute folder"),
        ("WSGIDaemonProcess a umask=99", "octal"),
        ("WSGIDaemonProcess a\nWSGIDaemonProcess a", "already"),
        ("WSGIScriptAlias /", "expected a path and a script"),
        ("WSGIScriptAlias app /site.wsgi", "begins with /"),
        ("WSGIScriptAlias / /site.wsgi proces-group=x", "expected process-group="),
        ('WSGIScriptAlias / /site.wsgi "process-group=x"', "expected process-group="),
        ('WSGIScriptAlias / /site.wsgi process-group=""', "expected a value for process-group="),
        ("WSGICallableObject a-b", "name of a Python variable"),
        ("WSGIApplicationGroup %{NOTHING}", "not '%{NOTHING}'"),
        ("WSGIImportScript /x", "not supported"),
        ("ASGIScriptAlias / /srv/app", "a file such as"),
        ("ASGIScriptAlias / /srv/app.py:a-b", "name of a Python variable"),
    ],
)
def test_what_is_said_of_mistakes(root: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        server_of(root, line)
    assert message in str(error.value)


def test_threads_are_remarked_upon(root: Path) -> None:
    path = root / "threads.conf"
    path.write_text("Listen 127.0.0.1:80\nServerName x\nWSGIDaemonProcess a processes=2 threads=15\n")
    assert any("one request at a time" in note.message for note in read(str(path)).notes)


def asgi_app(root: Path, text: str, path: str = "/") -> tuple[App, str]:
    request = found(root, text, path)
    assert request.handler == "asgi-script"
    return asgi.app_of(request), asgi.target(request)


def test_asgi(root: Path) -> None:
    text = (
        "ASGIDaemonProcess chat python-home=/srv/venv python-path=/lib processes=2\n"
        "ASGIScriptAlias /chat @ROOT@/asgi.py:app process-group=chat\nASGIScriptAlias / @ROOT@/asgi.py"
    )
    app, target = asgi_app(root, text, "/chat/a%20b/%C3%A9?q=%20")
    assert app.command[:3] == ("/srv/venv/bin/python", "-m", "uvicorn")
    assert app.command[-1] == "asgi:app"
    assert {"--root-path=/chat", f"--app-dir={root}", "--fd=0"} <= set(app.command)
    assert (app.protocol, app.processes, app.at_once, app.watched) == (Protocol.HTTP, 2, 0, (f"{root}/asgi.py",))
    assert app.environment == (("PYTHONPATH", "/lib"),)
    assert target == "/a%20b/%C3%A9?q=%20"
    app, target = asgi_app(root, text, "/other")
    assert app.command[-1] == "asgi:application"
    assert target == "/other"
    assert asgi_app(root, text, "/chat")[1] == "/"


def test_who_serves_is_said_by_no_group(root: Path) -> None:
    """The message names the directive that tried."""
    for kind, app_of in (("WSGI", wsgi.app_of), ("ASGI", asgi.app_of)):
        script = "site.wsgi" if kind == "WSGI" else "asgi.py"
        text = f"{kind}DaemonProcess g user={WRONG_USER}\n{kind}ScriptAlias / @ROOT@/{script} process-group=g"
        with pytest.raises(HTTPError, match=f"{kind}DaemonProcess g has user={WRONG_USER}, but") as refused:
            app_of(found(root, text))
        assert refused.value.status == 500


def test_asgi_scripts_have_an_alias(root: Path) -> None:
    with pytest.raises(HTTPError, match="only for what ASGIScriptAlias names"):
        asgi.app_of(found(root, "SetHandler asgi-script", "/page.wsgi"))
