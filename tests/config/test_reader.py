"""`read` as its callers see it: command-line directives, errors of the file itself, noise, merging."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ownhost import modules
from ownhost.config.directive import ConfigError
from ownhost.config.model import Config
from ownhost.config.reader import read
from ownhost.config.server_name import SERVER_NAME
from ownhost.modules.core_server import PID_FILE
from ownhost.request.names import SERVER_ADMIN

modules.load()


def parse(folder: Path, text: str | bytes, **options: object) -> Config:
    file = folder / "ownhost.conf"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    options.setdefault("environ", {})
    return read(str(file), resolver=no_names, **options)  # type: ignore[arg-type]


def no_names(host: str) -> list[str]:
    raise OSError(-2, "no such name")


def problems(folder: Path, text: str | bytes, **options: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(folder, text, **options)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_command_line_directives_come_before_and_after(tmp_path: Path) -> None:
    text = "ServerName ${who}.example\nServerAdmin file"
    config = parse(tmp_path, text, before=["Define who c", "ServerAdmin before"], after=["ServerAdmin after"])
    assert config.main.settings[SERVER_NAME].host == "c.example"
    assert config.main.settings[SERVER_ADMIN] == "after"
    assert str(config.main.origins[SERVER_ADMIN.name]) == "-c:1"


def test_a_section_may_take_several_command_line_directives(tmp_path: Path) -> None:
    config = parse(tmp_path, "", after=["<VirtualHost *>", "ServerName v", "</VirtualHost>"])
    assert config.virtual_hosts[0].settings[SERVER_NAME].host == "v"


def test_server_root_is_the_files_folder_until_said(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert parse(tmp_path, "PidFile run/pid").main.settings[PID_FILE] == f"{tmp_path}/run/pid"
    config = parse(tmp_path, "PidFile pid", server_root=f"{tmp_path}/other")
    assert config.main.settings[PID_FILE] == f"{tmp_path}/other/pid"
    config = parse(tmp_path, f'ServerRoot "{tmp_path}/other/"\nPidFile pid')
    assert config.main.settings[PID_FILE] == f"{tmp_path}/other/pid"
    assert config.server_root == f"{tmp_path}/other"


def test_a_variable_beats_the_environment(tmp_path: Path) -> None:
    environ = {"A": "environment", "B": "environment"}
    config = parse(tmp_path, "Define a file\nServerAdmin ${A}-${B}", environ=environ)
    assert config.main.settings[SERVER_ADMIN] == "file-environment"


def test_a_file_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(str(tmp_path / "none.conf"))


def test_all_files_read_are_listed(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("ServerAdmin part")
    assert parse(tmp_path, "Include part").files == [f"{tmp_path}/ownhost.conf", f"{tmp_path}/part"]


def test_virtual_hosts_inherit_and_keep_their_numbers(tmp_path: Path) -> None:
    config = parse(
        tmp_path,
        """
        <VirtualHost *>
            <Location /own>
            </Location>
        </VirtualHost>
        <VirtualHost *>
            ServerAdmin own
        </VirtualHost>
        ServerAdmin main
        <Location /main>
        </Location>
        """,
    )
    assert [server.id for server in config.servers] == [0, 1, 2]
    assert [server.settings[SERVER_ADMIN] for server in config.servers] == ["main", "main", "own"]
    assert [section.pattern for section in config.virtual_hosts[0].sections] == ["/main", "/own"]
    assert [section.pattern for section in config.main.sections] == ["/main"]
    assert config.virtual_hosts[0].origins["ServerAdmin"].line == 9


def test_a_configuration_pickles(tmp_path: Path) -> None:
    config = parse(tmp_path, "<VirtualHost *>\n<Files ~ a|b>\nServerSignature On\n</Files>\n</VirtualHost>\nListen 1")
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_virtual_host_whose_name_has_no_address_is_noted(tmp_path: Path) -> None:
    config = parse(tmp_path, "<VirtualHost nowhere.invalid:80 *:81>\n</VirtualHost>")
    assert [str(address) for address in config.virtual_hosts[0].addresses] == ["*:81"]
    assert "nowhere.invalid:80 has no address" in config.notes[0].message


def test_a_listen_whose_name_has_no_address_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, "Listen nowhere.invalid:80\nBogus") == [
        "ownhost.conf:1: Listen: nowhere.invalid has no address: no such name",
        "ownhost.conf:2: unknown directive Bogus",
    ]


def test_a_nul_byte_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, b"ServerAdmin a\0b") == ["ownhost.conf:1: expected text, found a NUL byte"]


def test_bytes_that_are_no_utf8_survive(tmp_path: Path) -> None:
    config = parse(tmp_path, b"PidFile /\xff\xc3\xa4")
    assert config.main.settings[PID_FILE].encode("utf-8", "surrogateescape") == b"/\xff\xc3\xa4"


def test_sections_without_end_are_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, "<If true>\n" * 10_000)
    assert found == ["ownhost.conf:101: sections nested deeper than 100 levels"]


def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "again").symlink_to(tmp_path / "d")
    assert "folders nested deeper than 20 levels" in problems(tmp_path, "Include d")[0]


def test_macros_that_grow_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ownhost.config.tree.MAX_LINES", 1000)
    text = "<Macro m0>\nServerAdmin x\n</Macro>\n"
    text += "".join(f"<Macro m{n}>\nUse m{n - 1}\nUse m{n - 1}\n</Macro>\n" for n in range(1, 31))
    assert "more than 1000 lines" in problems(tmp_path, text + "Use m30")[0]


def test_all_problems_come_in_order(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("Bogus part\n")
    found = problems(tmp_path, "</If>\nBogus 2\nInclude part\nListen 0\n<Directory /x>\nDefine\n")
    assert [problem.split(": ")[0] for problem in found] == [
        "ownhost.conf:1",
        "ownhost.conf:2",
        "part:1",
        "ownhost.conf:4",
        "ownhost.conf:5",
        "ownhost.conf:6",
    ]


def test_the_shape_of_debians_configuration(tmp_path: Path) -> None:
    for name in ("mods-enabled", "conf-enabled", "sites-enabled"):
        (tmp_path / name).mkdir()
    (tmp_path / "ports.conf").write_text("Listen 80\n<IfModule mod_gnutls.c>\n\tListen 443\n</IfModule>\n")
    (tmp_path / "mods-enabled" / "mpm_itk.load").write_text("LoadModule mpm_itk_module modules/mpm_itk.so\n")
    (tmp_path / "mods-enabled" / "mpm_prefork.conf").write_text(
        "<IfModule mpm_prefork_module>\nStartServers 5\nMaxRequestWorkers 150\n</IfModule>\n"
    )
    (tmp_path / "conf-enabled" / "security.conf").write_text("ServerTokens OS\nServerSignature On\n")
    (tmp_path / "conf-enabled" / "README").write_text("not read\n")
    (tmp_path / "sites-enabled" / "000-default.conf").write_text(
        "<VirtualHost *:80>\nServerAdmin webmaster@localhost\n</VirtualHost>\n# vim: syntax=apache\n"
    )
    config = parse(
        tmp_path,
        """
        DefaultRuntimeDir ${APACHE_RUN_DIR}
        PidFile ${APACHE_PID_FILE}
        User ${APACHE_RUN_USER}
        HostnameLookups Off
        IncludeOptional mods-enabled/*.load
        IncludeOptional mods-enabled/*.conf
        Include ports.conf
        IncludeOptional conf-enabled/*.conf
        IncludeOptional sites-enabled/*.conf
        """,
        environ={"APACHE_RUN_USER": "www-data", "APACHE_RUN_DIR": "/run", "APACHE_PID_FILE": "/run/a.pid"},
    )
    assert [str(listener.address) for listener in config.listeners] == ["*:80"]
    assert config.virtual_hosts[0].settings[SERVER_ADMIN] == "webmaster@localhost"
    assert config.main.settings.values["User"] == "www-data"
    assert config.notes == []


PIECES = st.sampled_from(
    [
        "<If true>", "</If>", "<Else>", "</Else>", "<Directory /a>", "</Directory>", "<VirtualHost *:80>",
        "</VirtualHost>", "<Macro m $a>", "</Macro>", "Use m x", "Use m", "<IfDefine x>", "</IfDefine>", "Define x y",
        "<Limit GET>", "</Limit>", "<Files ~", ">", "ServerName ${x}", "Listen 80", "Include /nonexistent", "\\", '"',
        "<", "</", "</>", "<>", "LoadModule", "UndefMacro m", "<IfVersion > 2>", "</IfVersion>", "ServerAlias *",
    ]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(), st.lists(PIECES, max_size=30).map(lambda lines: "\n".join(lines).encode())))
def test_noise_is_a_configuration_or_a_config_error(tmp_path: Path, noise: bytes) -> None:
    try:
        config = parse(tmp_path, noise)
    except ConfigError as error:
        assert error.problems  # noqa: PT017 - one of two good ends
        assert all(problem.source.line >= 1 for problem in error.problems)  # noqa: PT017 - one of two good ends
    else:
        assert [server.id for server in config.servers] == list(range(len(config.servers)))
