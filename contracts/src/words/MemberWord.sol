// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @dev A member in one storage slot, from the least significant bit up: roles 16, active 1, key version 64. 0: never enrolled.
type MemberWord is uint256;

using {isEnrolled, isActive, hasRole, keyVersion, withRoles, withActive, withKeyVersion} for MemberWord global;

uint256 constant ACTIVE_BIT = 1 << 16;
uint256 constant KEY_VERSION_SHIFT = 17;

function isEnrolled(MemberWord word) pure returns (bool) {
    return MemberWord.unwrap(word) != 0;
}

function isActive(MemberWord word) pure returns (bool) {
    return MemberWord.unwrap(word) & ACTIVE_BIT != 0;
}

/// @dev Whether any bit of `roles` is set; never for 0.
function hasRole(MemberWord word, uint16 roles) pure returns (bool) {
    return MemberWord.unwrap(word) & roles != 0;
}

function keyVersion(MemberWord word) pure returns (uint64) {
    return uint64(MemberWord.unwrap(word) >> KEY_VERSION_SHIFT);
}

function withRoles(MemberWord word, uint16 roles) pure returns (MemberWord) {
    return MemberWord.wrap((MemberWord.unwrap(word) & ~uint256(type(uint16).max)) | roles);
}

function withActive(MemberWord word, bool active) pure returns (MemberWord) {
    uint256 bits = MemberWord.unwrap(word);
    return MemberWord.wrap(active ? bits | ACTIVE_BIT : bits & ~ACTIVE_BIT);
}

function withKeyVersion(MemberWord word, uint64 version) pure returns (MemberWord) {
    uint256 cleared = MemberWord.unwrap(word) & ~(uint256(type(uint64).max) << KEY_VERSION_SHIFT);
    return MemberWord.wrap(cleared | (uint256(version) << KEY_VERSION_SHIFT));
}
