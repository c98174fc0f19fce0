// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessLog} from "../src/AccessLog.sol";
import {Reason, ROLE_CONSUMER} from "../src/Codes.sol";
import {RecordRegistry} from "../src/RecordRegistry.sol";
import "../src/Types.sol";
import {Case, specifiedReason} from "./Decision.t.sol";
import {LedgerTest} from "./LedgerTest.sol";
import {Vm, vm} from "./Vm.sol";

/// @dev What must come of what people do on a ledger: a model of its own, and the chains folded from nothing but the events.
abstract contract LedgerModel is LedgerTest {
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

    function setUp() public virtual override {
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
    }

    /// @dev The specified decision by the model, whose uses it counts; and, beside the specification, the promises themselves.
    function expectDecision(bytes32 recordId, bytes32 id, bool ofRecord, uint8 purpose) internal returns (uint8) {
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

    function foldPublications() internal {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            vm.assertEq(logs[i].topics[0], RecordRegistry.RecordPublished.selector, "event");
            Publication memory p = abi.decode(logs[i].data, (Publication));
            bytes32 link =
                keccak256(abi.encode(authorHead, logs[i].topics[1], p.headerDigest, uint256(p.cidCodec), p.cidDigest));
            authorHead = ((uint256(link) >> 32) << 32) | (uint32(authorHead) + 1);
        }
    }

    function foldSingle() internal {
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

    function foldBatch(uint8[] memory expected) internal {
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

    function fold(address owner, uint32 sequence, uint8 reason, bytes32 recordId, bytes32 rest) internal {
        uint256 head = patients[owner].accessHead;
        vm.assertEq(uint256(sequence), uint256(uint32(head)) + 1, "sequences have no gap");
        bytes32 link = keccak256(abi.encode(head, (uint256(sequence) << 8) | reason, recordId, rest));
        patients[owner].accessHead = ((uint256(link) >> 32) << 32) | sequence;
    }

    function consentIdOf(address owner, bytes32 recordId, uint64 nonce) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(ledger), owner, clinic, recordId, uint256(nonce)));
    }

    function consentWordOf(bytes32 id) external view returns (uint256 stored, uint256 expected) {
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

    function patientAt(uint256 i) external view returns (address) {
        return vm.addr(patientKeys[i]);
    }

    function accessHeads(address owner) external view returns (uint256 stored, uint256 folded) {
        return (ledger.accessWords(one(owner))[0], patients[owner].accessHead);
    }

    function patientWordOf(address owner) external view returns (uint256 stored, uint256 expected) {
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
