"""The origin in front of a real server: everything passes as it was, but for what belongs to one connection only."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

import pytest

from powercut.clock import MonotonicClock
from powercut.errors import RigError, UsageError
from powercut.origin.content import Content
from powercut.origin.faults import Fault, Kind
from powercut.origin.gate import Gate
from powercut.origin.proxy import Server, end_to_end
from powercut.origin.server import Origin
from powercut.origin.tls import RunCA
from tests.nginx import free_port

from .conftest import (
    LIMIT_S,
    OBJECT,
    PATHS,
    Receivers,
    Served,
    connected,
    content,
    eventually,
    fill,
    lines_of,
    port_of,
    until_the_end,
)

CURL = ["curl", "-sS", "--max-time", "20"]
TOKEN = "s3cr3t"


class RealServer(ThreadingHTTPServer):
    """A server with the odd answers of real ones."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.port = self.server_address[1]
        self.go_on = threading.Event()
        self.sent_bytes = 0
        self.connections = 0
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def process_request(self, request: object, client_address: object) -> None:
        self.connections += 1
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RealServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return getattr(self, "answer_" + self.path.split("?")[0].strip("/").replace("-", "_"))  # type: ignore[no-any-return]
        raise AttributeError(name)

    def _say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers and status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def answer_object(self) -> None:
        self._say(200, OBJECT, ETag='"1"')

    def answer_ref(self) -> None:
        self._say(200, b"the server's own\n")

    def answer_config(self) -> None:
        self._say(200, b"the server's own\n")

    def answer_asked(self) -> None:
        self._say(200, json.dumps([self.path, *self.headers.items()]).encode())

    def answer_chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for first in range(0, len(OBJECT), 30_000):
            self._chunk(OBJECT[first : first + 30_000])
        self._chunk(b"")

    def answer_until_the_end(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(OBJECT)
        self.close_connection = True

    def answer_half_now(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "12")
        self.end_headers()
        self.wfile.write(b"first ")
        self.server.go_on.wait(LIMIT_S)
        self.wfile.write(b"second")

    def answer_endless(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 40))
        self.end_headers()
        while True:
            self.wfile.write(bytes(1 << 16))
            self.server.sent_bytes += 1 << 16

    def answer_dies(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"only this")
        self.close_connection = True

    def answer_hangs_up(self) -> None:
        self.close_connection = True

    def answer_known(self) -> None:
        known = self.headers["If-None-Match"] == '"1"'
        self._say(304 if known else 200, b"" if known else b"new\n", ETag='"1"')

    def answer_nothing(self) -> None:
        self._say(204, Set_Cookie="a=1")

    def answer_moved(self) -> None:
        self._say(302, Location=f"{self.server.url}/object?signed=1#part")

    def answer_last(self) -> None:
        self._say(200, b"last\n")
        self.close_connection = True  # without a word: the header that says so is not sent

    def answer_upload(self) -> None:
        body = b""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self._say(201, f"{self.command} {len(body)} {hashlib.sha256(body).hexdigest()}".encode())

    def answer_too_big(self) -> None:
        self._say(413, b"too big\n", Connection="close")
        self.close_connection = True


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[RealServer]:
    with RealServer(tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()


@pytest.fixture
def real() -> Iterator[RealServer]:
    with running() as server:
        yield server


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Puts an origin in front of a server; what it has on offer itself is `content`'s."""
    with ExitStack() as stack:

        def put(url: str, payload: str | None = None, ca_file: Path | None = None, token: str | None = None) -> Served:
            origin = Origin(MonotonicClock(), token, Server(url, payload, ca_file))
            origin.offer(content(tmp_path / "root"))
            return Served(origin, tmp_path / "root", port_of(stack.enter_context(origin.listen(("127.0.0.1", 0)))))

        yield put


@pytest.fixture
def served(real: RealServer, proxied: Callable[..., Served]) -> Served:
    return proxied(real.url, "^/(object|chunked|until-the-end|half-now|endless|dies|known|moved)$")


def told(served: Served, target: str = "/asked", **headers: str) -> list[list[str]]:
    """The headers that the real server got, lower-case, sorted."""
    got = json.loads(served.get(target, **headers).body)
    return sorted([name.lower(), value] for name, value in got[1:])


# what comes through


def test_what_has_no_value_comes_from_the_server_and_files_of_the_repository_do_not(served: Served) -> None:
    assert served.get("/config").body == b"the server's own\n"
    assert served.get("/ref").body == b"newest\n"


def test_the_path_and_its_query_reach_the_server_as_they_were_written(served: Served) -> None:
    target = "/asked?a=%2F&b=c+d"
    assert json.loads(served.get(target).body)[0] == target


def test_the_servers_base_stands_before_every_path(real: RealServer, proxied: Callable[..., Served]) -> None:
    assert proxied(f"{real.url}/asked/").get("/?x=1").status == 200


@pytest.mark.parametrize("path", ["/object", "/chunked", "/until-the-end"])
def test_a_body_comes_whole_however_its_end_is_told(served: Served, path: str) -> None:
    assert served.get(path).body == OBJECT
    entry = served.origin.ledger.entries()[0]
    assert (entry.path, entry.status, entry.payload, entry.sent_bytes) == (path, 200, True, len(OBJECT))


def test_a_line_is_kept_over_answers_of_unknown_length(served: Served) -> None:
    line = connected(served.port)
    for path in ("/chunked", "/until-the-end", "/object"):
        line.request("GET", path)
        assert line.getresponse().read() == OBJECT
    line.close()


def test_one_connection_to_the_server_is_kept_for_a_line(real: RealServer, served: Served) -> None:
    line = connected(served.port)
    for _ in range(5):
        line.request("GET", "/object")
        line.getresponse().read()
    line.close()
    assert real.connections == 1


def test_a_connection_that_the_server_ended_silently_is_made_again(real: RealServer, served: Served) -> None:
    line = connected(served.port)
    for _ in range(3):
        line.request("GET", "/last")
        assert line.getresponse().read() == b"last\n"
    line.close()
    assert served.origin.fault() is None


def test_a_request_that_meets_the_end_of_a_kept_connection_is_asked_again(proxied: Callable[..., Served]) -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = proxied("http://127.0.0.1:{1}".format(*listener.getsockname()))
        line = connected(served.port)
        line.request("GET", "/first")
        kept, _ = listener.accept()
        kept.recv(1 << 16)
        kept.sendall(ok)
        assert line.getresponse().read() == b"ok"
        line.request("GET", "/second")
        assert kept.recv(1 << 16).startswith(b"GET /second")
        kept.close()
        again, _ = listener.accept()
        assert again.recv(1 << 16).startswith(b"GET /second")
        again.sendall(ok)
        assert line.getresponse().read() == b"ok"
        again.close()
    line.close()
    assert served.origin.fault() is None


def test_a_client_of_http_1_0_gets_a_body_of_unknown_length_until_the_end(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), LIMIT_S) as line:
        line.sendall(b"GET /chunked HTTP/1.0\r\n\r\n")
        assert until_the_end(line).partition(b"\r\n\r\n")[2] == OBJECT


