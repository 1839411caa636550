"""The rewriting engine: a list of rules applied to one request.

As in Apache, the rules change the request itself: `filename` (in a server's rules a URL-path, in a
section's a file name), `query`, `path_info`, `env`, `notes`. The caller decides what happens to the
result.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from ownhost.config.expression import Condition
from ownhost.http.limits import LIMIT_REQUEST_LINE
from ownhost.http.message import HTTPError
from ownhost.http.wire import wire
from ownhost.modules.rewriting import conditions, maps, template, urls
from ownhost.modules.rewriting.conditions import TESTS, RuleCondition
from ownhost.modules.rewriting.flags import RuleFlag
from ownhost.modules.rewriting.maps import Map
from ownhost.modules.rewriting.rules import Rule
from ownhost.modules.rewriting.template import Template
from ownhost.modules.rewriting.variables import header_of, value_of
from ownhost.request import expressions
from ownhost.request.errors import base_url
from ownhost.request.request import Level, Request

END = "rewrite-end"  # the note that no rule is applied any more
TYPE, HANDLER = "rewrite-type", "rewrite-handler"  # notes: the values of [T] and [H]


class Engine:
    """One walk over a list of rules. `base` is where relative paths of a section start, as a URL."""

    def __init__(
        self, request: Request, rules: tuple[Rule, ...], known: Mapping[str, Map], directory: str | None, base: str = ""
    ) -> None:
        self.request = request
        self.rules = rules
        self.maps = known
        self.directory = directory
        self.base = base
        self.traces = request.site.traces_rewrite
        self.asked_query = request.query  # before any rule
        self.uri = ""  # what the current pattern is matched against
        self.rule: Rule | None = None  # the current rule, after its pattern matched
        self.groups: tuple[str, ...] = ()  # of its pattern
        self.condition_groups: tuple[str, ...] = ()  # of the last condition's
        self.varied: list[str] = []  # request fields that the current condition looked at
        # The result
        self.changed = False
        self.escape = True
        self.passes_through = False
        self.proxies = False
        self.reduced = False  # a URL of this very host became a path
        self.status = 302
        self.last: Rule | None = None  # the last rule that substituted

    def trace(self, level: int, message: str, *values: object, here: bool = True) -> None:
        """Log a step, if the level asks for it. `here` names the section."""
        if self.traces:
            prefix = f"[perdir {self.directory}] " if here and self.directory is not None else ""
            self.request.log(Level(Level.DEBUG + level), "rewrite", prefix + message % values)

    # The rules

    def run(self) -> None:
        """Apply the rules. Raises HTTPError for an answer."""
        rounds = 1
        while (rule := self.walk()) is not None:
            rounds += 1
            if rounds >= rule.rounds:
                raise HTTPError(
                    500,
                    f"RewriteRule {rule.pattern!r} went {rule.rounds} rounds with {self.request.uri!r} by its flag N",
                    module="rewrite",
                )

    def walk(self) -> Rule | None:
        """Apply the rules once, first to last. Returns the rule that starts all again."""
        place, rules = 0, self.rules
        while place < len(rules):
            rule = rules[place]
            place += 1
            if self.request.is_subrequest and rule.flags & (RuleFlag.NO_SUBREQUEST | RuleFlag.REDIRECT):
                continue
            if not self.applies(rule):
                while rule.chained and place < len(rules):
                    rule = rules[place]
                    place += 1
                continue
            self.apply(rule)
            if self.is_final(rule):
                return None
            if RuleFlag.NEXT in rule:
                return rule
            place += rule.skip
        return None

    def is_final(self, rule: Rule) -> bool:
        """Whether a rule that was applied is the last one."""
        request = self.request
        if RuleFlag.PASS_THROUGH in rule:
            self.trace(2, "forcing '%s' to get passed through to next API URI-to-filename handler", request.filename)
            self.passes_through = self.changed = True
            self.escape = True
            return True
        if RuleFlag.END in rule:
            self.trace(8, "Rule has END flag, no further rewriting for this request")
            request.notes[END] = "1"
            return True
        return bool(rule.flags & (RuleFlag.PROXY | RuleFlag.LAST))

    def applies(self, rule: Rule) -> bool:
        """Whether a rule's pattern and conditions are for the request."""
        self.uri = self.subject()
        self.trace(3, "applying pattern '%s' to uri '%s'", rule.pattern, self.uri)
        found = rule.regex.search(self.uri)
        if bool(found) == rule.negated:
            return False
        self.rule = rule
        self.groups = found
        self.condition_groups = ()
        return not rule.conditions or self.all_hold(rule.conditions)

    def subject(self) -> str:
        """The text for patterns."""
        request, directory = self.request, self.directory
        if directory is None:
            return request.filename
        uri = request.filename
        if request.path_info:
            self.trace(3, "add path info postfix: %s -> %s%s", uri, uri, request.path_info)
            uri += request.path_info
        if uri.startswith(directory):
            self.trace(3, "strip per-dir prefix: %s -> %s", uri, uri[len(directory) :])
            uri = uri[len(directory) :]
        return uri

    # Conditions

    def all_hold(self, found: tuple[RuleCondition, ...]) -> bool:
        """Whether a rule's conditions are true: all of them, or one of each group joined by [OR]."""
        fields: list[str] = []
        decided = False  # whether one of a group joined by [OR] is true already
        for condition in found:
            if not decided:
                self.varied = []
                decided = self.holds(condition)
                if decided and not condition.no_vary:
                    fields += self.varied
            if condition.or_next:
                continue
            if not decided:
                return False
            decided = False
        self.request.vary += [field for field in fields if field not in self.request.vary]
        return True

    def holds(self, condition: RuleCondition) -> bool:
        """Whether one condition is true."""
        text = "" if condition.expression is not None else self.unescaped(condition.test_string)
        held = self.ask(condition, text) != condition.negated
        self.trace(
            4,
            "RewriteCond: input='%s' pattern='%s'%s => %s",
            text,
            condition.pattern,
            " [NC]" if condition.ignore_case else "",
            "matched" if held else "not-matched",
        )
        return held

    def ask(self, condition: RuleCondition, text: str) -> bool:
        """The result of a condition's test for a text, before "!"."""
        if condition.regex is not None:
            return self.remember(condition, condition.regex.search(text))
        if condition.expression is not None:
            return self.ask_expression(condition, condition.expression)
        return TESTS.known[condition.test].means(self, condition, text)

    def ask_expression(self, condition: RuleCondition, expression: Condition) -> bool:
        """Whether an expression is true. It notes itself what the response depends on, except for [NV]."""
        vary = [*self.request.vary]
        found = expressions.groups(expression, self.request)
        if condition.no_vary:
            self.request.vary[:] = vary
        if found is not None and not condition.negated:
            self.condition_groups = found
        return found is not None

    def remember(self, condition: RuleCondition, groups: tuple[str, ...]) -> bool:
        """Keep the groups of a condition that matched, for %N."""
        if groups and not condition.negated:
            self.condition_groups = groups
        return bool(groups)

    # Values of references (template.Values)

    def group(self, of_rule: bool, number: int) -> str:
        """The text of a group, escaped if the rule says so."""
        groups = self.groups if of_rule else self.condition_groups
        text = groups[number] if number < len(groups) else ""
        escapes = self.rule.escapes if self.rule else None
        if not text or escapes is None:
            return text
        escaped = escapes.apply(text)
        self.trace(5, "escaping backreference '%s' to '%s'", text, escaped)
        return escaped

    def variable(self, name: str) -> str:
        """The value of a variable."""
        kind, colon, rest = name.partition(":")
        if colon and rest and kind.upper() in ("LA-U", "LA-F"):
            return self.look_ahead(kind.upper(), rest)
        field = header_of(name)
        if field and field != "Host" and field.lower() in self.request.head.values:
            self.varied.append(field)
        return value_of(self.request, name)

    def look_ahead(self, kind: str, name: str) -> str:
        """The value that a variable would have after all phases."""
        request = self.request
        if not conditions.may_look_ahead(request):
            return ""
        path = self.uri
        if self.directory is not None and not path.startswith("/"):
            path = (self.base if kind == "LA-U" and self.base else self.directory) + path
        by_url = kind == "LA-U" or (self.directory is not None and self.uri.startswith("/"))
        inner, _ = conditions.look_at_url(request, path) if by_url else conditions.look_at_file(request, path)
        self.request = inner
        try:
            value = self.variable(name)
        finally:
            self.request = request
        self.trace(5, "lookahead: path=%s var=%s -> val=%s", path, name, value)
        return value

    def look_up(self, name: str, key: str) -> str | None:
        """A map's value for a key."""
        one = self.maps.get(name)
        if one is None:
            return None
        value = maps.look_up(one, key, self.request)
        if value is None:
            self.trace(5, "map lookup FAILED: map=%s[%s] key=%s", name, one.kind, key, here=False)
        else:
            self.trace(5, "map lookup OK: map=%s[%s] key=%s -> val=%s", name, one.kind, key, value, here=False)
        return value

    # Actions of rules

    def apply(self, rule: Rule) -> None:
        """Apply a rule. Raises HTTPError."""
        url = None if rule.substitution is None else self.substituted(rule, rule.substitution)
        self.set_variables(rule)
        self.set_cookies(rule)
        if rule.answers:
            self.trace(2, "forcing responsecode %d for %s", rule.status, self.request.filename)
            raise HTTPError(rule.status, module="rewrite")
        if url is None:
            self.force(rule)
            return
        self.changed = True
        self.escape = RuleFlag.NO_ESCAPE not in rule
        self.become(rule, url)
        self.trace(2, "setting lastsub to rule with output %s", rule.written)
        self.last = rule
        limit = 2 * self.request.site.settings[LIMIT_REQUEST_LINE]
        if len(self.request.filename) > limit:
            what = f"RewriteRule {rule.pattern!r} made more than {limit} characters of {self.request.uri!r}"
            raise HTTPError(500, what, module="rewrite")

    def substituted(self, rule: Rule, substitution: Template) -> str:
        """The result of the substitution. Raises HTTPError for a question mark from a client."""
        url, smuggled = template.expand_url(substitution, self)
        self.trace(2, "rewrite '%s' -> '%s'", self.uri, url)
        if smuggled and RuleFlag.UNSAFE_ALLOW_3F not in rule:
            what = f"RewriteRule {rule.pattern!r} made a ? of what is none in {self.request.uri!r} (UnsafeAllow3F)"
            raise HTTPError(403, what, module="rewrite")
        return url

    def become(self, rule: Rule, url: str) -> None:
        """Make a rule's result the request's."""
        request = self.request
        if self.directory is not None and RuleFlag.DISCARD_PATH in rule:
            request.path_info = ""
        if not url.startswith("/") and not urls.scheme_of(url):
            prefix = "/" if self.directory is None else self.directory
            self.trace(3, "add %s prefix: %s -> %s%s", "root" if prefix == "/" else "per-dir", url, prefix, url)
            url = prefix + url
        request.filename = url
        self.split_query(rule)
        if RuleFlag.PROXY in rule:
            self.proxy(rule)
        elif RuleFlag.REDIRECT in rule:
            self.qualify()
            self.trace(2, "explicitly forcing redirect with %s", request.filename)
            self.status = rule.status
        else:
            self.reduce(rule)

    def split_query(self, rule: Rule) -> None:
        """Split the query off the result: [QSA], [QSD] and [QSL] say how it combines with the request's own."""
        request = self.request
        if not urls.takes_query(request.filename):
            request.query = None
            return
        if RuleFlag.QUERY_DISCARD in rule:
            request.query = None
            self.trace(2, "discarding query string", here=False)
        whole = request.filename
        place = whole.rfind("?") if RuleFlag.QUERY_LAST in rule else whole.find("?")
        if place < 0:
            return
        request.filename, query = whole[:place], wire(whole[place + 1 :])
        if RuleFlag.QUERY_APPEND not in rule:
            request.query = query
        elif query:
            request.query = f"{query}&{request.query or ''}"
        if request.query is not None:
            request.query = request.query.removesuffix("&") or None
        self.trace(3, "split uri=%s -> uri=%s, args=%s", whole, request.filename, request.query or "<none>", here=False)

    def proxy(self, rule: Rule) -> None:
        """[P]: another server answers."""
        request = self.request
        if self.directory is not None and RuleFlag.NO_ESCAPE not in rule:
            request.filename = urls.escape_path(request.filename)
        self.qualify()
        self.trace(2, "forcing proxy-throughput with %s", request.filename)
        self.proxies = True

    def qualify(self) -> None:
        """Put this server's name before a path."""
        request = self.request
        if not urls.scheme_of(request.filename):
            slash = "" if request.filename.startswith("/") else "/"
            request.filename = f"{base_url(request)}{slash}{request.filename}"

    def reduce(self, rule: Rule) -> None:
        """A URL of this host is a path; any other is a redirect."""
        request = self.request
        path = urls.own_path(request.filename, request.endpoints.secure, request.virtual_host)
        if path is not None:
            self.trace(3, "reduce %s -> %s", request.filename, path, here=False)
            request.filename = path
            self.reduced = True
        if urls.scheme_of(request.filename):
            self.trace(2, "implicitly forcing redirect (rc=%d) with %s", rule.status, request.filename)
            self.status = rule.status
        else:
            self.force(rule)

    def force(self, rule: Rule) -> None:
        """Store the values of [T] and [H] for the fixups."""
        request = self.request
        for flag, note, what in ((rule.content_type, TYPE, "MIME-type"), (rule.handler, HANDLER, "Content-handler")):
            value = maps.lower(template.expand(flag, self)) if flag is not None else ""
            if value:
                self.trace(2, "remember %s to have %s '%s'", request.filename, what, value)
                request.notes[note] = value

    def set_variables(self, rule: Rule) -> None:
        """[E]: set variables of the request's environment, or remove them."""
        env = self.request.env
        for variable in rule.env:
            name, _, value = self.unescaped(variable).partition(":")
            if name.startswith("!"):
                env.pop(name[1:], None)
                self.trace(5, "unsetting env variable '%s'", name[1:], here=False)
            elif name:
                env[name] = value
                self.trace(5, "setting env variable '%s' to '%s'", name, value, here=False)

    def set_cookies(self, rule: Rule) -> None:
        """[CO]: send cookies with every response. The first of a name counts."""
        request = self.request
        for flag in rule.cookies:
            request.pure = False
            made = make_cookie(self.unescaped(flag), request.time)
            if made is None:
                continue
            name = made.partition("=")[0]
            if any(value.startswith(f"{name}=") for field, value in request.fields if field == "Set-Cookie"):
                self.trace(5, "skipping already set cookie '%s'", name, here=False)
                continue
            request.fields.append(("Set-Cookie", wire(made)))
            self.trace(5, "setting cookie '%s'", made, here=False)

    def unescaped(self, text: Template) -> str:
        """The result of a template to which [B] does not apply."""
        rule, self.rule = self.rule, None
        try:
            return template.expand(text, self)
        finally:
            self.rule = rule


def make_cookie(text: str, now: float) -> str | None:
    """A cookie from name:value:domain[:minutes[:path[:secure[:httponly[:samesite]]]]]; None if it is invalid.

    A leading ";" makes that the separator. Control characters make it invalid.
    """
    mark = ";" if text.startswith(";") else ":"
    parts = [part for part in text.split(mark) if part]
    if len(parts) < 3 or re.search(r"[\x00-\x1f\x7f]", text):
        return None
    name, value, domain, minutes, path, secure, http_only, same_site, *_ = [*parts, *[""] * 8]
    cookie = f"{name}={value}; path={path or '/'}; domain={domain}"
    lifetime = conditions.number(minutes)
    if lifetime:
        cookie += time.strftime("; expires=%a, %d-%b-%Y %H:%M:%S GMT", time.gmtime(now + 60 * lifetime))
    if secure.lower() in ("true", "1", "secure"):
        cookie += "; secure"
    if http_only.lower() in ("true", "1", "httponly"):
        cookie += "; HttpOnly"
    if same_site and same_site.lower() not in ("0", "false"):
        cookie += f"; SameSite={same_site}"
    return cookie
