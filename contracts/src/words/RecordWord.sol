// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {RECORD_PUBLISHED} from "../Codes.sol";
import {Publication} from "../Types.sol";

/// @dev A record in one storage slot, from the least significant bit up: patient 160, category 8, status flags 8, start
/// day 24, end day 24, epoch 16, status nonce 16. 0: unknown.
type RecordWord is uint256;

using {
    isPublished,
    patient,
    category,
    period,
    statusFlags,
    hasFlag,
    statusNonce,
    withFlag,
    withRestriction
} for RecordWord global;

uint256 constant CATEGORY_SHIFT = 160;
uint256 constant FLAGS_SHIFT = 168;
uint256 constant START_DAY_SHIFT = 176;
uint256 constant END_DAY_SHIFT = 200;
uint256 constant EPOCH_SHIFT = 224;
uint256 constant STATUS_NONCE_SHIFT = 240;

function newRecordWord(Publication memory publication) pure returns (RecordWord) {
    return RecordWord.wrap(
        uint256(uint160(publication.patient)) | (uint256(publication.category) << CATEGORY_SHIFT)
            | (uint256(RECORD_PUBLISHED) << FLAGS_SHIFT) | (uint256(publication.startDay) << START_DAY_SHIFT)
            | (uint256(publication.endDay) << END_DAY_SHIFT) | (uint256(publication.epoch) << EPOCH_SHIFT)
    );
}

function isPublished(RecordWord word) pure returns (bool) {
    return RecordWord.unwrap(word) != 0;
}

function patient(RecordWord word) pure returns (address) {
    return address(uint160(RecordWord.unwrap(word)));
}

function category(RecordWord word) pure returns (uint8) {
    return uint8(RecordWord.unwrap(word) >> CATEGORY_SHIFT);
}

/// @dev The first and the last day, inclusive.
function period(RecordWord word) pure returns (uint24 startDay, uint24 endDay) {
    startDay = uint24(RecordWord.unwrap(word) >> START_DAY_SHIFT);
    endDay = uint24(RecordWord.unwrap(word) >> END_DAY_SHIFT);
}

function statusFlags(RecordWord word) pure returns (uint8) {
    return uint8(RecordWord.unwrap(word) >> FLAGS_SHIFT);
}

function hasFlag(RecordWord word, uint8 flag) pure returns (bool) {
    return RecordWord.unwrap(word) & (uint256(flag) << FLAGS_SHIFT) != 0;
}

function statusNonce(RecordWord word) pure returns (uint16) {
    return uint16(RecordWord.unwrap(word) >> STATUS_NONCE_SHIFT);
}

function withFlag(RecordWord word, uint8 flag) pure returns (RecordWord) {
    return RecordWord.wrap(RecordWord.unwrap(word) | (uint256(flag) << FLAGS_SHIFT));
}

/// @dev The flag `flag` set or cleared by the patient's order number `nonce`.
function withRestriction(RecordWord word, uint8 flag, bool restricted, uint16 nonce) pure returns (RecordWord) {
    uint256 flagBit = uint256(flag) << FLAGS_SHIFT;
    uint256 bits = RecordWord.unwrap(word) & ~(uint256(type(uint16).max) << STATUS_NONCE_SHIFT);
    bits = restricted ? bits | flagBit : bits & ~flagBit;
    return RecordWord.wrap(bits | (uint256(nonce) << STATUS_NONCE_SHIFT));
}
