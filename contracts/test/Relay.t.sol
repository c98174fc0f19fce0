// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ConsentRegistry} from "../src/ConsentRegistry.sol";
import {LedgerBase} from "../src/LedgerBase.sol";
import {Relay} from "../src/Relay.sol";
import "../src/Types.sol";
import {LedgerTest} from "./LedgerTest.sol";
import {hashOf} from "./Signing.sol";
import {Vm, vm} from "./Vm.sol";

contract RelayTest is LedgerTest {
    function grantCall(uint64 nonce) private view returns (bytes memory) {
        Grant memory terms_ = terms();
        terms_.nonce = nonce;
        return abi.encodeCall(ledger.grant, (terms_, sign(PATIENT_KEY, hashOf(terms_))));
    }

    function consentIdOf(uint64 nonce) private view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(ledger), patient, clinic, bytes32(0), uint256(nonce)));
    }

    function statusOf(uint64 nonce) private view returns (uint256) {
        return ledger.consentWords(one(consentIdOf(nonce)))[0] >> 248;
    }

    /// Someone relays one item of a batch first, to make the batch revert.
    function test_attack_frontRunRelayItem_skipsItAndLandsTheOthers() public {
        bytes[] memory calls = new bytes[](3);
        for (uint64 i = 0; i < 3; ++i) {
            calls[i] = grantCall(i);
        }
        vm.prank(thief);
        (bool done,) = address(ledger).call(calls[1]);
        vm.assertTrue(done, "front run");
        vm.recordLogs();
        ledger.relay(calls);
        for (uint64 i = 0; i < 3; ++i) {
            vm.assertEq(statusOf(i), 1, "granted");
        }
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 3, "two grants and a skip");
        vm.assertEq(logs[1].topics[0], Relay.RelayItemSkipped.selector, "skipped");
        bytes memory reason = abi.encodeWithSelector(ConsentRegistry.GrantAlreadyUsed.selector, consentIdOf(1), 1);
        vm.assertEq(logs[1].data, abi.encode(uint256(1), reason), "index and reason");
    }

    function test_relay_keepsTheSender() public {
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(ledger.setMemberActive, (clinic, false));
        calls[1] = abi.encodeCall(ledger.publish, (publication(patient, 2)));
        vm.recordLogs();
        vm.prank(hospital);
        ledger.relay(calls);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        bytes memory reason = abi.encodeWithSelector(LedgerBase.NotAdministrator.selector, hospital);
        vm.assertEq(logs[0].data, abi.encode(uint256(0), reason), "not the administrator");
        vm.assertEq(logs[1].topics[3], bytes32(uint256(uint160(hospital))), "published by the hospital");
    }

    function test_attack_nestedRelay_reverts() public {
        bytes[] memory inner = new bytes[](1);
        inner[0] = grantCall(1);
        bytes[] memory calls = new bytes[](2);
        calls[0] = grantCall(2);
        calls[1] = abi.encodeCall(ledger.relay, (inner));
        vm.expectRevert(abi.encodeWithSelector(Relay.NestedRelay.selector, 1));
        ledger.relay(calls);
        vm.assertEq(statusOf(2), 0, "nothing landed");
    }

    /// A transaction has too little gas, so that an item "fails" and is skipped. Items that are large leave enough of it (one
    /// 64th, EIP-150) for the skip to succeed: here a batch of 20 publications. Whatever the gas, a relay that succeeds has
    /// landed every item.
    function test_attack_starvedRelay_losesNoItem(uint256 gasLimit) public {
        Publication[] memory batch = new Publication[](20);
        for (uint64 i = 0; i < 20; ++i) {
            batch[i] = publication(patient, 10 + i);
        }
        bytes[] memory calls = new bytes[](2);
        calls[0] = grantCall(1);
        calls[1] = abi.encodeCall(ledger.publishBatch, (batch));
        gasLimit = 100_000 + (gasLimit % 900_000);
        vm.prank(hospital);
        (bool done,) = address(ledger).call{gas: gasLimit}(abi.encodeCall(ledger.relay, (calls)));
        vm.assertEq(statusOf(1), done ? 1 : 0, "the grant");
        vm.assertEq(uint32(ledger.authorWords(one(hospital))[0]), done ? 21 : 1, "the publications");
    }

    function test_relay_enoughGas_landsTheLargeItem() public {
        test_attack_starvedRelay_losesNoItem(899_999);
        vm.assertEq(statusOf(1), 1, "landed");
    }

    function test_relay_garbage_isSkipped() public {
        bytes[] memory calls = new bytes[](3);
        (calls[0], calls[1], calls[2]) = (bytes(""), hex"deadbeef", grantCall(1));
        ledger.relay(calls);
        vm.assertEq(statusOf(1), 1, "the good one landed");
    }
}
