// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Category, Purpose, Reason} from "../src/Codes.sol";
import {AccessLog} from "../src/AccessLog.sol";
import {MemberRegistry} from "../src/MemberRegistry.sol";
import {RecordRegistry} from "../src/RecordRegistry.sol";
import "../src/Types.sol";
import {LedgerTest} from "./LedgerTest.sol";
import {Vm, vm} from "./Vm.sol";

contract AccessLogTest is LedgerTest {
    function expectReason(AccessRequest memory request_, Reason expected, string memory message) private {
        vm.assertEq(uint256(request(request_)), uint256(expected), message);
    }

    function usesOf(bytes32 consentId) private view returns (uint256) {
        return uint24(ledger.consentWords(one(consentId))[0] >> 200);
    }

    function setClinicRoles(uint16 roles) private {
        vm.prank(administrator);
        ledger.setMemberRoles(clinic, roles);
    }

    function test_requestAccess_permitted_linksTheChainAndLogs() public {
        bytes32 consentId = grant(PATIENT_KEY, terms());
        uint256 head = ledger.accessWords(one(patient))[0];
        vm.recordLogs();
        expectReason(requestOf(record, 1), Reason.PERMITTED, "permitted");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        bytes32 rest = keccak256(
            abi.encode(consentId, clinic, uint8(0), bytes32("response key"), bytes32("person"), block.timestamp)
        );
        bytes32 link = keccak256(abi.encode(head, uint256(1) << 8, record, rest));
        assertWord(ledger.accessWords(one(patient)), (uint256(link) >> 32 << 32) | 1, "first link");
        vm.assertEq(logs.length, 1, "one event");
        vm.assertEq(logs[0].topics[0], AccessLog.AccessPermitted.selector, "event");
        vm.assertEq(logs[0].topics[1], bytes32(uint256(uint160(patient))), "topic patient");
        vm.assertEq(logs[0].topics[2], bytes32(uint256(uint160(clinic))), "topic requester");
        vm.assertEq(logs[0].topics[3], record, "topic record");
        vm.assertEq(
            logs[0].data,
            abi.encode(Access(1, 0, 0, consentId, "response key", "person", uint40(block.timestamp))),
            "access"
        );
    }

    function test_requestAccess_denied_logsTheReason() public {
        vm.recordLogs();
        expectReason(requestOf(record, 9), Reason.NO_CONSENT, "no consent");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs[0].topics[0], AccessLog.AccessDenied.selector, "event");
        Access memory access = abi.decode(logs[0].data, (Access));
        vm.assertTrue(access.sequence == 1 && access.reason == uint8(Reason.NO_CONSENT), "logged");
        vm.assertEq(uint32(ledger.accessWords(one(patient))[0]), 1, "linked");
    }

    function test_requestAccess_unknownRecordMemberOrPurpose_reverts() public {
        AccessRequest memory request_ = requestOf("no record", 1);
        vm.prank(clinic);
        vm.expectRevert(abi.encodeWithSelector(RecordRegistry.UnknownRecord.selector, bytes32("no record")));
        ledger.requestAccess(request_);
        request_ = requestOf(record, 1);
        vm.prank(thief);
        vm.expectRevert(abi.encodeWithSelector(MemberRegistry.UnknownMember.selector, thief));
        ledger.requestAccess(request_);
        request_.purpose = 8;
        vm.prank(clinic);
        vm.expectRevert(abi.encodeWithSelector(AccessLog.UnknownPurpose.selector, 8));
        ledger.requestAccess(request_);
    }

    /// Every rule is broken at once, then mended in the order of the reasons: each in turn is the first to show.
    function test_requestAccess_allRulesBroken_reasonsShowInTheirOrder() public {
        Grant memory terms_ = terms();
        terms_.validFrom = uint40(block.timestamp + 100);
        terms_.validUntil = uint40(block.timestamp + 200);
        terms_.nonce = 2;
        grant(PATIENT_KEY, terms_);
        revoke(PATIENT_KEY, revocation(1));
        bytes32 toRetract = publish(publication(patient, 5));
        AccessRequest memory request_ = requestOf(toRetract, 9);
        setActive(clinic, false);
        setClinicRoles(1);
        deny(PATIENT_KEY, LABORATORY, TREATMENT, 1);
        restrict(PATIENT_KEY, toRetract, true, 1);
        restrict(PATIENT_KEY, record, true, 1);
        vm.prank(hospital);
        ledger.retract(toRetract);

        expectReason(request_, Reason.MEMBER_SUSPENDED, "suspended first");
        setActive(clinic, true);
        expectReason(request_, Reason.ROLE_LACKING, "then the role");
        setClinicRoles(2);
        expectReason(request_, Reason.RECORD_RETRACTED, "then retracted");
        request_.recordId = record;
        expectReason(request_, Reason.RECORD_RESTRICTED, "then restricted");
        request_.recordScope = true;
        expectReason(request_, Reason.CATEGORY_DENIED, "a consent that names it passes, then the category denied");
        restrict(PATIENT_KEY, record, false, 2);
        request_.recordScope = false;
        deny(PATIENT_KEY, 0, TREATMENT, 2);
        expectReason(request_, Reason.PURPOSE_DENIED, "then the purpose denied");
        deny(PATIENT_KEY, 0, 0, 3);
        expectReason(request_, Reason.NO_CONSENT, "then no consent");
        request_.consentNonce = 1;
        expectReason(request_, Reason.CONSENT_REVOKED, "then revoked");
        request_.consentNonce = 2;
        expectReason(request_, Reason.CONSENT_NOT_YET_VALID, "then not yet valid");
        vm.warp(terms_.validUntil);
        expectReason(request_, Reason.CONSENT_EXPIRED, "then expired");
        vm.warp(terms_.validUntil - 1);
        expectReason(request_, Reason.PERMITTED, "the last second");
        vm.warp(terms_.validFrom);
        expectReason(request_, Reason.PERMITTED, "the first second");
        freeze(PATIENT_KEY);
        expectReason(request_, Reason.PATIENT_FROZEN, "frozen");
        setClinicRoles(1);
        expectReason(request_, Reason.ROLE_LACKING, "the role before frozen");
    }

    function test_requestAccess_beyondTheTerms_deniedInTheirOrder() public {
        Grant memory terms_ = terms();
        terms_.categories = 1;
        terms_.purposes = 2;
        terms_.dataUntil = DAY - 1;
        terms_.maxUses = 1;
        grant(PATIENT_KEY, terms_);
        expectReason(requestOf(record, 1), Reason.CATEGORY_NOT_COVERED, "category");
        (terms_.categories, terms_.nonce) = (LABORATORY, 2);
        grant(PATIENT_KEY, terms_);
        expectReason(requestOf(record, 2), Reason.PURPOSE_NOT_COVERED, "purpose");
        (terms_.purposes, terms_.nonce) = (TREATMENT, 3);
        grant(PATIENT_KEY, terms_);
        expectReason(requestOf(record, 3), Reason.DATA_PERIOD_NOT_COVERED, "ends after the period");
        (terms_.dataFrom, terms_.dataUntil, terms_.nonce) = (DAY + 1, DAY + 1, 4);
        grant(PATIENT_KEY, terms_);
        expectReason(requestOf(record, 4), Reason.DATA_PERIOD_NOT_COVERED, "starts before the period");
        (terms_.dataFrom, terms_.dataUntil, terms_.nonce) = (DAY, DAY, 5);
        bytes32 consentId = grant(PATIENT_KEY, terms_);
        expectReason(requestOf(record, 5), Reason.PERMITTED, "the very day");
        vm.assertEq(usesOf(consentId), 1, "counted");
        expectReason(requestOf(record, 5), Reason.USES_EXHAUSTED, "used up");
        vm.assertEq(usesOf(consentId), 1, "a denial is no use");
    }

    function test_requestAccess_undatedRecord_needsAnUnboundedConsent() public {
        Publication memory undated = publication(patient, 2);
        (undated.startDay, undated.endDay) = (0, LAST_DAY);
        bytes32 undatedRecord = publish(undated);
        Grant memory terms_ = terms();
        terms_.dataFrom = 1;
        grant(PATIENT_KEY, terms_);
        expectReason(requestOf(undatedRecord, 1), Reason.DATA_PERIOD_NOT_COVERED, "bounded in the past");
        (terms_.dataFrom, terms_.dataUntil, terms_.nonce) = (0, LAST_DAY - 1, 2);
        grant(PATIENT_KEY, terms_);
        expectReason(requestOf(undatedRecord, 2), Reason.DATA_PERIOD_NOT_COVERED, "bounded in the future");
        (terms_.dataUntil, terms_.nonce) = (LAST_DAY, 3);
        grant(PATIENT_KEY, terms_);
        expectReason(requestOf(undatedRecord, 3), Reason.PERMITTED, "unbounded");
    }

    function test_requestAccess_eachPurpose_needsItsRole() public {
        Grant memory terms_ = terms();
        terms_.purposes = 0xff;
        grant(PATIENT_KEY, terms_);
        AccessRequest memory request_ = requestOf(record, 1);
        for (uint8 purpose = 0; purpose < 8; ++purpose) {
            request_.purpose = purpose;
            uint16 needed = purpose == uint8(Purpose.HRESCH) ? 4 : 2;
            setClinicRoles(31);
            bool isBreakTheGlass = purpose == uint8(Purpose.BTG);
            expectReason(request_, isBreakTheGlass ? Reason.ROLE_LACKING : Reason.PERMITTED, "with every role");
            setClinicRoles(31 & ~needed);
            expectReason(request_, Reason.ROLE_LACKING, "without its role");
        }
    }

    function test_requestAccess_supersededOrEnded_staysReadable() public {
        grant(PATIENT_KEY, terms());
        Publication memory correction = publication(patient, 2);
        vm.prank(hospital);
        ledger.correct(correction, record);
        endRelationship(PATIENT_KEY);
        expectReason(requestOf(record, 1), Reason.PERMITTED, "superseded, relationship ended");
    }

    function test_requestAccess_consentOfOneRecord_opensNoOther() public {
        bytes32 other = publish(publication(patient, 2));
        Grant memory terms_ = terms();
        terms_.recordId = record;
        grant(PATIENT_KEY, terms_);
        restrict(PATIENT_KEY, record, true, 1);
        AccessRequest memory request_ = requestOf(record, 1);
        request_.recordScope = true;
        expectReason(request_, Reason.PERMITTED, "the record named, though restricted");
        request_.recordId = other;
        expectReason(request_, Reason.NO_CONSENT, "another record");
        request_.recordScope = false;
        expectReason(request_, Reason.NO_CONSENT, "as a consent for categories");
    }

    function test_attack_consentOfAnotherPatientOrMember_opensNothing() public {
        grant(PATIENT_KEY, terms());
        bytes32 foreign = publish(publication(otherPatient, 1));
        expectReason(requestOf(foreign, 1), Reason.NO_CONSENT, "another patient's record");
        enrol(THIEF_KEY, 2);
        AccessRequest memory request_ = requestOf(record, 1);
        vm.prank(thief);
        vm.assertEq(uint256(ledger.requestAccess(request_)), uint256(Reason.NO_CONSENT), "another member's consent");
    }

    function test_requestAccess_fullChain_revertsAndNeverStartsAgain() public {
        bytes32 slot = accessSlot();
        uint256 full = (ledger.accessWords(one(patient))[0] >> 32 << 32) | type(uint32).max;
        vm.store(address(ledger), slot, bytes32(full));
        assertWord(ledger.accessWords(one(patient)), full, "the slot is the chain's");
        AccessRequest memory request_ = requestOf(record, 1);
        vm.prank(clinic);
        vm.expectRevert(abi.encodeWithSignature("ChainFull()"));
        ledger.requestAccess(request_);
    }

    /// @dev Where the patient's chain is kept, found by looking.
    function accessSlot() private view returns (bytes32 slot) {
        uint256 word = ledger.accessWords(one(patient))[0];
        for (uint256 base = 0; base < 32; ++base) {
            slot = keccak256(abi.encode(patient, base));
            if (uint256(vm.load(address(ledger), slot)) == word) return slot;
        }
        revert("no slot holds the chain");
    }

    function requestBatch(bytes memory groups) private {
        vm.prank(clinic);
        ledger.requestAccessBatch(uint8(Purpose.TREAT), "response key", "person", groups);
    }

    function test_requestAccessBatch_twoPatients_oneEventEachAndOneLinkARecord() public {
        Grant memory terms_ = terms();
        terms_.maxUses = 2;
        bytes32 consentId = grant(PATIENT_KEY, terms_);
        bytes32[] memory records = new bytes32[](3);
        (records[0], records[1], records[2]) = (record, record, publish(publication(patient, 2)));
        bytes32[] memory foreign = one(publish(publication(otherPatient, 1)));
        uint256 head = ledger.accessWords(one(patient))[0];
        vm.recordLogs();
        requestBatch(abi.encodePacked(groupOf(1, false, records), groupOf(7, true, foreign)));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 2, "one event a group");
        bytes memory decisions =
            abi.encodePacked(records[0], uint8(0), records[1], uint8(0), records[2], uint8(Reason.USES_EXHAUSTED));
        AccessBatch memory batch = AccessBatch(1, 0, "response key", "person", uint40(block.timestamp));
        vm.assertEq(logs[0].data, abi.encode(batch, decisions), "decisions");
        vm.assertEq(logs[0].topics[3], consentId, "consent");
        vm.assertEq(logs[1].topics[1], bytes32(uint256(uint160(otherPatient))), "second group's patient");
        vm.assertEq(logs[1].data, abi.encode(batch, abi.encodePacked(foreign[0], uint8(Reason.NO_CONSENT))), "denied");
        vm.assertEq(usesOf(consentId), 2, "each record is a use");
        bytes32 rest = keccak256(
            abi.encode(consentId, clinic, uint8(0), bytes32("response key"), bytes32("person"), block.timestamp)
        );
        for (uint256 i = 0; i < 3; ++i) {
            uint256 reason = i == 2 ? uint256(Reason.USES_EXHAUSTED) : 0;
            head =
                (uint256(keccak256(abi.encode(head, ((i + 1) << 8) | reason, records[i], rest))) >> 32 << 32) | (i + 1);
        }
        assertWord(ledger.accessWords(one(patient)), head, "three links");
    }

    function test_requestAccessBatch_malformedGroups_revert() public {
        bytes32[] memory two = new bytes32[](2);
        (two[0], two[1]) = (record, record);
        bytes[7] memory malformed = [
            bytes(""),
            new bytes(10),
            abi.encodePacked(groupOf(1, false, one(record)), uint8(0)),
            groupOf(1, false, new bytes32[](0)),
            abi.encodePacked(uint64(1), uint8(0), uint16(2), record),
            abi.encodePacked(uint64(1), uint8(2), uint16(1), record),
            groupOf(1, true, two)
        ];
        uint256[7] memory left = [uint256(0), 10, 1, 11, 43, 43, 75];
        for (uint256 i = 0; i < malformed.length; ++i) {
            vm.prank(clinic);
            vm.expectRevert(abi.encodeWithSelector(AccessLog.GroupMalformed.selector, left[i]));
            ledger.requestAccessBatch(0, "response key", "person", malformed[i]);
        }
        two[1] = publish(publication(otherPatient, 1));
        vm.prank(clinic);
        vm.expectRevert(abi.encodeWithSelector(AccessLog.MixedPatients.selector, two[1], otherPatient, patient));
        ledger.requestAccessBatch(0, "response key", "person", groupOf(1, false, two));
        two[1] = "no record";
        vm.prank(clinic);
        vm.expectRevert(abi.encodeWithSelector(RecordRegistry.UnknownRecord.selector, bytes32("no record")));
        ledger.requestAccessBatch(0, "response key", "person", groupOf(1, false, two));
    }

    function test_codes_lastCategoryAndPurpose_areTheOnesOfTheMasks() public pure {
        vm.assertEq(uint256(type(Category).max), 21, "categories");
        vm.assertEq(uint256(type(Purpose).max), 7, "purposes");
    }
}
