import hashlib
import socket

import httpx
import pytest

from tests.sandbox.edge.conftest import Setup


def headers_of(answer: httpx.Response) -> dict[str, str]:
    return dict(answer.json()["headers"])


def test_a_request_reaches_the_origin_over_verified_tls_under_its_own_name(edge: Setup) -> None:
    name = edge.site()
    answer = edge.request("POST", name, "/a%20b?c=%2F&d", content="hello")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["method"], told["path"], told["body"]) == ("POST", "/a%20b?c=%2F&d", "hello")
    assert told["tls"] is True
    assert headers_of(answer)["host"] == name


def test_the_origin_learns_who_asks(edge: Setup) -> None:
    answer = edge.get(edge.site(), headers={"X-Forwarded-For": "203.0.113.9"})
    seen = headers_of(answer)
    assert seen["cf-connecting-ip"] == "127.0.0.1"
    assert seen["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert seen["x-forwarded-proto"] == "https"
    assert seen["cf-ray"] == answer.headers["cf-ray"]


def test_a_visitor_cannot_pretend_to_be_somebody_else(edge: Setup) -> None:
    forged = {"CF-Connecting-IP": "203.0.113.9", "X-Forwarded-Proto": "http", "CF-Ray": "x"}
    answer = edge.get(edge.site(), headers=forged)
    told = [pair for pair in answer.json()["headers"] if pair[0] in map(str.lower, forged)]
    assert sorted(told) == [
        ["cf-connecting-ip", "127.0.0.1"],
        ["cf-ray", answer.headers["cf-ray"]],
        ["x-forwarded-proto", "https"],
    ]


def test_headers_of_one_connection_stay_on_it(edge: Setup) -> None:
    sent = {"Connection": "keep-alive, X-Mine", "X-Mine": "1", "TE": "trailers", "X-Kept": "2"}
    answer = edge.get(edge.site(), headers=sent)
    seen = headers_of(answer)
    assert "x-mine" not in seen
    assert "te" not in seen
    assert seen["x-kept"] == "2"
    assert answer.headers["x-origin"] == "yes"
    assert "keep-alive" not in answer.headers
    assert "x-private" not in answer.headers
    assert answer.headers["server"] == "cloudflare"


def test_the_origin_sees_the_world_by_its_real_names(edge: Setup) -> None:
    name = edge.site()
    base = f"http://{edge.authority(name)}"
    seen = headers_of(edge.get(name, headers={"Origin": base, "Referer": f"{base}/x?y"}))
    assert seen["origin"] == f"https://{name}"
    assert seen["referer"] == f"https://{name}/x?y"


def test_a_redirect_and_cookies_are_told_in_the_browsers_names(edge: Setup) -> None:
    name = edge.site()
    answer = edge.get(name, "/moved")
    assert answer.status_code == 302
    assert answer.headers["location"] == f"http://{edge.authority(name)}/there"
    assert answer.headers.get_list("set-cookie") == [
        "a=1; Domain=clawdet.localhost; Secure",
        "b=2; Path=/",
    ]


def test_asked_by_its_real_name_nothing_is_translated(edge: Setup) -> None:
    name = edge.site()
    answer = edge.get(name, "/moved", headers={"Host": name})
    assert answer.headers["location"] == f"https://{name}/there"
    assert answer.headers.get_list("set-cookie")[0] == "a=1; Domain=clawdet.com; Secure"


@pytest.mark.parametrize("chunked", [True, False])
def test_large_bodies_go_up_whole(edge: Setup, chunked: bool) -> None:
    body = bytes(range(256)) * 4 * 4096
    content = iter([body[:100], body[100:]]) if chunked else body
    answer = edge.request("POST", edge.site(), "/digest", content=content).json()
    assert answer["size"] == len(body)
    assert answer["sha256"] == hashlib.sha256(body).hexdigest()
    assert answer["chunked"] is chunked


def test_an_answer_is_told_while_it_comes(edge: Setup) -> None:
    name = edge.site()
    headers = {"Host": edge.authority(name)}
    with httpx.stream("GET", f"http://127.0.0.1:{edge.port}/stream", headers=headers) as answer:
        chunks = answer.iter_raw()
        assert next(chunks) == b"first"
        edge.origins.go_on.set()
        assert b"".join(chunks) == b"second"


def test_a_compressed_answer_is_passed_on_as_it_is(edge: Setup) -> None:
    answer = edge.get(edge.site(), "/gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == "so much text " * 500


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_stay_without(edge: Setup, status: int) -> None:
    answer = edge.get(edge.site(), f"/bare/{status}")
    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers["etag"] == '"x"'


def test_the_answer_to_head_has_the_length_and_no_body(edge: Setup) -> None:
    answer = edge.request("HEAD", edge.site())
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 0
    assert answer.content == b""


def test_a_visitor_that_waits_for_100_continue_is_told_to_go_on(edge: Setup) -> None:
    name = edge.site()
    with socket.create_connection(("127.0.0.1", edge.port), timeout=30) as visitor:
        head = f"POST /digest HTTP/1.1\r\nHost: {edge.authority(name)}\r\nContent-Length: 2\r\n"
        visitor.sendall(f"{head}Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
        assert visitor.recv(100).startswith(b"HTTP/1.1 100 ")
        visitor.sendall(b"ok")
        assert b'"size": 2' in b"".join(iter(lambda: visitor.recv(4096), b""))


def test_an_answer_that_breaks_off_is_not_told_as_complete(edge: Setup) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        edge.get(edge.site(), "/broken")
