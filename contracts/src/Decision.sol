// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ConsentStatus, PatientStatus, RECORD_RESTRICTED, RECORD_RETRACTED, Reason} from "./Codes.sol";
import {ConsentWord} from "./words/ConsentWord.sol";
import {MemberWord} from "./words/MemberWord.sol";
import {PatientWord} from "./words/PatientWord.sol";
import {RecordWord} from "./words/RecordWord.sol";

// The rules: why a request is permitted or denied. A broken rule sets the bit whose position is its Reason; the lowest bit is
// the reason of the denial, so that the order of the rules, which is part of the specification and the same in the Python
// package `ledger`, is the order of the codes. What does not depend on the record is computed once for many records.

// For each purpose, TREAT last, 16 bits: the mask of the roles that admit it. Research (HRESCH) takes ROLE_RESEARCHER, break
// the glass (BTG) none until emergency access exists, everything else ROLE_CONSUMER. A literal, since the compiler computes no
// expression of enums ahead of time.
uint256 constant ROLES_BY_PURPOSE = 0x0002_0004_0002_0002_0002_0000_0002_0002;

// RECORD_RETRACTED is 1 << 2 and its Reason 4; RECORD_RESTRICTED is 1 << 3 and its Reason 5.
uint256 constant FLAG_TO_REASON_SHIFT = 2;

/// @dev The rules that a request breaks whichever of the patient's records it names.
/// @param member The requester, enrolled.
/// @param patient The records' patient, registered.
/// @param consent The consent that the request names; 0 if there is none.
/// @param purpose A value of Purpose.
/// @param time Block time in seconds.
function brokenForAll(MemberWord member, PatientWord patient, ConsentWord consent, uint8 purpose, uint256 time)
    pure
    returns (uint256 broken)
{
    if (!member.isActive()) broken = 1 << uint256(Reason.MEMBER_SUSPENDED);
    if (!member.hasRole(uint16(ROLES_BY_PURPOSE >> (uint256(purpose) << 4)))) {
        broken |= 1 << uint256(Reason.ROLE_LACKING);
    }
    if (patient.status() == uint8(PatientStatus.FROZEN)) broken |= 1 << uint256(Reason.PATIENT_FROZEN);
    if (patient.deniesPurpose(purpose)) broken |= 1 << uint256(Reason.PURPOSE_DENIED);
    uint8 status = consent.status();
    if (status != uint8(ConsentStatus.GRANTED)) {
        bool isRevoked = status == uint8(ConsentStatus.REVOKED);
        broken |= 1 << uint256(isRevoked ? Reason.CONSENT_REVOKED : Reason.NO_CONSENT);
    }
    (uint40 validFrom, uint40 validUntil) = consent.validity();
    if (time < validFrom) broken |= 1 << uint256(Reason.CONSENT_NOT_YET_VALID);
    if (time >= validUntil) broken |= 1 << uint256(Reason.CONSENT_EXPIRED);
    if (!consent.coversPurpose(purpose)) broken |= 1 << uint256(Reason.PURPOSE_NOT_COVERED);
}

/// @dev The rules that a request breaks by naming this record, with the consent's uses as they are now.
/// @param denied Mask of the categories that the patient denies.
/// @param record The record, published.
/// @param recordScope Whether the consent names the record.
function brokenForRecord(uint256 denied, RecordWord record, ConsentWord consent, bool recordScope)
    pure
    returns (uint256 broken)
{
    // One shift makes the flags retracted and restricted the bits of their rules.
    uint256 flags = recordScope ? RECORD_RETRACTED : RECORD_RETRACTED | RECORD_RESTRICTED;
    broken = (record.statusFlags() & flags) << FLAG_TO_REASON_SHIFT;
    uint256 category = record.category();
    if (((consent.categories() & ~denied) >> category) & 1 == 0) {
        bool isDenied = (denied >> category) & 1 != 0;
        broken |= 1 << uint256(isDenied ? Reason.CATEGORY_DENIED : Reason.CATEGORY_NOT_COVERED);
    }
    if (!consent.coversPeriod(record)) broken |= 1 << uint256(Reason.DATA_PERIOD_NOT_COVERED);
    if (consent.isExhausted()) broken |= 1 << uint256(Reason.USES_EXHAUSTED);
}

/// @dev The first reason among the rules broken, of which there is at least one.
function firstReason(uint256 broken) pure returns (uint8 reason) {
    while ((broken >> reason) & 1 == 0) ++reason;
}
