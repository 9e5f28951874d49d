"""What the origin answers, over real sockets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from powercut.clock import MonotonicClock
from powercut.errors import UsageError
from powercut.origin.content import Content
from powercut.origin.server import Origin

from .conftest import LIMIT_S, OBJECT, Served, origin_threads

SIZE = len(OBJECT)


def test_a_file_is_served_whole(served: Served) -> None:
    answer = served.get("/objects/big")
    assert (answer.status, answer.body) == (200, OBJECT)
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        pytest.param("0-0", 0, 0, id="first byte"),
        pytest.param("1000-1999", 1000, 1999, id="middle"),
        pytest.param("199000-", 199_000, SIZE - 1, id="to the end"),
        pytest.param("199000-999999", 199_000, SIZE - 1, id="beyond the end"),
        pytest.param("-500", SIZE - 500, SIZE - 1, id="suffix"),
        pytest.param("-999999", 0, SIZE - 1, id="suffix longer than the file"),
    ],
)
def test_a_range_is_answered_with_206(served: Served, asked: str, first: int, last: int) -> None:
    answer = served.get("/objects/big", Range=f"bytes={asked}")
    assert (answer.status, answer.body) == (206, OBJECT[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"


@pytest.mark.parametrize("asked", [f"{SIZE}-", "10-5", "-0"])
def test_a_range_that_holds_nothing_is_answered_with_416(served: Served, asked: str) -> None:
    answer = served.get("/objects/big", Range=f"bytes={asked}")
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param("bytes=0-1,5-6", id="two ranges"),
        pytest.param("bytes=-", id="nothing"),
        pytest.param("lines=1-2", id="another unit"),
        pytest.param("bytes=\u00b2-3", id="no digit"),
        pytest.param("bytes=" + "9" * 5000 + "-", id="too many digits"),
    ],
)
def test_a_range_of_another_kind_is_answered_whole(served: Served, asked: str) -> None:
    answer = served.get("/objects/big", Range=asked)
    assert (answer.status, answer.body) == (200, OBJECT)


def test_a_suffix_of_an_empty_file_holds_nothing(served: Served) -> None:
    served.put("objects/empty", b"")
    assert served.get("/objects/empty", Range="bytes=-5").status == 416
    assert served.get("/objects/empty").status == 200


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, SIZE - 1), st.integers(0, SIZE * 2))
def test_a_range_is_a_slice(served: Served, first: int, length: int) -> None:
    answer = served.get("/objects/big", Range=f"bytes={first}-{first + length}")
    assert answer.body == OBJECT[first : first + length + 1]


def test_head_says_the_size_and_sends_nothing(served: Served) -> None:
    answer = served.get("/objects/big", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(SIZE)
    assert served.origin.ledger.payload_bytes() == 0


def test_head_knows_no_range(served: Served) -> None:
    assert served.get("/objects/big", "HEAD", Range="bytes=0-1").status == 200


def test_what_is_not_there_is_404(served: Served) -> None:
    assert served.get("/objects/nowhere").status == 404
    assert served.get("/objects").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_405(served: Served, method: str) -> None:
    answer = served.get("/objects/big", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "target",
    [
        "/../secret",
        "/%2e%2e/secret",
        "/objects/..%2f..%2fsecret",
        "/objects/%2e%2e/%2e%2e/secret",
        "//../secret",
        "/link-to-file",
        "/link-to-folder/secret",
        "/..%00/secret",
        "/objects/big%00",
    ],
)
def test_nothing_outside_the_root_is_found(served: Served, target: str) -> None:
    (served.root.parent / "secret").write_bytes(b"secret")
    (served.root / "link-to-file").symlink_to(served.root.parent / "secret")
    (served.root / "link-to-folder").symlink_to(served.root.parent)
    assert served.get(target).status == 404


def test_a_link_inside_the_root_is_followed(served: Served) -> None:
    (served.root / "objects" / "alias").symlink_to("big")
    assert served.get("/objects/alias").body == OBJECT


def test_a_value_of_the_release_on_offer_replaces_a_file(served: Served) -> None:
    served.put("ref", b"oldest\n")
    assert served.get("/ref").body == b"newest\n"


@pytest.mark.parametrize(
    "target", ["/objects/big?token=1", "/%6fbjects/big", "//objects/big", "http://origin/objects/big"]
)
def test_payload_counts_however_its_path_is_written(served: Served, target: str) -> None:
    assert served.get(target).body == OBJECT
    entry = served.origin.ledger.entries()[0]
    assert (entry.path, entry.payload, entry.sent_bytes) == ("/objects/big", True, SIZE)


def test_what_is_offered_may_change_between_two_requests(served: Served, tmp_path: Path) -> None:
    served.origin.offer(Content(tmp_path / "root", {"/ref": b"next\n"}))
    assert served.get("/ref").body == b"next\n"


def test_who_speaks_no_http_is_hung_up_on(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), LIMIT_S) as line:
        line.sendall(b"SSH-2.0-lost\r\n\r\n")
        assert line.recv(1000) == b""


def test_it_listens_on_a_unix_socket(tmp_path: Path) -> None:
    origin = Origin(MonotonicClock())
    origin.offer(Content(tmp_path, {"/ref": b"newest\n"}))
    with (
        origin.listen(tmp_path / "origin.sock") as place,
        socket.socket(socket.AF_UNIX) as line,
    ):
        line.settimeout(LIMIT_S)
        line.connect(place)
        line.sendall(b"GET /ref HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n")
        assert line.makefile("rb").read().endswith(b"\r\n\r\nnewest\n")


def test_it_stops_at_once(tmp_path: Path) -> None:
    before, clock = origin_threads(), MonotonicClock()
    with Origin(clock).listen(tmp_path / "origin.sock"):
        began_s = clock.now()
    assert clock.now() - began_s < 1.0
    assert origin_threads() <= before


def test_a_socket_that_a_killed_run_left_is_taken_over(tmp_path: Path) -> None:
    place = tmp_path / "origin.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
    with Origin(MonotonicClock()).listen(place):
        assert place.is_socket()


def test_a_port_in_use_is_the_users_to_free_and_named(served: Served) -> None:
    with (
        pytest.raises(UsageError, match=rf"origin, .*{served.port}.*in use"),
        Origin(MonotonicClock()).listen(("127.0.0.1", served.port)),
    ):
        pass


def test_nobody_is_served_after_the_end(tmp_path: Path) -> None:
    origin = Origin(MonotonicClock())
    with origin.listen(("127.0.0.1", 0)) as url:
        port = int(url.rsplit(":", 1)[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), LIMIT_S)
