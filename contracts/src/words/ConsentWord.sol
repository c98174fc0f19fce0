// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ConsentStatus} from "../Codes.sol";
import {Grant} from "../Types.sol";
import {RecordWord} from "./RecordWord.sol";

/// @dev A consent in one storage slot, from the least significant bit up: categories 32, purposes 16, valid from 40, valid
/// until 40, data from 24, data until 24, maximum uses 24, uses 24, flags 24, status 8. 0: never granted nor revoked.
type ConsentWord is uint256;

using {
    categories,
    coversPurpose,
    validity,
    coversPeriod,
    isLimited,
    isExhausted,
    status,
    withOneUse,
    withStatus
} for ConsentWord global;

uint256 constant PURPOSES_SHIFT = 32;
uint256 constant VALID_FROM_SHIFT = 48;
uint256 constant VALID_UNTIL_SHIFT = 88;
uint256 constant DATA_FROM_SHIFT = 128;
uint256 constant DATA_UNTIL_SHIFT = 152;
uint256 constant MAXIMUM_USES_SHIFT = 176;
uint256 constant USES_SHIFT = 200;
uint256 constant FLAGS_SHIFT = 224;
uint256 constant STATUS_SHIFT = 248;

function newConsentWord(Grant memory terms) pure returns (ConsentWord) {
    return ConsentWord.wrap(
        uint256(terms.categories) | (uint256(terms.purposes) << PURPOSES_SHIFT)
            | (uint256(terms.validFrom) << VALID_FROM_SHIFT) | (uint256(terms.validUntil) << VALID_UNTIL_SHIFT)
            | (uint256(terms.dataFrom) << DATA_FROM_SHIFT) | (uint256(terms.dataUntil) << DATA_UNTIL_SHIFT)
            | (uint256(terms.maxUses) << MAXIMUM_USES_SHIFT) | (uint256(terms.flags) << FLAGS_SHIFT)
            | (uint256(ConsentStatus.GRANTED) << STATUS_SHIFT)
    );
}

function categories(ConsentWord word) pure returns (uint32) {
    return uint32(ConsentWord.unwrap(word));
}

/// @param purpose A value of Purpose, so below 16.
function coversPurpose(ConsentWord word, uint8 purpose) pure returns (bool) {
    return ((ConsentWord.unwrap(word) >> PURPOSES_SHIFT) >> purpose) & 1 != 0;
}

/// @dev The first second of validity, and the first one after it.
function validity(ConsentWord word) pure returns (uint40 validFrom, uint40 validUntil) {
    validFrom = uint40(ConsentWord.unwrap(word) >> VALID_FROM_SHIFT);
    validUntil = uint40(ConsentWord.unwrap(word) >> VALID_UNTIL_SHIFT);
}

/// @dev Whether the record's whole period lies inside the consent's. 0 and 2**24-1 mean unbounded, so that an undated record
/// needs an unbounded consent.
function coversPeriod(ConsentWord word, RecordWord record) pure returns (bool) {
    uint256 bits = ConsentWord.unwrap(word);
    (uint24 startDay, uint24 endDay) = record.period();
    return startDay >= uint24(bits >> DATA_FROM_SHIFT) && endDay <= uint24(bits >> DATA_UNTIL_SHIFT);
}

/// @dev Whether uses are counted.
function isLimited(ConsentWord word) pure returns (bool) {
    return uint24(ConsentWord.unwrap(word) >> MAXIMUM_USES_SHIFT) != 0;
}

/// @dev Whether uses are counted, and all were used.
function isExhausted(ConsentWord word) pure returns (bool) {
    uint24 maximum = uint24(ConsentWord.unwrap(word) >> MAXIMUM_USES_SHIFT);
    return maximum != 0 && uint24(ConsentWord.unwrap(word) >> USES_SHIFT) >= maximum;
}

/// @dev A value of ConsentStatus.
function status(ConsentWord word) pure returns (uint8) {
    return uint8(ConsentWord.unwrap(word) >> STATUS_SHIFT);
}

/// @dev One use more. Only for a limited consent that is not exhausted: then the counter cannot run into its neighbour.
function withOneUse(ConsentWord word) pure returns (ConsentWord) {
    return ConsentWord.wrap(ConsentWord.unwrap(word) + (1 << USES_SHIFT));
}

function withStatus(ConsentWord word, ConsentStatus status_) pure returns (ConsentWord) {
    uint256 cleared = ConsentWord.unwrap(word) & ~(uint256(type(uint8).max) << STATUS_SHIFT);
    return ConsentWord.wrap(cleared | (uint256(status_) << STATUS_SHIFT));
}
