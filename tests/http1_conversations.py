"""Conversations of a worker with its HTTP/1 clients: >> is what comes, << what goes out (`test_http1_conversation`).

What goes out is a status, a short body, and "close" where the response says so; "cut" is a response that is not whole,
"closed" the connection's end. /a is "a", /big takes more than a socket holds. /program reads its request's body and
answers when told ("done"), /early answers without having read it, /stream says "first" and ends when told, /tunnel
speaks another protocol, which says everything again
("="). /bug raises. A line may have 200 bytes, a head ten fields.
"""

from __future__ import annotations

from ownhost.processes.worker.conversation import LAST_MOMENT

HOST = "Host: site.test|"
A = f">> GET /a HTTP/1.1|{HOST}|"
CLOSE = f">> GET /a HTTP/1.1|{HOST}Connection: close||"
BIG = f">> GET /big HTTP/1.1|{HOST}|"
PROGRAM = f">> GET /program HTTP/1.1|{HOST}|"
STREAM = f">> GET /stream HTTP/1.1|{HOST}|"
TUNNEL = f">> GET /tunnel HTTP/1.1|{HOST}Connection: Upgrade|Upgrade: x||"


def post(path: str, fields: str, body: str = "") -> str:
    return f">> POST {path} HTTP/1.1|{HOST}{fields}|{body}"


