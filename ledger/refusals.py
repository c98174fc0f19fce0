"""Revert data in words: every error of the contract, decoded into :class:`ContractRefused`.

Source of the layout: Solidity documentation, "Contract ABI Specification", section Errors; ``Error(string)`` and
``Panic(uint256)`` are Solidity's own.
"""

import re
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from ledger.errors import ContractRefused

_DECLARED = {
    "AdministratorMissing()": "an administrator's address is needed; 0 came",
    "AlreadyRevoked(bytes32 consentId)": "consent {consentId} is revoked already",
    "BatchEmpty()": "the batch is empty",
    "CategoryUnknown(uint8 category)": "no category has code {category}",
    "ChainFull()": "the hash chain has counted 2^32-1 links and takes no more",
    "CidCodecUnknown(uint8 codec)": "the CID's codec must be 0x55 (raw) or 0x70 (dag-pb); {codec} came",
    "DeadlinePassed(uint40 deadline, uint256 time)": (
        "the message was to land by {deadline} and it is {time} on the chain: have it signed again"
    ),
    "DeadlineTooFar(uint40 deadline, uint256 latest)": (
        "the message's deadline {deadline} lies after {latest}, the latest admitted: sign with a nearer one"
    ),
    "ECDSAInvalidSignature()": "the signature is none: no key can have made it",
    "ECDSAInvalidSignatureLength(uint256 length)": "the signature must have 65 bytes; {length} came",
    "ECDSAInvalidSignatureS(bytes32 s)": "the signature's s lies in the upper half: sign canonically",
    "EncryptionKeySizeInvalid(uint256 length, uint256 expected)": (
        "the encryption key must have {expected} bytes; {length} came"
    ),
    "EndpointSizeInvalid(uint256 length, uint256 maximum)": (
        "the endpoint must have 1 to {maximum} bytes; {length} came"
    ),
    "EpochOutOfOrder(uint16 given, uint256 expected)": (
        "the keyring's next epoch is {expected}; {given} came: rotate again from the current keyring"
    ),
    "GrantAlreadyUsed(bytes32 consentId, uint8 status)": (
        "consent {consentId} was granted or revoked before (status {status}): sign with a fresh nonce"
    ),
    "GrantCategoriesInvalid(uint32 categories, uint32 known)": (
        "a grant needs categories out of mask {known}; mask {categories} came"
    ),
    "GrantDataPeriodInvalid(uint24 dataFrom, uint24 dataUntil)": (
        "the data period ends ({dataUntil}) before it starts ({dataFrom})"
    ),
    "GrantFlagsUnknown(uint24 flags)": "no flag of a grant is known yet; mask {flags} came",
    "GrantPurposesInvalid(uint16 purposes, uint16 known)": (
        "a grant needs purposes out of mask {known}; mask {purposes} came"
    ),
    "GrantValidityInvalid(uint40 validFrom, uint40 validUntil, uint256 time)": (
        "a grant must end ({validUntil}) after it starts ({validFrom}) and after now ({time})"
    ),
    "GroupMalformed(uint256 bytesLeft)": "a group of the batch is malformed, {bytesLeft} bytes before the end",
    "InvalidShortString()": "the contract's own name is malformed",
    "KeyVersionOutOfOrder(uint64 given, uint256 expected)": (
        "the member's next key version is {expected}; {given} came"
    ),
    "LedgerIsSealed(address successor)": "this ledger is sealed: use its successor {successor}",
    "MemberAlreadyEnrolled(address member)": "{member} is a member already",
    "MemberInactive(address member)": "member {member} is suspended",
    "MinimumThresholdZero()": "the network's minimum threshold must be at least 1",
    "MixedPatients(bytes32 recordId, address patient, address expected)": (
        "record {recordId} belongs to patient {patient}, its group to {expected}: group by patient"
    ),
    "NameSizeInvalid(uint256 length, uint256 maximum)": "the name must have 1 to {maximum} bytes; {length} came",
    "NestedRelay(uint256 index)": "item {index} of the relay is itself a relay",
    "NotAdministrator(address caller)": "only the administrator may do this; {caller} is not",
    "NotTheMember(address caller, address member)": "only {member} may change its keys; {caller} tried",
    "NotTheProvider(address caller, address provider)": "{caller} is not the patient's provider: {provider} is",
    "PatientAlreadyRegistered(address patient)": "patient {patient} is registered already",
    "PatientNotActive(address patient, uint8 status)": (
        "patient {patient} ended the relationship or is frozen (status {status})"
    ),
    "PeriodInvalid(uint24 startDay, uint24 endDay)": "the period ends ({endDay}) before it starts ({startDay})",
    "RecordAlreadyPublished(bytes32 recordId)": "record {recordId} is published already",
    "RecordAlreadyRetracted(bytes32 recordId)": "record {recordId} is retracted already",
    "RecordNotCurrent(bytes32 recordId, uint8 statusFlags)": (
        "record {recordId} is superseded or retracted (flags {statusFlags}): correct the current one"
    ),
    "RecordOfAnotherPatient(bytes32 recordId, address given, address expected)": (
        "record {recordId} belongs to patient {expected}, not to {given}"
    ),
    "RelayOutOfGas(uint256 index)": "item {index} of the relay ran out of gas: send it with more",
    "RoleLacking(address member, uint16 needed)": "member {member} lacks the role of mask {needed}",
    "RolesUnknown(uint16 roles, uint16 known)": "roles must be out of mask {known}; mask {roles} came",
    "SignatureInvalid(address expected, address recovered)": (
        "{expected} must sign this; the signature gives {recovered}: another signer, or other content"
    ),
    "StaleEpoch(uint16 given, uint16 current)": (
        "the record is sealed under epoch {given} while the keyring is at {current}: seal consent_wrap anew"
    ),
    "StalePolicyNonce(uint24 given, uint24 current)": (
        "the deny policy's nonce must be above {current}; {given} came: sign again"
    ),
    "StaleStatusNonce(uint16 given, uint16 current)": (
        "the restriction's nonce must be above {current}; {given} came: sign again"
    ),
    "StringTooLong(string str)": "the contract's own name is too long",
    "SuccessorInvalid(address successor)": "{successor} cannot be the successor: name another ledger",
    "UnknownMember(address member)": "{member} was never enrolled as a member",
    "UnknownPatient(address patient)": "patient {patient} was never registered",
    "UnknownPurpose(uint8 purpose)": "no purpose has code {purpose}",
    "UnknownRecord(bytes32 recordId)": "no record {recordId} was published",
    "Error(string reason)": "the contract says: {reason}",
    "Panic(uint256 code)": "the contract failed on an arithmetic or internal check (panic code {code})",
}


