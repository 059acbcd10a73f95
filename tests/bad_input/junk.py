"""Rubbish of every kind that an argument, a field or a message can be made of."""

from typing import Any

from hypothesis import strategies as st

GARBAGE_BYTES = (
    st.binary(max_size=40)
    | st.sampled_from([b"", b"\xff\xfe", b"-1", b"1e400", b"nan", b"9" * 40, b"\x00", b"[]", b"{}", b"\xc1" * 9])
)  # fmt: skip

TEXT = (
    st.text(max_size=20)
    | st.sampled_from(["", " ", "\ud800", "x" * 513, "\x00", "*" * 60, "{}", "{zart:0}:x:e", "%s", "a:b", "..", "\n"])
)  # fmt: skip

JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 0, 2**63, 10**400]),
    st.floats(),
    TEXT,
    GARBAGE_BYTES,
    st.lists(TEXT, max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.builds(object),
    st.datetimes(),
    st.just(len),
)