def test_a_body_is_passed_on_while_it_comes(real: RealServer, served: Served) -> None:
    line = connected(served.port)
    line.request("GET", "/half-now")
    answer = line.getresponse()
    assert answer.read(6) == b"first "
    real.go_on.set()
    assert answer.read() == b"second"
    line.close()


def test_a_device_that_does_not_read_makes_the_server_wait(real: RealServer, served: Served) -> None:
    line = connected(served.port)
    line.request("GET", "/endless")
    line.getresponse()
    seen = [-1]

    def stands() -> bool:
        seen.append(real.sent_bytes)
        return seen[-1] == seen[-2] > 0 and len(seen) > 100

    assert eventually(stands)
    assert real.sent_bytes < 20_000_000
    line.close()


def test_head_says_the_size_and_sends_nothing(served: Served) -> None:
    answer = served.get("/object", "HEAD")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", str(len(OBJECT)))
    assert served.origin.ledger.payload_bytes() == 0


def test_what_has_no_body_gets_none(served: Served) -> None:
    line = connected(served.port)
    line.request("GET", "/known", headers={"If-None-Match": '"1"'})
    answer = line.getresponse()
    assert (answer.status, answer.read(), answer.headers["ETag"]) == (304, b"", '"1"')
    line.request("DELETE", "/nothing")
    answer = line.getresponse()
    assert (answer.status, answer.read(), answer.headers["Set-Cookie"]) == (204, b"", "a=1")
    line.request("GET", "/known")
    assert line.getresponse().read() == b"new\n"
    line.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "REPORT"])
