// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

// What is signed (EIP-712), sent and logged. Days are proleptic Gregorian ordinals, times are seconds of chain time,
// masks have one bit a code of Codes.sol.

/// @notice A member's keys and address in the network, signed by the member at enrolment.
/// @param member The member's account.
/// @param name The organisation's name, UTF-8, 1 to 256 bytes.
/// @param endpoint The URL of the member's node, 1 to 512 bytes.
/// @param encryptionKey The X-Wing public key, 1216 bytes.
/// @param transportKey The Ed25519 public key that signs the member's requests.
/// @param nonce The version of the keys: 1 at enrolment, then one more at each change.
/// @param deadline The last second at which the message may land; 0 means none in a change by the member itself.
struct MemberKeys {
    address member;
    string name;
    string endpoint;
    bytes encryptionKey;
    bytes32 transportKey;
    uint64 nonce;
    uint40 deadline;
}

/// @notice A patient's consent to be registered, and to have records deposited, by one provider.
/// @param patient The pseudonym: a fresh account for this care relationship.
/// @param provider The member that confirmed who the person is.
/// @param keyringDigest SHA-256 of the keyring of epoch 1.
/// @param nonce Random; told apart in the event.
/// @param deadline The last second at which the message may land, at most an hour ahead.
struct Registration {
    address patient;
    address provider;
    bytes32 keyringDigest;
    uint64 nonce;
    uint40 deadline;
}

/// @notice A patient's new keyring.
/// @param epoch The keyring's version: the stored one plus one.
/// @param keyringDigest SHA-256 of the new keyring.
struct KeyringRotation {
    address patient;
    uint16 epoch;
    bytes32 keyringDigest;
    uint64 nonce;
}

/// @notice What a patient denies to everybody, whatever the consents say.
/// @param categories Mask of the categories denied; bits of codes yet to come are welcome.
/// @param purposes Mask of the purposes denied.
/// @param nonce Above the stored one.
struct DenyPolicy {
    address patient;
    uint32 categories;
    uint16 purposes;
    uint24 nonce;
}

/// @notice A patient's word that the provider publishes nothing more.
struct RelationshipEnd {
    address patient;
    address provider;
    uint64 nonce;
}

/// @notice A patient's word that the pseudonym's key is stolen: everything is denied from now on, for good.
struct Freeze {
    address patient;
    uint64 nonce;
}

/// @notice A record, as its provider publishes it.
/// @param category A value of Category.
/// @param startDay The first day that the record speaks of; 0 is unbounded.
/// @param endDay The last one, inclusive; 2**24-1 is unbounded.
/// @param epoch The keyring's epoch under which the consent wrap is sealed: the current one.
/// @param nonce Random; makes the record id.
/// @param deadline The last second at which the publication may land.
/// @param cidCodec 0x55 (raw) or 0x70 (dag-pb): the codec of the ciphertext's CIDv1.
/// @param cidDigest The SHA2-256 multihash digest of that CID.
/// @param headerDigest SHA-256 of the public header block.
/// @param payloadCommitment Salted commitment to the payload.
struct Publication {
    address patient;
    uint8 category;
    uint24 startDay;
    uint24 endDay;
    uint16 epoch;
    uint64 nonce;
    uint40 deadline;
    uint8 cidCodec;
    bytes32 cidDigest;
    bytes32 headerDigest;
    bytes32 payloadCommitment;
}

/// @notice A patient's restriction of one record: only a consent that names it opens it.
/// @param nonce Above the record's stored one.
struct Restriction {
    address patient;
    bytes32 recordId;
    bool restricted;
    uint16 nonce;
}

/// @notice A patient's consent.
/// @param grantee The member who may request.
/// @param recordId One record, or 0: every record, present and later, of the categories.
/// @param categories Mask of categories, not 0.
/// @param purposes Mask of purposes, not 0.
/// @param validFrom The first second of validity.
/// @param validUntil The first second after it.
/// @param dataFrom The first day that a record may speak of; 0 is unbounded.
/// @param dataUntil The last one, inclusive; 2**24-1 is unbounded.
/// @param maxUses How many records may be requested, each request counting; 0 is unlimited.
/// @param flags None is known yet: 0.
/// @param nonce Random; makes the consent id.
/// @param deadline The last second at which the message may land, at most an hour ahead.
struct Grant {
    address patient;
    address grantee;
    bytes32 recordId;
    uint32 categories;
    uint16 purposes;
    uint40 validFrom;
    uint40 validUntil;
    uint24 dataFrom;
    uint24 dataUntil;
    uint24 maxUses;
    uint24 flags;
    uint64 nonce;
    uint40 deadline;
}

/// @notice A patient's withdrawal of the consent that has the same grantee, record and nonce. It never lapses.
struct Revocation {
    address patient;
    address grantee;
    bytes32 recordId;
    uint64 nonce;
}

/// @notice A member's request to read one record.
/// @param consentNonce The nonce of the consent that it rests on.
/// @param recordScope Whether that consent names this record; else it is a consent for categories.
/// @param purpose A value of Purpose.
/// @param responseKeyDigest SHA-256 of the ephemeral HPKE public key that custodians answer to.
/// @param personCommitment Salted commitment to the person who asks.
struct AccessRequest {
    bytes32 recordId;
    uint64 consentNonce;
    bool recordScope;
    uint8 purpose;
    bytes32 responseKeyDigest;
    bytes32 personCommitment;
}

/// @notice A decision, as logged.
/// @param sequence The position in the patient's access chain, from 1.
/// @param reason A value of Reason.
/// @param time Block time in seconds.
struct Access {
    uint32 sequence;
    uint8 reason;
    uint8 purpose;
    bytes32 consentId;
    bytes32 responseKeyDigest;
    bytes32 personCommitment;
    uint40 time;
}

/// @notice What the decisions of one group have in common, as logged.
/// @param firstSequence The position of the group's first decision in the patient's access chain.
struct AccessBatch {
    uint32 firstSequence;
    uint8 purpose;
    bytes32 responseKeyDigest;
    bytes32 personCommitment;
    uint40 time;
}
