// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ConsentStatus, PatientStatus, Purpose, Reason} from "../src/Codes.sol";
import {brokenForAll, brokenForRecord, firstReason} from "../src/Decision.sol";
import {ConsentWord} from "../src/words/ConsentWord.sol";
import {MemberWord} from "../src/words/MemberWord.sol";
import {PatientWord} from "../src/words/PatientWord.sol";
import {RecordWord} from "../src/words/RecordWord.sol";
import {vm} from "./Vm.sol";

/// @dev All that a decision depends on.
struct Case {
    bool active;
    uint16 roles;
    uint8 patientStatus;
    uint32 deniedCategories;
    uint16 deniedPurposes;
    uint8 category;
    uint8 recordFlags;
    uint24 startDay;
    uint24 endDay;
    uint32 categories;
    uint16 purposes;
    uint40 validFrom;
    uint40 validUntil;
    uint24 dataFrom;
    uint24 dataUntil;
    uint24 maxUses;
    uint24 uses;
    uint8 consentStatus;
    bool recordScope;
    uint8 purpose;
    uint40 time;
}

/// @dev The specification's list of reasons, sentence by sentence.
function specifiedReason(Case memory c) pure returns (Reason) {
    if (!c.active) return Reason.MEMBER_SUSPENDED;
    if (c.purpose == uint8(Purpose.BTG)) return Reason.ROLE_LACKING;
    if (c.purpose == uint8(Purpose.HRESCH) ? c.roles & 4 == 0 : c.roles & 2 == 0) return Reason.ROLE_LACKING;
    if (c.patientStatus == uint8(PatientStatus.FROZEN)) return Reason.PATIENT_FROZEN;
    if (c.recordFlags & 4 != 0) return Reason.RECORD_RETRACTED;
    if (c.recordFlags & 8 != 0 && !c.recordScope) return Reason.RECORD_RESTRICTED;
    if (c.deniedCategories & (uint256(1) << c.category) != 0) return Reason.CATEGORY_DENIED;
    if (c.deniedPurposes & (uint256(1) << c.purpose) != 0) return Reason.PURPOSE_DENIED;
    if (c.consentStatus == uint8(ConsentStatus.NONE)) return Reason.NO_CONSENT;
    if (c.consentStatus == uint8(ConsentStatus.REVOKED)) return Reason.CONSENT_REVOKED;
    if (c.time < c.validFrom) return Reason.CONSENT_NOT_YET_VALID;
    if (c.time >= c.validUntil) return Reason.CONSENT_EXPIRED;
    if (c.categories & (uint256(1) << c.category) == 0) return Reason.CATEGORY_NOT_COVERED;
    if (c.purposes & (uint256(1) << c.purpose) == 0) return Reason.PURPOSE_NOT_COVERED;
    if (c.startDay < c.dataFrom || c.endDay > c.dataUntil) return Reason.DATA_PERIOD_NOT_COVERED;
    if (c.maxUses != 0 && c.uses >= c.maxUses) return Reason.USES_EXHAUSTED;
    return Reason.PERMITTED;
}

