// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import "../src/Types.sol";
import {vm} from "./Vm.sol";

// EIP-712 by hand, so that a slip in the contract's own type strings or domain shows.

function domainSeparator(uint256 chainId, address verifyingContract) pure returns (bytes32) {
    return keccak256(
        abi.encode(
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
            keccak256("phr ConsentLedger"),
            keccak256("1"),
            chainId,
            verifyingContract
        )
    );
}

/// @dev The signature r, s, v by `key` over a struct in a domain.
function signIn(bytes32 domain, uint256 key, bytes32 structHash) pure returns (bytes memory) {
    (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(abi.encodePacked(hex"1901", domain, structHash)));
    return abi.encodePacked(r, s, v);
}

function hashOf(MemberKeys memory keys) pure returns (bytes32) {
    return keccak256(
        abi.encode(
            keccak256(
                "MemberKeys(address member,string name,string endpoint,bytes encryptionKey,bytes32 transportKey,uint64 nonce,uint40 deadline)"
            ),
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

function hashOf(Registration memory registration) pure returns (bytes32) {
    return keccak256(
        abi.encode(
            keccak256(
                "Registration(address patient,address provider,bytes32 keyringDigest,uint64 nonce,uint40 deadline)"
            ),
            registration
        )
    );
}

function hashOf(KeyringRotation memory rotation) pure returns (bytes32) {
    return keccak256(
        abi.encode(
            keccak256("KeyringRotation(address patient,uint16 epoch,bytes32 keyringDigest,uint64 nonce)"), rotation
        )
    );
}

function hashOf(DenyPolicy memory policy) pure returns (bytes32) {
    return keccak256(
        abi.encode(keccak256("DenyPolicy(address patient,uint32 categories,uint16 purposes,uint24 nonce)"), policy)
    );
}

function hashOf(RelationshipEnd memory end) pure returns (bytes32) {
    return keccak256(abi.encode(keccak256("RelationshipEnd(address patient,address provider,uint64 nonce)"), end));
}

function hashOf(Freeze memory freeze) pure returns (bytes32) {
    return keccak256(abi.encode(keccak256("Freeze(address patient,uint64 nonce)"), freeze));
}

function hashOf(Restriction memory restriction) pure returns (bytes32) {
    return keccak256(
        abi.encode(keccak256("Restriction(address patient,bytes32 recordId,bool restricted,uint16 nonce)"), restriction)
    );
}

function hashOf(Grant memory terms) pure returns (bytes32) {
    return keccak256(
        abi.encode(
            keccak256(
                "Grant(address patient,address grantee,bytes32 recordId,uint32 categories,uint16 purposes,uint40 validFrom,uint40 validUntil,uint24 dataFrom,uint24 dataUntil,uint24 maxUses,uint24 flags,uint64 nonce,uint40 deadline)"
            ),
            terms
        )
    );
}

function hashOf(Revocation memory revocation) pure returns (bytes32) {
    return keccak256(
        abi.encode(keccak256("Revocation(address patient,address grantee,bytes32 recordId,uint64 nonce)"), revocation)
    );
}
