"""Walking a DAG of the profile unixfs-v1-2025 with nothing taken on trust: names, sizes and shape are all checked.

The profile fixes the shape from the size alone, and any other is refused. So one content has one CID, and a walk
takes no more steps than the content has chunks: no DAG of tiny, empty or repeated links can make it run away.
"""

from collections.abc import Iterator

from storage.blocks import BlockSource, check_block
from storage.cid import Cid, Codec
from storage.dag_pb import MAX_LINKS, Link, decode_file_node
from storage.errors import BlockTooLargeError, DagError

CHUNK_BYTES = 1024 * 1024
"""Bytes of a leaf; only the last may have fewer, and only a sole leaf may be empty."""


def walk(
    source: BlockSource, root: Cid, limit_bytes: int | None, *, leaves: bool, repeats: bool
) -> Iterator[tuple[Cid, bytes]]:
    """Every block of a DAG with its CID, children before their parent, in the order of the content.

    Args:
        leaves: whether leaves are fetched; if not, they come with empty bytes.
        repeats: whether a block that occurs again comes again.

    Raises:
        BlockNotFoundError, BlockCorruptError: as ``BlockSource.get``.
        BlockTooLargeError: the content is beyond ``limit_bytes``, or a block beyond ``MAX_BLOCK_BYTES``.
        DagError: a block is no node of a file, or the DAG is not the profile's for its size.
    """
    seen: set[Cid] = set()

    def below(
        cid: Cid, expected: Link | None, child_capacity_bytes: int | None
    ) -> Iterator[tuple[Cid, bytes]]:
        if not repeats:
            if cid in seen:
                return
            seen.add(cid)
        if cid.codec is Codec.RAW:
            if not leaves:
                yield cid, b""
                return
            leaf = check_block(cid, source.get(cid))
            check_leaf(cid, len(leaf), expected, limit_bytes)
            yield cid, leaf
            return
        block = check_block(cid, source.get(cid))
        links = decode_file_node(cid, block)
        capacity_bytes = check_node(cid, block, links, expected, child_capacity_bytes)
        if expected is None:
            _check_limit(cid, sum(link.content_bytes for link in links), limit_bytes)
        for link in links:
            yield from below(link.cid, link, capacity_bytes // MAX_LINKS)
        yield cid, block

    yield from below(root, None, None)


def check_leaf(cid: Cid, leaf_bytes: int, expected: Link | None, limit_bytes: int | None) -> None:
    """Refuses a leaf of another size than its parent says, or too large a one.

    Raises:
        DagError, BlockTooLargeError: as ``walk``.
    """
    if expected is None:
        if leaf_bytes > CHUNK_BYTES:
            raise DagError(f"expected a sole leaf of at most {CHUNK_BYTES} bytes; {cid} has {leaf_bytes}")
        _check_limit(cid, leaf_bytes, limit_bytes)
    elif leaf_bytes != expected.content_bytes:
        raise DagError(f"expected leaf {cid} to have {expected.content_bytes} bytes; it has {leaf_bytes}")


def check_node(
    cid: Cid, block: bytes, links: tuple[Link, ...], expected: Link | None, child_capacity_bytes: int | None
) -> int:
    """Refuses a node whose links are not those that the profile gives to its size; returns bytes a full child has.

    Args:
        expected: the link that led here; None for the root.
        child_capacity_bytes: bytes that a full child has at this level; None for the root, whose size tells.

    Raises:
        DagError: the node contradicts its parent or the profile.
    """
    content_bytes = sum(link.content_bytes for link in links)
    if expected is not None:
        came = Link(cid, content_bytes, len(block) + sum(link.dag_bytes for link in links))
        if came != expected:
            raise DagError(f"expected node {cid} to be as its parent says, {expected}; it is {came}")
    if child_capacity_bytes is None:
        if content_bytes <= CHUNK_BYTES:
            raise DagError(f"expected {content_bytes} bytes of content in a sole leaf; {cid} is a node")
        child_capacity_bytes = CHUNK_BYTES
        while child_capacity_bytes * MAX_LINKS < content_bytes:
            child_capacity_bytes *= MAX_LINKS
    at_leaves = child_capacity_bytes == CHUNK_BYTES
    remaining_bytes = content_bytes
    for link in links:
        wanted = (
            link.content_bytes == min(child_capacity_bytes, remaining_bytes)
            and link.cid.codec is (Codec.RAW if at_leaves else Codec.DAG_PB)
            and (not at_leaves or link.dag_bytes == link.content_bytes)
        )
        if not wanted:
            raise DagError(
                f"expected node {cid} of {content_bytes} bytes to be balanced, with full children of "
                f"{child_capacity_bytes} bytes but the last (profile unixfs-v1-2025); one link is {link}"
            )
        remaining_bytes -= link.content_bytes
    return child_capacity_bytes


def _check_limit(cid: Cid, content_bytes: int, limit_bytes: int | None) -> None:
    if limit_bytes is not None and content_bytes > limit_bytes:
        raise BlockTooLargeError(
            f"expected content of at most {limit_bytes} bytes; {cid} has {content_bytes}"
        )
