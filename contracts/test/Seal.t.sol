// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {LedgerBase} from "../src/LedgerBase.sol";
import "../src/Types.sol";
import {LedgerTest} from "./LedgerTest.sol";
import {hashOf} from "./Signing.sol";
import {vm} from "./Vm.sol";

contract SealTest is LedgerTest {
    address private constant SUCCESSOR = address(0x5ea1);

    function expectSealed(address sender, bytes memory call) private {
        vm.prank(sender);
        (bool done, bytes memory reason) = address(ledger).call(call);
        vm.assertTrue(!done, "a sealed ledger took it");
        vm.assertEq(reason, abi.encodeWithSelector(LedgerBase.LedgerIsSealed.selector, SUCCESSOR), "because sealed");
    }

    function test_seal_stopsWhatBegins() public {
        seal();
        vm.assertTrue(ledger.successor() == SUCCESSOR, "successor");
        MemberKeys memory keys = keysOf(THIEF_KEY);
        expectSealed(administrator, abi.encodeCall(ledger.enrolMember, (keys, 1, sign(THIEF_KEY, hashOf(keys)))));
        Registration memory registration = registrationOf(THIEF_KEY, hospital);
        expectSealed(
            hospital, abi.encodeCall(ledger.registerPatient, (registration, sign(THIEF_KEY, hashOf(registration))))
        );
        Publication[] memory batch = new Publication[](1);
        batch[0] = publication(patient, 2);
        expectSealed(hospital, abi.encodeCall(ledger.publish, (batch[0])));
        expectSealed(hospital, abi.encodeCall(ledger.publishBatch, (batch)));
        expectSealed(hospital, abi.encodeCall(ledger.correct, (batch[0], record)));
        expectSealed(clinic, abi.encodeCall(ledger.grant, (terms(), sign(PATIENT_KEY, hashOf(terms())))));
        expectSealed(clinic, abi.encodeCall(ledger.requestAccess, (requestOf(record, 1))));
        expectSealed(
            clinic, abi.encodeCall(ledger.requestAccessBatch, (0, "key", "person", groupOf(1, false, one(record))))
        );
        expectSealed(administrator, abi.encodeCall(ledger.seal, (address(1))));
    }

    function test_seal_neverStopsWhatProtects() public {
        grant(PATIENT_KEY, terms());
        seal();
        revoke(PATIENT_KEY, revocation(1));
        deny(PATIENT_KEY, 1, 1, 1);
        restrict(PATIENT_KEY, record, true, 1);
        KeyringRotation memory rotation = KeyringRotation(patient, 2, "keyring 2", 7);
        ledger.rotateKeyring(rotation, sign(PATIENT_KEY, hashOf(rotation)));
        vm.prank(hospital);
        ledger.retract(record);
        MemberKeys memory keys = keysOf(CLINIC_KEY);
        keys.nonce = 2;
        vm.prank(clinic);
        ledger.changeMemberKeys(keys);
        endRelationship(PATIENT_KEY);
        freeze(PATIENT_KEY);
        setActive(clinic, false);
    }

    function test_seal_byAnotherOrWithoutSuccessor_reverts() public {
        vm.prank(hospital);
        vm.expectRevert(abi.encodeWithSelector(LedgerBase.NotAdministrator.selector, hospital));
        ledger.seal(SUCCESSOR);
        vm.prank(administrator);
        vm.expectRevert(abi.encodeWithSelector(LedgerBase.SuccessorInvalid.selector, address(0)));
        ledger.seal(address(0));
        vm.prank(administrator);
        vm.expectRevert(abi.encodeWithSelector(LedgerBase.SuccessorInvalid.selector, address(ledger)));
        ledger.seal(address(ledger));
    }
}
