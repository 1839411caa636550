"""mod_fcgid: its directives, which program a script gets, and what is refused before."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost.apps import fcgid
from ownhost.apps.app import App
from ownhost.config.directive import REGISTRY, Answer, ConfigError
from ownhost.config.known_names import MODULE_DIRECTIVES
from ownhost.http.message import HTTPError
from ownhost.modules.mod_fcgid import COMMANDS, INITIAL_ENV, PASS_HEADERS, WRAPPERS, CommandOptions, Wrapper
from ownhost.request.request import Phase, Request
from ownhost.request.road import advance
from serving import ask, make_request, make_server, make_site

ON = "AddHandler fcgid-script .php .cgi .v\nOptions +ExecCGI\n"
RENAMED = {  # the names that directives had up to mod_fcgid 2.2
    "BusyScanInterval": "FcgidBusyScanInterval",
    "DefaultInitEnv": "FcgidInitialEnv",
    "DefaultMaxClassProcessCount": "FcgidMaxProcessesPerClass",
    "FCGIWrapper": "FcgidWrapper",
    "IdleTimeout": "FcgidIdleTimeout",
    "IPCCommTimeout": "FcgidIOTimeout",
    "MaxRequestLen": "FcgidMaxRequestLen",
    "MaxRequestsPerProcess": "FcgidMaxRequestsPerProcess",
    "PassHeader": "FcgidPassHeader",
    "PHP_Fix_Pathinfo_Enable": "FcgidFixPathinfo",
    "SocketPath": "FcgidIPCDir",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "folder.php").mkdir(parents=True)
    for name in ("i.php", "p.cgi"):
        (folder / name).write_text("secret")
    return tmp_path


def request(root: Path, text: str, target: str) -> Request:
    """A request as far as its handler."""
    found = make_request(make_site(root, ON + text), f"GET {target}").request
    assert advance(found, Phase.FIXUPS) is None
    return found


def app(root: Path, text: str, target: str = "/i.php") -> App:
    return fcgid.app_of(request(root, text, target))


# Directives


def test_wrappers(root: Path) -> None:
    text = "FcgidWrapper /w .php\nFCGIWrapper \"/bin/sh -c 'a b'\" .v virtual\nFcgidWrapper /all virtual\n"
    assert make_server(root, text).settings[WRAPPERS] == {
        ".php": Wrapper(("/w",)),
        ".v": Wrapper(("/bin/sh", "-c", "a b"), virtual=True),
        "": Wrapper(("/all",), virtual=True),
    }


@pytest.mark.parametrize(
    "line", ["", "w .php", "/w php", "/w .php .x", "/w a/.php", "/w .php virtually", '""', "/w .a b c"]
)
def test_wrong_wrappers_are_errors(root: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="FcgidWrapper: expected"):
        make_server(root, f"FcgidWrapper {line}")


def test_other_settings(root: Path) -> None:
    settings = make_server(
        root,
        "FcgidInitialEnv A b\nDefaultInitEnv C\nFcgidPassHeader X-A\nPassHeader Authorization\n"
        "FcgidCmdOptions /w MaxProcesses 3 InitialEnv D=e=f InitialEnv G IOTimeout 7 MinProcesses 1\n",
    ).settings
    assert settings[INITIAL_ENV] == {"A": "b", "C": ""}
    assert settings[PASS_HEADERS] == ("X-A", "Authorization")
    assert settings[COMMANDS] == {
        "/w": CommandOptions(environment=(("D", "e=f"), ("G", "")), processes=3, io_timeout=7)
    }


@pytest.mark.parametrize("line", ["/w", "/w MaxProcesses", "/w Bogus 1", "/w IOTimeout x", "/w InitialEnv =x"])
def test_wrong_options_of_commands_are_errors(root: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="FcgidCmdOptions: expected"):
        make_server(root, f"FcgidCmdOptions {line}")


def test_every_directive_of_the_module_is_known() -> None:
    for name in MODULE_DIRECTIVES["mod_fcgid"].split():
        assert name.lower() in REGISTRY, name
    for old, new in RENAMED.items():
        one, other = REGISTRY[old.lower()], REGISTRY[new.lower()]
        assert (one.setting, one.where, one.answer) == (other.setting, other.where, other.answer)


@pytest.mark.parametrize("name", ["FcgidAuthenticator", "FcgidAccessChecker", "FcgidAuthorizer", "FastCgiAuthorizer"])
def test_what_says_who_may_see_a_page_is_an_error(root: Path, name: str) -> None:
    assert REGISTRY[name.lower()].answer is Answer.UNSUPPORTED
    with pytest.raises(ConfigError, match="not supported"):
        make_server(root, f"<Location />\n{name} /x\n</Location>")


# Programs


def test_the_wrapper_for_the_extension_runs(root: Path) -> None:
    text = 'FcgidWrapper "/w/start -d x=y" .php\nFcgidWrapper /other\n'
    assert app(root, text).command == ("/w/start", "-d", "x=y")
    assert app(root, text).folder == "/w"
    assert app(root, text, "/p.cgi").command == ("/other",)
    assert app(root, "FcgidWrapper /w .php", "/p.cgi").command == (f"{root}/root/p.cgi",)


def test_what_a_program_is_told_at_its_start(root: Path) -> None:
    text = (
        "FcgidWrapper /w .php\nFcgidInitialEnv A b\nFcgidInitialEnv C d\nFcgidCmdOptions /w InitialEnv C=other\n"
        "FcgidMaxRequestsPerProcess 500\nFcgidMaxProcessesPerClass 3\nFcgidIdleTimeout 9\nFcgidIOTimeout 8\n"
    )
    found = app(root, text)
    assert dict(found.environment) == {"A": "b", "C": "other", "PHP_FCGI_MAX_REQUESTS": "500"}
    assert (found.processes, found.idle_timeout, found.request_timeout, found.listens) == (3, 9, 8, True)
    assert app(root, f"{text}FcgidInitialEnv PHP_FCGI_MAX_REQUESTS 7").environment[-1][1] == "7"


@pytest.mark.parametrize(
    ("text", "target", "status"),
    [
        ("Options -ExecCGI", "/i.php", 403),
        ("", "/none.php", 404),
        ("FcgidWrapper /w .php", "/none.php", 404),
        ("FcgidWrapper /w .php", "/folder.php/", 403),
        ("AcceptPathInfo Off", "/i.php/more", 404),
    ],
)
def test_what_is_refused(root: Path, text: str, target: str, status: int) -> None:
    with pytest.raises(HTTPError) as caught:
        app(
            root,
            f"DirectoryIndex disabled\n<Location /folder.php>\nSetHandler fcgid-script\n</Location>\n{text}",
            target,
        )
    assert caught.value.status == status


def test_a_virtual_wrapper_runs_what_is_not_there(root: Path) -> None:
    assert app(root, "FcgidWrapper /w .v virtual", "/none.v").command == ("/w",)


def test_what_requests_tell(root: Path) -> None:
    site = make_site(root, f"{ON}FcgidPassHeader Authorization\nFcgidPassHeader X-Thing\nFcgidFixPathinfo 1")
    found = make_request(site, "GET /i.php/more", "Authorization: Basic YTpi", "X-Thing: y").request
    advance(found, Phase.ACCESS)
    variables = fcgid.fcgid_environment(found, None)
    assert variables["Authorization"] == variables["HTTP_AUTHORIZATION"] == "Basic YTpi"
    assert (variables["X-Thing"], variables["FCGI_ROLE"]) == ("y", "RESPONDER")
    assert variables["SCRIPT_FILENAME"] == f"{root}/root/i.php/more"
    hidden = make_request(make_site(root, ON), "GET /i.php", "Authorization: Basic YTpi").request
    advance(hidden, Phase.ACCESS)
    assert "HTTP_AUTHORIZATION" not in fcgid.fcgid_environment(hidden, None)


def test_without_programs_it_is_an_error(root: Path) -> None:
    assert ask(make_site(root, ON), "GET /none.php").status == 404
    asked = ask(make_site(root, ON), "GET /i.php")
    assert asked.response.deferred is not None
