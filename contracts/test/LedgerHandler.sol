// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessLog} from "../src/AccessLog.sol";
import {Reason, ROLE_CONSUMER} from "../src/Codes.sol";
import {RecordRegistry} from "../src/RecordRegistry.sol";
import "../src/Types.sol";
import {Case, specifiedReason} from "./Decision.t.sol";
import {LedgerTest} from "./LedgerTest.sol";
import {hashOf} from "./Signing.sol";
import {Vm, vm} from "./Vm.sol";

/// @dev Acts on a ledger as patients, provider, requester, administrator and thief do, with fields so small that they meet, and
/// keeps what must come of it: a model of its own, and the chains folded from nothing but the events.
contract LedgerHandler is LedgerTest {
    struct PatientModel {
        uint8 status;
        uint32 deniedCategories;
        uint16 deniedPurposes;
        uint24 policyNonce;
        uint256 accessHead;
    }

    struct RecordModel {
        Publication publication;
        bool retracted;
        bool restricted;
        uint16 statusNonce;
    }

    struct ConsentModel {
        Grant terms;
        uint8 status;
        uint24 uses;
    }

    uint256[2] internal patientKeys = [PATIENT_KEY, OTHER_PATIENT_KEY];
    mapping(address => PatientModel) public patients;
    mapping(bytes32 => RecordModel) internal records;
    mapping(bytes32 => ConsentModel) internal consents;
    bytes32[] internal recordIds;
    bytes32[] public consentIds;
    bool internal clinicActive = true;
    uint16 internal clinicRoles = ROLE_CONSUMER;
    uint256 public authorHead;
    uint64 internal nextNonce = 100;

    /// @dev How often each reason was decided; tells whether the runs reach what they are to test.
    uint256[16] public decided;

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < 2; ++i) {
            address account = vm.addr(patientKeys[i]);
            patients[account].status = 1;
            bytes32 seed =
                keccak256(abi.encode(keccak256("phr/v1/access-head"), block.chainid, address(ledger), account));
            patients[account].accessHead = uint256(seed) >> 32 << 32;
        }
        authorHead = ledger.authorWords(one(hospital))[0];
        records[record].publication = publication(patient, 1);
        recordIds.push(record);
        // Both patients have records under small fields from the start.
        for (uint256 i = 0; i < 6; ++i) {
            publishRecord(i, uint8(i), uint8(i / 2), 1);
        }
    }

    // ---- what people do

    function publishRecord(
        uint256 who,
        uint8 category,
        uint8 startDay,
        uint8 days_
    ) public {
        Publication memory publication_ = publication(vm.addr(patientKeys[who % 2]), nextNonce++);
        publication_.category = category % 2;
        publication_.startDay = startDay % 4;
        publication_.endDay = publication_.startDay + days_ % 2;
        bool lands = patients[publication_.patient].status == 1 && recordIds.length < 24;
        if (!lands && recordIds.length >= 24) return;
        vm.recordLogs();
        vm.prank(hospital);
        (bool done, bytes memory result) = address(ledger).call(abi.encodeCall(ledger.publish, (publication_)));
        vm.assertTrue(done == lands, "a publication lands if and only if the patient is active");
        if (!done) return;
        bytes32 recordId = abi.decode(result, (bytes32));
        records[recordId].publication = publication_;
        recordIds.push(recordId);
        foldPublications();
    }

    function grantConsent(
        uint256 who,
        uint8 nonce,
        uint256 draw,
        bool ofRecord
    ) public {
        Grant memory t = drawnTerms(who, nonce, draw, ofRecord);
        bytes32 id = consentIdOf(t.patient, t.recordId, t.nonce);
        bool lands = patients[t.patient].status != 3 && consents[id].status == 0 && t.dataFrom <= t.dataUntil
            && t.validUntil > t.validFrom;
        bytes memory signature = sign(patientKeys[who % 2], hashOf(t));
        (bool done,) = address(ledger).call(abi.encodeCall(ledger.grant, (t, signature)));
        vm.assertTrue(done == lands, "a grant lands if and only if its slot is empty and its terms hold");
        if (!done) return;
        consents[id].terms = t;
        consents[id].status = 1;
        consentIds.push(id);
        (done,) = address(ledger).call(abi.encodeCall(ledger.grant, (t, signature)));
        vm.assertTrue(!done, "a grant landed twice");
    }

    function grantForged(
        uint256 who,
        uint8 nonce,
        uint256 draw,
        bool ofRecord,
        uint8 forger
    ) public {
        Grant memory t = drawnTerms(who, nonce, draw, ofRecord);
        uint256 key = [THIEF_KEY, CLINIC_KEY, HOSPITAL_KEY, patientKeys[1 - who % 2]][forger % 4];
        (bool done,) = address(ledger).call(abi.encodeCall(ledger.grant, (t, sign(key, hashOf(t)))));
        vm.assertTrue(!done, "another key granted");
        Revocation memory r = Revocation(t.patient, clinic, t.recordId, t.nonce);
        (done,) = address(ledger).call(abi.encodeCall(ledger.revoke, (r, sign(key, hashOf(r)))));
        vm.assertTrue(!done, "another key revoked");
    }

    function revokeConsent(
        uint256 who,
        uint8 nonce,
        uint256 draw,
        bool ofRecord
    ) public {
        Grant memory t = drawnTerms(who, nonce, draw, ofRecord);
        bytes32 id = consentIdOf(t.patient, t.recordId, t.nonce);
        Revocation memory r = Revocation(t.patient, clinic, t.recordId, t.nonce);
        bytes memory call = abi.encodeCall(ledger.revoke, (r, sign(patientKeys[who % 2], hashOf(r))));
        (bool done,) = address(ledger).call(call);
        vm.assertTrue(done == (consents[id].status != 2), "a revocation lands, once");
        if (!done) return;
        if (consents[id].status == 0) consentIds.push(id);
        consents[id].status = 2;
    }

    function changePolicy(
        uint256 who,
        uint32 categories,
        uint16 purposes
    ) public {
        PatientModel storage model = patients[vm.addr(patientKeys[who % 2])];
        if (model.status == 3) return;
        // Mostly nothing is denied.
        (model.deniedCategories, model.deniedPurposes) = (categories % 8 == 1 ? 1 : 0, purposes % 8 == 1 ? 1 : 0);
        deny(patientKeys[who % 2], model.deniedCategories, model.deniedPurposes, ++model.policyNonce);
    }

    function freezeSometimes(
        uint256 who,
        uint8 luck
    ) public {
        PatientModel storage model = patients[vm.addr(patientKeys[who % 2])];
        if (luck != 0 || model.status == 3) return;
        freeze(patientKeys[who % 2]);
        model.status = 3;
    }

    function setClinic(
        bool active,
        uint8 roles
    ) public {
        (clinicActive, clinicRoles) = (active || roles % 4 != 0, roles % 8 == 1 ? 1 : 6);
        setActive(clinic, clinicActive);
        vm.prank(administrator);
        ledger.setMemberRoles(clinic, clinicRoles);
    }

    function retractSometimes(
        uint256 which,
        uint8 luck
    ) public {
        bytes32 recordId = recordIds[which % recordIds.length];
        if (luck % 8 != 0 || records[recordId].retracted) return;
        vm.prank(hospital);
        ledger.retract(recordId);
        records[recordId].retracted = true;
    }

    function restrictOrLift(
        uint256 which,
        bool restricted
    ) public {
        bytes32 recordId = recordIds[which % recordIds.length];
        RecordModel storage model = records[recordId];
        address owner = model.publication.patient;
        if (patients[owner].status == 3) return;
        model.restricted = restricted;
        restrict(owner == patient ? PATIENT_KEY : OTHER_PATIENT_KEY, recordId, restricted, ++model.statusNonce);
    }

    function waitSeconds(
        uint8 seconds_
    ) public {
        vm.warp(block.timestamp + seconds_ % 3);
    }

    function requestOne(
        uint256 which,
        uint8 nonce,
        bool ofRecord,
        uint8 purpose
    ) public {
        bytes32 recordId = recordIds[which % recordIds.length];
        AccessRequest memory request_ = requestOf(recordId, nonce % 4);
        request_.recordScope = ofRecord;
        request_.purpose = purpose % 2;
        bytes32 id = consentIdOf(records[recordId].publication.patient, ofRecord ? recordId : bytes32(0), nonce % 4);
        uint8 expected = expectDecision(recordId, id, ofRecord, request_.purpose);
        vm.recordLogs();
        vm.assertEq(uint256(request(request_)), uint256(expected), "the decision is the specified one");
        foldSingle();
    }

    function requestMany(
        uint256 which,
        uint8 nonce,
        uint8 count
    ) public {
        bytes32 first = recordIds[which % recordIds.length];
        address owner = records[first].publication.patient;
        bytes32 id = consentIdOf(owner, 0, nonce % 4);
        bytes32[] memory asked = new bytes32[](1 + count % 4);
        uint8[] memory expected = new uint8[](asked.length);
        uint256 found;
        for (uint256 i = which % recordIds.length; found < asked.length; ++i) {
            bytes32 recordId = recordIds[i % recordIds.length];
            if (records[recordId].publication.patient != owner) continue;
            asked[found] = recordId;
            expected[found++] = expectDecision(recordId, id, false, 0);
        }
        vm.recordLogs();
        vm.prank(clinic);
        ledger.requestAccessBatch(0, "response key", "person", groupOf(nonce % 4, false, asked));
        foldBatch(expected);
    }

    // ---- what must come of it

    /// @dev The specified decision by the model, whose uses it counts; and, beside the specification, the promises themselves.
    function expectDecision(
        bytes32 recordId,
        bytes32 id,
        bool ofRecord,
        uint8 purpose
    ) private returns (uint8) {
        RecordModel storage r = records[recordId];
        ConsentModel storage k = consents[id];
        PatientModel storage p = patients[r.publication.patient];
        Case memory c;
        (c.active, c.roles, c.patientStatus) = (clinicActive, clinicRoles, p.status);
        (c.deniedCategories, c.deniedPurposes) = (p.deniedCategories, p.deniedPurposes);
        (c.category, c.startDay, c.endDay) = (r.publication.category, r.publication.startDay, r.publication.endDay);
        c.recordFlags = 1 | (r.retracted ? 4 : 0) | (r.restricted ? 8 : 0);
        (c.categories, c.purposes) = (k.terms.categories, k.terms.purposes);
        (c.validFrom, c.validUntil) = (k.terms.validFrom, k.terms.validUntil);
        (c.dataFrom, c.dataUntil) = (k.terms.dataFrom, k.terms.dataUntil);
        (c.maxUses, c.uses, c.consentStatus) = (k.terms.maxUses, k.uses, k.status);
        (c.recordScope, c.purpose, c.time) = (ofRecord, purpose, uint40(block.timestamp));
        Reason reason = specifiedReason(c);
        ++decided[uint256(reason)];
        if (reason == Reason.PERMITTED) {
            vm.assertTrue(clinicActive, "permitted to a suspended member");
            vm.assertTrue(k.status == 1, "permitted after revocation, or without consent");
            vm.assertTrue(block.timestamp < k.terms.validUntil, "permitted after expiry");
            vm.assertTrue(k.terms.categories & (1 << r.publication.category) != 0, "permitted outside the categories");
            vm.assertTrue(k.terms.purposes & (1 << purpose) != 0, "permitted for another purpose");
            vm.assertTrue(
                k.terms.dataFrom <= r.publication.startDay && r.publication.endDay <= k.terms.dataUntil,
                "permitted outside the data period"
            );
            vm.assertTrue(k.terms.maxUses == 0 || k.uses < k.terms.maxUses, "permitted beyond the use limit");
            if (k.terms.maxUses != 0) ++k.uses;
        }
        return uint8(reason);
    }

    function foldPublications() private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            vm.assertEq(logs[i].topics[0], RecordRegistry.RecordPublished.selector, "event");
            Publication memory p = abi.decode(logs[i].data, (Publication));
            bytes32 link =
                keccak256(abi.encode(authorHead, logs[i].topics[1], p.headerDigest, uint256(p.cidCodec), p.cidDigest));
            authorHead = ((uint256(link) >> 32) << 32) | (uint32(authorHead) + 1);
        }
    }

    function foldSingle() private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 1, "one event");
        Access memory a = abi.decode(logs[0].data, (Access));
        vm.assertEq(
            logs[0].topics[0],
            a.reason == 0 ? AccessLog.AccessPermitted.selector : AccessLog.AccessDenied.selector,
            "the event's name says what was decided"
        );
        address owner = address(uint160(uint256(logs[0].topics[1])));
        bytes32 rest = keccak256(
            abi.encode(
                a.consentId, logs[0].topics[2], a.purpose, a.responseKeyDigest, a.personCommitment, uint256(a.time)
            )
        );
        fold(owner, a.sequence, a.reason, logs[0].topics[3], rest);
    }

    function foldBatch(
        uint8[] memory expected
    ) private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 1, "one event");
        (AccessBatch memory b, bytes memory decisions) = abi.decode(logs[0].data, (AccessBatch, bytes));
        address owner = address(uint160(uint256(logs[0].topics[1])));
        bytes32 rest = keccak256(
            abi.encode(
                logs[0].topics[3],
                logs[0].topics[2],
                b.purpose,
                b.responseKeyDigest,
                b.personCommitment,
                uint256(b.time)
            )
        );
        vm.assertEq(decisions.length, 33 * expected.length, "33 bytes a decision");
        for (uint256 i = 0; i < expected.length; ++i) {
            bytes32 recordId;
            assembly ("memory-safe") {
                recordId := mload(add(add(decisions, 0x20), mul(33, i)))
            }
            uint8 reason = uint8(decisions[33 * i + 32]);
            vm.assertEq(uint256(reason), uint256(expected[i]), "the decision in a batch is the specified one");
            fold(owner, uint32(b.firstSequence + i), reason, recordId, rest);
        }
    }

    function fold(
        address owner,
        uint32 sequence,
        uint8 reason,
        bytes32 recordId,
        bytes32 rest
    ) private {
        uint256 head = patients[owner].accessHead;
        vm.assertEq(uint256(sequence), uint256(uint32(head)) + 1, "sequences have no gap");
        bytes32 link = keccak256(abi.encode(head, (uint256(sequence) << 8) | reason, recordId, rest));
        patients[owner].accessHead = ((uint256(link) >> 32) << 32) | sequence;
    }

    function drawnTerms(
        uint256 who,
        uint8 nonce,
        uint256 draw,
        bool ofRecord
    ) private view returns (Grant memory t) {
        t = terms();
        t.patient = vm.addr(patientKeys[who % 2]);
        t.recordId = ofRecord ? recordIds[draw % recordIds.length] : bytes32(0);
        t.categories = uint32(1 + (draw >> 8) % 3);
        t.purposes = uint16(1 + (draw >> 16) % 3);
        t.validFrom = uint40(block.timestamp + (draw >> 24) % 3 - 1);
        t.validUntil = uint40(block.timestamp + 1 + (draw >> 32) % 8);
        t.dataFrom = uint24((draw >> 40) % 3);
        t.dataUntil = uint24(1 + (draw >> 48) % 4);
        t.maxUses = uint24((draw >> 56) % 3);
        t.nonce = nonce % 4;
    }

    function consentIdOf(
        address owner,
        bytes32 recordId,
        uint64 nonce
    ) private view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(ledger), owner, clinic, recordId, uint256(nonce)));
    }

    function consentWordOf(
        bytes32 id
    ) external view returns (uint256 stored, uint256 expected) {
        stored = ledger.consentWords(one(id))[0];
        ConsentModel storage k = consents[id];
        Grant storage t = k.terms;
        expected = uint256(t.categories) | (uint256(t.purposes) << 32) | (uint256(t.validFrom) << 48)
            | (uint256(t.validUntil) << 88) | (uint256(t.dataFrom) << 128) | (uint256(t.dataUntil) << 152)
            | (uint256(t.maxUses) << 176) | (uint256(k.uses) << 200) | (uint256(k.status) << 248);
    }

    function consentCount() external view returns (uint256) {
        return consentIds.length;
    }

    function patientAt(
        uint256 i
    ) external view returns (address) {
        return vm.addr(patientKeys[i]);
    }

    function accessHeads(
        address owner
    ) external view returns (uint256 stored, uint256 folded) {
        return (ledger.accessWords(one(owner))[0], patients[owner].accessHead);
    }

    function patientWordOf(
        address owner
    ) external view returns (uint256 stored, uint256 expected) {
        stored = ledger.patientWords(one(owner))[0];
        PatientModel storage p = patients[owner];
        expected = uint256(uint160(hospital)) | (uint256(p.deniedCategories) << 160)
            | (uint256(p.deniedPurposes) << 192) | (1 << 208) | (uint256(p.status) << 224)
            | (uint256(p.policyNonce) << 232);
    }

    function storedAuthorHead() external view returns (uint256) {
        return ledger.authorWords(one(hospital))[0];
    }
}
