// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ConsentStatus, KNOWN_CATEGORIES, KNOWN_PURPOSES} from "./Codes.sol";
import {hashConsentId, hashStruct} from "./Hashing.sol";
import {logStruct} from "./Logging.sol";
import {PatientRegistry} from "./PatientRegistry.sol";
import {Grant, Revocation} from "./Types.sol";
import {ConsentWord, newConsentWord} from "./words/ConsentWord.sol";

/// @title The patients' consents.
/// @notice Only the patient's key makes or ends a consent; anyone relays. A consent's slot is never cleared: it is the guard
/// against replays, and a revocation that lands first keeps the grant out for good.
abstract contract ConsentRegistry is PatientRegistry {
    bytes32 private constant GRANT_TYPEHASH = keccak256(
        "Grant(address patient,address grantee,bytes32 recordId,uint32 categories,uint16 purposes,uint40 validFrom,uint40 validUntil,uint24 dataFrom,uint24 dataUntil,uint24 maxUses,uint24 flags,uint64 nonce,uint40 deadline)"
    );
    bytes32 private constant REVOCATION_TYPEHASH =
        keccak256("Revocation(address patient,address grantee,bytes32 recordId,uint64 nonce)");

    mapping(bytes32 consentId => ConsentWord) private _consents;

    /// @notice A patient consented to these terms.
    event ConsentGranted(bytes32 indexed consentId, address indexed patient, address indexed grantee, Grant terms);

    /// @notice A patient withdrew a consent, or kept it from ever landing.
    event ConsentRevoked(bytes32 indexed consentId, address indexed patient, address indexed grantee);

    /// @notice `consentId` is taken, with `status` (ConsentStatus): granted already, or revoked before it landed.
    error GrantAlreadyUsed(bytes32 consentId, uint8 status);

    /// @notice Expected at least one category, all known (mask `known`); came mask `categories`.
    error GrantCategoriesInvalid(uint32 categories, uint32 known);

    /// @notice Expected at least one purpose, all known (mask `known`); came mask `purposes`.
    error GrantPurposesInvalid(uint16 purposes, uint16 known);

    /// @notice Expected `validUntil` after `validFrom` and after `time`, the block's.
    error GrantValidityInvalid(uint40 validFrom, uint40 validUntil, uint256 time);

    /// @notice Expected a data period that does not end before it starts; came `dataFrom` to `dataUntil`.
    error GrantDataPeriodInvalid(uint24 dataFrom, uint24 dataUntil);

    /// @notice No flag is known yet; came mask `flags`.
    error GrantFlagsUnknown(uint24 flags);

    /// @notice `consentId` is revoked already.
    error AlreadyRevoked(bytes32 consentId);

    /// @notice Lands a patient's consent.
    /// @param signature The patient's EIP-712 signature over `terms`.
    /// @return consentId keccak256(abi.encode(chain id, this contract, patient, grantee, record id or 0, nonce)).
    function grant(Grant memory terms, bytes calldata signature) external whileOpen returns (bytes32 consentId) {
        _requireNearDeadline(terms.deadline);
        _requireGrantable(terms);
        _requireNotFrozen(terms.patient);
        _requireEnrolled(terms.grantee);
        consentId = hashConsentId(terms.patient, terms.grantee, terms.recordId, terms.nonce);
        uint8 status = _consents[consentId].status();
        require(status == uint8(ConsentStatus.NONE), GrantAlreadyUsed(consentId, status));
        uint256 location;
        assembly ("memory-safe") {
            location := terms
        }
        _requireSigned(terms.patient, hashStruct(GRANT_TYPEHASH, location, 13), signature);
        _consents[consentId] = newConsentWord(terms);
        logStruct(
            ConsentGranted.selector,
            consentId,
            bytes32(uint256(uint160(terms.patient))),
            bytes32(uint256(uint160(terms.grantee))),
            location,
            13
        );
    }

    /// @notice Withdraws a consent, or keeps one that never landed from landing. Nothing but a wrong signature or an earlier
    /// revocation refuses it: neither a seal, nor a freeze, nor a suspension, nor a patient not yet registered.
    /// @param signature The patient's EIP-712 signature over `revocation`.
    function revoke(Revocation memory revocation, bytes calldata signature) external returns (bytes32 consentId) {
        consentId = hashConsentId(revocation.patient, revocation.grantee, revocation.recordId, revocation.nonce);
        ConsentWord word = _consents[consentId];
        require(word.status() != uint8(ConsentStatus.REVOKED), AlreadyRevoked(consentId));
        _requireSigned(revocation.patient, keccak256(abi.encode(REVOCATION_TYPEHASH, revocation)), signature);
        _consents[consentId] = word.withStatus(ConsentStatus.REVOKED);
        emit ConsentRevoked(consentId, revocation.patient, revocation.grantee);
    }

    /// @notice The consents' packed words (layout: words/ConsentWord.sol), in the order asked; 0 is none.
    function consentWords(bytes32[] calldata consentIds) external view returns (uint256[] memory words) {
        words = new uint256[](consentIds.length);
        for (uint256 i = 0; i < consentIds.length; ++i) {
            words[i] = ConsentWord.unwrap(_consents[consentIds[i]]);
        }
    }

    /// @dev The consent's word as stored, 0 if there is none.
    function _consent(bytes32 consentId) internal view returns (ConsentWord) {
        return _consents[consentId];
    }

    /// @dev Stores the uses counted on a consent. Nothing else of a consent changes without the patient's signature.
    function _storeUses(bytes32 consentId, ConsentWord word) internal {
        _consents[consentId] = word;
    }

    function _requireGrantable(Grant memory terms) private view {
        uint32 categories = terms.categories;
        require(
            categories != 0 && categories & ~KNOWN_CATEGORIES == 0, GrantCategoriesInvalid(categories, KNOWN_CATEGORIES)
        );
        uint16 purposes = terms.purposes;
        require(purposes != 0 && purposes & ~KNOWN_PURPOSES == 0, GrantPurposesInvalid(purposes, KNOWN_PURPOSES));
        require(
            terms.validUntil > terms.validFrom && terms.validUntil > block.timestamp,
            GrantValidityInvalid(terms.validFrom, terms.validUntil, block.timestamp)
        );
        require(terms.dataFrom <= terms.dataUntil, GrantDataPeriodInvalid(terms.dataFrom, terms.dataUntil));
        require(terms.flags == 0, GrantFlagsUnknown(terms.flags));
    }
}
