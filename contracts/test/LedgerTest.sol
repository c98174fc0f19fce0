// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Category, Purpose, ROLE_CONSUMER, ROLE_PROVIDER} from "../src/Codes.sol";
import {ConsentLedger} from "../src/ConsentLedger.sol";
import "../src/Types.sol";
import {domainSeparator, hashOf, signIn} from "./Signing.sol";
import {Vm, vm} from "./Vm.sol";

/// @dev A ledger with a hospital, a clinic, two patients and one laboratory record, and the sentences to speak to it.
abstract contract LedgerTest {
    uint256 internal constant START = 1_800_000_000;
    uint24 internal constant DAY = 738_000;
    uint24 internal constant LAST_DAY = type(uint24).max;
    uint32 internal constant LABORATORY = uint32(1 << uint256(Category.LABORATORY));
    uint16 internal constant TREATMENT = uint16(1 << uint256(Purpose.TREAT));
    uint256 internal constant HOSPITAL_KEY = 0x1001;
    uint256 internal constant CLINIC_KEY = 0x1002;
    uint256 internal constant PATIENT_KEY = 0x2001;
    uint256 internal constant OTHER_PATIENT_KEY = 0x2002;
    uint256 internal constant THIEF_KEY = 0x3001;

    ConsentLedger internal ledger;
    address internal administrator = address(0xAD);
    address internal hospital = vm.addr(HOSPITAL_KEY);
    address internal clinic = vm.addr(CLINIC_KEY);
    address internal patient = vm.addr(PATIENT_KEY);
    address internal otherPatient = vm.addr(OTHER_PATIENT_KEY);
    address internal thief = vm.addr(THIEF_KEY);
    bytes32 internal record;

    function setUp() public virtual {
        vm.warp(START);
        ledger = new ConsentLedger(administrator, 2);
        enrol(HOSPITAL_KEY, ROLE_PROVIDER);
        enrol(CLINIC_KEY, ROLE_CONSUMER);
        register(PATIENT_KEY, hospital);
        register(OTHER_PATIENT_KEY, hospital);
        record = publish(publication(patient, 1));
    }

    function sign(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        return signIn(domainSeparator(block.chainid, address(ledger)), key, structHash);
    }

    function keysOf(uint256 key) internal view returns (MemberKeys memory keys) {
        keys.member = vm.addr(key);
        keys.name = "a member";
        keys.endpoint = "https://member.example";
        keys.encryptionKey = new bytes(1216);
        keys.encryptionKey[7] = bytes1(uint8(key));
        keys.transportKey = keccak256(abi.encode("transport", key));
        keys.nonce = 1;
        keys.deadline = uint40(block.timestamp + 600);
    }

    function enrol(uint256 key, uint16 roles) internal {
        MemberKeys memory keys = keysOf(key);
        bytes memory signature = sign(key, hashOf(keys));
        vm.prank(administrator);
        ledger.enrolMember(keys, roles, signature);
    }

    function registrationOf(uint256 key, address provider) internal view returns (Registration memory) {
        return Registration(vm.addr(key), provider, keccak256("keyring 1"), 1, uint40(block.timestamp + 600));
    }

    function register(uint256 key, address provider) internal {
        Registration memory registration = registrationOf(key, provider);
        bytes memory signature = sign(key, hashOf(registration));
        vm.prank(provider);
        ledger.registerPatient(registration, signature);
    }

    function publication(address patient_, uint64 nonce) internal view returns (Publication memory) {
        return Publication({
            patient: patient_,
            category: uint8(Category.LABORATORY),
            startDay: DAY,
            endDay: DAY,
            epoch: 1,
            nonce: nonce,
            deadline: uint40(block.timestamp + 600),
            cidCodec: 0x55,
            cidDigest: keccak256(abi.encode("cid", nonce)),
            headerDigest: keccak256(abi.encode("header", nonce)),
            payloadCommitment: keccak256(abi.encode("payload", nonce))
        });
    }

    function publish(Publication memory publication_) internal returns (bytes32) {
        vm.prank(hospital);
        return ledger.publish(publication_);
    }

    /// @dev Consent of the patient to the clinic: laboratory, treatment, 30 days, all days, without limit.
    function terms() internal view returns (Grant memory) {
        return Grant({
            patient: patient,
            grantee: clinic,
            recordId: 0,
            categories: LABORATORY,
            purposes: TREATMENT,
            validFrom: uint40(block.timestamp),
            validUntil: uint40(block.timestamp + 30 days),
            dataFrom: 0,
            dataUntil: LAST_DAY,
            maxUses: 0,
            flags: 0,
            nonce: 1,
            deadline: uint40(block.timestamp + 600)
        });
    }

    function grant(uint256 key, Grant memory terms_) internal returns (bytes32) {
        return ledger.grant(terms_, sign(key, hashOf(terms_)));
    }

    function revocation(uint64 nonce) internal view returns (Revocation memory) {
        return Revocation(patient, clinic, 0, nonce);
    }

    function revoke(uint256 key, Revocation memory revocation_) internal returns (bytes32) {
        return ledger.revoke(revocation_, sign(key, hashOf(revocation_)));
    }

    function freeze(uint256 key) internal {
        Freeze memory freeze_ = Freeze(vm.addr(key), 1);
        ledger.freezePatient(freeze_, sign(key, hashOf(freeze_)));
    }

    function endRelationship(uint256 key) internal {
        RelationshipEnd memory end = RelationshipEnd(vm.addr(key), hospital, 1);
        ledger.endRelationship(end, sign(key, hashOf(end)));
    }

    function deny(uint256 key, uint32 categories, uint16 purposes, uint24 nonce) internal {
        DenyPolicy memory policy = DenyPolicy(vm.addr(key), categories, purposes, nonce);
        ledger.changeDenyPolicy(policy, sign(key, hashOf(policy)));
    }

    function restrict(uint256 key, bytes32 recordId, bool restricted, uint16 nonce) internal {
        Restriction memory restriction = Restriction(vm.addr(key), recordId, restricted, nonce);
        ledger.restrictRecord(restriction, sign(key, hashOf(restriction)));
    }

    function setActive(address member, bool active) internal {
        vm.prank(administrator);
        ledger.setMemberActive(member, active);
    }

    function seal() internal {
        vm.prank(administrator);
        ledger.seal(address(0x5ea1));
    }

    function requestOf(bytes32 recordId, uint64 consentNonce) internal pure returns (AccessRequest memory) {
        return AccessRequest(recordId, consentNonce, false, uint8(Purpose.TREAT), "response key", "person");
    }

    function request(AccessRequest memory request_) internal returns (uint8) {
        vm.prank(clinic);
        return ledger.requestAccess(request_);
    }

    function groupOf(uint64 consentNonce, bool recordScope, bytes32[] memory recordIds)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(consentNonce, recordScope, uint16(recordIds.length), recordIds);
    }

    function one(address item) internal pure returns (address[] memory items) {
        items = new address[](1);
        items[0] = item;
    }

    function one(bytes32 item) internal pure returns (bytes32[] memory items) {
        items = new bytes32[](1);
        items[0] = item;
    }

    function assertWord(uint256[] memory words, uint256 expected, string memory message) internal pure {
        vm.assertEq(words.length, 1, "one word");
        vm.assertEq(words[0], expected, message);
    }
}
