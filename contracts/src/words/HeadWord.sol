// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @dev The head of a hash chain in one storage slot: the top 224 bits of the last link's Keccak-256, then 32 bits that
/// count the links. The hash of a link covers this whole word as it was before.
type HeadWord is uint256;

using {count, following} for HeadWord global;

uint256 constant HASH_MASK = ~uint256(type(uint32).max);

/// @dev A chain without links whose first word depends on `seed`.
function newHeadWord(bytes32 seed) pure returns (HeadWord) {
    return HeadWord.wrap(uint256(seed) & HASH_MASK);
}

function count(HeadWord word) pure returns (uint32) {
    return uint32(HeadWord.unwrap(word));
}

/// @dev The word after a link whose hash is `link`. Panics (overflow) after 2**32 - 1 links: a chain never starts again.
function following(HeadWord word, bytes32 link) pure returns (HeadWord) {
    return HeadWord.wrap((uint256(link) & HASH_MASK) | (count(word) + 1));
}