def test_a_body_of_a_known_length_is_uploaded_by_any_method(served: Served, method: str) -> None:
    answer = served.get("/upload", method, body=OBJECT)
    assert answer.status == 201
    assert answer.body.decode() == f"{method} {len(OBJECT)} {hashlib.sha256(OBJECT).hexdigest()}"
    assert served.origin.ledger.received_bytes == len(OBJECT)
    assert served.origin.ledger.payload_bytes() == 0


def test_a_chunked_body_is_uploaded(served: Served) -> None:
    pieces = iter([OBJECT[:70_000], OBJECT[70_000:]])
    answer = served.get("/upload", "PUT", body=pieces, **{"Transfer-Encoding": "chunked"})
    assert answer.body.decode() == f"PUT {len(OBJECT)} {hashlib.sha256(OBJECT).hexdigest()}"


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(OBJECT)
    url = f"http://127.0.0.1:{served.port}/upload"
    command = [*CURL, "-H", "Expect: 100-continue", "--expect100-timeout", "15", "-T", str(file), url]
    got = subprocess.run(command, check=True, capture_output=True, timeout=10)
    assert got.stdout.decode() == f"PUT {len(OBJECT)} {hashlib.sha256(OBJECT).hexdigest()}"


def test_an_answer_to_half_an_upload_reaches_the_client(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(20_000_000))
    url = f"http://127.0.0.1:{served.port}/too-big"
    got = subprocess.run([*CURL, "-T", str(file), url], check=False, capture_output=True, timeout=20)
    assert got.stdout == b"too big\n"
    assert served.origin.fault() is None


# headers


def test_a_connections_own_headers_stay_on_it(served: Served) -> None:
    got = told(
        served, Keep_Alive="5", TE="trailers", Upgrade="h2c", Secret="1", Connection="close, secret, TE, upgrade"
    )
    assert {"connection", "te", "upgrade", "secret", "keep-alive"}.isdisjoint(name for name, _ in got)


def test_the_server_is_told_its_own_host_and_how_the_device_called(real: RealServer, served: Served) -> None:
    got = told(served, Host="board.example:8080", **{"X-Forwarded-Proto": "gopher", "X-Forwarded-For": "192.0.2.1"})
    assert [[name, value] for name, value in got if name == "host" or name.startswith("x-")] == [
        ["host", f"127.0.0.1:{real.port}"],
        ["x-forwarded-for", "192.0.2.1, 127.0.0.1"],
        ["x-forwarded-host", "board.example:8080"],
        ["x-forwarded-proto", "http"],
    ]


def test_ranges_conditions_and_credentials_reach_the_server(served: Served) -> None:
    asked = {"Range": "bytes=5-", "If-Match": '"1"', "Authorization": "TargetToken abc", "Accept-Encoding": "identity"}
    got = told(served, **asked)
    assert all([name.lower(), value] in got for name, value in asked.items())


