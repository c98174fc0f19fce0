// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {ConsentRegistry} from "../src/ConsentRegistry.sol";
import {ConsentLedger} from "../src/ConsentLedger.sol";
import {LedgerBase} from "../src/LedgerBase.sol";
import {MemberRegistry} from "../src/MemberRegistry.sol";
import {PatientRegistry} from "../src/PatientRegistry.sol";
import "../src/Types.sol";
import {LedgerTest} from "./LedgerTest.sol";
import {domainSeparator, hashOf, signIn} from "./Signing.sol";
import {Vm, vm} from "./Vm.sol";

contract ConsentRegistryTest is LedgerTest {
    uint256 private constant REVOKED = uint256(2) << 248;

    function word(Grant memory t, uint24 uses) private pure returns (uint256) {
        return uint256(t.categories) | (uint256(t.purposes) << 32) | (uint256(t.validFrom) << 48)
            | (uint256(t.validUntil) << 88) | (uint256(t.dataFrom) << 128) | (uint256(t.dataUntil) << 152)
            | (uint256(t.maxUses) << 176) | (uint256(uses) << 200) | (uint256(t.flags) << 224) | (uint256(1) << 248);
    }

    function consentIdOf(Grant memory t) private view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(ledger), t.patient, t.grantee, t.recordId, uint256(t.nonce)));
    }

    function expectRefused(Grant memory terms_, bytes memory reason) private {
        bytes memory signature = sign(PATIENT_KEY, hashOf(terms_));
        vm.expectRevert(reason);
        ledger.grant(terms_, signature);
        assertWord(ledger.consentWords(one(consentIdOf(terms_))), 0, "nothing stored");
    }

    function expectForged(Grant memory terms_, bytes memory signature) private {
        (bool done, bytes memory reason) = address(ledger).call(abi.encodeCall(ledger.grant, (terms_, signature)));
        vm.assertTrue(!done, "a forged grant landed");
        vm.assertEq(bytes32(bytes4(reason)), bytes32(LedgerBase.SignatureInvalid.selector), "for its signature");
    }

    function test_grant_signedByThePatient_storesEveryFieldInItsPlace() public {
        Grant memory terms_ = Grant({
            patient: patient,
            grantee: clinic,
            recordId: record,
            categories: 0x3fffff,
            purposes: 0xff,
            validFrom: 1,
            validUntil: type(uint40).max,
            dataFrom: 3,
            dataUntil: LAST_DAY,
            maxUses: type(uint24).max,
            flags: 0,
            nonce: type(uint64).max,
            deadline: uint40(block.timestamp + 3600)
        });
        vm.recordLogs();
        bytes32 consentId = grant(PATIENT_KEY, terms_);
        vm.assertEq(consentId, consentIdOf(terms_), "consent id");
        assertWord(ledger.consentWords(one(consentId)), word(terms_, 0), "terms");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 1, "one event");
        vm.assertEq(logs[0].topics[0], ConsentRegistry.ConsentGranted.selector, "event");
        vm.assertEq(logs[0].topics[1], consentId, "topic consent");
        vm.assertEq(logs[0].topics[2], bytes32(uint256(uint160(patient))), "topic patient");
        vm.assertEq(logs[0].topics[3], bytes32(uint256(uint160(clinic))), "topic grantee");
        vm.assertEq(logs[0].data, abi.encode(terms_), "terms");
    }

    function test_grant_malformedTerms_reverts() public {
        Grant memory bad = terms();
        bad.categories = 0;
        expectRefused(bad, abi.encodeWithSelector(ConsentRegistry.GrantCategoriesInvalid.selector, 0, uint32(0x3fffff)));
        bad.categories = 1 << 22;
        expectRefused(
            bad, abi.encodeWithSelector(ConsentRegistry.GrantCategoriesInvalid.selector, 1 << 22, uint32(0x3fffff))
        );
        bad = terms();
        bad.purposes = 0;
        expectRefused(bad, abi.encodeWithSelector(ConsentRegistry.GrantPurposesInvalid.selector, 0, 0xff));
        bad.purposes = 0x101;
        expectRefused(bad, abi.encodeWithSelector(ConsentRegistry.GrantPurposesInvalid.selector, 0x101, 0xff));
        bad = terms();
        bad.validUntil = bad.validFrom;
        expectRefused(bad, validityInvalid(bad));
        bad.validFrom = 1;
        bad.validUntil = uint40(block.timestamp);
        expectRefused(bad, validityInvalid(bad));
        bad = terms();
        bad.dataFrom = 2;
        bad.dataUntil = 1;
        expectRefused(bad, abi.encodeWithSelector(ConsentRegistry.GrantDataPeriodInvalid.selector, 2, 1));
        bad = terms();
        bad.flags = 1 << 23;
        expectRefused(bad, abi.encodeWithSelector(ConsentRegistry.GrantFlagsUnknown.selector, 1 << 23));
        bad = terms();
        bad.deadline = uint40(block.timestamp - 1);
        expectRefused(bad, abi.encodeWithSelector(LedgerBase.DeadlinePassed.selector, bad.deadline, block.timestamp));
        bad.deadline = uint40(block.timestamp + 3601);
        expectRefused(
            bad, abi.encodeWithSelector(LedgerBase.DeadlineTooFar.selector, bad.deadline, block.timestamp + 3600)
        );
        bad = terms();
        bad.grantee = thief;
        expectRefused(bad, abi.encodeWithSelector(MemberRegistry.UnknownMember.selector, thief));
        bad = terms();
        bad.patient = thief;
        expectRefused(bad, abi.encodeWithSelector(PatientRegistry.UnknownPatient.selector, thief));
    }

    function validityInvalid(Grant memory t) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            ConsentRegistry.GrantValidityInvalid.selector, t.validFrom, t.validUntil, block.timestamp
        );
    }

    function test_attack_replayedGrant_reverts() public {
        Grant memory terms_ = terms();
        bytes memory signature = sign(PATIENT_KEY, hashOf(terms_));
        bytes32 consentId = ledger.grant(terms_, signature);
        vm.expectRevert(abi.encodeWithSelector(ConsentRegistry.GrantAlreadyUsed.selector, consentId, 1));
        ledger.grant(terms_, signature);
        revoke(PATIENT_KEY, revocation(1));
        vm.expectRevert(abi.encodeWithSelector(ConsentRegistry.GrantAlreadyUsed.selector, consentId, 2));
        ledger.grant(terms_, signature);
    }

    /// A grant is held back, the patient revokes what never landed, then the grant is sent.
    function test_attack_withheldGrantLandsAfterRevocation_reverts() public {
        Grant memory terms_ = terms();
        bytes memory signature = sign(PATIENT_KEY, hashOf(terms_));
        bytes32 consentId = revoke(PATIENT_KEY, revocation(1));
        assertWord(ledger.consentWords(one(consentId)), REVOKED, "revoked before it landed");
        vm.expectRevert(abi.encodeWithSelector(ConsentRegistry.GrantAlreadyUsed.selector, consentId, 2));
        ledger.grant(terms_, signature);
    }

    function test_attack_signatureForAnotherChain_reverts() public {
        Grant memory terms_ = terms();
        bytes memory signature = signIn(domainSeparator(1, address(ledger)), PATIENT_KEY, hashOf(terms_));
        expectForged(terms_, signature);
        signature = sign(PATIENT_KEY, hashOf(terms_));
        vm.chainId(block.chainid + 1);
        expectForged(terms_, signature);
    }

    function test_attack_signatureForAnotherContract_reverts() public {
        Grant memory terms_ = terms();
        ConsentLedger twin = new ConsentLedger(administrator, 2);
        expectForged(terms_, signIn(domainSeparator(block.chainid, address(twin)), PATIENT_KEY, hashOf(terms_)));
    }

    function test_attack_grantByAnotherKey_reverts() public {
        expectForged(terms(), sign(THIEF_KEY, hashOf(terms())));
        expectForged(terms(), sign(CLINIC_KEY, hashOf(terms())));
    }

    /// Each field of the terms is signed.
    function test_attack_alteredTerms_revert(uint8 field) public {
        Grant memory terms_ = terms();
        bytes memory signature = sign(PATIENT_KEY, hashOf(terms_));
        field = field % 12;
        if (field == 0) (terms_.patient, terms_.nonce) = (otherPatient, terms_.nonce);
        if (field == 1) terms_.grantee = hospital;
        if (field == 2) terms_.recordId = record;
        if (field == 3) terms_.categories |= 1;
        if (field == 4) terms_.purposes |= 2;
        if (field == 5) terms_.validFrom -= 1;
        if (field == 6) terms_.validUntil += 1;
        if (field == 7) terms_.dataFrom += 1;
        if (field == 8) terms_.dataUntil -= 1;
        if (field == 9) terms_.maxUses += 1;
        if (field == 10) terms_.nonce += 1;
        if (field == 11) terms_.deadline += 1;
        expectForged(terms_, signature);
    }

    function test_attack_highSSignature_reverts() public {
        Grant memory terms_ = terms();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(
            PATIENT_KEY,
            keccak256(abi.encodePacked(hex"1901", domainSeparator(block.chainid, address(ledger)), hashOf(terms_)))
        );
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        bytes32 highS = bytes32(order - uint256(s));
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, highS));
        ledger.grant(terms_, abi.encodePacked(r, highS, v == 27 ? uint8(28) : uint8(27)));
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureLength.selector, 64));
        ledger.grant(terms_, abi.encodePacked(r, s));
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignature.selector));
        ledger.grant(terms_, abi.encodePacked(r, s, uint8(0)));
    }

    /// A value beyond its type must not become a small one: 2**24 uses would be 0, unlimited; an address has no upper bits.
    function test_attack_dirtyUpperBits_revert(uint8 field, uint8 bit) public {
        uint8[12] memory bits = [160, 160, 32, 16, 40, 40, 24, 24, 24, 24, 64, 40];
        uint8[12] memory slots = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        uint256 i = field % 12;
        Grant memory terms_ = terms();
        bytes memory data = abi.encodeCall(ledger.grant, (terms_, sign(PATIENT_KEY, hashOf(terms_))));
        uint256 width = bits[i];
        uint256 offset = 0x20 + 4 + 32 * uint256(slots[i]);
        uint256 dirt = 1 << (width + bit % (256 - width));
        assembly ("memory-safe") {
            let place := add(data, offset)
            mstore(place, or(mload(place), dirt))
        }
        (bool done, bytes memory reason) = address(ledger).call(data);
        vm.assertTrue(!done && reason.length == 0, "refused by the decoder");
    }

    function test_revoke_afterGrant_keepsTheTermsAndSetsTheStatus() public {
        Grant memory terms_ = terms();
        bytes32 consentId = grant(PATIENT_KEY, terms_);
        vm.recordLogs();
        vm.assertEq(revoke(PATIENT_KEY, revocation(1)), consentId, "consent id");
        assertWord(
            ledger.consentWords(one(consentId)), (word(terms_, 0) & (type(uint256).max >> 8)) | REVOKED, "revoked"
        );
        vm.assertEq(vm.getRecordedLogs()[0].topics[0], ConsentRegistry.ConsentRevoked.selector, "event");
        Revocation memory again = revocation(1);
        bytes memory signature = sign(PATIENT_KEY, hashOf(again));
        vm.expectRevert(abi.encodeWithSelector(ConsentRegistry.AlreadyRevoked.selector, consentId));
        ledger.revoke(again, signature);
    }

    function test_revoke_whenFrozenOrUnregisteredOrSealedOrLate_stillLands() public {
        grant(PATIENT_KEY, terms());
        freeze(PATIENT_KEY);
        setActive(clinic, false);
        seal();
        vm.warp(block.timestamp + 3650 days);
        revoke(PATIENT_KEY, revocation(1));
        Revocation memory early = Revocation(thief, clinic, 0, 1);
        assertWord(ledger.consentWords(one(revoke(THIEF_KEY, early))), REVOKED, "before registration");
    }

    function test_attack_revocationByAnotherKey_reverts() public {
        grant(PATIENT_KEY, terms());
        Revocation memory revocation_ = revocation(1);
        bytes memory signature = sign(CLINIC_KEY, hashOf(revocation_));
        vm.expectRevert(abi.encodeWithSelector(LedgerBase.SignatureInvalid.selector, patient, clinic));
        ledger.revoke(revocation_, signature);
    }
}
