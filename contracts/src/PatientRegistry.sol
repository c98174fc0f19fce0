// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {PatientStatus, ROLE_PROVIDER} from "./Codes.sol";
import {MemberRegistry} from "./MemberRegistry.sol";
import {DenyPolicy, Freeze, KeyringRotation, Registration, RelationshipEnd} from "./Types.sol";
import {PatientWord, newPatientWord} from "./words/PatientWord.sol";

/// @title The patients' pseudonyms: provider, keyring, deny policy, standing.
/// @notice A patient never sends a transaction: every message is signed by the pseudonym's key and relayed by anyone. A
/// frozen patient changes nothing here any more.
abstract contract PatientRegistry is MemberRegistry {
    bytes32 private constant REGISTRATION_TYPEHASH =
        keccak256("Registration(address patient,address provider,bytes32 keyringDigest,uint64 nonce,uint40 deadline)");
    bytes32 private constant KEYRING_ROTATION_TYPEHASH =
        keccak256("KeyringRotation(address patient,uint16 epoch,bytes32 keyringDigest,uint64 nonce)");
    bytes32 private constant DENY_POLICY_TYPEHASH =
        keccak256("DenyPolicy(address patient,uint32 categories,uint16 purposes,uint24 nonce)");
    bytes32 private constant RELATIONSHIP_END_TYPEHASH =
        keccak256("RelationshipEnd(address patient,address provider,uint64 nonce)");
    bytes32 private constant FREEZE_TYPEHASH = keccak256("Freeze(address patient,uint64 nonce)");

    mapping(address patient => PatientWord) private _patients;
    mapping(address patient => bytes32) private _keyringDigests;

    /// @notice A patient was registered by its provider; the keyring's epoch is 1.
    event PatientRegistered(address indexed patient, address indexed provider, bytes32 keyringDigest, uint64 nonce);

    /// @notice The patient's keyring is from now on that of `epoch`.
    event KeyringRotated(address indexed patient, uint16 epoch, bytes32 keyringDigest);

    /// @notice The patient denies from now on these categories and purposes to everybody, and no others.
    event DenyPolicyChanged(address indexed patient, uint32 categories, uint16 purposes, uint24 nonce);

    /// @notice The provider publishes nothing more for the patient.
    event RelationshipEnded(address indexed patient, address indexed provider);

    /// @notice Everything about the patient is denied, for good.
    event PatientFrozen(address indexed patient);

    /// @notice `patient` was never registered.
    error UnknownPatient(address patient);

    /// @notice `patient` is registered already.
    error PatientAlreadyRegistered(address patient);

    /// @notice `patient` has a `status` (PatientStatus) that does not allow this.
    error PatientNotActive(address patient, uint8 status);

    /// @notice `caller` is not the patient's `provider`.
    error NotTheProvider(address caller, address provider);

    /// @notice Expected a rotation to epoch `expected`; came `given`.
    error EpochOutOfOrder(uint16 given, uint256 expected);

    /// @notice Expected a policy nonce above `current`; came `given`.
    error StalePolicyNonce(uint24 given, uint24 current);

    /// @notice Registers a patient, by the provider that confirmed who the person is.
    /// @param signature The patient's EIP-712 signature over `registration`.
    function registerPatient(Registration calldata registration, bytes calldata signature) external whileOpen {
        address patient = registration.patient;
        require(msg.sender == registration.provider, NotTheProvider(msg.sender, registration.provider));
        _requireActiveWithRole(msg.sender, ROLE_PROVIDER);
        _requireNearDeadline(registration.deadline);
        require(_patients[patient].status() == uint8(PatientStatus.UNKNOWN), PatientAlreadyRegistered(patient));
        _requireSigned(patient, keccak256(abi.encode(REGISTRATION_TYPEHASH, registration)), signature);
        _patients[patient] = newPatientWord(msg.sender);
        _keyringDigests[patient] = registration.keyringDigest;
        emit PatientRegistered(patient, msg.sender, registration.keyringDigest, registration.nonce);
        _startAccessChain(patient);
    }

    /// @notice Moves the patient's keyring on by one epoch.
    /// @param signature The patient's EIP-712 signature over `rotation`.
    function rotateKeyring(KeyringRotation calldata rotation, bytes calldata signature) external {
        PatientWord word = _requireNotFrozen(rotation.patient);
        uint256 expected = uint256(word.epoch()) + 1;
        require(rotation.epoch == expected, EpochOutOfOrder(rotation.epoch, expected));
        _requireSigned(rotation.patient, keccak256(abi.encode(KEYRING_ROTATION_TYPEHASH, rotation)), signature);
        _patients[rotation.patient] = word.withEpoch(rotation.epoch);
        _keyringDigests[rotation.patient] = rotation.keyringDigest;
        emit KeyringRotated(rotation.patient, rotation.epoch, rotation.keyringDigest);
    }

    /// @notice Replaces what the patient denies to everybody.
    /// @param signature The patient's EIP-712 signature over `policy`.
    function changeDenyPolicy(DenyPolicy calldata policy, bytes calldata signature) external {
        PatientWord word = _requireNotFrozen(policy.patient);
        require(policy.nonce > word.policyNonce(), StalePolicyNonce(policy.nonce, word.policyNonce()));
        _requireSigned(policy.patient, keccak256(abi.encode(DENY_POLICY_TYPEHASH, policy)), signature);
        _patients[policy.patient] = word.withPolicy(policy.categories, policy.purposes, policy.nonce);
        emit DenyPolicyChanged(policy.patient, policy.categories, policy.purposes, policy.nonce);
    }

    /// @notice Ends the relationship with the provider: what is published stays readable, nothing is added.
    /// @param signature The patient's EIP-712 signature over `end`.
    function endRelationship(RelationshipEnd calldata end, bytes calldata signature) external {
        PatientWord word = _requireNotFrozen(end.patient);
        _requireRelationship(end.patient, word);
        require(end.provider == word.provider(), NotTheProvider(end.provider, word.provider()));
        _requireSigned(end.patient, keccak256(abi.encode(RELATIONSHIP_END_TYPEHASH, end)), signature);
        _patients[end.patient] = word.withStatus(PatientStatus.RELATIONSHIP_ENDED);
        emit RelationshipEnded(end.patient, end.provider);
    }

    /// @notice Freezes a patient whose key is stolen, for good: every request is denied. The person registers anew.
    /// @param signature The patient's EIP-712 signature over `freeze`.
    function freezePatient(Freeze calldata freeze, bytes calldata signature) external {
        PatientWord word = _requireNotFrozen(freeze.patient);
        _requireSigned(freeze.patient, keccak256(abi.encode(FREEZE_TYPEHASH, freeze)), signature);
        _patients[freeze.patient] = word.withStatus(PatientStatus.FROZEN);
        emit PatientFrozen(freeze.patient);
    }

    /// @notice The patients' packed words (layout: words/PatientWord.sol), in the order asked; 0 is never registered.
    function patientWords(address[] calldata patients) external view returns (uint256[] memory words) {
        words = new uint256[](patients.length);
        for (uint256 i = 0; i < patients.length; ++i) {
            words[i] = PatientWord.unwrap(_patients[patients[i]]);
        }
    }

    /// @notice The SHA-256 digests of the patients' current keyrings, in the order asked.
    function keyringDigests(address[] calldata patients) external view returns (bytes32[] memory digests) {
        digests = new bytes32[](patients.length);
        for (uint256 i = 0; i < patients.length; ++i) {
            digests[i] = _keyringDigests[patients[i]];
        }
    }

    /// @dev Gives a patient just registered the first word of its access chain.
    function _startAccessChain(address patient) internal virtual;

    /// @dev The patient's word as stored, 0 if never registered.
    function _patient(address patient) internal view returns (PatientWord) {
        return _patients[patient];
    }

    /// @dev The patient's word; reverts if never registered or frozen.
    function _requireNotFrozen(address patient) internal view returns (PatientWord word) {
        word = _patients[patient];
        uint8 status = word.status();
        require(status != uint8(PatientStatus.UNKNOWN), UnknownPatient(patient));
        require(status != uint8(PatientStatus.FROZEN), PatientNotActive(patient, status));
    }

    /// @dev Reverts unless the patient of this word is active: registered, neither ended nor frozen.
    function _requireRelationship(address patient, PatientWord word) internal pure {
        uint8 status = word.status();
        require(status != uint8(PatientStatus.UNKNOWN), UnknownPatient(patient));
        require(status == uint8(PatientStatus.ACTIVE), PatientNotActive(patient, status));
    }
}
