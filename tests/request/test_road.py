"""The road of a request: its phases in order, where requests enter it, and who listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownhost.http.message import HTTPError, Response
from ownhost.request.module import MODULES, Module
from ownhost.request.phases import PHASES
from ownhost.request.redirects import MAX_REDIRECTS, answer, redirected, subrequest
from ownhost.request.request import Phase, Request
from ownhost.request.road import Outcome, Step, advance
from ownhost.request.site import Site
from serving import Asked, ask, make_request, make_site

CONFIGURATION = "AddType text/plain .txt\n"


class Heard:
    """What a listener heard: phase and module of each step, and of whom, with what came of it."""

    def __init__(self) -> None:
        self.steps: list[tuple[Phase, str, str, str]] = []

    def __call__(self, step: Step, request: Request, outcome: Outcome) -> None:
        came = str(outcome.status) if isinstance(outcome, Response | HTTPError) else type(outcome).__name__
        self.steps.append((step.phase, step.module, request.uri, came))

    @property
    def phases(self) -> list[Phase]:
        """Each phase once, in the order in which it was heard of."""
        return list(dict.fromkeys(phase for phase, *_ in self.steps))


@pytest.fixture
def heard() -> Heard:
    return Heard()


def listened(folder: Path, heard: Heard, text: str = "") -> Site:
    """A site with a file and a folder with an index, whose every step is heard."""
    site = make_site(folder, CONFIGURATION + text)
    (folder / "root/d").mkdir(parents=True, exist_ok=True)
    (folder / "root/a.txt").write_text("a")
    (folder / "root/d/index.html").write_text("index")
    return Site(site.virtual_host, site.is_mine, site.memory.looks.at_turn_end, [heard])


def client(site: Site, line: str = "GET /a.txt") -> Asked:
    """A client's request, at the beginning of its road."""
    return make_request(site, line)


def test_every_phase_but_the_last_is_on_the_road() -> None:
    assert list(PHASES) == list(Phase)[:-1]


def test_names_of_hooks_are_fields_of_modules(tmp_path: Path) -> None:
    make_site(tmp_path, "")  # loads them
    named = [what for steps in PHASES.values() for what in steps if isinstance(what, str)]
    assert set(named) <= set(Module.__slots__)
    for name in named:
        assert any(getattr(module, name) for module in MODULES.values()), name


def test_a_client_s_request_takes_all_phases_in_order(tmp_path: Path, heard: Heard) -> None:
    request = client(listened(tmp_path, heard)).request
    assert answer(request).status == 200
    assert heard.phases == list(PHASES)
    assert request.phase is Phase.HANDLER, "who has answered goes no further"


def test_it_stops_where_it_is_told_to_and_goes_on_from_there(tmp_path: Path, heard: Heard) -> None:
    request = client(listened(tmp_path, heard)).request
    for last in list(PHASES)[:-1]:
        assert advance(request, last) is None
        assert heard.phases[-1] is last
        assert request.phase == last + 1
    before = len(heard.steps)
    assert advance(request, Phase.WALK) is None
    assert len(heard.steps) == before, "nothing is done twice"


@pytest.mark.parametrize(("filename", "first"), [("", Phase.TRANSLATE), ("a.txt", Phase.WALK)])
def test_a_subrequest_enters_where_something_is_left_to_find(
    tmp_path: Path, heard: Heard, filename: str, first: Phase
) -> None:
    request = client(listened(tmp_path, heard)).request
    advance(request, Phase.ACCESS)
    heard.steps.clear()
    inner = subrequest(request, "/a.txt", filename=filename and f"{tmp_path}/root/{filename}")
    assert advance(inner, Phase.FIXUPS) is None
    assert heard.phases == [phase for phase in PHASES if first <= phase <= Phase.FIXUPS]
    assert inner.stat is not None


def test_an_internal_redirect_enters_at_translate(tmp_path: Path, heard: Heard) -> None:
    request = client(listened(tmp_path, heard)).request
    advance(request, Phase.ACCESS)
    heard.steps.clear()
    assert answer(redirected(request, "/d/index.html")).status == 200
    assert heard.phases == list(PHASES)[1:]


def test_an_index_is_answered_from_the_handler_on(tmp_path: Path, heard: Heard) -> None:
    """The folder's request becomes the index's once that has gone as far as its fixups: no step is done twice."""
    request = client(listened(tmp_path, heard), "GET /d/").request
    assert answer(request).status == 200
    of_index = [phase for phase, module, uri, _ in heard.steps if uri == "/d/index.html" and module == "core"]
    assert of_index == sorted(of_index)
    assert of_index.count(Phase.HANDLER) == 1


def test_redirects_have_an_end(tmp_path: Path, heard: Heard) -> None:
    request = client(listened(tmp_path, heard)).request
    for _ in range(MAX_REDIRECTS):
        request = redirected(request, "/a.txt")
    with pytest.raises(HTTPError, match="internal redirects"):
        subrequest(request, "/a.txt")


def test_a_step_that_answers_is_the_last_one(tmp_path: Path, heard: Heard) -> None:
    request = client(listened(tmp_path, heard, "Redirect 301 /a.txt /b.txt\n")).request
    response = advance(request)
    assert response is not None
    assert heard.steps[-1] == (Phase.TRANSLATE, "mod_alias", "/a.txt", "301")
    assert request.phase is Phase.TRANSLATE


def test_a_step_that_refuses_is_the_last_one(tmp_path: Path, heard: Heard) -> None:
    request = client(listened(tmp_path, heard, "<Location />\nRequire all denied\n</Location>\n")).request
    with pytest.raises(HTTPError):
        advance(request)
    assert heard.steps[-1] == (Phase.ACCESS, "mod_authz_core", "/a.txt", "403")


@pytest.mark.parametrize("line", ["TRACE /", "OPTIONS *"])
def test_what_asks_for_no_file_is_answered_at_once(tmp_path: Path, heard: Heard, line: str) -> None:
    advance(client(listened(tmp_path, heard), line).request)
    assert heard.phases == [Phase.RECEIVE]


def test_what_was_found_already_holds(tmp_path: Path, heard: Heard) -> None:
    """A look at the first phases, for whose a request is, is not taken again (`resolve`)."""
    request = client(listened(tmp_path, heard)).request
    request.outcome = found = Response(204)
    assert advance(request) is found
    request.outcome = HTTPError(410)
    with pytest.raises(HTTPError) as raised:
        advance(request)
    assert raised.value is request.outcome
    assert heard.steps == []


def test_a_trace_says_who_decided(tmp_path: Path) -> None:
    text = (
        f"{CONFIGURATION}LogLevel core:trace4\nRedirect 301 /old /new\n<Location /no>\nRequire all denied\n</Location>"
    )
    site = make_site(tmp_path, text)
    (tmp_path / "root").mkdir(exist_ok=True)
    (tmp_path / "root/no").write_text("x")
    assert "core:trace4 translate of /old: mod_alias answers with 301" in ask(site, "GET /old").log
    assert "core:trace4 access of /no: mod_authz_core refuses with 403" in ask(site, "GET /no").log
    assert "core:trace4 receive of *: core answers with 200" in ask(site, "OPTIONS *").log


def test_without_a_trace_nothing_listens(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/a.txt").write_text("a")
    assert ask(make_site(tmp_path, CONFIGURATION), "GET /a.txt").log == []
