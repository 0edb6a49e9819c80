"""Strict JSON: what is refused, what is read, and that nothing else can happen."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import Refusal
from core.parsers import MAX_DEPTH, InvalidJson, parse_object

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
pieces = st.sampled_from(
    ['"', "\\", "{", "}", "[", "]", ":", ",", "1", "-", "e", ".", "NaN", "\\u", "d800", " ", "\n", "a", "true"]
)


@given(st.binary() | st.lists(pieces).map("".join).map(str.encode))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"a":1e' + b"9" * 400 + b"}")
@example(b'{"a":' + b"9" * 4301 + b"}")
@example(b"\xef\xbb\xbf{}")
def test_whatever_the_bytes_only_a_refusal_is_raised(body: bytes) -> None:
    try:
        assert isinstance(parse_object(body), dict)
    except Refusal as refusal:
        assert refusal.code == "invalid_json"


@given(st.dictionaries(st.text(), values, max_size=5))
def test_an_object_is_read_as_it_was_written(document: dict) -> None:
    for ascii_only in (True, False):
        text = json.dumps(document, ensure_ascii=ascii_only)
        try:
            body = text.encode()
        except UnicodeEncodeError:
            continue
        assert parse_object(body) == document


@pytest.mark.parametrize("inner", ["[{}]", '{{"a":{}}}'])
def test_sixteen_levels_are_the_most(inner: str) -> None:
    def nested(levels: int) -> bytes:
        text = "0"
        for _ in range(levels - 1):
            text = (
                inner.replace("{}", text).replace("{{", "{").replace("}}", "}")
                if "[" in inner
                else '{"a":' + text + "}"
            )
        return ('{"x":' + text + "}").encode()

    assert parse_object(nested(MAX_DEPTH))
    with pytest.raises(InvalidJson, match="nested"):
        parse_object(nested(MAX_DEPTH + 1))


def test_brackets_in_texts_do_not_count_as_levels() -> None:
    document = {"a": "[{" * 500, 'b"[': ['\\"[', "\\"]}
    assert parse_object(json.dumps(document).encode()) == document


@pytest.mark.parametrize(("start", "part"), [('"', '\\"'), ("", '"'), ("", "\\"), ("", '["'), ("", "{"), ("", '"\\')])
def test_what_a_text_takes_grows_no_faster_than_its_length(start: str, part: str) -> None:
    def cost(length: int) -> float:
        body = (start + part * length).encode()
        times = []
        for _ in range(5):
            began = time.process_time()
            with pytest.raises(InvalidJson):
                parse_object(body)
            times.append(time.process_time() - began)
        return min(times)

    assert cost(16_000) < 8 * 4 * cost(2_000), "eight times the length, and room for chance"


@pytest.mark.parametrize("body", ['{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', '{"x":[{"c":1,"\\u0063":1}]}'])
def test_a_key_that_comes_twice_is_refused_at_any_depth(body: str) -> None:
    with pytest.raises(InvalidJson, match="duplicate key"):
        parse_object(body.encode())
