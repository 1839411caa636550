"""What must never happen, tried from inside: programs of alice's, run by the server, look for a way to bob.

Each way of running a program (CGI, WSGI, PHP) runs whatever code a test sends it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness import ALICE, BOB, PYTHON, WWW, Process, Server, World
from inside import CGI, inside
from waiting import eventually

WSGI = """
import contextlib, io
def application(environ, start_response):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(environ["wsgi.input"].read().decode(), {"__name__": "inside"})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.getvalue().encode()]
"""
PHP = "<?php eval(file_get_contents('php://input'));"
# PHP has no ptrace(2): code of this kind is run by a Python that PHP starts.
BY_PHP = f"""<?php
$python = proc_open(['{PYTHON}', '-'], [['pipe', 'r'], ['pipe', 'w'], ['redirect', 1]], $pipes);
fwrite($pipes[0], file_get_contents('php://input'));
fclose($pipes[0]);
fpassthru($pipes[1]);
"""
FILES: dict[str, str | bytes] = {
    "index.html": "the owner's\n",
    "run.cgi": CGI,
    "run.wsgi": WSGI,
    "run.php": PHP,
    "by.php": BY_PHP,
    "secret.txt": "nobody else's\n",
}
WAYS = ("run.cgi", "run.wsgi", "by.php")


def host(world: World, name: str, uid: int) -> str:
    root = world.folder / name
    extra = (
        f"SetEnv DB_PASSWORD {name}-has-a-secret-9f31\nErrorLog @DIR@/{name}.error\nCustomLog @DIR@/{name}.access c\n"
        "AddHandler cgi-script .cgi\nAddHandler application/x-httpd-php .php\n"
        f"WSGIScriptAlias /run.wsgi {root}/run.wsgi\n<Directory {root}>\nOptions +ExecCGI\n</Directory>\n"
    )
    text = world.virtual_host(name, uid, extra, FILES)
    (root / "run.cgi").chmod(0o700)
    os.utime(root / "run.php", (1, 1))  # what has just been written is not cached
    return text


def started(world: World) -> Server:
    """alice.test and bob.test with programs of every kind; bob's run already."""
    text = 'LogFileMode 0640\nLogFormat "%h" c\n' + host(world, "alice", ALICE) + host(world, "bob", BOB)
    server = world.server(text)
    for way in WAYS:
        assert inside(server, way, "print('here')", name="bob.test") == "here\n"
    eventually(lambda: not any("run.cgi" in command(process) for process in server.processes()))
    return server


@pytest.fixture(scope="module")
def two(shared_world: World) -> Server:
    return started(shared_world)


@pytest.fixture
def fresh(world: World) -> Server:
    """The same, with programs that have run nothing yet."""
    return started(world)


def command(process: Process) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process.pid}/cmdline").read_text()
    return ""


def of(server: Server, uid: int) -> list[Process]:
    return [process for process in server.processes() if process.alive and process.uid == uid]


def sockets_of(server: Server, uid: int) -> list[str]:
    """The sockets that an owner's programs listen on."""
    own = {what for process in of(server, uid) for what in process.descriptors().values()}
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return sorted(
        {line[7] for line in lines if len(line) > 7 and f"socket:[{line[6]}]" in own and line[3] == "00010000"}
    )


# Files, sockets and processes of others

OPEN = """
import json, os, socket
got = []
def attempt(what, action):
    try:
        action()
    except OSError:
        return
    got.append(what)
for name in {files}:
    attempt("read " + name, lambda: os.close(os.open(name, os.O_RDONLY)))
    attempt("write " + name, lambda: os.close(os.open(name, os.O_WRONLY)))
    attempt("remove " + name, lambda: os.rename(name, name + ".old"))
for name in {sockets}:
    attempt("connect " + name, lambda: socket.socket(socket.AF_UNIX).connect(name))
    attempt("look beside " + name, lambda: os.listdir(os.path.dirname(name)))
print(json.dumps(got))
"""