contract DecisionTest {
    function decided(Case memory c) private pure returns (uint8) {
        PatientWord patient = PatientWord.wrap(
            (uint256(c.deniedCategories) << 160) | (uint256(c.deniedPurposes) << 192)
                | (uint256(c.patientStatus) << 224)
        );
        ConsentWord consent = ConsentWord.wrap(consentBits(c));
        uint256 broken = brokenForAll(
            MemberWord.wrap(uint256(c.roles) | (c.active ? 1 << 16 : 0) | (1 << 17)),
            patient,
            consent,
            c.purpose,
            c.time
        );
        broken |= brokenForRecord(patient.deniedCategories(), RecordWord.wrap(recordBits(c)), consent, c.recordScope);
        return broken == 0 ? 0 : firstReason(broken);
    }

    function recordBits(Case memory c) private pure returns (uint256) {
        return (uint256(c.category) << 160) | (uint256(c.recordFlags) << 168) | (uint256(c.startDay) << 176)
            | (uint256(c.endDay) << 200);
    }

    function consentBits(Case memory c) private pure returns (uint256) {
        return uint256(c.categories) | (uint256(c.purposes) << 32) | (uint256(c.validFrom) << 48)
            | (uint256(c.validUntil) << 88) | (uint256(c.dataFrom) << 128) | (uint256(c.dataUntil) << 152)
            | (uint256(c.maxUses) << 176) | (uint256(c.uses) << 200) | (uint256(c.consentStatus) << 248);
    }

    /// @dev Most cases break few rules, and compared numbers are close: else all would fail at the first rule, and none would
    /// stand at a bound.
    function small(Case memory c) private pure returns (Case memory) {
        c.active = c.active || c.roles % 8 != 0;
        c.roles = c.roles % 8 == 7 ? 1 : c.roles % 8 | 6;
        c.patientStatus = c.patientStatus % 16 == 0 ? 3 : 1 + c.patientStatus % 2;
        c.deniedCategories = c.deniedCategories % 4 == 0 ? c.deniedCategories % 16 : 0;
        c.deniedPurposes = c.deniedPurposes % 4 == 0 ? c.deniedPurposes % 256 : 0;
        c.category %= 4;
        c.recordFlags = 1 | (c.recordFlags % 4 == 0 ? c.recordFlags % 16 : 0);
        (c.startDay, c.endDay) = (c.startDay % 4, c.endDay % 4);
        c.categories |= uint32(c.time % 16);
        c.purposes |= uint16(c.validFrom % 256);
        (c.validFrom, c.validUntil, c.time) = (c.validFrom % 4, 2 + c.validUntil % 4, c.time % 4);
        (c.dataFrom, c.dataUntil) = (c.dataFrom % 3, 1 + c.dataUntil % 4);
        (c.maxUses, c.uses) = (c.maxUses % 3, c.uses % 3);
        c.consentStatus = c.consentStatus % 8 == 0 ? c.consentStatus / 8 % 3 : 1;
        c.purpose %= 8;
        return c;
    }

    function test_decide_smallFields_givesTheSpecifiedReason(Case memory c) public pure {
        c = small(c);
        vm.assertEq(uint256(decided(c)), uint256(specifiedReason(c)), "reason");
    }

    function test_decide_anyFields_givesTheSpecifiedReason(Case memory c) public pure {
        c.purpose %= 8;
        c.category %= 22;
        c.consentStatus %= 3;
        c.patientStatus %= 4;
        vm.assertEq(uint256(decided(c)), uint256(specifiedReason(c)), "reason");
    }

    function test_decide_smallFields_reachEveryReason() public pure {
        uint256 seen;
        for (uint256 i = 0; i < 4000 && seen != 0xffff; ++i) {
            Case memory c = small(drawn(i));
            seen |= 1 << decided(c);
        }
        vm.assertEq(seen, 0xffff, "every reason was drawn");
    }

    function drawn(uint256 seed) private pure returns (Case memory c) {
        uint256 first = uint256(keccak256(abi.encode(seed)));
        uint256 second = uint256(keccak256(abi.encode(first)));
        c.active = first & 1 != 0;
        c.roles = uint16(first >> 8);
        c.patientStatus = uint8(first >> 24);
        c.deniedCategories = uint32(first >> 32);
        c.deniedPurposes = uint16(first >> 64);
        c.category = uint8(first >> 80);
        c.recordFlags = uint8(first >> 88);
        c.startDay = uint24(first >> 96);
        c.endDay = uint24(first >> 120);
        c.categories = uint32(first >> 144);
        c.purposes = uint16(first >> 176);
        c.validFrom = uint40(first >> 192);
        c.validUntil = uint40(second);
        c.dataFrom = uint24(second >> 40);
        c.dataUntil = uint24(second >> 64);
        c.maxUses = uint24(second >> 88);
        c.uses = uint24(second >> 112);
        c.consentStatus = uint8(second >> 136);
        c.recordScope = (second >> 144) & 1 != 0;
        c.purpose = uint8(second >> 152);
        c.time = uint40(second >> 160);
    }
}
