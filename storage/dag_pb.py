"""dag-pb nodes that hold UnixFS files: the few fields that a file needs, strictly one encoding for each node.

Own code because no library in the locks writes dag-pb: its canonical form puts the links (field 2) before the
data (field 1), which protobuf libraries do not. Sources: https://ipld.io/specs/codecs/dag-pb/spec/ and
https://specs.ipfs.tech/unixfs/ (messages PBNode, PBLink and Data).
"""

from dataclasses import dataclass

from storage.cid import CID_BYTES, Cid
from storage.errors import CidError, DagError

MAX_LINKS = 1024
"""Links of one node, by the profile unixfs-v1-2025."""
_MAX_INTEGER = 2**63 - 1
_UNIXFS_FILE = 2
_NODE_LINKS, _NODE_DATA = 0x12, 0x0A
_LINK_HASH, _LINK_NAME, _LINK_TSIZE = 0x0A, 0x12, 0x18
_DATA_TYPE, _DATA_FILESIZE, _DATA_BLOCKSIZES = 0x08, 0x18, 0x20


@dataclass(frozen=True, slots=True)
class Link:
    """One child of a node."""

    cid: Cid
    content_bytes: int
    """Bytes of the file that lie below this link (UnixFS ``blocksizes``)."""
    dag_bytes: int
    """Bytes of all blocks below this link, its own included (dag-pb ``Tsize``)."""


def encode_file_node(links: tuple[Link, ...]) -> bytes:
    """The dag-pb block of a UnixFS file whose content is that of its links, in order; 1 to ``MAX_LINKS`` of them."""
    if not 1 <= len(links) <= MAX_LINKS:
        raise DagError(f"expected 1 to {MAX_LINKS} links in a node; came {len(links)}")
    node = bytearray()
    data = bytearray((_DATA_TYPE, _UNIXFS_FILE, _DATA_FILESIZE))
    data += _varint(sum(link.content_bytes for link in links))
    for link in links:
        encoded = bytes((_LINK_HASH, CID_BYTES)) + bytes(link.cid)
        encoded += bytes((_LINK_NAME, 0, _LINK_TSIZE)) + _varint(link.dag_bytes)
        node += bytes((_NODE_LINKS,)) + _varint(len(encoded)) + encoded
        data += bytes((_DATA_BLOCKSIZES,)) + _varint(link.content_bytes)
    node += bytes((_NODE_DATA,)) + _varint(len(data)) + data
    return bytes(node)


def decode_file_node(cid: Cid, block: bytes) -> tuple[Link, ...]:
    """The links of a UnixFS file's dag-pb block, whose CID was checked before.

    Strict: a block is accepted only if ``encode_file_node`` of its links gives the same bytes again. Links to
    nothing (zero bytes) are refused, so that a walk over a DAG takes no more steps than its content has bytes.

    Raises:
        DagError: the block is no such node; the message names the CID and what was met.
    """
    try:
        links = _links(block)
        if encode_file_node(links) != block:
            raise DagError("it is not in the one canonical encoding of its fields")
    except (DagError, CidError) as error:
        raise DagError(
            f"expected block {cid} to be a dag-pb node of a UnixFS file (profile unixfs-v1-2025): {error}"
        ) from None
    return links


def _links(block: bytes) -> tuple[Link, ...]:
    reader = _Reader(block)
    found: list[tuple[Cid, int]] = []
    while reader.next_is(_NODE_LINKS):
        link = _Reader(reader.field(_NODE_LINKS))
        cid = Cid.from_bytes(link.field(_LINK_HASH))
        if link.field(_LINK_NAME):
            raise DagError("a link has a name, as in a directory")
        found.append((cid, link.integer(_LINK_TSIZE)))
        link.end()
    data = _Reader(reader.field(_NODE_DATA))
    reader.end()
    if data.integer(_DATA_TYPE) != _UNIXFS_FILE:
        raise DagError("its UnixFS type is not File")
    data.integer(_DATA_FILESIZE)  # compared with the sum of the sizes when it is encoded again
    sizes = [data.integer(_DATA_BLOCKSIZES) for _ in found]
    data.end()
    if 0 in sizes:
        raise DagError("a link holds no content")
    return tuple(Link(cid, size, dag_bytes) for (cid, dag_bytes), size in zip(found, sizes, strict=True))


class _Reader:
    """Reads the fields of one protobuf message in the order that they must have."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._position = 0

    def next_is(self, tag: int) -> bool:
        return self._position < len(self._message) and self._message[self._position] == tag

    def field(self, tag: int) -> bytes:
        self._tag(tag)
        end = self._varint() + self._position
        if end > len(self._message):
            raise DagError(f"field {tag:#04x} runs beyond the end")
        value = self._message[self._position : end]
        self._position = end
        return value

    def integer(self, tag: int) -> int:
        self._tag(tag)
        return self._varint()

    def end(self) -> None:
        if self._position != len(self._message):
            raise DagError(f"unexpected bytes at offset {self._position}")

    def _tag(self, tag: int) -> None:
        if not self.next_is(tag):
            raise DagError(f"field {tag:#04x} is missing at offset {self._position}")
        self._position += 1

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 63, 7):
            if self._position >= len(self._message):
                raise DagError("it ends inside an integer")
            byte = self._message[self._position]
            self._position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise DagError(f"an integer is above {_MAX_INTEGER}")


def _varint(value: int) -> bytes:
    if not 0 <= value <= _MAX_INTEGER:
        raise DagError(f"expected an integer of 0 to {_MAX_INTEGER}; came {value}")
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
