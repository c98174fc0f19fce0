// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Purpose, Reason} from "./Codes.sol";
import {ConsentRegistry} from "./ConsentRegistry.sol";
import {decide} from "./Decision.sol";
import {PatientRegistry} from "./PatientRegistry.sol";
import {RecordRegistry} from "./RecordRegistry.sol";
import {Access, AccessBatch, AccessRequest} from "./Types.sol";
import {ConsentWord} from "./words/ConsentWord.sol";
import {HeadWord, newHeadWord} from "./words/HeadWord.sol";
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

    /// @dev What the decisions of one group have in common, and what they change.
    struct Group {
        MemberWord member;
        PatientWord patientWord;
        ConsentWord consent;
        HeadWord head;
        address patient;
        bytes32 consentId;
        bytes32 rest;
        bool recordScope;
        bool counted;
        uint8 purpose;
    }

    mapping(address patient => HeadWord) private _accessHeads;

    /// @notice A request was permitted.
    event AccessPermitted(
        address indexed patient, address indexed requester, bytes32 indexed recordId, Access access
    );

    /// @notice A request was denied, for `access.reason`.
    event AccessDenied(
        address indexed patient, address indexed requester, bytes32 indexed recordId, Access access
    );

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
        MemberWord member = _requireRequester(request.purpose);
        RecordWord record = _requirePublished(request.recordId);
        Group memory group = _openGroup(member, record.patient(), request.purpose);
        _nameConsent(group, request.recordScope, request.recordId, request.consentNonce);
        group.rest = _rest(group, request.responseKeyDigest, request.personCommitment);
        Access memory access;
        reason = _decide(group, request.recordId, record);
        _closeGroup(group);
        access.sequence = group.head.count();
        access.reason = reason;
        access.purpose = request.purpose;
        access.consentId = group.consentId;
        access.responseKeyDigest = request.responseKeyDigest;
        access.personCommitment = request.personCommitment;
        access.time = uint40(block.timestamp);
        if (reason == uint8(Reason.PERMITTED)) {
            emit AccessPermitted(group.patient, msg.sender, request.recordId, access);
        } else {
            emit AccessDenied(group.patient, msg.sender, request.recordId, access);
        }
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
        do groups = _decideGroup(member, batch, groups);
        while (groups.length != 0);
    }

    /// @notice The heads of the patients' access chains (layout: words/HeadWord.sol), in the order asked.
    function accessWords(address[] calldata patients) external view returns (uint256[] memory words) {
        words = new uint256[](patients.length);
        for (uint256 i = 0; i < patients.length; ++i) words[i] = HeadWord.unwrap(_accessHeads[patients[i]]);
    }

    /// @inheritdoc PatientRegistry
    function _startAccessChain(address patient) internal override {
        _accessHeads[patient] =
            newHeadWord(keccak256(abi.encode(ACCESS_HEAD_LABEL, block.chainid, address(this), patient)));
    }

    /// @dev Decides the first group of `groups`; returns the groups that follow.
    function _decideGroup(MemberWord member, AccessBatch memory batch, bytes calldata groups)
        private
        returns (bytes calldata)
    {
        uint256 size = _groupBytes(groups);
        bytes32 firstRecordId = bytes32(groups[GROUP_HEADER_BYTES:]);
        Group memory group = _openGroup(member, _requirePublished(firstRecordId).patient(), batch.purpose);
        _nameConsent(group, groups[8] != 0, firstRecordId, uint64(bytes8(groups)));
        group.rest = _rest(group, batch.responseKeyDigest, batch.personCommitment);
        batch.firstSequence = group.head.count() + 1;
        bytes memory decisions = _decideRecords(group, groups[GROUP_HEADER_BYTES:size]);
        _closeGroup(group);
        emit AccessBatchDecided(group.patient, msg.sender, group.consentId, batch, decisions);
        return groups[size:];
    }

    /// @dev Decides on records of one patient; returns 33 bytes for each: record id, reason.
    function _decideRecords(Group memory group, bytes calldata recordIds) private view returns (bytes memory decisions) {
        uint256 total = recordIds.length / RECORD_ID_BYTES;
        decisions = new bytes(total * DECISION_BYTES);
        for (uint256 i = 0; i < total; ++i) {
            bytes32 recordId = bytes32(recordIds[i * RECORD_ID_BYTES:]);
            RecordWord record = _requirePublished(recordId);
            require(
                record.patient() == group.patient, MixedPatients(recordId, record.patient(), group.patient)
            );
            uint8 reason = _decide(group, recordId, record);
            // The i-th 33 bytes of `decisions`, whose length is 33 for every record.
            assembly ("memory-safe") {
                let decision := add(add(decisions, 0x20), mul(i, 33))
                mstore(decision, recordId)
                mstore8(add(decision, 0x20), reason)
            }
        }
    }

    /// @dev The size of the first group of `groups`; reverts if it is not well formed.
    function _groupBytes(bytes calldata groups) private pure returns (uint256 size) {
        require(groups.length >= GROUP_HEADER_BYTES, GroupMalformed(groups.length));
        uint256 scope = uint8(groups[8]);
        uint256 total = uint16(bytes2(groups[9:]));
        size = GROUP_HEADER_BYTES + total * RECORD_ID_BYTES;
        require(
            size <= groups.length && total != 0 && (scope == 0 || (scope == 1 && total == 1)),
            GroupMalformed(groups.length)
        );
    }

    /// @dev Decides on one record of the group, counts the use, links the decision.
    function _decide(Group memory group, bytes32 recordId, RecordWord record) private view returns (uint8 reason) {
        reason = uint8(
            decide(
                group.member,
                group.patientWord,
                record,
                group.consent,
                group.recordScope,
                group.purpose,
                block.timestamp
            )
        );
        if (reason == uint8(Reason.PERMITTED) && group.consent.isLimited()) {
            group.consent = group.consent.withOneUse();
            group.counted = true;
        }
        HeadWord head = group.head;
        uint256 sequenceAndReason = ((uint256(head.count()) + 1) << 8) | reason;
        group.head = head.following(keccak256(abi.encode(head, sequenceAndReason, recordId, group.rest)));
    }

    function _openGroup(MemberWord member, address patient, uint8 purpose) private view returns (Group memory group) {
        group.member = member;
        group.patient = patient;
        group.patientWord = _patient(patient);
        group.head = _accessHeads[patient];
        group.purpose = purpose;
    }

    function _nameConsent(Group memory group, bool recordScope, bytes32 recordId, uint64 nonce) private view {
        group.recordScope = recordScope;
        group.consentId = _consentId(group.patient, msg.sender, recordScope ? recordId : bytes32(0), nonce);
        group.consent = _consent(group.consentId);
    }

    function _closeGroup(Group memory group) private {
        _accessHeads[group.patient] = group.head;
        if (group.counted) _storeUses(group.consentId, group.consent);
    }

    /// @dev The part of a link that is the same for a whole group.
    function _rest(Group memory group, bytes32 responseKeyDigest, bytes32 personCommitment)
        private
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                group.consentId,
                msg.sender,
                group.purpose,
                responseKeyDigest,
                personCommitment,
                block.timestamp
            )
        );
    }

    function _requireRequester(uint8 purpose) private view returns (MemberWord) {
        require(purpose <= uint8(type(Purpose).max), UnknownPurpose(purpose));
        return _requireEnrolled(msg.sender);
    }
}