def test_the_token_is_kept_from_the_server_but_as_a_prefix(real: RealServer, proxied: Callable[..., Served]) -> None:
    guarded = proxied(real.url, token=TOKEN)
    assert json.loads(guarded.get(f"/{TOKEN}/asked?x").body)[0] == "/asked?x"
    assert ["x-forwarded-prefix", f"/{TOKEN}"] in told(guarded, f"/{TOKEN}/asked")
    assert guarded.get("/asked").status == 404


def test_the_server_is_told_that_the_device_called_over_tls(real: RealServer, ca: RunCA, tmp_path: Path) -> None:
    origin = Origin(MonotonicClock(), TOKEN, Server(real.url))
    with origin.listen(("127.0.0.1", 0), ca.context("127.0.0.1")) as url:
        secured = Served(origin, tmp_path, port_of(url), ssl.create_default_context(cadata=ca.pem))
        assert ["x-forwarded-proto", "https"] in told(secured, f"/{TOKEN}/asked")
        assert secured.get(f"/{TOKEN}/moved").headers["Location"].startswith(f"{url}/object")


def test_a_redirect_to_the_server_leads_through_the_origin(real: RealServer, proxied: Callable[..., Served]) -> None:
    guarded = proxied(real.url, token=TOKEN)
    answer = guarded.get(f"/{TOKEN}/moved")
    assert answer.status == 302
    assert answer.headers["Location"] == f"http://127.0.0.1:{guarded.port}/{TOKEN}/object?signed=1#part"
    assert not guarded.origin.ledger.entries()[0].payload


@pytest.mark.parametrize(
    ("location", "outside"),
    [
        ("http://real.example/base/a?b#c", "https://board/t/a?b#c"),
        ("HTTP://Real.example:80/base/a", "https://board/t/a"),
        ("http://real.example/base", "https://board/t"),
        ("//real.example/base/a", "https://board/t/a"),
        ("/base/a", "https://board/t/a"),
        pytest.param("a", "a", id="relative"),
        pytest.param("?page=2", "?page=2", id="only a query"),
        pytest.param("/based/a", "/based/a", id="beside the base"),
        pytest.param("http://real.example/other", "http://real.example/other", id="another base"),
        pytest.param("https://real.example/base/a", "https://real.example/base/a", id="another scheme"),
        pytest.param("http://real.example:81/base/a", "http://real.example:81/base/a", id="another port"),
        pytest.param("http://cdn.example/base/a", "http://cdn.example/base/a", id="another host"),
        pytest.param("http://[::1/base", "http://[::1/base", id="no URL"),
    ],
)
def test_a_redirect_is_rewritten_where_it_leads_to_the_servers_base(location: str, outside: str) -> None:
    assert Server("http://real.example/base/").outside(location, "https://board/t") == outside


def test_every_header_that_a_connection_names_is_its_own() -> None:
    headers = [(b"Connection", b"close, X-One"), (b"connection", b"x-two"), (b"X-ONE", b"1"), (b"X-Two", b"2")]
    assert end_to_end([*headers, (b"ETag", b"3")]) == [(b"ETag", b"3")]


@pytest.mark.parametrize(
    "url",
    ["real.example", "ftp://real.example", "http://", "http://a:b@c", "http://a/?b", "http://a:99999", "http://[::1"],
)
def test_what_is_no_base_of_a_server_is_the_users_to_mend(url: str) -> None:
    with pytest.raises(UsageError, match="origin: server"):
        Server(url)


def test_a_missing_ca_file_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no authority"):
        Server("https://real.example", ca_file=tmp_path / "nowhere")


# payload, gate and faults


def test_only_what_the_pattern_names_and_the_server_gives_is_payload(served: Served) -> None:
    served.get("/object")
    served.get("/asked")
    served.get("/known", **{"If-None-Match": '"1"'})
    served.get("/object", "POST", body=b"")
    assert [(entry.status, entry.payload) for entry in served.origin.ledger.entries()] == [
        (200, True),
        (200, False),
        (304, False),
        (200, False),
    ]


