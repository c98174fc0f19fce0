// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

// keccak256(abi.encode(...)) without allocating: at a third of the gas, in memory that stays free.

/// @dev keccak256(abi.encode(block.chainid, address(this), author, patient, nonce)). Addresses are cleaned: their upper bits
/// are not defined in assembly.
function hashRecordId(address author, address patient, uint256 nonce) view returns (bytes32 recordId) {
    assembly ("memory-safe") {
        let start := mload(0x40)
        mstore(start, chainid())
        mstore(add(start, 0x20), address())
        mstore(add(start, 0x40), shr(96, shl(96, author)))
        mstore(add(start, 0x60), shr(96, shl(96, patient)))
        mstore(add(start, 0x80), nonce)
        recordId := keccak256(start, 0xa0)
    }
}

/// @dev keccak256(abi.encode(block.chainid, address(this), patient, grantee, recordId, nonce)), addresses cleaned.
function hashConsentId(address patient, address grantee, bytes32 recordId, uint256 nonce)
    view
    returns (bytes32 consentId)
{
    assembly ("memory-safe") {
        let start := mload(0x40)
        mstore(start, chainid())
        mstore(add(start, 0x20), address())
        mstore(add(start, 0x40), shr(96, shl(96, patient)))
        mstore(add(start, 0x60), shr(96, shl(96, grantee)))
        mstore(add(start, 0x80), recordId)
        mstore(add(start, 0xa0), nonce)
        consentId := keccak256(start, 0xc0)
    }
}

/// @dev keccak256(abi.encode(consentId, msg.sender, purpose, responseKeyDigest, personCommitment, block.timestamp)): what the
/// access chain binds beside the decision itself.
function hashRequest(bytes32 consentId, uint256 purpose, bytes32 responseKeyDigest, bytes32 personCommitment)
    view
    returns (bytes32 rest)
{
    assembly ("memory-safe") {
        let start := mload(0x40)
        mstore(start, consentId)
        mstore(add(start, 0x20), caller())
        mstore(add(start, 0x40), purpose)
        mstore(add(start, 0x60), responseKeyDigest)
        mstore(add(start, 0x80), personCommitment)
        mstore(add(start, 0xa0), timestamp())
        rest := keccak256(start, 0xc0)
    }
}

/// @dev The EIP-712 hashStruct of a struct in memory whose `fields` fields are of static value types, decoded from calldata:
/// then each takes one whole word, validated by the decoder, as EIP-712's encodeData wants it.
/// @param location Where the struct starts in memory.
function hashStruct(bytes32 typeHash, uint256 location, uint256 fields) pure returns (bytes32 digest) {
    assembly ("memory-safe") {
        let start := mload(0x40)
        let size := shl(5, fields)
        mstore(start, typeHash)
        mcopy(add(start, 0x20), location, size)
        digest := keccak256(start, add(size, 0x20))
    }
}