@pytest.mark.parametrize("way", WAYS)
def test_a_neighbours_files_logs_and_sockets_stay_shut(two: Server, way: str) -> None:
    sockets = sockets_of(two, BOB)
    assert len(sockets) == 2, "php-fpm's, and the WSGI application's"
    files = [str(two.folder / name) for name in ("bob/secret.txt", "bob/run.php", "bob.error", "bob.access")]
    files += [str(two.folder / name) for name in ("error.log", "stderr")]
    unreadable = [name for name in files if os.stat(name).st_mode & 0o4 == 0]
    assert str(two.folder / "bob.error") in unreadable
    assert json.loads(inside(two, way, OPEN.format(files=[], sockets=sockets))) == []
    got = json.loads(inside(two, way, OPEN.format(files=files, sockets=[])))
    assert [what for what in got if what.split()[1] in unreadable or not what.startswith("read ")] == []


PROCESSES = """
import ctypes, json, os, resource, signal
libc = ctypes.CDLL(None, use_errno=True)
got = []
def attempt(what, action):
    try:
        action()
    except OSError:
        return
    got.append(what)
def call(*arguments):
    if libc.syscall(*map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "refused")
def look(path):
    with open(path, "rb", buffering=0) as file:
        if not file.read(1):  # of a process that is about to end, there is nothing to see, and anybody may look
            raise OSError("nothing")
for pid, descriptors in {targets}:
    attempt(f"signal {{pid}}", lambda: os.kill(pid, signal.SIGCONT))
    attempt(f"trace {{pid}}", lambda: call(101, 16, pid, 0, 0))  # ptrace(PTRACE_ATTACH)
    for name in ("mem", "environ", "maps", "auxv", "syscall"):
        attempt(f"{{name}} {{pid}}", lambda: look(f"/proc/{{pid}}/{{name}}"))
    attempt(f"descriptors {{pid}}", lambda: os.listdir(f"/proc/{{pid}}/fd"))
    for name in ("cwd", "root", "exe"):
        attempt(f"{{name}} {{pid}}", lambda: os.readlink(f"/proc/{{pid}}/{{name}}"))
    for number in descriptors:
        attempt(f"open {{pid}} {{number}}", lambda: os.open(f"/proc/{{pid}}/fd/{{number}}", os.O_RDWR))
        attempt(f"take {{pid}} {{number}}", lambda: call(438, os.pidfd_open(pid), number, 0))  # pidfd_getfd
    attempt(f"limit {{pid}}", lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)))
    attempt(f"nice {{pid}}", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
    attempt(f"schedule {{pid}}", lambda: os.sched_setaffinity(pid, [0]))
print(json.dumps(got))
"""


@pytest.mark.parametrize("way", WAYS)
def test_no_process_of_another_can_be_touched(two: Server, way: str) -> None:
    """Bob's worker, launcher and programs, and the server's own processes with their channels."""
    strangers = [process for process in two.processes() if process.alive and process.uid != ALICE]
    strangers = [process for process in strangers if process.role != "spare"]  # it may be alice's own by then
    strangers = [process for process in strangers if process.title]  # without one, it is about to end
    assert {"supervisor", "forkserver", "logger", "gate", "worker", "launcher"} <= {one.role for one in strangers}
    assert len([process for process in strangers if process.uid == BOB and not process.role]) >= 3
    titles = [process.title for process in strangers]
    targets = [(process.pid, sorted(process.descriptors())) for process in strangers]
    assert json.loads(inside(two, way, PROCESSES.format(targets=targets))) == []
    assert [title for process, title in zip(strangers, titles, strict=True) if not process.alive] == []


@pytest.mark.parametrize("way", WAYS)
def test_a_program_cannot_look_into_its_own_worker_or_launcher(two: Server, way: str) -> None:
    """They may be ended, as they are the owner's; but clients' connections and mailboxes stay inside."""
    inside(two, way, "pass")
    targets = [(one.pid, sorted(one.descriptors())) for one in of(two, ALICE) if one.role in ("worker", "launcher")]
    assert len(targets) == 2
    got = json.loads(inside(two, way, PROCESSES.format(targets=targets)))
    assert {what.split()[0] for what in got} <= {"signal", "limit", "nice", "schedule"}


