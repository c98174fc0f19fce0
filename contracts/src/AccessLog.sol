// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Purpose, Reason} from "./Codes.sol";
import {ConsentRegistry} from "./ConsentRegistry.sol";
import {brokenForAll, brokenForRecord, firstReason} from "./Decision.sol";
import {hashConsentId, hashRequest} from "./Hashing.sol";
import {logStruct} from "./Logging.sol";
import {PatientRegistry} from "./PatientRegistry.sol";
import {RecordRegistry} from "./RecordRegistry.sol";
import {Access, AccessBatch, AccessRequest} from "./Types.sol";
import {ConsentWord} from "./words/ConsentWord.sol";
import {Chain, HeadWord, newHeadWord} from "./words/HeadWord.sol";
import {MemberWord} from "./words/MemberWord.sol";
import {PatientWord} from "./words/PatientWord.sol";
import {RecordWord} from "./words/RecordWord.sol";

/// @title The decisions on access, each a link of its patient's hash chain.
/// @notice Permits and denials alike are logged with their reason; custodians release key shares against permits only.
abstract contract AccessLog is RecordRegistry, ConsentRegistry {
    bytes32 private constant ACCESS_HEAD_LABEL = keccak256("phr/v1/access-head");

    // A group of a batch: consent nonce (8 bytes), record scope (1), count (2), then record ids (32 each).
    uint256 private constant GROUP_HEADER_BYTES = 11;
    uint256 private constant RECORD_ID_BYTES = 32;
    uint256 private constant DECISION_BYTES = 33;

    /// @dev Requests under one consent for one patient's records, and what deciding on them changes.
    struct Group {
        address patient;
        uint256 deniedCategories;
        bytes32 consentId;
        ConsentWord consent;
        bool recordScope;
        uint256 brokenForAll;
        HeadWord head;
        bytes32 rest;
    }

    mapping(address patient => Chain) private _accessChains;

    /// @notice A request was permitted.
    event AccessPermitted(address indexed patient, address indexed requester, bytes32 indexed recordId, Access access);

    /// @notice A request was denied, for `access.reason`.
    event AccessDenied(address indexed patient, address indexed requester, bytes32 indexed recordId, Access access);

    /// @notice A group of requests was decided. `decisions` holds 33 bytes each: record id, reason; the k-th has sequence
    /// `batch.firstSequence` + k.
    event AccessBatchDecided(
        address indexed patient,
        address indexed requester,
        bytes32 indexed consentId,
        AccessBatch batch,
        bytes decisions
    );

    /// @notice Expected a purpose below the number of those known; came `purpose`.
    error UnknownPurpose(uint8 purpose);

    /// @notice Expected a group of a batch, with `bytesLeft` bytes to the end: nonce, scope 0 or 1, count of at least 1 (1 alone
    /// with scope 1), and as many record ids.
    error GroupMalformed(uint256 bytesLeft);

    /// @notice The records of a group must belong to one patient, `expected`; `recordId` belongs to `patient`.
    error MixedPatients(bytes32 recordId, address patient, address expected);

    /// @notice Decides on a request by the caller, and logs the decision.
    /// @return reason A value of Reason; 0 is permitted.
    function requestAccess(AccessRequest calldata request) external whileOpen returns (uint8 reason) {
        uint8 purpose = request.purpose;
        MemberWord member = _requireRequester(purpose);
        RecordWord record = _requirePublished(request.recordId);
        address patient = record.patient();
        bytes32 consentId;
        {
            bool recordScope = request.recordScope;
            consentId =
                hashConsentId(patient, msg.sender, recordScope ? request.recordId : bytes32(0), request.consentNonce);
            PatientWord patientWord = _patient(patient);
            ConsentWord consent = _consent(consentId);
            uint256 broken = brokenForAll(member, patientWord, consent, purpose, block.timestamp)
                | brokenForRecord(patientWord.deniedCategories(), record, consent, recordScope);
            if (broken != 0) reason = firstReason(broken);
            else if (consent.isLimited()) _storeUses(consentId, consent.withOneUse());
        }
        Chain storage chain = _accessChains[patient];
        HeadWord head = chain.head
            .withDecision(
                reason,
                request.recordId,
                hashRequest(consentId, purpose, request.responseKeyDigest, request.personCommitment)
            );
        chain.head = head;
        Access memory access = Access({
            sequence: head.count(),
            reason: reason,
            purpose: purpose,
            consentId: consentId,
            responseKeyDigest: request.responseKeyDigest,
            personCommitment: request.personCommitment,
            time: uint40(block.timestamp)
        });
        uint256 location;
        assembly ("memory-safe") {
            location := access
        }
        logStruct(
            reason == uint8(Reason.PERMITTED) ? AccessPermitted.selector : AccessDenied.selector,
            bytes32(uint256(uint160(patient))),
            bytes32(uint256(uint160(msg.sender))),
            request.recordId,
            location,
            7
        );
    }

    /// @notice Decides on many requests by the caller for one purpose, person and response key. Each record is one use and
    /// one link of its patient's chain; each group is one event.
    /// @param groups Groups one after the other, each: consent nonce (8 bytes), record scope (1 byte, 0 or 1), count (2 bytes,
    /// big endian, at least 1), count record ids (32 bytes each) of one patient. With record scope the count is 1.
    function requestAccessBatch(
        uint8 purpose,
        bytes32 responseKeyDigest,
        bytes32 personCommitment,
        bytes calldata groups
    ) external whileOpen {
        MemberWord member = _requireRequester(purpose);
        AccessBatch memory batch = AccessBatch({
            firstSequence: 0,
            purpose: purpose,
            responseKeyDigest: responseKeyDigest,
            personCommitment: personCommitment,
            time: uint40(block.timestamp)
        });
        do {
            groups = _decideGroup(member, batch, groups);
        } while (groups.length != 0);
    }

    /// @notice The heads of the patients' access chains (layout: words/HeadWord.sol), in the order asked.
    function accessWords(address[] calldata patients) external view returns (uint256[] memory words) {
        words = new uint256[](patients.length);
        for (uint256 i = 0; i < patients.length; ++i) {
            words[i] = HeadWord.unwrap(_accessChains[patients[i]].head);
        }
    }

    /// @inheritdoc PatientRegistry
    function _startAccessChain(address patient) internal override {
        _accessChains[patient].head =
            newHeadWord(keccak256(abi.encode(ACCESS_HEAD_LABEL, block.chainid, address(this), patient)));
    }

    /// @dev Decides the first group of `groups`; returns the groups that follow.
    function _decideGroup(MemberWord member, AccessBatch memory batch, bytes calldata groups)
        private
        returns (bytes calldata)
    {
        Group memory group;
        uint256 size;
        {
            uint64 consentNonce;
            bytes32 recordId;
            (size, consentNonce, group.recordScope, recordId) = _readGroupStart(groups);
            group.patient = _requirePublished(recordId).patient();
            if (!group.recordScope) recordId = 0;
            group.consentId = hashConsentId(group.patient, msg.sender, recordId, consentNonce);
        }
        group.consent = _consent(group.consentId);
        {
            PatientWord patientWord = _patient(group.patient);
            group.deniedCategories = patientWord.deniedCategories();
            group.brokenForAll = brokenForAll(member, patientWord, group.consent, batch.purpose, block.timestamp);
        }
        group.rest = hashRequest(group.consentId, batch.purpose, batch.responseKeyDigest, batch.personCommitment);
        Chain storage chain = _accessChains[group.patient];
        group.head = chain.head;
        batch.firstSequence = uint32(group.head.nextCount());
        bytes memory decisions = _decideRecords(group, groups[GROUP_HEADER_BYTES:size]);
        chain.head = group.head;
        if (group.consent.isLimited()) _storeUses(group.consentId, group.consent);
        emit AccessBatchDecided(group.patient, msg.sender, group.consentId, batch, decisions);
        return groups[size:];
    }

    /// @dev Decides on records of the group's patient, counts the uses, links the decisions; returns 33 bytes for each: record
    /// id, reason.
    function _decideRecords(Group memory group, bytes calldata recordIds)
        private
        view
        returns (bytes memory decisions)
    {
        uint256 total = recordIds.length / RECORD_ID_BYTES;
        decisions = new bytes(total * DECISION_BYTES);
        for (uint256 i = 0; i < total; ++i) {
            bytes32 recordId;
            // The i-th 32 bytes of `recordIds`, whose length is 32 for every record.
            assembly ("memory-safe") {
                recordId := calldataload(add(recordIds.offset, shl(5, i)))
            }
            RecordWord record = _requirePublished(recordId);
            require(record.patient() == group.patient, MixedPatients(recordId, record.patient(), group.patient));
            ConsentWord consent = group.consent;
            uint256 broken =
                group.brokenForAll | brokenForRecord(group.deniedCategories, record, consent, group.recordScope);
            uint8 reason = uint8(Reason.PERMITTED);
            if (broken != 0) reason = firstReason(broken);
            else if (consent.isLimited()) group.consent = consent.withOneUse();
            group.head = group.head.withDecision(reason, recordId, group.rest);
            // The i-th 33 bytes of `decisions`, whose length is 33 for every record.
            assembly ("memory-safe") {
                let decision := add(add(decisions, 0x20), mul(i, 33))
                mstore(decision, recordId)
                mstore8(add(decision, 0x20), reason)
            }
        }
    }

    /// @dev The size of the first group of `groups`, its header and its first record; reverts if it is not well formed.
    function _readGroupStart(bytes calldata groups)
        private
        pure
        returns (uint256 size, uint64 consentNonce, bool recordScope, bytes32 firstRecordId)
    {
        require(groups.length >= GROUP_HEADER_BYTES, GroupMalformed(groups.length));
        uint256 header;
        // What follows the header's 11 bytes in the first word is not looked at; the record id counts once `size` is checked.
        assembly ("memory-safe") {
            header := calldataload(groups.offset)
            firstRecordId := calldataload(add(groups.offset, 11))
        }
        consentNonce = uint64(header >> 192);
        uint256 scope = uint8(header >> 184);
        uint256 total = uint16(header >> 168);
        recordScope = scope == 1;
        unchecked {
            size = GROUP_HEADER_BYTES + total * RECORD_ID_BYTES;
        }
        require(
            size <= groups.length && total != 0 && (scope == 0 || (recordScope && total == 1)),
            GroupMalformed(groups.length)
        );
    }

    function _requireRequester(uint8 purpose) private view returns (MemberWord) {
        require(purpose <= uint8(type(Purpose).max), UnknownPurpose(purpose));
        return _requireEnrolled(msg.sender);
    }
}
