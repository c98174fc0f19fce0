// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @title Several calls of this contract in one transaction.
/// @notice A failed item is skipped, with an event: else anyone who relays one item first would revert all the others.
abstract contract Relay {
    /// @notice The item at `index` was skipped; `reason` is its revert data.
    event RelayItemSkipped(uint256 index, bytes reason);

    /// @notice The item at `index` is itself a relay, which is refused.
    error NestedRelay(uint256 index);

    /// @notice The item at `index` ran out of gas, which is no failure of its own. Send the transaction with more.
    error RelayOutOfGas(uint256 index);

    /// @notice Runs calls of this contract one after the other, each on behalf of the caller.
    /// @param calls ABI-encoded calls.
    function relay(bytes[] calldata calls) external {
        for (uint256 i = 0; i < calls.length; ++i) {
            require(bytes4(calls[i]) != this.relay.selector, NestedRelay(i));
            uint256 gasBefore = gasleft();
            (bool done, bytes memory reason) = address(this).delegatecall(calls[i]);
            if (!done) {
                // An item gets 63/64 of the gas (EIP-150). If all of that is gone, the item may have failed for want of
                // gas alone: skipping it would lose it, and gas estimates would settle on losing it.
                require(gasleft() > gasBefore / 63, RelayOutOfGas(i));
                emit RelayItemSkipped(i, reason);
            }
        }
    }
}
