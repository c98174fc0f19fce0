// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {
    CODEC_DAG_PB,
    CODEC_RAW,
    Category,
    RECORD_RESTRICTED,
    RECORD_RETRACTED,
    RECORD_SUPERSEDED,
    ROLE_PROVIDER
} from "./Codes.sol";
import {hashRecordId} from "./Hashing.sol";
import {logStruct} from "./Logging.sol";
import {PatientRegistry} from "./PatientRegistry.sol";
import {Publication, Restriction} from "./Types.sol";
import {Chain, HeadWord} from "./words/HeadWord.sol";
import {PatientWord} from "./words/PatientWord.sol";
import {RecordWord, newRecordWord} from "./words/RecordWord.sol";

/// @title The records' index: whose, what, of when, where, and how it stands.
/// @notice Only the patient's provider publishes, corrects and retracts; only the patient restricts. Each author's
/// publications form a hash chain.
abstract contract RecordRegistry is PatientRegistry {
    bytes32 private constant RESTRICTION_TYPEHASH =
        keccak256("Restriction(address patient,bytes32 recordId,bool restricted,uint16 nonce)");

    mapping(bytes32 recordId => RecordWord) private _records;
    mapping(address author => Chain) private _authorChains;

    /// @notice A record was published; the publication holds all that is needed to find and check it.
    event RecordPublished(
        bytes32 indexed recordId, address indexed patient, address indexed author, Publication publication
    );

    /// @notice A record was corrected by another one; both stay readable.
    event RecordSuperseded(bytes32 indexed recordId, bytes32 indexed supersededBy);

    /// @notice A record was withdrawn by its provider, for good.
    event RecordRetracted(bytes32 indexed recordId);

    /// @notice Whether a record is from now on restricted: open only to consents that name it.
    event RecordRestricted(bytes32 indexed recordId, bool restricted, uint16 nonce);

    /// @notice `recordId` was never published.
    error UnknownRecord(bytes32 recordId);

    /// @notice `recordId` is published already; a new publication needs a new nonce.
    error RecordAlreadyPublished(bytes32 recordId);

    /// @notice `recordId` is superseded or retracted (`statusFlags`): correct the latest record instead.
    error RecordNotCurrent(bytes32 recordId, uint8 statusFlags);

    /// @notice `recordId` is retracted already.
    error RecordAlreadyRetracted(bytes32 recordId);

    /// @notice `recordId` belongs to the patient `expected`; came `given`.
    error RecordOfAnotherPatient(bytes32 recordId, address given, address expected);

    /// @notice Expected a category below the number of those known; came `category`.
    error CategoryUnknown(uint8 category);

    /// @notice Expected a period that does not end before it starts; came `startDay` to `endDay`.
    error PeriodInvalid(uint24 startDay, uint24 endDay);

    /// @notice The consent wrap was sealed under epoch `given`, the keyring is at `current`: seal it again.
    error StaleEpoch(uint16 given, uint16 current);

    /// @notice Expected CID codec 0x55 (raw) or 0x70 (dag-pb); came `codec`.
    error CidCodecUnknown(uint8 codec);

    /// @notice Expected at least one publication.
    error BatchEmpty();

    /// @notice Expected a restriction nonce above `current`; came `given`.
    error StaleStatusNonce(uint16 given, uint16 current);

    /// @notice Publishes a record.
    /// @return recordId keccak256(abi.encode(chain id, this contract, author, patient, nonce)).
    function publish(Publication memory publication) external whileOpen returns (bytes32 recordId) {
        recordId = _publishOne(publication);
    }

    /// @notice Publishes several records, all or none.
    function publishBatch(Publication[] calldata publications) external whileOpen {
        require(publications.length != 0, BatchEmpty());
        _requireActiveWithRole(msg.sender, ROLE_PROVIDER);
        Chain storage chain = _authorChains[msg.sender];
        HeadWord head = chain.head;
        for (uint256 i = 0; i < publications.length; ++i) {
            (, head) = _publish(publications[i], head);
        }
        chain.head = head;
    }

    /// @notice Publishes a record that corrects another one of the same patient and author. A restriction by the patient
    /// carries over to the correction.
    /// @param supersededRecordId The record corrected: neither superseded nor retracted.
    function correct(Publication memory publication, bytes32 supersededRecordId)
        external
        whileOpen
        returns (bytes32 recordId)
    {
        RecordWord superseded = _requirePublished(supersededRecordId);
        // A patient has one provider for good, so the same patient means the same author.
        _requireSamePatient(supersededRecordId, publication.patient, superseded);
        require(
            !superseded.hasFlag(RECORD_SUPERSEDED | RECORD_RETRACTED),
            RecordNotCurrent(supersededRecordId, superseded.statusFlags())
        );
        recordId = _publishOne(publication);
        _records[supersededRecordId] = superseded.withFlag(RECORD_SUPERSEDED);
        emit RecordSuperseded(supersededRecordId, recordId);
        if (superseded.hasFlag(RECORD_RESTRICTED)) {
            _records[recordId] = _records[recordId].withFlag(RECORD_RESTRICTED);
            emit RecordRestricted(recordId, true, 0);
        }
    }

    /// @notice Withdraws a record that should not have been published. Only the patient's provider may, while active; also
    /// after the relationship ended or the ledger was sealed.
    function retract(bytes32 recordId) external {
        RecordWord word = _requirePublished(recordId);
        _requireProvider(_patient(word.patient()));
        _requireActiveWithRole(msg.sender, ROLE_PROVIDER);
        require(!word.hasFlag(RECORD_RETRACTED), RecordAlreadyRetracted(recordId));
        _records[recordId] = word.withFlag(RECORD_RETRACTED);
        emit RecordRetracted(recordId);
    }

    /// @notice Restricts a record to the consents that name it, or lifts that.
    /// @param signature The patient's EIP-712 signature over `restriction`.
    function restrictRecord(Restriction calldata restriction, bytes calldata signature) external {
        bytes32 recordId = restriction.recordId;
        RecordWord word = _requirePublished(recordId);
        _requireSamePatient(recordId, restriction.patient, word);
        _requireNotFrozen(restriction.patient);
        require(restriction.nonce > word.statusNonce(), StaleStatusNonce(restriction.nonce, word.statusNonce()));
        _requireSigned(restriction.patient, keccak256(abi.encode(RESTRICTION_TYPEHASH, restriction)), signature);
        _records[recordId] = word.withRestriction(RECORD_RESTRICTED, restriction.restricted, restriction.nonce);
        emit RecordRestricted(recordId, restriction.restricted, restriction.nonce);
    }

    /// @notice The records' packed words (layout: words/RecordWord.sol), in the order asked; 0 is unknown.
    function recordWords(bytes32[] calldata recordIds) external view returns (uint256[] memory words) {
        words = new uint256[](recordIds.length);
        for (uint256 i = 0; i < recordIds.length; ++i) {
            words[i] = RecordWord.unwrap(_records[recordIds[i]]);
        }
    }

    /// @notice The heads of the authors' chains (layout: words/HeadWord.sol), in the order asked; 0 is no publication.
    function authorWords(address[] calldata authors) external view returns (uint256[] memory words) {
        words = new uint256[](authors.length);
        for (uint256 i = 0; i < authors.length; ++i) {
            words[i] = HeadWord.unwrap(_authorChains[authors[i]].head);
        }
    }

    /// @dev The record's word; reverts if unknown.
    function _requirePublished(bytes32 recordId) internal view returns (RecordWord word) {
        word = _records[recordId];
        require(word.isPublished(), UnknownRecord(recordId));
    }

    function _publishOne(Publication memory publication) private returns (bytes32 recordId) {
        _requireActiveWithRole(msg.sender, ROLE_PROVIDER);
        Chain storage chain = _authorChains[msg.sender];
        (recordId, chain.head) = _publish(publication, chain.head);
    }

    /// @dev Checks and stores a publication by the caller, whom the callers of this function checked to be an active
    /// provider; returns the author's chain with it linked.
    function _publish(Publication memory publication, HeadWord head) private returns (bytes32 recordId, HeadWord) {
        address patient = publication.patient;
        PatientWord word = _patient(patient);
        _requireRelationship(patient, word);
        _requireProvider(word);
        _requirePublishable(publication, word.epoch());
        recordId = hashRecordId(msg.sender, patient, publication.nonce);
        require(!_records[recordId].isPublished(), RecordAlreadyPublished(recordId));
        _records[recordId] = newRecordWord(publication);
        uint256 location;
        assembly ("memory-safe") {
            location := publication
        }
        logStruct(
            RecordPublished.selector,
            recordId,
            bytes32(uint256(uint160(patient))),
            bytes32(uint256(uint160(msg.sender))),
            location,
            11
        );
        head = head.withPublication(recordId, publication.headerDigest, publication.cidCodec, publication.cidDigest);
        return (recordId, head);
    }

    function _requirePublishable(Publication memory publication, uint16 epoch) private view {
        uint8 category = publication.category;
        require(category <= uint8(type(Category).max), CategoryUnknown(category));
        require(publication.startDay <= publication.endDay, PeriodInvalid(publication.startDay, publication.endDay));
        require(publication.epoch == epoch, StaleEpoch(publication.epoch, epoch));
        _requireDeadline(publication.deadline);
        uint8 codec = publication.cidCodec;
        require(codec == CODEC_RAW || codec == CODEC_DAG_PB, CidCodecUnknown(codec));
    }

    function _requireProvider(PatientWord word) private view {
        require(msg.sender == word.provider(), NotTheProvider(msg.sender, word.provider()));
    }

    function _requireSamePatient(bytes32 recordId, address patient, RecordWord word) private pure {
        require(patient == word.patient(), RecordOfAnotherPatient(recordId, patient, word.patient()));
    }
}
