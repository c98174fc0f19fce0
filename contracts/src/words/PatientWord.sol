// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {PatientStatus} from "../Codes.sol";

/// @dev A patient in one storage slot, from the least significant bit up: provider 160, denied categories 32, denied
/// purposes 16, epoch 16, status 8, policy nonce 24.
type PatientWord is uint256;

using {
    provider,
    deniedCategories,
    deniesPurpose,
    epoch,
    status,
    policyNonce,
    withEpoch,
    withStatus,
    withPolicy
} for PatientWord global;

uint256 constant DENIED_CATEGORIES_SHIFT = 160;
uint256 constant DENIED_PURPOSES_SHIFT = 192;
uint256 constant EPOCH_SHIFT = 208;
uint256 constant STATUS_SHIFT = 224;
uint256 constant POLICY_NONCE_SHIFT = 232;

/// @dev A patient just registered: epoch 1, active, nothing denied.
function newPatientWord(address provider_) pure returns (PatientWord) {
    return PatientWord.wrap(
        uint256(uint160(provider_)) | (1 << EPOCH_SHIFT) | (uint256(PatientStatus.ACTIVE) << STATUS_SHIFT)
    );
}

function provider(PatientWord word) pure returns (address) {
    return address(uint160(PatientWord.unwrap(word)));
}

function deniedCategories(PatientWord word) pure returns (uint32) {
    return uint32(PatientWord.unwrap(word) >> DENIED_CATEGORIES_SHIFT);
}

/// @param purpose A value of Purpose, so below 16.
function deniesPurpose(PatientWord word, uint8 purpose) pure returns (bool) {
    return ((PatientWord.unwrap(word) >> DENIED_PURPOSES_SHIFT) >> purpose) & 1 != 0;
}

function epoch(PatientWord word) pure returns (uint16) {
    return uint16(PatientWord.unwrap(word) >> EPOCH_SHIFT);
}

/// @dev A value of PatientStatus.
function status(PatientWord word) pure returns (uint8) {
    return uint8(PatientWord.unwrap(word) >> STATUS_SHIFT);
}

function policyNonce(PatientWord word) pure returns (uint24) {
    return uint24(PatientWord.unwrap(word) >> POLICY_NONCE_SHIFT);
}

function withEpoch(PatientWord word, uint16 epoch_) pure returns (PatientWord) {
    uint256 cleared = PatientWord.unwrap(word) & ~(uint256(type(uint16).max) << EPOCH_SHIFT);
    return PatientWord.wrap(cleared | (uint256(epoch_) << EPOCH_SHIFT));
}

function withStatus(PatientWord word, PatientStatus status_) pure returns (PatientWord) {
    uint256 cleared = PatientWord.unwrap(word) & ~(uint256(type(uint8).max) << STATUS_SHIFT);
    return PatientWord.wrap(cleared | (uint256(status_) << STATUS_SHIFT));
}

function withPolicy(PatientWord word, uint32 categories, uint16 purposes, uint24 nonce) pure returns (PatientWord) {
    uint256 policyBits =
        (uint256(type(uint48).max) << DENIED_CATEGORIES_SHIFT) | (uint256(type(uint24).max) << POLICY_NONCE_SHIFT);
    return PatientWord.wrap(
        (PatientWord.unwrap(word) & ~policyBits) | (uint256(categories) << DENIED_CATEGORIES_SHIFT)
            | (uint256(purposes) << DENIED_PURPOSES_SHIFT) | (uint256(nonce) << POLICY_NONCE_SHIFT)
    );
}