def _canonical(declared: str) -> tuple[str, list[str], list[str]]:
    name, _, arguments = declared.rstrip(")").partition("(")
    pairs = [argument.split(" ") for argument in re.split(", ?", arguments) if argument]
    return name, [kind for kind, _ in pairs], [argument for _, argument in pairs]


ERRORS: dict[bytes, tuple[str, list[str], list[str], str]] = {}
"""Every error by its selector (4 bytes): name, argument types, argument names, words."""
for _text, _words in _DECLARED.items():
    _name, _types, _names = _canonical(_text)
    ERRORS[keccak(f"{_name}({','.join(_types)})".encode())[:4]] = (_name, _types, _names, _words)


def refusal(revert_data: bytes) -> ContractRefused:
    """The error that revert data carries, ready to be raised; ``Unknown`` where the interface does not have it."""
    known = ERRORS.get(revert_data[:4])
    if known is not None:
        name, types, names, words = known
        try:
            values = [
                _value(kind, value) for kind, value in zip(types, decode(types, revert_data[4:]), strict=True)
            ]
        except (DecodingError, ValueError, OverflowError):
            return _unknown(revert_data)
        arguments = dict(zip(names, values, strict=True))
        shown = {
            name: "0x" + value.hex() if isinstance(value, bytes) else value
            for name, value in arguments.items()
        }
        return ContractRefused(name, arguments, f"{words.format(**shown)} ({name})")
    return _unknown(revert_data)


def _unknown(revert_data: bytes) -> ContractRefused:
    shown = "0x" + revert_data[:68].hex() if revert_data else "no reason"
    words = f"the contract refused with {shown}: is this the contract that this version knows?"
    return ContractRefused("Unknown", {"data": revert_data}, words)


def _value(kind: str, value: Any) -> Any:
    return bytes.fromhex(value[2:]) if kind == "address" else value
