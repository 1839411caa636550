"""TLS while we measure: keys for the owners, every server's configuration with them, and a client for HTTP/2."""

from __future__ import annotations

import functools
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any

import sites
from measure import Load
from servers import APACHE, APACHE_COMMAND, NGINX, OWNHOST, Peer, Program, Server, on
from sites import ALICE, FILE

OWNERS = sites.OWNERS
MODULES = {**sites.MODULES, "ssl_module": "mod_ssl.so", "socache_shmcb_module": "mod_socache_shmcb.so"}
# What Debian's packages of Apache, mpm_itk and PHP enable when they are installed. Each costs mpm_itk at every fork.
DEBIANS = (
    *("access_compat", "alias", "auth_basic", "authn_core", "authn_file", "authz_host", "authz_user", "autoindex"),
    *("deflate", "env", "filter", "negotiation", "reqtimeout", "setenvif", "status"),
)
DEBIANS_MODULES = {
    **MODULES,
    **{f"{name}_module": f"mod_{name}.so" for name in DEBIANS},
    "php_module": "libphp8.2.so",
}
PROTOCOLS = "    Protocols h2 http/1.1\n"
VIRTUAL_HOST = Template(
    """
<VirtualHost 127.0.0.1:$port>
    ServerName $host
    AssignUserID "#$id" "#$id"
    DocumentRoot "$sites/$host"
    CustomLog "$run/$host.log" combined
    SSLEngine On
    SSLProtocol TLSv1.2 TLSv1.3
    SSLCertificateFile "$run/$host.crt"
    SSLCertificateKeyFile "$run/$host.key"
$protocols</VirtualHost>
"""
)
NGINX_SERVER = Template(
    """\
    server {
        listen 127.0.0.1:$port ssl http2;
        server_name $host;
        root "$sites/$host";
        access_log "$run/$host.log" owners;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate "$run/$host.crt";
        ssl_certificate_key "$run/$host.key";
    }
"""
)
DEBIANS_APACHE = Program("Apache + mpm_itk, Debian's modules", (APACHE_COMMAND,))
# wrk resumes no session: each new connection is a full handshake. It names no host in it: the first one is meant.
WRK_LOADS = (
    Load("TLS, new connection per request", 32, 2, (f"Host: {ALICE.host}", "Connection: close")),
    Load("TLS, keep-alive", 32, 2, (f"Host: {ALICE.host}",)),
)
# A handshake is as much work for the client: on shared cores, half of what is measured is wrk.
APART_LOAD = replace(WRK_LOADS[0], name=f"{WRK_LOADS[0].name}, client on other cores")
MULTIPLEXED = "TLS, h2load, 32 requests at a time on each connection"
CLIENTS, STREAMS = 8, 32  # of h2load


def make_keys(run: Path) -> None:
    """A key and certificate (ECDSA, P-256) for each owner, for root alone: the same for all servers."""
    for owner in OWNERS:
        for kind, content in _pair(owner.host).items():
            file = run / f"{owner.host}.{kind}"
            file.touch(0o600)
            file.write_bytes(content)


@functools.cache
def _pair(host: str) -> dict[str, bytes]:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-days", "2"]
    both = subprocess.run([*command, "-keyout", "-"], check=True, capture_output=True).stdout
    key, certificate = re.findall(rb"-----BEGIN.*?-----END[^-]*-----\n", both, re.DOTALL)
    return {"key": key, "crt": certificate}


def _configure(run: Path, folder: Path, port: int, modules: dict[str, str], protocols: str) -> tuple[Path, ...]:
    run.mkdir(mode=0o755)
    make_keys(run)
    (run / "mime.types").write_text("text/plain txt\n")
    loaded = "\n".join(f"LoadModule {name} {sites.APACHE_MODULES / file}" for name, file in modules.items())
    text = sites.SERVER.substitute(run=run, sites=folder, port=port, modules=loaded)
    for owner in OWNERS:
        names = {"run": run, "sites": folder, "port": port, "host": owner.host, "id": owner.id}
        text += VIRTUAL_HOST.substitute(names, protocols=protocols)
    file = run / "server.conf"
    file.write_text(text)
    return (file,)


def configure_apache(run: Path, folder: Path, port: int) -> tuple[Path, ...]:
    """Apache with mpm_itk, which has no HTTP/2, and with no more modules than the configuration needs."""
    return _configure(run, folder, port, MODULES, "")


def configure_debians_apache(run: Path, folder: Path, port: int) -> tuple[Path, ...]:
    """The same with the modules of a Debian machine that serves PHP."""
    return _configure(run, folder, port, DEBIANS_MODULES, "")


def configure_ownhost(run: Path, folder: Path, port: int) -> tuple[Path, ...]:
    """The same for Ownhost, with HTTP/2."""
    return _configure(run, folder, port, MODULES, PROTOCOLS)


def configure_nginx(run: Path, folder: Path, port: int) -> tuple[Path, ...]:
    """nginx, with copies of the files that all may read."""
    run.mkdir(mode=0o755)
    make_keys(run)
    readable = sites.readable_copy(run, folder)
    servers = "".join(NGINX_SERVER.substitute(run=run, sites=readable, port=port, host=owner.host) for owner in OWNERS)
    file = run / "nginx.conf"
    file.write_text(sites.NGINX_CONF.substitute(run=run, servers=servers))
    return (file,)


PEERS = (
    Peer(DEBIANS_APACHE, configure_debians_apache),
    Peer(APACHE, configure_apache),
    Peer(NGINX, configure_nginx),
    Peer(OWNHOST, configure_ownhost),
)


def multiplexed(server: Server, seconds: int) -> dict[str, Any]:
    """Load a server with h2load: HTTP/2 where it speaks that, with requests at the same time on each connection."""
    command = ["h2load", "--duration", str(seconds), "-c", str(CLIENTS), "-m", str(STREAMS), "-t", "2"]
    command += ["--connect-to", f"127.0.0.1:{server.port}", f"https://{ALICE.host}:{server.port}{FILE}"]
    command = [*on(server.cores.clients), *command]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    done = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    failed = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", output)
    protocol = re.search(r"Application protocol: (\S+)", output)
    if done is None or failed is None:
        raise ValueError(f"h2load said {output!r}")
    good, *others = map(int, done.groups())
    return {
        "rate": good / seconds,
        "responses": good + sum(others),
        "not_2xx": sum(others),
        "broken_connections": int(failed[1]),
        "timeouts": int(failed[3]),
        "protocol": protocol[1] if protocol else "",
    }
