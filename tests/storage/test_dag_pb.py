"""dag-pb nodes of UnixFS files: one encoding, everything else refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import Cid, Codec, DagError
from storage.dag_pb import MAX_LINKS, Link, decode_file_node, encode_file_node

_sizes = st.integers(1, 2**40)
_links = st.builds(
    Link,
    cid=st.builds(Cid, st.sampled_from(Codec), st.binary(min_size=32, max_size=32)),
    content_bytes=_sizes,
    dag_bytes=_sizes,
)
_LINK = Link(Cid.of(b"a"), 1, 1)
_NODE = encode_file_node((_LINK, Link(Cid.of(b"b"), 300, 400)))
_HASH = b"\x0a\x24" + bytes(_LINK.cid)
_NAME_AND_TSIZE = b"\x12\x00\x18\x01"
_PB_LINK = b"\x12\x2a" + _HASH + _NAME_AND_TSIZE
_PB_DATA = b"\x0a\x06\x08\x02\x18\x01\x20\x01"


def _decode(block: bytes) -> tuple[Link, ...]:
    return decode_file_node(Cid.of(block, Codec.DAG_PB), block)


@given(st.lists(_links, min_size=1, max_size=8).map(tuple))
def test_decode_of_an_encoded_node_returns_its_links(links: tuple[Link, ...]) -> None:
    assert _decode(encode_file_node(links)) == links


def test_encode_of_one_link_equals_the_bytes_of_the_specification() -> None:
    assert encode_file_node((_LINK,)) == _PB_LINK + _PB_DATA


def test_encode_of_the_most_links_is_read_back_and_one_more_is_refused() -> None:
    most = (_LINK,) * MAX_LINKS
    assert _decode(encode_file_node(most)) == most
    with pytest.raises(DagError):
        encode_file_node((_LINK,) * (MAX_LINKS + 1))
    with pytest.raises(DagError):
        encode_file_node(())


@given(st.binary(max_size=200))
def test_decode_of_any_bytes_is_exact_or_refused(block: bytes) -> None:
    try:
        links = _decode(block)
    except DagError:
        return
    assert encode_file_node(links) == block


@given(st.data())
def test_decode_of_a_damaged_node_is_exact_or_refused(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(_NODE) - 1))
    replacement = data.draw(st.binary(max_size=3))
    damaged = _NODE[:position] + replacement + _NODE[position + data.draw(st.integers(0, 3)) :]
    try:
        links = _decode(damaged)
    except DagError:
        return
    assert encode_file_node(links) == damaged


@pytest.mark.parametrize(
    "block",
    [
        b"",
        _PB_DATA,
        _PB_DATA + _PB_LINK,
        _PB_LINK,
        _PB_LINK + _PB_DATA + b"\x00",
        _PB_LINK + _PB_DATA[:-1],
        _PB_LINK * (MAX_LINKS + 1) + _PB_DATA,
        b"\x12\x2b" + _HASH + b"\x12\x01x\x18\x01"[:4] + b"\x01" + _PB_DATA,
        b"\x12\x28" + _HASH + b"\x18\x01" + _PB_DATA,
        b"\x12\x2b" + _HASH + b"\x12\x00\x18\x81\x00" + _PB_DATA,
        _PB_LINK + b"\x0a\x06\x08\x01\x18\x01\x20\x01",
        _PB_LINK + b"\x0a\x06\x08\x02\x18\x02\x20\x01",
        _PB_LINK + b"\x0a\x06\x08\x02\x18\x00\x20\x00",
        _PB_LINK + b"\x0a\x04\x08\x02\x18\x01",
        _PB_LINK + b"\x0a\x08\x08\x02\x18\x01\x20\x01\x20\x01",
        _PB_LINK + b"\x0a\x09\x08\x02\x12\x01x\x18\x01\x20\x01",
        _PB_LINK + b"\x0a\x0f\x08\x02\x18\x01\x20" + b"\xff" * 9 + b"\x01",
    ],
    ids=[
        "empty",
        "no links",
        "data before links",
        "no data",
        "bytes after the end",
        "cut short",
        "too many links",
        "named link",
        "no name field",
        "overlong integer",
        "directory",
        "filesize not the sum",
        "link to nothing",
        "size missing",
        "size too many",
        "content inside the node",
        "integer beyond 63 bits",
    ],
)
def test_decode_of_another_node_is_refused(block: bytes) -> None:
    with pytest.raises(DagError, match="unixfs-v1-2025"):
        _decode(block)
