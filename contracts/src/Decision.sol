// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {
    ConsentStatus,
    PatientStatus,
    Purpose,
    RECORD_RESTRICTED,
    RECORD_RETRACTED,
    ROLE_CONSUMER,
    ROLE_RESEARCHER,
    Reason
} from "./Codes.sol";
import {ConsentWord} from "./words/ConsentWord.sol";
import {MemberWord} from "./words/MemberWord.sol";
import {PatientWord} from "./words/PatientWord.sol";
import {RecordWord} from "./words/RecordWord.sol";

/// @dev The rules: why a request is permitted or denied. Pure and total; the order of the rules is part of the
/// specification and the same as in the Python package `ledger`.
/// @param member The requester, enrolled.
/// @param patient The record's patient, registered.
/// @param record The record, published.
/// @param consent The consent that the request names; 0 if there is none.
/// @param recordScope Whether that consent names the record.
/// @param purpose A value of Purpose.
/// @param time Block time in seconds.
function decide(
    MemberWord member,
    PatientWord patient,
    RecordWord record,
    ConsentWord consent,
    bool recordScope,
    uint8 purpose,
    uint256 time
) pure returns (Reason) {
    if (!member.isActive()) return Reason.MEMBER_SUSPENDED;
    if (!member.hasRole(rolesFor(purpose))) return Reason.ROLE_LACKING;
    if (patient.status() == PatientStatus.FROZEN) return Reason.PATIENT_FROZEN;
    if (record.hasFlag(RECORD_RETRACTED)) return Reason.RECORD_RETRACTED;
    if (!recordScope && record.hasFlag(RECORD_RESTRICTED)) return Reason.RECORD_RESTRICTED;
    uint8 category = record.category();
    if (patient.deniesCategory(category)) return Reason.CATEGORY_DENIED;
    if (patient.deniesPurpose(purpose)) return Reason.PURPOSE_DENIED;
    ConsentStatus status = consent.status();
    if (status == ConsentStatus.NONE) return Reason.NO_CONSENT;
    if (status == ConsentStatus.REVOKED) return Reason.CONSENT_REVOKED;
    if (time < consent.validFrom()) return Reason.CONSENT_NOT_YET_VALID;
    if (time >= consent.validUntil()) return Reason.CONSENT_EXPIRED;
    if (!consent.coversCategory(category)) return Reason.CATEGORY_NOT_COVERED;
    if (!consent.coversPurpose(purpose)) return Reason.PURPOSE_NOT_COVERED;
    // The whole period must lie inside. 0 and 2**24-1 mean unbounded, so an undated record needs an unbounded consent.
    if (record.startDay() < consent.dataFrom() || record.endDay() > consent.dataUntil()) {
        return Reason.DATA_PERIOD_NOT_COVERED;
    }
    if (consent.isExhausted()) return Reason.USES_EXHAUSTED;
    return Reason.PERMITTED;
}

/// @dev Mask of the roles that admit a purpose. Break-the-glass (BTG) is admitted by none until emergency access exists.
function rolesFor(uint8 purpose) pure returns (uint16) {
    if (purpose == uint8(Purpose.BTG)) return 0;
    return purpose == uint8(Purpose.HRESCH) ? ROLE_RESEARCHER : ROLE_CONSUMER;
}
