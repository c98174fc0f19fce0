// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ROLE_PROVIDER} from "../src/Codes.sol";
import {LedgerBase} from "../src/LedgerBase.sol";
import {MemberRegistry} from "../src/MemberRegistry.sol";
import {PatientRegistry} from "../src/PatientRegistry.sol";
import "../src/Types.sol";
import {LedgerTest} from "./LedgerTest.sol";
import {hashOf} from "./Signing.sol";
import {vm} from "./Vm.sol";

contract PatientRegistryTest is LedgerTest {
    uint256 private constant NEW_KEY = 0x2009;

    function word(uint32 categories, uint16 purposes, uint16 epoch, uint8 status, uint24 nonce)
        private
        view
        returns (uint256)
    {
        return uint256(uint160(hospital)) | (uint256(categories) << 160) | (uint256(purposes) << 192)
            | (uint256(epoch) << 208) | (uint256(status) << 224) | (uint256(nonce) << 232);
    }

    function expectRegistrationRefused(Registration memory registration, address sender, bytes memory reason) private {
        bytes memory signature = sign(NEW_KEY, hashOf(registration));
        vm.prank(sender);
        vm.expectRevert(reason);
        ledger.registerPatient(registration, signature);
    }

    function test_registerPatient_signedByThePatient_storesWordKeyringAndChain() public {
        register(NEW_KEY, hospital);
        address newPatient = vm.addr(NEW_KEY);
        assertWord(ledger.patientWords(one(newPatient)), word(0, 0, 1, 1, 0), "active, epoch 1");
        vm.assertEq(ledger.keyringDigests(one(newPatient))[0], keccak256("keyring 1"), "keyring");
        bytes32 seed =
            keccak256(abi.encode(keccak256("phr/v1/access-head"), block.chainid, address(ledger), newPatient));
        assertWord(ledger.accessWords(one(newPatient)), (uint256(seed) >> 32) << 32, "head of no access");
    }

    function test_registerPatient_refused_reverts() public {
        Registration memory registration = registrationOf(NEW_KEY, hospital);
        expectRegistrationRefused(
            registration, clinic, abi.encodeWithSelector(PatientRegistry.NotTheProvider.selector, clinic, hospital)
        );
        registration.provider = clinic;
        expectRegistrationRefused(
            registration, clinic, abi.encodeWithSelector(MemberRegistry.RoleLacking.selector, clinic, ROLE_PROVIDER)
        );
        registration = registrationOf(NEW_KEY, hospital);
        registration.deadline = uint40(block.timestamp + 3601);
        expectRegistrationRefused(
            registration,
            hospital,
            abi.encodeWithSelector(LedgerBase.DeadlineTooFar.selector, registration.deadline, block.timestamp + 3600)
        );
        registration.deadline = uint40(block.timestamp - 1);
        expectRegistrationRefused(
            registration,
            hospital,
            abi.encodeWithSelector(LedgerBase.DeadlinePassed.selector, registration.deadline, block.timestamp)
        );
        setActive(hospital, false);
        registration = registrationOf(NEW_KEY, hospital);
        expectRegistrationRefused(
            registration, hospital, abi.encodeWithSelector(MemberRegistry.MemberInactive.selector, hospital)
        );
    }

    function test_attack_registrationBySomeoneElsesKey_reverts() public {
        Registration memory registration = registrationOf(NEW_KEY, hospital);
        bytes memory signature = sign(THIEF_KEY, hashOf(registration));
        vm.prank(hospital);
        vm.expectRevert(abi.encodeWithSelector(LedgerBase.SignatureInvalid.selector, registration.patient, thief));
        ledger.registerPatient(registration, signature);
    }

    function test_attack_replayedRegistration_reverts() public {
        Registration memory registration = registrationOf(NEW_KEY, hospital);
        register(NEW_KEY, hospital);
        bytes memory refused =
            abi.encodeWithSelector(PatientRegistry.PatientAlreadyRegistered.selector, registration.patient);
        expectRegistrationRefused(registration, hospital, refused);
        endRelationship(NEW_KEY);
        expectRegistrationRefused(registration, hospital, refused);
    }

    function test_rotateKeyring_toTheNextEpoch_storesItAndNoOther() public {
        KeyringRotation memory rotation = KeyringRotation(patient, 2, "keyring 2", 7);
        ledger.rotateKeyring(rotation, sign(PATIENT_KEY, hashOf(rotation)));
        assertWord(ledger.patientWords(one(patient)), word(0, 0, 2, 1, 0), "epoch 2");
        vm.assertEq(ledger.keyringDigests(one(patient))[0], "keyring 2", "keyring");
        bytes memory signature = sign(PATIENT_KEY, hashOf(rotation));
        vm.expectRevert(abi.encodeWithSelector(PatientRegistry.EpochOutOfOrder.selector, 2, 3));
        ledger.rotateKeyring(rotation, signature);
    }

    function test_changeDenyPolicy_withHigherNonce_replacesIt() public {
        deny(PATIENT_KEY, type(uint32).max, type(uint16).max, 3);
        assertWord(ledger.patientWords(one(patient)), word(type(uint32).max, type(uint16).max, 1, 1, 3), "all denied");
        deny(PATIENT_KEY, 1, 2, type(uint24).max);
        assertWord(ledger.patientWords(one(patient)), word(1, 2, 1, 1, type(uint24).max), "replaced");
    }

    function test_attack_replayedDenyPolicy_reverts() public {
        DenyPolicy memory lifted = DenyPolicy(patient, 0, 0, 1);
        bytes memory signature = sign(PATIENT_KEY, hashOf(lifted));
        ledger.changeDenyPolicy(lifted, signature);
        deny(PATIENT_KEY, LABORATORY, 0, 2);
        vm.expectRevert(abi.encodeWithSelector(PatientRegistry.StalePolicyNonce.selector, 1, 2));
        ledger.changeDenyPolicy(lifted, signature);
    }

    function test_endRelationship_once_thenOnlyPublishingEnds() public {
        endRelationship(PATIENT_KEY);
        assertWord(ledger.patientWords(one(patient)), word(0, 0, 1, 2, 0), "ended");
        deny(PATIENT_KEY, 1, 0, 1);
        grant(PATIENT_KEY, terms());
        RelationshipEnd memory end = RelationshipEnd(patient, hospital, 2);
        bytes memory signature = sign(PATIENT_KEY, hashOf(end));
        vm.expectRevert(abi.encodeWithSelector(PatientRegistry.PatientNotActive.selector, patient, 2));
        ledger.endRelationship(end, signature);
        end = RelationshipEnd(otherPatient, clinic, 1);
        signature = sign(OTHER_PATIENT_KEY, hashOf(end));
        vm.expectRevert(abi.encodeWithSelector(PatientRegistry.NotTheProvider.selector, clinic, hospital));
        ledger.endRelationship(end, signature);
    }

    function test_freezePatient_isTerminal() public {
        endRelationship(PATIENT_KEY);
        freeze(PATIENT_KEY);
        assertWord(ledger.patientWords(one(patient)), word(0, 0, 1, 3, 0), "frozen");
        bytes memory frozen = abi.encodeWithSelector(PatientRegistry.PatientNotActive.selector, patient, 3);
        Freeze memory freeze_ = Freeze(patient, 2);
        bytes memory signature = sign(PATIENT_KEY, hashOf(freeze_));
        vm.expectRevert(frozen);
        ledger.freezePatient(freeze_, signature);
        KeyringRotation memory rotation = KeyringRotation(patient, 2, "keyring 2", 7);
        signature = sign(PATIENT_KEY, hashOf(rotation));
        vm.expectRevert(frozen);
        ledger.rotateKeyring(rotation, signature);
        DenyPolicy memory policy = DenyPolicy(patient, 0, 0, 1);
        signature = sign(PATIENT_KEY, hashOf(policy));
        vm.expectRevert(frozen);
        ledger.changeDenyPolicy(policy, signature);
        Restriction memory restriction = Restriction(patient, record, false, 1);
        signature = sign(PATIENT_KEY, hashOf(restriction));
        vm.expectRevert(frozen);
        ledger.restrictRecord(restriction, signature);
        signature = sign(PATIENT_KEY, hashOf(terms()));
        Grant memory terms_ = terms();
        vm.expectRevert(frozen);
        ledger.grant(terms_, signature);
    }

    /// Every message of a patient, signed by another key.
    function test_attack_patientsMessagesByAnotherKey_revert() public {
        bytes memory reason;
        KeyringRotation memory rotation = KeyringRotation(patient, 2, "keyring 2", 7);
        DenyPolicy memory policy = DenyPolicy(patient, 0, 0, 1);
        RelationshipEnd memory end = RelationshipEnd(patient, hospital, 1);
        Freeze memory freeze_ = Freeze(patient, 1);
        Restriction memory restriction = Restriction(patient, record, true, 1);
        bytes[] memory calls = new bytes[](5);
        calls[0] = abi.encodeCall(ledger.rotateKeyring, (rotation, sign(THIEF_KEY, hashOf(rotation))));
        calls[1] = abi.encodeCall(ledger.changeDenyPolicy, (policy, sign(THIEF_KEY, hashOf(policy))));
        calls[2] = abi.encodeCall(ledger.endRelationship, (end, sign(THIEF_KEY, hashOf(end))));
        calls[3] = abi.encodeCall(ledger.freezePatient, (freeze_, sign(THIEF_KEY, hashOf(freeze_))));
        calls[4] = abi.encodeCall(ledger.restrictRecord, (restriction, sign(THIEF_KEY, hashOf(restriction))));
        reason = abi.encodeWithSelector(LedgerBase.SignatureInvalid.selector, patient, thief);
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool done, bytes memory returned) = address(ledger).call(calls[i]);
            vm.assertTrue(!done, "another key's message landed");
            vm.assertEq(returned, reason, "refused for its signature");
        }
    }
}
