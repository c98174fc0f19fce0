// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @dev The head of a hash chain in one storage slot: the top 224 bits of the last link's Keccak-256, then 32 bits that
/// count the links. The hash of a link covers this whole word as it was before.
type HeadWord is uint256;

/// @dev Where a chain is kept. A struct, so that code can hold its place in storage and look it up once.
struct Chain {
    HeadWord head;
}

/// @notice The chain has as many links as can be counted.
error ChainFull();

using {count, nextCount, withDecision, withPublication} for HeadWord global;

/// @dev A chain without links whose first word depends on `seed`.
function newHeadWord(bytes32 seed) pure returns (HeadWord) {
    return HeadWord.wrap(uint256(seed) & ~uint256(type(uint32).max));
}

function count(HeadWord word) pure returns (uint32) {
    return uint32(HeadWord.unwrap(word));
}

/// @dev How many links there are with the next one; reverts after 2**32 - 1: a chain never starts again.
function nextCount(HeadWord word) pure returns (uint256 next) {
    unchecked {
        next = uint256(count(word)) + 1;
    }
    require(next <= type(uint32).max, ChainFull());
}

/// @dev An access chain with one decision more: the link's hash is keccak256(abi.encode(word, sequence << 8 | reason, recordId,
/// rest)), made in memory that stays free.
function withDecision(HeadWord word, uint8 reason, bytes32 recordId, bytes32 rest) pure returns (HeadWord next) {
    uint256 sequence = nextCount(word);
    uint256 sequenceAndReason = (sequence << 8) | reason;
    assembly ("memory-safe") {
        let start := mload(0x40)
        mstore(start, word)
        mstore(add(start, 0x20), sequenceAndReason)
        mstore(add(start, 0x40), recordId)
        mstore(add(start, 0x60), rest)
        next := or(and(keccak256(start, 0x80), not(0xffffffff)), sequence)
    }
}

/// @dev An author's chain with one publication more: the link's hash is keccak256(abi.encode(word, recordId, headerDigest,
/// cidCodec, cidDigest)), made in memory that stays free.
function withPublication(HeadWord word, bytes32 recordId, bytes32 headerDigest, uint256 cidCodec, bytes32 cidDigest)
    pure
    returns (HeadWord next)
{
    uint256 position = nextCount(word);
    assembly ("memory-safe") {
        let start := mload(0x40)
        mstore(start, word)
        mstore(add(start, 0x20), recordId)
        mstore(add(start, 0x40), headerDigest)
        mstore(add(start, 0x60), cidCodec)
        mstore(add(start, 0x80), cidDigest)
        next := or(and(keccak256(start, 0xa0), not(0xffffffff)), position)
    }
}
