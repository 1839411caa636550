"""Conversations of HTTP/2: >> is what comes, << what goes out and what is done (`processes/test_h2_conversation`).

">> 1 ..." is a frame of the client's on stream 1, or what the program does that answers it. "<< 1 ..." is a frame of
ours; what is done has its name first, as in the tables.
"""

from __future__ import annotations

TEXT = "1 HEADERS 200; 1 DATA text END; finish 1"
UPLOAD = ">> 1 POST /text"

CONVERSATIONS = {
    "a request": f"""
        >> 1 GET /text
        << {TEXT}
        >> 3 GET /none
        << 3 HEADERS 404; 3 DATA none END; finish 3
    """,
    "a response without a body": """
        >> 1 HEAD /text
        << 1 HEADERS 200 END; finish 1
        >> 3 GET /empty
        << 3 HEADERS 204 END; finish 3
    """,
    "streams take turns": """
        >> window of streams 0
        >> 1 GET /big; 3 GET /big
        << 1 HEADERS 200; 3 HEADERS 200
        >> window of streams 60000
        << 1 DATA 16384; 3 DATA 16384; 1 DATA 16384; 3 DATA 16383
        >> 5 GET /empty
        << 5 HEADERS 204 END; finish 5
        >> window 34464
        << 1 DATA 16384; 3 DATA 16384; 1 DATA 848 END; 3 DATA 848; finish 1
        >> window 1000
        << 3 DATA b END; finish 3
    """,
    "another owner's host": """
        >> 1 GET /text at other.test
        << 1 HEADERS 421; 1 DATA misdirected END; finish 1
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
    """,
    "a head that is malformed": """
        >> 1 GET /text te: gzip
        << 1 RST PROTOCOL_ERROR; log 1; abort 1
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
    """,
    "a body that nobody reads is here before the answer": f"""
        {UPLOAD}
        >> 1 DATA some
        >> 1 DATA more END
        << {TEXT}
    """,
    "a body that nobody reads ends with trailers": f"""
        {UPLOAD}
        >> 1 DATA some
        >> 1 trailers
        << {TEXT}
    """,
    "a body that nobody reads is too long": f"""
        {UPLOAD}
        >> 1 DATA {"x" * 90}
        >> 1 DATA {"x" * 90}
        << 1 HEADERS 413; 1 DATA large END; refuse 1; finish 1
        >> 1 DATA rest END
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
    """,
    "the last piece of a body that nobody reads is too much": f"""
        {UPLOAD}
        >> 1 DATA {"x" * 101} END
        << 1 HEADERS 413; 1 DATA large END; refuse 1; finish 1
    """,
    "a body that nobody reads, and that nobody asks for": """
        >> 1 POST /text expect: 100-continue
        << 1 HEADERS 200; 1 DATA text END; finish 1
    """,
    "an error does not wait for the body": """
        >> 1 POST /none
        << 1 HEADERS 404; 1 DATA none END; finish 1
        >> 1 DATA some
        >> 1 DATA some END
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
    """,
    "an error, and a body that does not come": """
        >> 1 POST /none
        << 1 HEADERS 404; 1 DATA none END; finish 1
        >> 2 seconds
        << 1 RST NO_ERROR
    """,
    "an error, and a body that comes for ever": f"""
        >> 1 POST /none
        << 1 HEADERS 404; 1 DATA none END; finish 1
        {
        '''
        >> 1.5 seconds
        >> 1 DATA some
        '''
        * 19
    }
        >> 1.5 seconds
        << 1 RST NO_ERROR
    """,
    "an error, and a body that is taken back": """
        >> 1 POST /none
        << 1 HEADERS 404; 1 DATA none END; finish 1
        >> 1 RST
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
    """,
    "bodies of a wrong length": """
        >> 1 POST /text content-length: 3
        >> 1 DATA four END
        << 1 RST PROTOCOL_ERROR; 1 RST STREAM_CLOSED; log 1; abort 1
        >> 3 POST /text content-length: 5
        >> 3 DATA four END
        << 3 RST PROTOCOL_ERROR; 3 RST STREAM_CLOSED; log 3; abort 3
        >> 5 POST /text content-length: 5
        >> 5 DATA four
        >> 5 trailers
        << 5 RST PROTOCOL_ERROR; log 5; abort 5
        >> 7 POST /program content-length: 3
        << run 7
        >> 7 DATA four
        << 7 RST PROTOCOL_ERROR; 7 RST STREAM_CLOSED; log 7; cancel 7; abort 7
        >> 9 POST /program content-length: 4
        << run 9
        >> 9 reads
        >> 9 DATA four END padded 3
        << deliver 9 four; wake 9
        >> 9 answers read
        << 9 HEADERS 200; 9 DATA read END; finish 9
        >> 11 POST /none content-length: 4
        << 11 HEADERS 404; 11 DATA none END; finish 11
        >> 11 DATA fives
        << 11 RST PROTOCOL_ERROR; 11 RST STREAM_CLOSED; log 11
    """,
    "bodies of a wrong length, for programs": """
        >> 1 POST /program content-length: 0
        << run 1
        >> 1 DATA x
        << 1 RST PROTOCOL_ERROR; 1 RST STREAM_CLOSED; log 1; cancel 1; abort 1
        >> 3 POST /program content-length: 5
        << run 3
        >> 3 reads
        >> 3 DATA fo
        << deliver 3 fo
        >> 3 DATA ur END
        << 3 RST PROTOCOL_ERROR; 3 RST STREAM_CLOSED; log 3; cancel 3; abort 3
        >> 5 POST /program content-length: 5
        << run 5
        >> 5 DATA fo
        << deliver 5 fo
        >> 5 DATA urteen
        << 5 RST PROTOCOL_ERROR; 5 RST STREAM_CLOSED; log 5; cancel 5; abort 5
        >> 7 POST /program content-length: 5
        << run 7
        >> 7 DATA four END padded 2
        << 7 RST PROTOCOL_ERROR; 7 RST STREAM_CLOSED; log 7; cancel 7; abort 7
        >> 9 POST /program content-length: 5
        << run 9
        >> 9 DATA four
        << deliver 9 four
        >> 9 trailers
        << 9 RST PROTOCOL_ERROR; log 9; cancel 9; abort 9
    """,
    "a program": """
        >> 1 GET /program
        << run 1
        >> 1 says 200
        << 1 HEADERS 200
        >> 1 says one
        << 1 DATA one
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
        >> 1 says two
        << 1 DATA two
        >> 1 has said all
        << 1 DATA END; finish 1
    """,
    "a program whose answer is here": """
        >> 1 GET /program; 3 GET /program
        << run 1; run 3
        >> 3 answers three
        << 3 HEADERS 200; 3 DATA three END; finish 3
        >> 1 answers one
        << 1 HEADERS 200; 1 DATA one END; finish 1
    """,
    "programs whose answers have no content": """
        >> 1 GET /program; 3 POST /program
        << run 1; run 3
        >> 1 answers
        << 1 HEADERS 200 END; finish 1
        >> 3 answers
        << 3 HEADERS 200 END; finish 3
        >> 3 DATA some END
        >> 5 POST /empty expect: 100-continue
        << 5 HEADERS 204 END; finish 5
        >> 5 DATA some END
    """,
    "a program says something while its request comes": """
        >> window of streams 2
        >> 1 POST /program
        << run 1
        >> 1 says 200
        << 1 HEADERS 200
        >> 1 reads
        >> 1 DATA some
        << deliver 1 some
        >> 1 says one
        << 1 DATA on
        >> 1 DATA more END
        << deliver 1 more; wake 1
        >> 1 has said all
        >> window of streams 9
        << 1 DATA e END; finish 1
    """,
    "a program has said all while its request comes": """
        >> window of streams 2
        >> 1 POST /program
        << run 1
        >> 1 answers one
        << 1 HEADERS 200; 1 DATA on
        >> 1 DATA some
        << deliver 1 some
        >> 1 DATA more END
        << deliver 1 more; wake 1
        >> window of streams 9
        << 1 DATA e END; finish 1
    """,
    "a program that streams though its client has left": """
        >> 1 GET /stubborn
        << run 1
        >> 1 RST
        << cancel 1
        >> 1 says 200
        << abort 1
    """,
    "a program reads": """
        >> 1 POST /program
        << run 1
        >> 1 DATA some
        << deliver 1 some
        >> 1 reads
        >> 1 DATA more END
        << deliver 1 more; wake 1
        >> 1 answers read
        << 1 HEADERS 200; 1 DATA read END; finish 1
    """,
    "a program reads what waits to be asked for": """
        >> 1 POST /program expect: 100-continue
        << run 1
        >> 1 reads
        << 1 HEADERS 100
        >> 1 DATA some END
        << deliver 1 some; wake 1
        >> 1 answers read
        << 1 HEADERS 200; 1 DATA read END; finish 1
    """,
    "a program answers before it has read": """
        >> 1 POST /program
        << run 1
        >> 1 says 200
        << 1 HEADERS 200
        >> 1 DATA some
        << deliver 1 some
        >> 1 has said all
        << 1 DATA END; finish 1
        >> 1 DATA more END
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
    """,
    "a program's client sends nothing": """
        >> 1 POST /program
        << run 1
        >> 5 seconds
        << 1 RST CANCEL; cancel 1; abort 1
    """,
    "a program takes its time": """
        >> 1 GET /program
        << run 1
        >> 100 seconds
        >> 1 answers late
        << 1 HEADERS 200; 1 DATA late END; finish 1
    """,
    "programs whose clients leave": """
        >> 1 GET /program; 3 GET /program; 5 GET /text
        << 5 HEADERS 200; 5 DATA text END; run 1; run 3; finish 5
        >> 1 says 200
        << 1 HEADERS 200
        >> 1 RST
        << cancel 1; abort 1
        >> 3 RST
        << cancel 3; abort 3
    """,
    "a program that goes on though its client has left": """
        >> 1 GET /stubborn
        << run 1
        >> 1 RST
        << cancel 1
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
        >> 1 answers done
        << abort 1
    """,
    "a program that breaks in midst of its answer": """
        >> 1 GET /program; 3 GET /program
        << run 1; run 3
        >> 1 says 200
        << 1 HEADERS 200
        >> 1 fails
        << 1 RST INTERNAL_ERROR; abort 1
        >> 3 answers three
        << 3 HEADERS 200; 3 DATA three END; finish 3
    """,
    "a bug": """
        >> 1 GET /bug
        << 1 HEADERS 500; 1 DATA sorry END; apologize 1; finish 1
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
    """,
    "a bug in midst of an answer": """
        >> 1 GET /program
        << run 1
        >> 1 says 200
        << 1 HEADERS 200
        >> 1 breaks
        << 1 RST INTERNAL_ERROR; abort 1
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
    """,
    "a file that cannot be read any more": """
        >> 1 GET /short
        << 1 HEADERS 200; 1 RST INTERNAL_ERROR; abort 1
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
    """,
    "a window that is closed": """
        >> window of streams 0
        >> 1 GET /text
        << 1 HEADERS 200
        >> 4.5 seconds
        >> window 10
        >> 1 window 1
        << 1 DATA t
        >> 1 window 2
        << 1 DATA ex
        >> 4.5 seconds
        >> window of streams 9
        << 1 DATA t END; finish 1
    """,
    "a window that stays closed": """
        >> window of streams 0
        >> 1 GET /text; 3 GET /empty
        << 1 HEADERS 200; 3 HEADERS 204 END; finish 3
        >> window 10
        >> 5 seconds
        << 1 RST CANCEL; abort 1
    """,
    "a socket that takes no more": """
        >> full
        >> 1 GET /text
        << finish 1
        >> 2.5 seconds
        >> room
        << 1 HEADERS 200; 1 DATA text END
    """,
    "a socket that takes no more for too long": """
        >> 1 GET /program
        << run 1
        >> full
        >> 3 GET /text
        << finish 3
        >> 5 seconds
        << hang_up; cancel 1; abort 1; forget
    """,
    "nothing is asked": """
        >> 5 seconds
        << GOAWAY 0 NO_ERROR; hang_up and wait; forget
    """,
    "nothing more is asked": f"""
        >> 1 GET /text
        << {TEXT}
        >> 3 seconds
        << GOAWAY 1 NO_ERROR; hang_up and wait; forget
    """,
    "a client that leaves": """
        >> 1 GET /program; 3 POST /text; 5 POST /none
        << 5 HEADERS 404; 5 DATA none END; run 1; finish 5
        >> EOF
        << hang_up; cancel 1; abort 3; abort 1; forget
    """,
    "a client that leaves a stubborn program": """
        >> 1 GET /stubborn
        << run 1
        >> EOF
        << hang_up; cancel 1
        >> stop
        >> 1 answers done
        << abort 1; forget
    """,
    "a request, and the end of the client's stream": f"""
        >> 1 GET /text; EOF
        << {TEXT}; hang_up; forget
    """,
    "a client that says goaway": f"""
        >> 1 GET /program
        << run 1
        >> goaway
        >> 3 GET /text
        << 3 HEADERS 200; 3 DATA text END; finish 3
        >> 1 answers text
        << {TEXT}; hang_up; forget
    """,
    "a client that says goaway, and has nothing to wait for": """
        >> goaway
        << hang_up; forget
    """,
    "both sides say goaway": f"""
        >> 1 GET /program
        << run 1
        >> goaway
        >> stop
        << GOAWAY 1 NO_ERROR
        >> goaway
        >> 3 GET /text
        << 3 RST REFUSED_STREAM
        >> 1 answers text
        << {TEXT}; hang_up; forget
    """,
    "a stop while nothing is asked": """
        >> stop
        << GOAWAY 0 NO_ERROR; hang_up and wait; forget
    """,
    "a stop before anything comes": """
        >> the worker stops
        << GOAWAY 0 NO_ERROR; hang_up and wait; forget
    """,
    "a stop while a program is at work": f"""
        >> 1 GET /program
        << run 1
        >> stop
        << GOAWAY 1 NO_ERROR
        >> stop
        >> 3 GET /text
        << 3 RST REFUSED_STREAM
        >> 1 answers text
        << {TEXT}; hang_up and wait; forget
    """,
    "a stop at every state of a stream": """
        >> 1 GET /program; 3 POST /text; 5 POST /none; 7 GET /program
        << 5 HEADERS 404; 5 DATA none END; run 1; finish 5; run 7
        >> 7 says 200
        << 7 HEADERS 200
        >> stop
        << GOAWAY 7 NO_ERROR
        >> 3 DATA some END
        << 3 HEADERS 200; 3 DATA text END; finish 3
        >> 5 DATA some END
        >> 7 has said all
        << 7 DATA END; finish 7
        >> 1 RST
        << cancel 1; abort 1; hang_up and wait; forget
    """,
    "a newer worker": f"""
        >> 1 GET /program
        << run 1
        >> supersede
        << GOAWAY 1 NO_ERROR
        >> 3 GET /text
        << 3 RST REFUSED_STREAM
        >> 1 answers text
        << {TEXT}; hang_up and wait; forget
    """,
    "a newer worker, a stop, and both once more": """
        >> 1 GET /program
        << run 1
        >> supersede
        << GOAWAY 1 NO_ERROR
        >> stop
        >> supersede
        >> goaway
        >> supersede
        >> stop
        >> 1 RST
        << cancel 1; abort 1; hang_up; forget
    """,
    "more streams than may be under way": """
        >> 1 GET /program; 3 GET /program; 5 GET /stubborn; 7 POST /text; 9 GET /text
        << 9 RST REFUSED_STREAM; run 1; run 3; run 5
        >> 5 RST
        << cancel 5
        >> 11 GET /text
        << 11 RST REFUSED_STREAM
        >> 3 RST
        << cancel 3; abort 3
        >> 13 GET /text
        << 13 HEADERS 200; 13 DATA text END; finish 13
    """,
    "what is no HTTP/2": """
        >> 1 GET /program
        << run 1
        >> bytes ffffff0000000000ff
        << GOAWAY 1 PROTOCOL_ERROR; log; hang_up and wait; cancel 1; abort 1; forget
    """,
    "frames that the protocol does not allow": """
        >> 1 GET /stubborn; 3 POST /text
        << run 1
        >> bytes 000000040000000001; 5 GET /text
        << GOAWAY 3 PROTOCOL_ERROR; log; hang_up and wait; cancel 1; abort 3
        >> 1 answers done
        << abort 1; forget
    """,
    "pings without end": """
        >> 1 GET /program
        << run 1
        >> 101 pings
        << GOAWAY 1 ENHANCE_YOUR_CALM; log; hang_up at once; cancel 1; abort 1; forget
    """,
    "requests that are taken back without end": """
        >> 1 POST /text; 201 resets
        << GOAWAY 1 ENHANCE_YOUR_CALM; log; hang_up at once; abort 1; forget
    """,
}
