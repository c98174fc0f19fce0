// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ROLE_CONSUMER, ROLE_PROVIDER, ROLE_RESEARCHER} from "../src/Codes.sol";
import {ConsentLedger} from "../src/ConsentLedger.sol";
import {LedgerBase} from "../src/LedgerBase.sol";
import {MemberRegistry} from "../src/MemberRegistry.sol";
import {MemberKeys} from "../src/Types.sol";
import {LedgerTest} from "./LedgerTest.sol";
import {hashOf} from "./Signing.sol";
import {vm} from "./Vm.sol";

contract MemberRegistryTest is LedgerTest {
    uint256 private constant NEW_KEY = 0x1009;

    function expectEnrolmentRefused(MemberKeys memory keys, uint16 roles, bytes memory reason) private {
        bytes memory signature = sign(NEW_KEY, hashOf(keys));
        vm.prank(administrator);
        vm.expectRevert(reason);
        ledger.enrolMember(keys, roles, signature);
    }

    function test_enrolMember_signedByTheMember_storesWordAndKeyDigests() public {
        enrol(NEW_KEY, ROLE_PROVIDER | ROLE_RESEARCHER);
        MemberKeys memory keys = keysOf(NEW_KEY);
        assertWord(ledger.memberWords(one(keys.member)), 5 | (1 << 16) | (1 << 17), "roles, active, version 1");
        (bytes32 encryption, bytes32 transport, bytes32 profile) = ledger.memberKeyDigests(keys.member);
        vm.assertEq(encryption, sha256(keys.encryptionKey), "encryption key digest");
        vm.assertEq(transport, keys.transportKey, "transport key");
        vm.assertEq(profile, keccak256(abi.encode(keys.name, keys.endpoint)), "profile digest");
    }

    function test_enrolMember_byAnotherThanTheAdministrator_reverts() public {
        MemberKeys memory keys = keysOf(NEW_KEY);
        bytes memory signature = sign(NEW_KEY, hashOf(keys));
        vm.expectRevert(abi.encodeWithSelector(LedgerBase.NotAdministrator.selector, address(this)));
        ledger.enrolMember(keys, 0, signature);
    }

    function test_enrolMember_twice_reverts() public {
        enrol(NEW_KEY, 0);
        MemberKeys memory keys = keysOf(NEW_KEY);
        expectEnrolmentRefused(
            keys, 0, abi.encodeWithSelector(MemberRegistry.MemberAlreadyEnrolled.selector, keys.member)
        );
    }

    function test_enrolMember_malformedKeys_reverts() public {
        MemberKeys memory keys = keysOf(NEW_KEY);
        keys.nonce = 2;
        expectEnrolmentRefused(keys, 0, abi.encodeWithSelector(MemberRegistry.KeyVersionOutOfOrder.selector, 2, 1));
        keys = keysOf(NEW_KEY);
        keys.encryptionKey = new bytes(1215);
        expectEnrolmentRefused(
            keys, 0, abi.encodeWithSelector(MemberRegistry.EncryptionKeySizeInvalid.selector, 1215, 1216)
        );
        keys = keysOf(NEW_KEY);
        keys.name = "";
        expectEnrolmentRefused(keys, 0, abi.encodeWithSelector(MemberRegistry.NameSizeInvalid.selector, 0, 256));
        keys.name = string(new bytes(257));
        expectEnrolmentRefused(keys, 0, abi.encodeWithSelector(MemberRegistry.NameSizeInvalid.selector, 257, 256));
        keys = keysOf(NEW_KEY);
        keys.endpoint = string(new bytes(513));
        expectEnrolmentRefused(keys, 0, abi.encodeWithSelector(MemberRegistry.EndpointSizeInvalid.selector, 513, 512));
        keys = keysOf(NEW_KEY);
        keys.deadline = uint40(block.timestamp - 1);
        expectEnrolmentRefused(
            keys, 0, abi.encodeWithSelector(LedgerBase.DeadlinePassed.selector, keys.deadline, block.timestamp)
        );
        keys = keysOf(NEW_KEY);
        expectEnrolmentRefused(keys, 32, abi.encodeWithSelector(MemberRegistry.RolesUnknown.selector, 32, 31));
    }

    /// An administrator enrols a hospital under its own encryption key, to be sent the hospital's shares.
    function test_attack_administratorKeySubstitution_reverts() public {
        MemberKeys memory keys = keysOf(NEW_KEY);
        bytes memory signature = sign(NEW_KEY, hashOf(keys));
        keys.encryptionKey[0] = 0xff;
        vm.prank(administrator);
        (bool done, bytes memory reason) =
            address(ledger).call(abi.encodeCall(ledger.enrolMember, (keys, ROLE_PROVIDER, signature)));
        vm.assertTrue(!done, "substituted key was enrolled");
        vm.assertEq(bytes32(bytes4(reason)), bytes32(LedgerBase.SignatureInvalid.selector), "refused for its signature");
        vm.prank(administrator);
        vm.expectRevert(abi.encodeWithSelector(MemberRegistry.NotTheMember.selector, administrator, hospital));
        ledger.changeMemberKeys(keysOf(HOSPITAL_KEY));
    }

    function test_changeMemberKeys_byTheMember_movesTheVersion() public {
        MemberKeys memory keys = keysOf(CLINIC_KEY);
        keys.nonce = 2;
        keys.deadline = 0;
        keys.transportKey = "new";
        setActive(clinic, false);
        vm.prank(clinic);
        ledger.changeMemberKeys(keys);
        assertWord(ledger.memberWords(one(clinic)), ROLE_CONSUMER | (2 << 17), "suspended stays, version 2");
        (, bytes32 transport,) = ledger.memberKeyDigests(clinic);
        vm.assertEq(transport, "new", "transport key");
        vm.prank(clinic);
        vm.expectRevert(abi.encodeWithSelector(MemberRegistry.KeyVersionOutOfOrder.selector, 2, 3));
        ledger.changeMemberKeys(keys);
    }

    function test_changeMemberKeys_neverEnrolled_reverts() public {
        MemberKeys memory keys = keysOf(THIEF_KEY);
        vm.prank(thief);
        vm.expectRevert(abi.encodeWithSelector(MemberRegistry.UnknownMember.selector, thief));
        ledger.changeMemberKeys(keys);
    }

    function test_setMemberRoles_setMemberActive_changeOnlyTheirBits() public {
        vm.prank(administrator);
        ledger.setMemberRoles(clinic, 31);
        assertWord(ledger.memberWords(one(clinic)), 31 | (1 << 16) | (1 << 17), "roles");
        setActive(clinic, false);
        assertWord(ledger.memberWords(one(clinic)), 31 | (1 << 17), "suspended");
        setActive(clinic, true);
        assertWord(ledger.memberWords(one(clinic)), 31 | (1 << 16) | (1 << 17), "reinstated");
        vm.prank(administrator);
        vm.expectRevert(abi.encodeWithSelector(MemberRegistry.UnknownMember.selector, thief));
        ledger.setMemberActive(thief, true);
        vm.expectRevert(abi.encodeWithSelector(LedgerBase.NotAdministrator.selector, address(this)));
        ledger.setMemberRoles(clinic, 31);
        vm.expectRevert(abi.encodeWithSelector(LedgerBase.NotAdministrator.selector, address(this)));
        ledger.setMemberActive(clinic, false);
    }

    function test_deploy_withoutAdministratorOrThreshold_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(LedgerBase.AdministratorMissing.selector));
        new ConsentLedger(address(0), 2);
        vm.expectRevert(abi.encodeWithSelector(LedgerBase.MinimumThresholdZero.selector));
        new ConsentLedger(administrator, 0);
        vm.assertTrue(ledger.administrator() == administrator && ledger.minimumThreshold() == 2, "getters");
    }
}
