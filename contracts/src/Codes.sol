// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

// The consortium's code lists. Numbers and names are those of the Python package `vocabulary`; a test compares them.
// A value is a bit position in a mask, or a byte of an event, and never changes.

/// @notice Categories of health records: bit positions of a 32-bit mask.
enum Category {
    PATIENT_SUMMARY,
    ENCOUNTER,
    CONDITION,
    ALLERGY,
    MEDICATION,
    IMMUNIZATION,
    LABORATORY,
    IMAGING,
    PROCEDURE,
    VITAL_SIGNS,
    CARE_PLAN,
    DOCUMENT,
    FAMILY_HISTORY,
    HEALTH_CHECKUP,
    LIFELOG,
    GENOMICS,
    DENTAL,
    MENTAL_HEALTH,
    REPRODUCTIVE_HEALTH,
    SUBSTANCE_USE,
    COVERAGE_AND_CLAIMS,
    DEVICE
}

/// @notice Purposes of use, codes of HL7 v3-ActReason: bit positions of a 16-bit mask.
enum Purpose {
    TREAT,
    ETREAT,
    BTG,
    HPAYMT,
    HOPERAT,
    PUBHLTH,
    HRESCH,
    PATRQT
}

/// @notice Roles of a member: bit positions of a 16-bit mask.
enum Role {
    PROVIDER,
    CONSUMER,
    RESEARCHER,
    CUSTODIAN,
    AUDITOR
}

/// @notice Reasons of a decision on an access, in the order in which the rules are tried: the first that applies is the reason.
enum Reason {
    PERMITTED,
    MEMBER_SUSPENDED,
    ROLE_LACKING,
    PATIENT_FROZEN,
    RECORD_RETRACTED,
    RECORD_RESTRICTED,
    CATEGORY_DENIED,
    PURPOSE_DENIED,
    NO_CONSENT,
    CONSENT_REVOKED,
    CONSENT_NOT_YET_VALID,
    CONSENT_EXPIRED,
    CATEGORY_NOT_COVERED,
    PURPOSE_NOT_COVERED,
    DATA_PERIOD_NOT_COVERED,
    USES_EXHAUSTED
}

/// @notice How a patient's pseudonym stands. FROZEN is terminal.
enum PatientStatus {
    UNKNOWN,
    ACTIVE,
    RELATIONSHIP_ENDED,
    FROZEN
}

/// @notice How a consent stands. A slot never returns to NONE, which is what stops a replay.
enum ConsentStatus {
    NONE,
    GRANTED,
    REVOKED
}

// How a record stands: flags of one byte.
uint8 constant RECORD_PUBLISHED = 1;
uint8 constant RECORD_SUPERSEDED = 2;
uint8 constant RECORD_RETRACTED = 4;
uint8 constant RECORD_RESTRICTED = 8;

// Masks, as literals: the compiler computes no expression of enums ahead of time, and each use would pay for it. Tests compare
// them with the enums.
uint16 constant ROLE_PROVIDER = 1;
uint16 constant ROLE_CONSUMER = 2;
uint16 constant ROLE_RESEARCHER = 4;
uint32 constant KNOWN_CATEGORIES = 0x003fffff;
uint16 constant KNOWN_PURPOSES = 0x00ff;
uint16 constant KNOWN_ROLES = 0x001f;

// Codecs of the ciphertext's CIDv1 (multiformats multicodec table): a single raw block, or a dag-pb tree of blocks.
uint8 constant CODEC_RAW = 0x55;
uint8 constant CODEC_DAG_PB = 0x70;
