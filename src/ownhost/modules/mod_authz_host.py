"""mod_authz_host: rules about the client's address or name: Require ip, host, forward-dns, local."""

from __future__ import annotations

from ownhost.config.arguments import words
from ownhost.config.directive import Call
from ownhost.config.expression import StringExpression
from ownhost.config.expression_parser import parse_string
from ownhost.config.networks import Network, parse_network
from ownhost.config.words import Word
from ownhost.modules.mod_authz_core import PROVIDERS, Provider, Verdict
from ownhost.request import client, expressions
from ownhost.request.request import Request


def _parse_networks(call: Call) -> tuple[Network, ...]:
    return tuple(parse_network(word) for word in words(1)(call))


def _parse_names(call: Call) -> StringExpression:
    words(1)(call)
    return parse_string(call.raw)


def is_in_domain(host: str, domain: str) -> bool:
    """Whether a host's name is a domain's, or within it: whole components only."""
    host, domain = host.lower(), domain.lower()
    if host == domain:
        return True
    return host.endswith(domain if domain.startswith(".") else f".{domain}")


def _check_ip(request: Request, networks: tuple[Network, ...]) -> Verdict:
    address = client.address(request)
    return Verdict.of(any(address in network for network in networks))


def _check_host(request: Request, names: StringExpression) -> Verdict:
    host = client.name(request)
    domains = expressions.value(names, request).split()
    return Verdict.of(host != "" and any(is_in_domain(host, domain) for domain in domains))


def _check_forward_dns(request: Request, names: StringExpression) -> Verdict:
    return Verdict.of(any(client.has_name(request, host) for host in expressions.value(names, request).split()))


def _seen_address(request: Request) -> str:
    return f"the client is {client.address(request)}"


def _seen_name(request: Request) -> str:
    name = client.name(request)
    return f"the client is {client.address(request)}, {name or 'which has no name that leads back to it'}"


for _word in (
    Word(
        "ip",
        "address|network...",
        "Lets in clients by address: a whole one, its first bytes, or a network.",
        Provider(_parse_networks, _check_ip, _seen_address),
    ),
    Word(
        "host",
        "name...",
        ("Lets in clients whose name is one of these, or ends with one. The name must lead back to the address."),
        Provider(_parse_names, _check_host, _seen_name),
    ),
    Word(
        "forward-dns",
        "name...",
        "Lets in clients whose address belongs to one of these names.",
        Provider(_parse_names, _check_forward_dns, _seen_address),
    ),
    Word(
        "local",
        "",
        "Lets in clients on this machine.",
        Provider(words(0, 0), lambda request, _: Verdict.of(client.is_local(request)), _seen_address),
    ),
):
    PROVIDERS.add(_word)
