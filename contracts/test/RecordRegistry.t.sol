// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ROLE_PROVIDER} from "../src/Codes.sol";
import {LedgerBase} from "../src/LedgerBase.sol";
import {MemberRegistry} from "../src/MemberRegistry.sol";
import {PatientRegistry} from "../src/PatientRegistry.sol";
import {RecordRegistry} from "../src/RecordRegistry.sol";
import "../src/Types.sol";
import {LedgerTest} from "./LedgerTest.sol";
import {hashOf} from "./Signing.sol";
import {Vm, vm} from "./Vm.sol";

contract RecordRegistryTest is LedgerTest {
    function word(uint8 flags, uint16 statusNonce) private view returns (uint256) {
        return uint256(uint160(patient)) | (6 << 160) | (uint256(flags) << 168) | (uint256(DAY) << 176)
            | (uint256(DAY) << 200) | (1 << 224) | (uint256(statusNonce) << 240);
    }

    function expectRefused(Publication memory publication_, bytes memory reason) private {
        vm.prank(hospital);
        vm.expectRevert(reason);
        ledger.publish(publication_);
    }

    function retract(bytes32 recordId) private {
        vm.prank(hospital);
        ledger.retract(recordId);
    }

    function correct(uint64 nonce, bytes32 superseded) private returns (bytes32) {
        Publication memory correction = publication(patient, nonce);
        vm.prank(hospital);
        return ledger.correct(correction, superseded);
    }

    function test_publish_byTheProvider_storesWordAndLinksTheAuthorsChain() public {
        uint256 before = ledger.authorWords(one(hospital))[0];
        Publication memory publication_ = publication(patient, 2);
        vm.recordLogs();
        bytes32 recordId = publish(publication_);
        vm.assertEq(
            recordId, keccak256(abi.encode(block.chainid, address(ledger), hospital, patient, uint256(2))), "record id"
        );
        assertWord(ledger.recordWords(one(recordId)), word(1, 0), "published");
        bytes32 link =
            keccak256(abi.encode(before, recordId, publication_.headerDigest, uint8(0x55), publication_.cidDigest));
        assertWord(ledger.authorWords(one(hospital)), (uint256(link) >> 32 << 32) | 2, "second link");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 1, "one event");
        vm.assertEq(logs[0].topics[0], RecordRegistry.RecordPublished.selector, "event");
        vm.assertEq(logs[0].topics[1], recordId, "topic record");
        vm.assertEq(logs[0].topics[2], bytes32(uint256(uint160(patient))), "topic patient");
        vm.assertEq(logs[0].topics[3], bytes32(uint256(uint160(hospital))), "topic author");
        vm.assertEq(logs[0].data, abi.encode(publication_), "publication");
    }

    function test_publish_malformed_reverts() public {
        Publication memory bad = publication(patient, 2);
        bad.category = 22;
        expectRefused(bad, abi.encodeWithSelector(RecordRegistry.CategoryUnknown.selector, 22));
        bad = publication(patient, 2);
        bad.startDay = DAY + 1;
        expectRefused(bad, abi.encodeWithSelector(RecordRegistry.PeriodInvalid.selector, DAY + 1, DAY));
        bad = publication(patient, 2);
        bad.deadline = uint40(block.timestamp - 1);
        expectRefused(bad, abi.encodeWithSelector(LedgerBase.DeadlinePassed.selector, bad.deadline, block.timestamp));
        bad = publication(patient, 2);
        bad.cidCodec = 0x71;
        expectRefused(bad, abi.encodeWithSelector(RecordRegistry.CidCodecUnknown.selector, 0x71));
        expectRefused(publication(thief, 2), abi.encodeWithSelector(PatientRegistry.UnknownPatient.selector, thief));
        expectRefused(
            publication(patient, 1), abi.encodeWithSelector(RecordRegistry.RecordAlreadyPublished.selector, record)
        );
    }

    function test_publish_byAnotherOrSuspendedOrWithoutRole_reverts() public {
        enrol(THIEF_KEY, ROLE_PROVIDER);
        Publication memory publication_ = publication(patient, 2);
        vm.prank(thief);
        vm.expectRevert(abi.encodeWithSelector(PatientRegistry.NotTheProvider.selector, thief, hospital));
        ledger.publish(publication_);
        setActive(hospital, false);
        expectRefused(publication_, abi.encodeWithSelector(MemberRegistry.MemberInactive.selector, hospital));
        setActive(hospital, true);
        vm.prank(administrator);
        ledger.setMemberRoles(hospital, 2);
        expectRefused(
            publication_, abi.encodeWithSelector(MemberRegistry.RoleLacking.selector, hospital, ROLE_PROVIDER)
        );
    }

    function test_publish_afterEndOrFreeze_reverts() public {
        endRelationship(PATIENT_KEY);
        expectRefused(
            publication(patient, 2), abi.encodeWithSelector(PatientRegistry.PatientNotActive.selector, patient, 2)
        );
        freeze(OTHER_PATIENT_KEY);
        expectRefused(
            publication(otherPatient, 2),
            abi.encodeWithSelector(PatientRegistry.PatientNotActive.selector, otherPatient, 3)
        );
    }

    /// A record sealed under the old keyring, withheld until after the revocation, would be open to the revoked.
    function test_attack_staleEpochPublish_reverts() public {
        Publication memory sealedBefore = publication(patient, 2);
        KeyringRotation memory rotation = KeyringRotation(patient, 2, "keyring 2", 7);
        ledger.rotateKeyring(rotation, sign(PATIENT_KEY, hashOf(rotation)));
        expectRefused(sealedBefore, abi.encodeWithSelector(RecordRegistry.StaleEpoch.selector, 1, 2));
        sealedBefore.epoch = 3;
        expectRefused(sealedBefore, abi.encodeWithSelector(RecordRegistry.StaleEpoch.selector, 3, 2));
    }

    /// A provider takes the nonce that another one is about to use.
    function test_attack_squattedRecordId_takesNothing() public {
        enrol(THIEF_KEY, ROLE_PROVIDER);
        register(0x2009, thief);
        Publication memory own = publication(vm.addr(0x2009), 2);
        vm.prank(thief);
        bytes32 squatted = ledger.publish(own);
        bytes32 honest = publish(publication(patient, 2));
        vm.assertTrue(squatted != honest, "record ids of different authors and patients");
        assertWord(ledger.recordWords(one(honest)), word(1, 0), "published all the same");
    }

    function test_publishBatch_linksInOrder_andIsAllOrNothing() public {
        Publication[] memory batch = new Publication[](2);
        batch[0] = publication(patient, 2);
        batch[1] = publication(otherPatient, 2);
        uint256 head = ledger.authorWords(one(hospital))[0];
        for (uint256 i = 0; i < 2; ++i) {
            bytes32 recordId =
                keccak256(abi.encode(block.chainid, address(ledger), hospital, batch[i].patient, uint256(2)));
            head =
                (uint256(keccak256(abi.encode(head, recordId, batch[i].headerDigest, uint8(0x55), batch[i].cidDigest)))
                        >> 32
                        << 32) | (i + 2);
        }
        vm.prank(hospital);
        ledger.publishBatch(batch);
        assertWord(ledger.authorWords(one(hospital)), head, "both linked");

        batch[0] = publication(patient, 3);
        vm.prank(hospital);
        vm.expectRevert();
        ledger.publishBatch(batch);
        assertWord(ledger.authorWords(one(hospital)), head, "nothing linked");
        vm.prank(hospital);
        vm.expectRevert(abi.encodeWithSelector(RecordRegistry.BatchEmpty.selector));
        ledger.publishBatch(new Publication[](0));
    }

    function test_correct_currentRecord_supersedesIt() public {
        bytes32 correction = correct(2, record);
        assertWord(ledger.recordWords(one(record)), word(3, 0), "superseded");
        assertWord(ledger.recordWords(one(correction)), word(1, 0), "published");
        Publication memory publication_ = publication(patient, 3);
        vm.prank(hospital);
        vm.expectRevert(abi.encodeWithSelector(RecordRegistry.RecordNotCurrent.selector, record, 3));
        ledger.correct(publication_, record);
        retract(correction);
        vm.prank(hospital);
        vm.expectRevert(abi.encodeWithSelector(RecordRegistry.RecordNotCurrent.selector, correction, 5));
        ledger.correct(publication_, correction);
        publication_ = publication(otherPatient, 3);
        vm.prank(hospital);
        vm.expectRevert(
            abi.encodeWithSelector(RecordRegistry.RecordOfAnotherPatient.selector, correction, otherPatient, patient)
        );
        ledger.correct(publication_, correction);
    }

    /// A provider "corrects" a record that the patient restricted, to have it open again.
    function test_attack_restrictionShedByCorrection_carriesOver() public {
        restrict(PATIENT_KEY, record, true, 4);
        bytes32 correction = correct(2, record);
        assertWord(ledger.recordWords(one(record)), word(1 | 2 | 8, 4), "superseded, restricted");
        assertWord(ledger.recordWords(one(correction)), word(1 | 8, 0), "restricted too");
        restrict(PATIENT_KEY, correction, false, 1);
        assertWord(ledger.recordWords(one(correction)), word(1, 1), "lifted by the patient");
    }

    function test_retract_byTheProviderOnce_elseReverts() public {
        vm.prank(clinic);
        vm.expectRevert(abi.encodeWithSelector(PatientRegistry.NotTheProvider.selector, clinic, hospital));
        ledger.retract(record);
        setActive(hospital, false);
        vm.prank(hospital);
        vm.expectRevert(abi.encodeWithSelector(MemberRegistry.MemberInactive.selector, hospital));
        ledger.retract(record);
        setActive(hospital, true);
        endRelationship(PATIENT_KEY);
        retract(record);
        assertWord(ledger.recordWords(one(record)), word(5, 0), "retracted");
        vm.prank(hospital);
        vm.expectRevert(abi.encodeWithSelector(RecordRegistry.RecordAlreadyRetracted.selector, record));
        ledger.retract(record);
        vm.prank(hospital);
        vm.expectRevert(abi.encodeWithSelector(RecordRegistry.UnknownRecord.selector, bytes32("no record")));
        ledger.retract("no record");
    }

    function test_restrictRecord_byThePatient_setsAndLifts() public {
        restrict(PATIENT_KEY, record, true, 1);
        assertWord(ledger.recordWords(one(record)), word(9, 1), "restricted");
        restrict(PATIENT_KEY, record, false, type(uint16).max);
        assertWord(ledger.recordWords(one(record)), word(1, type(uint16).max), "lifted");
    }

    function test_attack_replayedRestriction_reverts() public {
        Restriction memory lifted = Restriction(patient, record, false, 1);
        bytes memory signature = sign(PATIENT_KEY, hashOf(lifted));
        ledger.restrictRecord(lifted, signature);
        restrict(PATIENT_KEY, record, true, 2);
        vm.expectRevert(abi.encodeWithSelector(RecordRegistry.StaleStatusNonce.selector, 1, 2));
        ledger.restrictRecord(lifted, signature);
    }

    function test_attack_restrictionOfAnotherPatientsRecord_reverts() public {
        Restriction memory foreign = Restriction(otherPatient, record, true, 1);
        bytes memory signature = sign(OTHER_PATIENT_KEY, hashOf(foreign));
        vm.expectRevert(
            abi.encodeWithSelector(RecordRegistry.RecordOfAnotherPatient.selector, record, otherPatient, patient)
        );
        ledger.restrictRecord(foreign, signature);
    }
}