def test_without_a_pattern_the_update_client_says_what_is_payload(
    real: RealServer, proxied: Callable[..., Served]
) -> None:
    served = proxied(real.url)
    served.get("/object")
    assert served.origin.ledger.payload_bytes() == 0
    served.origin.offer(Content(served.root))
    served.get("/object")
    assert served.origin.ledger.payload_bytes() == len(OBJECT)


@pytest.mark.parametrize("path", ["/object", "/chunked", "/until-the-end"])
@pytest.mark.parametrize("seed", range(3))
def test_eight_connections_together_receive_exactly_what_the_gate_lets_through(
    served: Served, path: str, seed: int
) -> None:
    rng = Random(f"proxy:{seed}")
    count = rng.randint(1, 3_000_000)
    gate = served.gate(payload_bytes=count)
    receivers = Receivers(served.port, [f"{path}?{number}" for number in range(4)], rng)
    gate.await_shut()
    served.origin.drop_connections()
    assert receivers.finish() == count
    assert served.origin.ledger.payload_bytes() == count
    assert served.origin.fault() is None


def test_a_gate_by_request_lets_no_byte_of_it_through(served: Served) -> None:
    gate = served.gate(request=2)
    receivers = Receivers(served.port, ["/object?1", "/object?2"], Random(1), connections=1)
    gate.await_shut()
    served.origin.drop_connections()
    assert receivers.finish() == len(OBJECT)


def test_faults_meet_the_servers_answers(served: Served) -> None:
    faults = (Fault(Kind.TRUNCATED, "object", byte=70_001), Fault(Kind.STATUS, "object", code=500))
    served.origin.arm(Gate(None), faults)
    assert served.get("/object").body == OBJECT[:70_001]
    assert served.get("/object").status == 500


# a real server that fails


def test_a_server_that_is_not_there_is_a_fault_of_the_rig_and_502(proxied: Callable[..., Served]) -> None:
    served = proxied(f"http://127.0.0.1:{free_port()}")
    answer = served.get("/object")
    assert answer.status == 502
    assert answer.body.startswith(b"the real server failed: ")
    assert answer.body.count(b"\n") == 1
    assert isinstance(served.origin.fault(), RigError)
    entry = served.origin.ledger.entries()[0]
    assert (entry.status, entry.payload) == (502, False)
    assert "refused" in entry.fault


def test_502_has_no_body_where_none_was_asked_for(proxied: Callable[..., Served]) -> None:
    served = proxied(f"http://127.0.0.1:{free_port()}")
    assert (served.get("/object", "HEAD").status, served.get("/object", "HEAD").body) == (502, b"")


def test_a_client_that_was_answered_early_may_finish_its_upload(proxied: Callable[..., Served]) -> None:
    served = proxied(f"http://127.0.0.1:{free_port()}")
    with socket.create_connection(("127.0.0.1", served.port), LIMIT_S) as line:
        line.sendall(b"PUT /upload HTTP/1.1\r\nHost: origin\r\nContent-Length: 300000\r\n\r\n" + bytes(100_000))
        assert line.recv(1, socket.MSG_PEEK) == b"H"
        line.sendall(bytes(100_000))
        line.sendall(bytes(100_000))
        line.shutdown(socket.SHUT_WR)
        assert until_the_end(line).startswith(b"HTTP/1.1 502")


def test_502_reaches_a_client_in_the_middle_of_its_upload(proxied: Callable[..., Served], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(5_000_000))
    url = f"http://127.0.0.1:{proxied(f'http://127.0.0.1:{free_port()}').port}/upload"
    got = subprocess.run([*CURL, "-T", str(file), url], check=False, capture_output=True, timeout=20)
    assert got.stdout.startswith(b"the real server failed")


def test_a_fault_of_the_rig_belongs_to_its_moment(served: Served) -> None:
    assert served.origin.fault() is None
    served.get("/hangs-up")
    assert served.origin.fault() is not None
    assert served.origin.fault(since_s=MonotonicClock().now()) is None