@pytest.mark.parametrize("way", WAYS)
def test_shared_memory_of_another_stays_shut(two: Server, way: str) -> None:
    make = """
        import ctypes, os
        libc = ctypes.CDLL(None)
        print(libc.shmget(0, 4096, 0o1600))
        os.close(os.open(f"/dev/shm/ownhost-test-{os.getpid()}", os.O_CREAT | os.O_RDWR, 0o600))
        print(os.getpid())
    """
    number, pid = map(int, inside(two, way, make, name="bob.test").split())
    try:
        attach = f"""
            import ctypes, os
            libc = ctypes.CDLL(None, use_errno=True)
            libc.shmat.restype = ctypes.c_long
            print(libc.shmat({number}, None, 0), ctypes.get_errno())
            try:
                os.open("/dev/shm/ownhost-test-{pid}", os.O_RDONLY)
            except PermissionError:
                print("refused")
        """
        assert inside(two, way, attach) == "-1 13\nrefused\n"
    finally:
        os.unlink(f"/dev/shm/ownhost-test-{pid}")
        inside(two, way, f"import ctypes; ctypes.CDLL(None).shmctl({number}, 0, None)", name="bob.test")


def test_php_itself_reaches_nothing_of_a_neighbours(two: Server) -> None:
    php = next(process for process in of(two, BOB) if process.title.startswith("php-fpm: master"))
    (socket, *_) = sockets_of(two, BOB)
    code = f"""
        $bob = '{two.folder}/bob';
        symlink("$bob/secret.txt", '{two.folder}/alice/link.txt');
        var_dump(
            @file_get_contents("$bob/secret.txt"), @file_get_contents('{two.folder}/alice/link.txt'),
            @scandir($bob), @fopen('{two.folder}/bob.error', 'a'),
            @stream_socket_client('unix://{socket}'), posix_kill({php.pid}, 0),
            @file_get_contents('/proc/{php.pid}/environ'), @fopen('/proc/{php.pid}/mem', 'r'));
    """
    assert inside(two, "run.php", code) == "bool(false)\n" * 8
    assert two.get("alice.test", "/link.txt").status == 403


def test_each_owner_has_an_opcode_cache_of_its_own(two: Server) -> None:
    code = "echo json_encode(array_keys(opcache_get_status()['scripts']));"
    for name in ("alice", "bob"):
        inside(two, "run.php", "echo 1;", name=f"{name}.test")
        cached = json.loads(inside(two, "run.php", code, name=f"{name}.test"))
        assert f"{two.folder}/{name}/run.php" in cached
        assert [script for script in cached if not script.startswith(f"{two.folder}/{name}/")] == []


# What programs are given


def test_no_program_has_anothers_settings_in_memory(two: Server) -> None:
    for way in WAYS:
        inside(two, way, "pass")
    for process in of(two, ALICE):
        assert not process.holds(b"bob-has-a-secret-9f31"), process.title


LOOK = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
wanted = ("CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups")
found = {}
for name in os.listdir("/proc/self/fd"):
    try:
        found[name] = os.readlink("/proc/self/fd/" + name)
    except FileNotFoundError:
        pass  # the look's own
