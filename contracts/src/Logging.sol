// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @dev Emits an event with three indexed arguments whose only other one is a struct of static value types in memory: there
/// each field is one whole clean word, which is just how the event's data is encoded. Saves the copy that `emit` makes.
/// @param selector The event's `selector`.
/// @param location Where the struct starts in memory.
/// @param fields How many fields it has.
function logStruct(bytes32 selector, bytes32 first, bytes32 second, bytes32 third, uint256 location, uint256 fields) {
    assembly ("memory-safe") {
        log4(location, shl(5, fields), selector, first, second, third)
    }
}
