// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {KNOWN_ROLES} from "./Codes.sol";
import {LedgerBase} from "./LedgerBase.sol";
import {MemberKeys} from "./Types.sol";
import {MemberWord} from "./words/MemberWord.sol";

/// @title The consortium's members: roles, activity, keys.
/// @notice The administrator decides who is in and with which roles, and never which keys a member has: enrolment carries
/// the member's own signature over its keys, and only the member changes them. Whole keys are in the events.
abstract contract MemberRegistry is LedgerBase {
    bytes32 private constant MEMBER_KEYS_TYPEHASH = keccak256(
        "MemberKeys(address member,string name,string endpoint,bytes encryptionKey,bytes32 transportKey,uint64 nonce,uint40 deadline)"
    );
    uint256 private constant ENCRYPTION_KEY_BYTES = 1216;
    uint256 private constant NAME_MAXIMUM_BYTES = 256;
    uint256 private constant ENDPOINT_MAXIMUM_BYTES = 512;

    struct MemberKeyDigests {
        bytes32 encryptionKeyDigest;
        bytes32 transportKey;
        bytes32 profileDigest;
    }

    mapping(address member => MemberWord) private _members;
    mapping(address member => MemberKeyDigests) private _memberKeyDigests;

    /// @notice A member joined, active.
    event MemberEnrolled(address indexed member, uint16 roles);

    /// @notice A member's keys, name and endpoint are from now on these.
    event MemberKeysChanged(
        address indexed member, uint64 version, string name, string endpoint, bytes encryptionKey, bytes32 transportKey
    );

    /// @notice A member's roles are from now on these.
    event MemberRolesChanged(address indexed member, uint16 roles);

    /// @notice A member may do nothing until reinstated; its requests are denied.
    event MemberSuspended(address indexed member);

    /// @notice A suspended member is active again.
    event MemberReinstated(address indexed member);

    /// @notice `member` was never enrolled.
    error UnknownMember(address member);

    /// @notice `member` is enrolled already.
    error MemberAlreadyEnrolled(address member);

    /// @notice `member` is suspended.
    error MemberInactive(address member);

    /// @notice `member` lacks the role of mask `needed`.
    error RoleLacking(address member, uint16 needed);

    /// @notice The role mask `roles` has bits outside `known`.
    error RolesUnknown(uint16 roles, uint16 known);

    /// @notice Only `member` itself may change its keys; `caller` is another.
    error NotTheMember(address caller, address member);

    /// @notice Expected key version `expected` as the nonce; came `given`.
    error KeyVersionOutOfOrder(uint64 given, uint256 expected);

    /// @notice Expected an X-Wing public key of `expected` bytes; came `length`.
    error EncryptionKeySizeInvalid(uint256 length, uint256 expected);

    /// @notice Expected a name of 1 to `maximum` bytes; came `length`.
    error NameSizeInvalid(uint256 length, uint256 maximum);

    /// @notice Expected an endpoint of 1 to `maximum` bytes; came `length`.
    error EndpointSizeInvalid(uint256 length, uint256 maximum);

    /// @notice Enrols a member, active, with its first keys.
    /// @param keys The member's keys, of version (nonce) 1.
    /// @param roles Mask of roles.
    /// @param signature The member's EIP-712 signature over `keys`.
    function enrolMember(MemberKeys calldata keys, uint16 roles, bytes calldata signature)
        external
        onlyAdministrator
        whileOpen
    {
        require(!_members[keys.member].isEnrolled(), MemberAlreadyEnrolled(keys.member));
        _requireKnownRoles(roles);
        _requireDeadline(keys.deadline);
        _requireSigned(keys.member, _hashMemberKeys(keys), signature);
        emit MemberEnrolled(keys.member, roles);
        _storeKeys(keys, MemberWord.wrap(0).withRoles(roles).withActive(true));
    }

    /// @notice Replaces the caller's own keys, name and endpoint.
    /// @param keys The new ones; nonce is the stored version plus one; a deadline of 0 is none.
    function changeMemberKeys(MemberKeys calldata keys) external {
        require(msg.sender == keys.member, NotTheMember(msg.sender, keys.member));
        if (keys.deadline != 0) _requireDeadline(keys.deadline);
        _storeKeys(keys, _requireEnrolled(keys.member));
    }

    /// @notice Sets a member's roles.
    /// @param roles Mask of roles.
    function setMemberRoles(address member, uint16 roles) external onlyAdministrator {
        _requireKnownRoles(roles);
        _members[member] = _requireEnrolled(member).withRoles(roles);
        emit MemberRolesChanged(member, roles);
    }

    /// @notice Suspends or reinstates a member. Suspension takes nothing back that the member already holds.
    function setMemberActive(address member, bool active) external onlyAdministrator {
        _members[member] = _requireEnrolled(member).withActive(active);
        if (active) emit MemberReinstated(member);
        else emit MemberSuspended(member);
    }

    /// @notice The members' packed words (layout: words/MemberWord.sol), in the order asked; 0 is never enrolled.
    function memberWords(address[] calldata members) external view returns (uint256[] memory words) {
        words = new uint256[](members.length);
        for (uint256 i = 0; i < members.length; ++i) {
            words[i] = MemberWord.unwrap(_members[members[i]]);
        }
    }

    /// @notice What the ledger keeps of a member's keys.
    /// @return encryptionKeyDigest SHA-256 of the X-Wing public key.
    /// @return transportKey The Ed25519 public key.
    /// @return profileDigest Keccak-256 of abi.encode(name, endpoint).
    function memberKeyDigests(address member)
        external
        view
        returns (bytes32 encryptionKeyDigest, bytes32 transportKey, bytes32 profileDigest)
    {
        MemberKeyDigests storage digests = _memberKeyDigests[member];
        return (digests.encryptionKeyDigest, digests.transportKey, digests.profileDigest);
    }

    /// @dev The member's word; reverts if never enrolled.
    function _requireEnrolled(address member) internal view returns (MemberWord word) {
        word = _members[member];
        require(word.isEnrolled(), UnknownMember(member));
    }

    /// @dev Reverts unless `member` is enrolled, active, and has the role of mask `role`.
    function _requireActiveWithRole(address member, uint16 role) internal view {
        MemberWord word = _requireEnrolled(member);
        require(word.isActive(), MemberInactive(member));
        require(word.hasRole(role), RoleLacking(member, role));
    }

    function _storeKeys(MemberKeys calldata keys, MemberWord word) private {
        uint256 expectedVersion = uint256(word.keyVersion()) + 1;
        require(keys.nonce == expectedVersion, KeyVersionOutOfOrder(keys.nonce, expectedVersion));
        require(
            keys.encryptionKey.length == ENCRYPTION_KEY_BYTES,
            EncryptionKeySizeInvalid(keys.encryptionKey.length, ENCRYPTION_KEY_BYTES)
        );
        uint256 size = bytes(keys.name).length;
        require(size != 0 && size <= NAME_MAXIMUM_BYTES, NameSizeInvalid(size, NAME_MAXIMUM_BYTES));
        size = bytes(keys.endpoint).length;
        require(size != 0 && size <= ENDPOINT_MAXIMUM_BYTES, EndpointSizeInvalid(size, ENDPOINT_MAXIMUM_BYTES));
        _members[keys.member] = word.withKeyVersion(keys.nonce);
        _memberKeyDigests[keys.member] = MemberKeyDigests({
            encryptionKeyDigest: sha256(keys.encryptionKey),
            transportKey: keys.transportKey,
            profileDigest: keccak256(abi.encode(keys.name, keys.endpoint))
        });
        emit MemberKeysChanged(keys.member, keys.nonce, keys.name, keys.endpoint, keys.encryptionKey, keys.transportKey);
    }

    function _requireKnownRoles(uint16 roles) private pure {
        require(roles & ~KNOWN_ROLES == 0, RolesUnknown(roles, KNOWN_ROLES));
    }

    function _hashMemberKeys(MemberKeys calldata keys) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                MEMBER_KEYS_TYPEHASH,
                keys.member,
                keccak256(bytes(keys.name)),
                keccak256(bytes(keys.endpoint)),
                keccak256(keys.encryptionKey),
                keys.transportKey,
                keys.nonce,
                keys.deadline
            )
        );
    }
}
