// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {LedgerHandler} from "./LedgerHandler.sol";
import {vm} from "./Vm.sol";

/// @dev What holds whatever anyone does. The handler also asserts, at each request, the promises on permits.
contract LedgerInvariantsTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    LedgerHandler private handler;

    function setUp() public {
        handler = new LedgerHandler();
        handler.setUp();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0].addr = address(handler);
        targets[0].selectors = actions();
    }

    /// @dev Grants and requests are drawn more often than the rest.
    function actions() private view returns (bytes4[] memory selectors) {
        selectors = new bytes4[](15);
        selectors[0] = handler.publishRecord.selector;
        selectors[1] = handler.grantConsent.selector;
        selectors[2] = handler.grantConsent.selector;
        selectors[3] = handler.grantForged.selector;
        selectors[4] = handler.revokeConsent.selector;
        selectors[5] = handler.changePolicy.selector;
        selectors[6] = handler.freezeSometimes.selector;
        selectors[7] = handler.setClinic.selector;
        selectors[8] = handler.retractSometimes.selector;
        selectors[9] = handler.restrictOrLift.selector;
        selectors[10] = handler.waitSeconds.selector;
        for (uint256 i = 11; i < 13; ++i) {
            selectors[i] = handler.requestOne.selector;
        }
        for (uint256 i = 13; i < 15; ++i) {
            selectors[i] = handler.requestMany.selector;
        }
    }

    function invariant_accessHeads_areTheFoldOfTheirEvents() public view {
        for (uint256 i = 0; i < 2; ++i) {
            (uint256 stored, uint256 folded) = handler.accessHeads(handler.patientAt(i));
            vm.assertEq(stored, folded, "access head");
        }
    }

    function invariant_authorHead_isTheFoldOfItsEvents() public view {
        vm.assertEq(handler.storedAuthorHead(), handler.authorHead(), "author head");
    }

    /// Nobody but the patient's key makes, changes or ends a consent; only uses are counted beside.
    function invariant_consents_areWhatThePatientsSigned() public view {
        for (uint256 i = 0; i < handler.consentCount(); ++i) {
            (uint256 stored, uint256 expected) = handler.consentWordOf(handler.consentIds(i));
            vm.assertEq(stored, expected, "consent");
            uint256 maximum = uint24(stored >> 176);
            vm.assertTrue(maximum == 0 || uint24(stored >> 200) <= maximum, "more uses than the limit");
        }
    }

    function invariant_patients_areWhatTheySigned() public view {
        for (uint256 i = 0; i < 2; ++i) {
            (uint256 stored, uint256 expected) = handler.patientWordOf(handler.patientAt(i));
            vm.assertEq(stored, expected, "patient");
        }
    }

    /// The invariants are about something: drawn as the runs draw, requests come to every reason.
    function test_handler_drawnAtRandom_decidesEveryReason() public {
        uint256 seen;
        for (uint256 round = 0; round < 40 && seen != 0xffff; ++round) {
            handler = new LedgerHandler();
            handler.setUp();
            for (uint256 i = 0; i < 128; ++i) {
                step(uint256(keccak256(abi.encode(round, i))));
            }
            for (uint256 reason = 0; reason < 16; ++reason) {
                if (handler.decided(reason) != 0) seen |= 1 << reason;
            }
        }
        // Purpose BTG and roles apart, every reason is within reach of the drawn fields.
        vm.assertEq(seen, 0xffff, "every reason was decided");
    }

    function step(uint256 draw) private {
        uint256 who = draw >> 8;
        uint8 small = uint8(draw >> 16);
        uint256 action = draw % 16;
        if (action == 0) handler.publishRecord(who, small, uint8(draw >> 24), uint8(draw >> 32));
        else if (action < 4) handler.grantConsent(who, small, draw >> 64, action == 3);
        else if (action == 4) handler.grantForged(who, small, draw >> 64, small % 2 == 0, uint8(draw >> 24));
        else if (action == 5) handler.revokeConsent(who, small, draw >> 64, false);
        else if (action == 6) handler.changePolicy(who, uint32(draw >> 24), uint16(draw >> 64));
        else if (action == 7) handler.freezeSometimes(who, small);
        else if (action == 8) handler.setClinic(draw >> 200 & 1 == 0, small);
        else if (action == 9) handler.retractSometimes(who, small);
        else if (action == 10) handler.restrictOrLift(who, small % 4 == 0);
        else if (action == 11) handler.waitSeconds(small);
        else if (action < 14) handler.requestOne(who, small, draw >> 200 & 1 == 0, uint8(draw >> 24));
        else handler.requestMany(who, small, uint8(draw >> 24));
    }
}
