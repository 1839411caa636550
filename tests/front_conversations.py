"""Conversations of a front with its clients: >> is what comes, << what it does (`test_front_conversation`)."""

from __future__ import annotations

from ownhost.processes.front.conversation import LINGER, MAX_WAIT

A = ">> GET / HTTP/1.1|Host: alice.test||"
B = ">> GET / HTTP/1.1|Host: bob.test||"
OK = ">> answer HTTP/1.1 200 OK|Content-Length: 2||ok"
SAID_OK = "<< HTTP/1.1 200 OK|Content-Length: 2||ok"
BAD = "<< done; 502; finish"

CONVERSATIONS = {
    "two owners on one connection": f"""
        {A}
        << ask alice, request 0
        >> taken
        {OK}
        {SAID_OK}
        >> end keep again
        << done again
        {B}
        << ask bob, request 1
        >> taken
        {OK}
        {SAID_OK}
        >> end keep again
        << done again
    """,
    "whole answers": f"""
        {A}
        << ask alice, request 0
        >> whole HTTP/1.1 200 OK|Content-Length: 2||ok
        {SAID_OK}; done again
        {B}{A[3:]}
        << ask bob, request 1
        >> whole HTTP/1.1 200 OK|Content-Length: 2||ok
        {SAID_OK}; done again; ask alice, request 2
    """,
    "a whole answer that is none": f"""
        {A}
        << ask alice, request 0
        >> whole HTTP/1.1 200 OK|Content-Length: 3||ok
        << HTTP/1.1 200 OK|Content-Length: 3||ok; done; close
    """,
    "a whole answer that is more than one": f"""
        {A}
        << ask alice, request 0
        >> whole HTTP/1.1 200 OK|Content-Length: 1||ok
        {BAD}
    """,
    "requests that don't wait for answers": f"""
        {A}{B[3:]}{A[3:]}
        << ask alice, request 0
        >> taken
        {OK}
        {SAID_OK}
        << done; ask bob, request 1
        >> taken
        {OK}
        {SAID_OK}
        << done; ask alice, request 2
    """,
    "a worker that wants the connection closed": f"""
        {A}
        << ask alice, request 0
        >> taken
        {OK}
        {SAID_OK}
        >> end again
        << done again; finish
        >> sent
        >> whatever follows
        >> EOF
        << done; close
    """,
    "an answer that says so": f"""
        {A}
        << ask alice, request 0
        >> taken
        >> answer HTTP/1.1 200 OK|Connection: close|Content-Length: 0||
        << HTTP/1.1 200 OK|Connection: close|Content-Length: 0||
        >> end keep again
        << done again; finish
    """,
    "a client that says so": """
        >> GET / HTTP/1.1|Host: alice.test|Connection: close||
        << ask alice, request 0
        >> taken
        >> answer HTTP/1.1 204 No Content||
        << HTTP/1.1 204 No Content||
        >> end keep again
        << done again; finish
    """,
    "a body, and the next request behind it": f"""
        >> POST / HTTP/1.1|Host: bob.test|Content-Length: 5||hello{A[3:]}
        << ask bob, request 0
        >> taken
        << body hello
        {OK}
        {SAID_OK}
        << done; ask alice, request 1
    """,
    "chunks, and the next request behind them": f"""
        >> POST / HTTP/1.1|Host: bob.test|Transfer-Encoding: chunked||5|hello|0||{A[3:]}
        << ask bob, request 0
        >> taken
        << body 5|hello|0||
        {OK}
        {SAID_OK}
        << done; ask alice, request 1
    """,
    "chunks that break the rules: the worker says so": """
        >> POST / HTTP/1.1|Host: bob.test|Transfer-Encoding: chunked||x|
        << ask bob, request 0
        >> taken
        << body x|; end of input
        >> answer HTTP/1.1 400 Bad Request|Content-Length: 0||
        << HTTP/1.1 400 Bad Request|Content-Length: 0||
        >> end
        << done; finish
    """,
    "an answer before the body is here": """
        >> POST / HTTP/1.1|Host: bob.test|Content-Length: 5||he
        << ask bob, request 0
        >> taken
        << body he
        >> answer HTTP/1.1 413 Too much|Content-Length: 0||
        << HTTP/1.1 413 Too much|Content-Length: 0||
        >> end keep again
        << done; finish
    """,
    "an answer, then the rest of the body, then the end": """
        >> POST / HTTP/1.1|Host: bob.test|Content-Length: 5||he
        << ask bob, request 0
        >> taken
        << body he
        >> answer HTTP/1.1 200 OK|Content-Length: 0||
        << HTTP/1.1 200 OK|Content-Length: 0||
        >> llo
        << body llo
        >> end keep again
        << done again
    """,
    "100-continue": f"""
        >> POST / HTTP/1.1|Host: bob.test|Content-Length: 2|Expect: 100-continue||
        << ask bob, request 0
        >> taken
        >> answer HTTP/1.1 100 Continue||
        << HTTP/1.1 100 Continue||
        >> hi
        << body hi
        {OK}
        {SAID_OK}
        >> end keep again
        << done again
    """,
    "hints, which not every proxy understands": f"""
        {A}
        << ask alice, request 0
        >> taken
        >> answer HTTP/1.1 103 Early Hints|Content-Length: 0||HTTP/1.1 100 Continue||
        {OK}
        {SAID_OK}
    """,
    "another protocol": """
        >> GET / HTTP/1.1|Host: bob.test|Connection: Upgrade|Upgrade: x||first
        << ask bob, request 0
        >> taken
        >> tunnel
        << body first
        >> answer HTTP/1.1 101 Switching Protocols|Upgrade: x||hello
        << HTTP/1.1 101 Switching Protocols|Upgrade: x||hello
        >> GET / HTTP/1.1|Host: alice.test||
        << body GET / HTTP/1.1|Host: alice.test||
        >> answer HTTP/1.1 200
        << HTTP/1.1 200
        >> EOF
        << end of input
        >> lost
        << done; finish
        >> sent
        << done; close
    """,
    "a client that says no more": f"""
        {A}EOF
        << ask alice, request 0
        << end of input
        >> taken
        {OK}
        {SAID_OK}
        >> end keep again
        << done; finish
        >> sent
        << done; close
    """,
    "a client that says no more, and has perhaps left: the worker gives up": f"""
        {A}EOF
        << ask alice, request 0
        << end of input
        >> taken
        >> lost
        << done; close
    """,
    "a client that says no more behind two requests": f"""
        {A}{B[3:]}EOF
        << ask alice, request 0
        >> taken
        {OK}
        {SAID_OK}
        << done; ask bob, request 1
        << end of input
    """,
    "what is no request: a worker says so": """
        >> nonsense|
        << ask alice, request 0
        << end of input
        >> taken
        >> answer HTTP/1.1 400 Bad Request|Content-Length: 0||
        << HTTP/1.1 400 Bad Request|Content-Length: 0||
        >> end
        << done; finish
    """,
    "a head that ends early: a worker says so": """
        >> GET / HTTP/1.1|Host: bob.testEOF
        << ask alice, request 0
        << end of input
    """,
    "a line that ends early": """
        >> GET / HTEOF
        << finish
    """,
    "a line too long for one owner, and not for another": f"""
        >> GET /{"x" * 150} HTTP/1.1|Host: bob.test||
        << ask bob, request 0
        >> taken
        {OK}
        {SAID_OK}
        >> end keep again
        << done again
        >> GET /{"x" * 150} HTTP/1.1|Host: alice.test||
        << ask alice, request 1
        << end of input
    """,
    "a head without an end": f"""
        >> GET / HTTP/1.1|Host: alice.test|X: {"x" * 700}
        << ask alice, request 0
        << end of input
    """,
    "HTTP/0.9": """
        >> GET /|
        << ask alice, request 0
        >> taken
        >> answer whatever
        << whatever
        >> end keep again
        << done again; finish
    """,
    "a worker that leaves before it takes anything": f"""
        {A}
        << ask alice, request 0
        >> lost
        << done; ask alice, request 0, fresh
        >> lost
        << done; ask alice, request 0, fresh
        >> lost
        {BAD}
    """,
    "a worker that leaves before it answers": f"""
        {A}
        << ask alice, request 0
        >> taken
        >> lost
        {BAD}
    """,
    "a worker that leaves within an answer": f"""
        {A}
        << ask alice, request 0
        >> taken
        >> answer HTTP/1.1 200 OK|Content-Length: 2||o
        << HTTP/1.1 200 OK|Content-Length: 2||o
        >> lost
        << done; close
    """,
    "a worker that leaves behind an answer": f"""
        {A}
        << ask alice, request 0
        >> taken
        {OK}
        {SAID_OK}
        >> lost
        << done
        {B}
        << ask bob, request 1
    """,
    "an answer that the end of the connection ends": f"""
        {A}
        << ask alice, request 0
        >> taken
        >> answer HTTP/1.1 200 OK||some
        << HTTP/1.1 200 OK||some
        >> end keep again
        << done again; finish
    """,
    "more than an answer": f"""
        {A}
        << ask alice, request 0
        >> taken
        {OK}
        {SAID_OK}
        >> answer HTTP/1.1 200 OK|Content-Length: 3||bob
        << done
        {B}
        << ask bob, request 1
    """,
    "an end before the answer's": f"""
        {A}
        << ask alice, request 0
        >> taken
        >> answer HTTP/1.1 200 OK|Content-Length: 2||o
        << HTTP/1.1 200 OK|Content-Length: 2||o
        >> end keep again
        << done; close
    """,
    "an end without an answer": f"""
        {A}
        << ask alice, request 0
        >> taken
        >> end keep again
        {BAD}
    """,
    "an answer that is none": f"""
        {A}
        << ask alice, request 0
        >> taken
        >> answer HTTP/1.1 200 OK|Content-Length : 2||
        {BAD}
    """,
    "a switch of protocols that nobody asked for": f"""
        {A}
        << ask alice, request 0
        >> taken
        >> tunnel
        {BAD}
    """,
    "a switch of protocols behind a request's back": f"""
        {A}
        << ask alice, request 0
        >> taken
        >> answer HTTP/1.1 101 Switching Protocols||
        {BAD}
    """,
    "a switch of protocols that is none": """
        >> GET / HTTP/1.1|Host: bob.test|Connection: Upgrade|Upgrade: x||
        << ask bob, request 0
        >> taken
        >> tunnel
        >> answer HTTP/1.1 200 OK|Content-Length: 0||
        << done; 502; finish
    """,
    "nobody takes it": f"""
        {A}
        << ask alice, request 0
        >> {MAX_WAIT} seconds
        << overloaded; done; 503
        {B}
        << ask bob, request 1
    """,
    "nobody takes it, and it has a body": f"""
        >> POST / HTTP/1.1|Host: alice.test|Content-Length: 5||
        << ask alice, request 0
        >> {MAX_WAIT} seconds
        << overloaded; done; 503; finish
    """,
    "nothing is said": """
        >> 20 seconds
        << done; close
    """,
    "a head takes too long": """
        >> GET
        >> 21 seconds
        << 408; finish
        >> sent
        >> 2 seconds
        << done; close
    """,
    "nothing more is said": f"""
        {B}
        << ask bob, request 0
        >> taken
        {OK}
        {SAID_OK}
        >> end keep again
        << done again
        >> 7 seconds
        << finish
    """,
    "a worker that does not say that it is done": f"""
        {B}
        << ask bob, request 0
        >> taken
        {OK}
        {SAID_OK}
        >> 7 seconds
        << done; finish
    """,
    "a client that is reset": f"""
        {A}
        << ask alice, request 0
        >> gone
        << done; close
    """,
    "a stop between two requests": f"""
        {A}
        << ask alice, request 0
        >> taken
        {OK}
        {SAID_OK}
        >> end keep again
        << done again
        >> stop
        << finish
    """,
    "a stop within a request": f"""
        {A}
        << ask alice, request 0
        >> stop
        >> taken
        {OK}
        {SAID_OK}
        >> end keep again
        << done again; finish
    """,
    "a stop before anything is said": f"""
        >> stop
        >> {LINGER} seconds
        << done; close
    """,
}