def test_a_body_that_breaks_off_breaks_off_for_the_device_too(served: Served) -> None:
    answer = served.get("/dies")
    assert (answer.headers["Content-Length"], answer.body) == ("1000", b"only this")
    assert "hung up" in str(served.origin.fault()) or "closed" in str(served.origin.fault())


def test_lines_that_are_dropped_are_no_fault_of_the_server(real: RealServer, served: Served) -> None:
    receivers = Receivers(served.port, ["/half-now"], Random(1))
    assert eventually(lambda: receivers.received_bytes == 48)
    served.origin.drop_connections()
    receivers.finish()
    assert eventually(lambda: lines_of(served.origin) == 0)
    assert served.origin.fault() is None


def test_a_server_over_tls_is_verified(ca: RunCA, proxied: Callable[..., Served], tmp_path: Path) -> None:
    pem = tmp_path / "real.pem"
    pem.write_text(ca.pem)
    with running(ca.context("127.0.0.1")) as real:
        served = proxied(f"https://127.0.0.1:{real.port}", "object", pem)
        assert served.get("/object").body == OBJECT


def test_a_server_that_nobody_vouches_for_is_a_fault_of_the_rig(ca: RunCA, tmp_path: Path) -> None:
    with running(ca.context("127.0.0.1")) as real:
        origin = Origin(MonotonicClock(), server=Server(f"https://127.0.0.1:{real.port}"))
        with origin.listen(("127.0.0.1", 0)) as url:
            assert Served(origin, tmp_path, port_of(url)).get("/object").status == 502
        assert "certificate verify failed" in str(origin.fault())


# nginx


def test_a_download_from_nginx_resumes_at_the_byte_at_which_the_gate_cut_it_off(
    nginx: Callable[..., int], proxied: Callable[..., Served], tmp_path: Path
) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "release.bin").write_bytes(OBJECT)
    served = proxied(f"http://127.0.0.1:{nginx(tmp_path / 'www')}", r"\.bin$")
    count, got, url = 123_457, tmp_path / "got", f"http://127.0.0.1:{served.port}/release.bin"
    gate = served.gate(payload_bytes=count)
    with subprocess.Popen([*CURL, "--no-buffer", "-o", got, url], stderr=subprocess.PIPE) as curl:
        gate.await_shut()
        served.origin.drop_connections()
        assert curl.wait(20) == 18  # CURLE_PARTIAL_FILE
    assert got.read_bytes() == OBJECT[:count]
    subprocess.run([*CURL, "-C", "-", "-o", got, url], check=True, timeout=20)
    assert got.read_bytes() == OBJECT
    assert [(entry.status, entry.first_byte) for entry in served.origin.ledger.entries()] == [(200, 0), (206, count)]
    assert eventually(lambda: served.origin.ledger.payload_bytes() == len(OBJECT))


def test_nginx_answers_conditions_through_the_origin(
    nginx: Callable[..., int], proxied: Callable[..., Served], tmp_path: Path
) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "index.json").write_bytes(b"{}")
    served = proxied(f"http://127.0.0.1:{nginx(tmp_path / 'www')}")
    tag = served.get("/index.json").headers["ETag"]
    assert served.get("/index.json", **{"If-None-Match": tag}).status == 304
    assert served.get("/nowhere").status == 404


def test_eight_connections_get_from_nginx_exactly_what_the_gate_lets_through(
    nginx: Callable[..., int], proxied: Callable[..., Served], tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    served = proxied(f"http://127.0.0.1:{nginx(tmp_path / 'root')}", "^/objects/")
    fill(served)
    gate = served.gate(payload_bytes=777_777)
    receivers = Receivers(served.port, PATHS, Random("nginx"))
    gate.await_shut()
    served.origin.drop_connections()
    assert receivers.finish() == 777_777