CONVERSATIONS = {
    # Requests
    "one request after the other": f"""
        {A}
        << 200 a
        {A}
        << 200 a
    """,
    "requests that don't wait for answers": f"""
        {A}{A[3:]}{CLOSE[3:]}{A[3:]}
        << 200 a; 200 a; 200 a close; closed
    """,
    "HTTP/1.0": """
        >> GET /a HTTP/1.0||
        << 200 a close; closed
    """,
    "empty lines in front": f"""
        >> ||{A[3:]}
        << 200 a
    """,
    "what is no request": f"""
        >> no request at all||{A[3:]}
        << 400 close; closed
    """,
    "what is no request, behind one": f"""
        {A}no request at all||{A[3:]}
        << 200 a; 400 close; closed
    """,
    "a line too long": f"""
        >> GET /{"a" * 300} HTTP/1.1|{HOST}|
        << 414 close; closed
    """,
    "a head without an end": f"""
        >> GET / HTTP/1.1|{f"A: {'a' * 80}|" * 40}
        << 431 close; closed
    """,
    "the first request is for another's name": """
        >> GET /a HTTP/1.1|Host: other.test||
        << 400 close; closed
    """,
    "a later one is, and may be repeated": f"""
        {A}
        << 200 a
        >> GET /a HTTP/1.1|Host: other.test||
        << closed
    """,
    "a later one is, and may not": f"""
        {A}
        << 200 a
        >> POST /a HTTP/1.1|Host: other.test|Content-Length: 0||
        << 421 close; closed
    """,
    # Bodies
    "a body that nobody wants": f"""
        {post("/a", "Content-Length: 5|", "hello")}{A[3:]}
        << 200 a; 200 a
    """,
    "a body that nobody wants comes late": f"""
        {post("/a", "Content-Length: 5|", "he")}
        >> llo{A[3:]}
        << 200 a; 200 a
    """,
    "chunks that nobody wants": f"""
        {post("/a", "Transfer-Encoding: chunked|", "5|hello|0||")}{A[3:]}
        << 200 a; 200 a
    """,
    "chunks that break the rules": f"""
        {post("/a", "Transfer-Encoding: chunked|", "zz|")}{A[3:]}
        << 400 close; closed
    """,
    "a body before an error that ends the connection": f"""
        >> POST /none HTTP/1.1|{HOST}Connection: close|Content-Length: 5||
        << 404 close; closed
    """,
    "a program's": f"""
        {post("/program", "Content-Length: 5|", "hello")}{A[3:]}
        >> done
        << 200 hello; 200 a
    """,
    "a program's, in chunks": f"""
        {post("/program", "Transfer-Encoding: chunked|", "5|hello|0||")}
        >> done
        << 200 hello
    """,
    "a program's, in chunks that break the rules": f"""
        {post("/program", "Transfer-Encoding: chunked|", "5|hello0||")}
        << 400 close; closed
    """,
    "a program that does not read it": f"""
        {post("/early", "Content-Length: 5|", "he")}
        >> done
        << 200 early
        >> llo{A[3:]}
        << 200 a
    """,
    "a program that does not read chunks that break the rules": f"""
        {post("/early", "Transfer-Encoding: chunked|", "zz|")}
        >> done
        << 200 early; closed
    """,
    # Expect
    "100-continue": f"""
        {post("/program", "Content-Length: 2|Expect: 100-continue|")}
        << 100
        >> hi
        >> done
        << 200 hi
        {A}
        << 200 a
    """,
    "100-continue, and nobody wants it": f"""
        {post("/a", "Content-Length: 2|Expect: 100-continue|")}
        << 200 a close; closed
    """,
    "100-continue, refused, and the body comes all the same": f"""
        {post("/none", "Content-Length: 2|Expect: 100-continue|")}
        << 404 close; closed
    """,
    "another expectation": f"""
        {post("/a", "Content-Length: 2|Expect: miracles|")}
        << 417 close; closed
    """,
    # Programs
    "a program at work, and a further request": f"""
        {PROGRAM}
        {A}
        >> done
        << 200 done; 200 a
    """,
    "a stream, and a further request": f"""
        {STREAM}
        {A}
        >> done
        << 200 first; 200 a
    """,
    "a stream to HTTP/1.0": f"""
        >> GET /stream HTTP/1.0|{HOST}|
        >> done
        << 200 first close; closed
    """,
    "another protocol": f"""
        {TUNNEL}
        << 101
        >> hello
        << =hello
        >> EOF
        << closed
    """,
    "another protocol, which does not wait": f"""
        {TUNNEL}hello
        << 101; =hello
    """,
    # Ends
    "a client that says nothing": """
        >> EOF
        << closed
    """,
    "an end within a line": """
        >> GET / HTEOF
        << closed
    """,
    "an end within a head": f"""
        >> GET / HTTP/1.1|{HOST}EOF
        << 400 close; closed
    """,
    "an end within a second head": f"""
        {A}GET / HTTP/1.1|EOF
        << 200 a; 400 close; closed
    """,
    "an end between two requests": f"""
        {A}
        << 200 a
        >> EOF
        << closed
    """,
    "an end behind requests": f"""
        {A}{A[3:]}EOF
        << 200 a; 200 a; closed
    """,
    "an end within a body": f"""
        {post("/a", "Content-Length: 5|", "heEOF")}
        << 400 close; closed
    """,
    "an end within a program's body": f"""
        {post("/program", "Content-Length: 5|", "heEOF")}
        << 400 close; closed
    """,
    "an end while a program is at work": f"""
        {PROGRAM}EOF
        >> done
        << 200 done; closed
    """,
    "an end within a stream": f"""
        {STREAM}EOF
        >> done
        << 200 first; closed
    """,
    "an end while an answer waits for room": f"""
        >> stops reading
        {BIG}EOF
        >> reads again
        << 200 big; closed
    """,
    # A client that is reset, and a bug
    "a bug": f"""
        {A}
        << 200 a
        >> GET /bug HTTP/1.1|{HOST}|
        << 500 close; closed
    """,
    # Time
    "nothing is said": """
        >> 19 seconds
        >> 2 seconds
        << closed
    """,
    "a head takes too long": """
        >> GET
        >> 19 seconds
        >> 2 seconds
        << 408 close; closed
    """,
    "a second head takes too long": f"""
        {A}
        << 200 a
        >> GET
        >> 21 seconds
        << 408 close; closed
    """,
    "nothing more is said": f"""
        {A}
        << 200 a
        >> 4 seconds
        {A}
        << 200 a
        >> 4 seconds
        >> 2 seconds
        << closed
    """,
    "a client that does not read": f"""
        >> stops reading
        {BIG}
        >> 59 seconds
        >> 2 seconds
        >> reads again
        << cut; closed
    """,
    "a client that reads late": f"""
        >> stops reading
        {BIG}{A[3:]}
        >> 59 seconds
        >> reads again
        << 200 big; 200 a
    """,
    "a program takes its time": f"""
        {PROGRAM}
        >> 1000 seconds
        >> done
        << 200 done
    """,
    # A stop
    "a stop before anything is said": f"""
        >> stop
        >> {LAST_MOMENT} seconds
        << closed
    """,
    "a stop before a request": f"""
        >> stop
        {A}
        << 200 a close; closed
    """,
    "a stop within a head": f"""
        >> GET /a HTTP/1.1|
        >> stop
        >> {LAST_MOMENT} seconds
        >> {HOST}|
        << 200 a close; closed
    """,
    "a stop between two requests": f"""
        {A}
        << 200 a
        >> stop
        << closed
    """,
    "a stop within a body": f"""
        {post("/a", "Content-Length: 5|", "he")}
        >> stop
        >> llo{A[3:]}
        << 200 a close; closed
    """,
    "a stop while a program is at work": f"""
        {PROGRAM}
        >> stop
        >> done
        << 200 done close; closed
    """,
    "a stop within a stream": f"""
        {STREAM}
        >> stop
        >> done
        << 200 first; closed
    """,
    "a stop while an answer waits for room": f"""
        >> stops reading
        {BIG}{A[3:]}
        >> stop
        >> reads again
        << 200 big; closed
    """,
    "a stop within another protocol": f"""
        {TUNNEL}
        << 101
        >> stop
        >> hello
        << =hello
        >> EOF
        << closed
    """,
    # A newer worker
    "a newer worker before anything is said": f"""
        >> newer worker
        >> {LAST_MOMENT} seconds
        {A}
        << 200 a close; closed
    """,
    "a newer worker between two requests": f"""
        {A}
        << 200 a
        >> newer worker
        << closed
    """,
    "a newer worker within a head": f"""
        >> GET /a HTTP/1.1|
        >> newer worker
        >> {HOST}|
        << 200 a close; closed
    """,
    "a newer worker while a program is at work": f"""
        {PROGRAM}
        >> newer worker
        >> done
        << 200 done close; closed
    """,
}

# Where it matters that bytes come together
AT_ONCE = {
    "100-continue, and the body does not wait": f"""
        {post("/program", "Content-Length: 2|Expect: 100-continue|", "hi")}
        >> done
        << 200 hi
    """,
    "100-continue, refused, and the body does not wait": f"""
        {post("/none", "Content-Length: 2|Expect: 100-continue|", "hi")}{A[3:]}
        << 404; 200 a
    """,
}