print(json.dumps([{name: status[name].split() for name in wanted}, found]))
"""


@pytest.mark.parametrize("way", WAYS)
def test_a_program_is_the_owner_and_nothing_more(fresh: Server, way: str) -> None:
    status, descriptors = json.loads(inside(fresh, way, LOOK))
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name][0], 16) == 0, name
    assert status["Uid"] == status["Gid"] == [str(ALICE)] * 4
    assert status["Groups"] in ([], [str(ALICE)])
    # Programs may gain privileges, as sudo and sendmail do; those that read from the network may not.
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["0"], ["0"])
    worker = fresh.worker(ALICE)
    assert (worker.status["NoNewPrivs"], worker.status["Seccomp"]) == ("1", "2")
    # An application has the connection of the request beside its listening socket.
    more = {what.split(":")[0] for number, what in descriptors.items() if int(number) > 2}
    of_php = {"socket", "pipe", f"{fresh.folder}/alice/by.php"}  # which it leaves to what it starts; no log
    assert more <= {"run.cgi": set(), "run.wsgi": {"socket"}, "by.php": of_php}[way], descriptors


def test_php_has_its_own_descriptors_and_no_others(two: Server) -> None:
    code = 'foreach (scandir(\'/proc/self/fd\') as $n) echo @readlink("/proc/self/fd/$n"), "\\n";'
    found = {line.split(":")[0] for line in inside(two, "run.php", code).splitlines() if line}
    own = {line for line in found if line.startswith(("/tmp/.ZendSem", "/proc/", f"{two.folder}/alice"))}
    assert found - own <= {"/dev/null", "socket", "pipe", "anon_inode", "/dev/zero (deleted)"}


def test_the_launcher_is_the_owner_and_cannot_become_root(two: Server) -> None:
    inside(two, "run.cgi", "pass")
    (launcher,) = [process for process in of(two, ALICE) if process.role == "launcher"]
    status = launcher.status
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["Uid"].split() == status["Gid"].split() == [str(ALICE)] * 4
    assert "0" not in status["Groups"].split()
    eventually(lambda: set(launcher.descriptors()) >= {0, 1, 2, 3})
    kinds = {what.split(":")[0] for what in launcher.descriptors().values()}
    assert kinds <= {"/dev/null", "socket", "anon_inode", "pipe", f"{two.folder}/alice.error"}


# Set-user-id helpers


HELPER = """
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>
int main(void) {
    uid_t real, effective, saved;
    getresuid(&real, &effective, &saved);
    char line[1000];
    while (fgets(line, sizeof line, stdin)) printf("%u %u %s", real, effective, line);
    return 0;
}
"""


@pytest.mark.parametrize("way", WAYS)
def test_a_set_user_id_helper_works(two: Server, way: str) -> None:
    """As sendmail does: the owner's program calls it, and it writes where the owner may not."""
    helper = two.folder / "helper"
    subprocess.run(["gcc", "-x", "c", "-o", helper, "-"], input=HELPER.encode(), check=True)
    os.chown(helper, WWW, WWW)
    helper.chmod(0o4755)
    code = f"""
        import subprocess
        print(subprocess.run(["{helper}"], input="a letter", capture_output=True, text=True).stdout)
    """
    assert inside(two, way, code) == f"{ALICE} {WWW} a letter\n"


@pytest.fixture
def account() -> Iterator[None]:
    """Alice has an account, and sudo's permission for one command: what sudo asks for."""
    rule = Path("/etc/sudoers.d/ownhost-test")
    subprocess.run(["useradd", "--uid", str(ALICE), "--user-group", "--no-create-home", "ownhost-alice"], check=True)
    try:
        rule.write_text("ownhost-alice ALL=(root) NOPASSWD: /usr/bin/id, /usr/bin/wc\n")
        rule.chmod(0o440)
        yield
    finally:
        rule.unlink(missing_ok=True)
        subprocess.run(["userdel", "--force", "ownhost-alice"], check=True)


def test_sudo_works_as_far_as_it_is_allowed(account: None, two: Server) -> None:
    secret = two.folder / "bob/secret.txt"
    code = f"""
        import subprocess
        for command in (["/usr/bin/id", "-u"], ["/usr/bin/wc", "-l", "{secret}"], ["/usr/bin/cat", "{secret}"]):
            done = subprocess.run(["sudo", "-n", *command], capture_output=True, text=True)
            print(done.returncode, done.stdout.strip(), done.stderr.strip().replace("\\n", " "))
    """
    for way in WAYS:
        may, reads, may_not = inside(two, way, code).splitlines()
        assert may.startswith("0 0 "), "root, by sudo"  # which may say behind it that it cannot resolve the host
        assert reads.startswith(f"0 1 {secret} "), "and with root's capabilities: the folder is bob's alone"
        assert may_not.startswith("1 ")
