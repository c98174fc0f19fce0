// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title What every module shares: the administrator, the seal, and signed messages.
/// @notice The administrator enrols members, sets their roles and activity, and can seal the ledger. It can change no
/// consent, no record, no key. The contract cannot be upgraded.
abstract contract LedgerBase is EIP712 {
    /// @dev How far ahead the deadline of a grant or a registration may lie: a withheld message soon lapses.
    uint256 internal constant MAXIMUM_DEADLINE_SECONDS = 1 hours;

    /// @notice The account that enrols members and may seal the ledger.
    address public immutable administrator;

    /// @notice The least number of custodians' shares that may open a record of this network.
    uint8 public immutable minimumThreshold;

    /// @notice The ledger that follows this one; 0 while this one is open.
    address public successor;

    /// @notice The ledger was deployed.
    event LedgerDeployed(address administrator, uint8 minimumThreshold);

    /// @notice The ledger was sealed: nothing is enrolled, registered, published, granted or requested any more.
    event LedgerSealed(address successor);

    /// @notice Expected an administrator's address; came 0.
    error AdministratorMissing();

    /// @notice Expected a minimum threshold of at least 1; came 0.
    error MinimumThresholdZero();

    /// @notice Only the administrator may do this; `caller` is not.
    error NotAdministrator(address caller);

    /// @notice Expected the address of another ledger; came `successor`.
    error SuccessorInvalid(address successor);

    /// @notice The ledger is sealed; `successor` follows it.
    error LedgerIsSealed(address successor);

    /// @notice The message was to land by `deadline`, and it is `time` already. Have it signed again.
    error DeadlinePassed(uint40 deadline, uint256 time);

    /// @notice The message's `deadline` lies beyond `latest`, the latest admitted. Have it signed with a nearer one.
    error DeadlineTooFar(uint40 deadline, uint256 latest);

    /// @notice The message must be signed by `expected`; this signature gives `recovered`: another signer, or another message.
    error SignatureInvalid(address expected, address recovered);

    modifier onlyAdministrator() {
        require(msg.sender == administrator, NotAdministrator(msg.sender));
        _;
    }

    modifier whileOpen() {
        require(successor == address(0), LedgerIsSealed(successor));
        _;
    }

    constructor(address administrator_, uint8 minimumThreshold_) EIP712("phr ConsentLedger", "1") {
        require(administrator_ != address(0), AdministratorMissing());
        require(minimumThreshold_ != 0, MinimumThresholdZero());
        administrator = administrator_;
        minimumThreshold = minimumThreshold_;
        emit LedgerDeployed(administrator_, minimumThreshold_);
    }

    /// @notice Ends this ledger in favour of another, once and for good. Revoking, denying, restricting, freezing, rotating,
    /// ending, retracting and changing keys stay possible for ever.
    /// @param successor_ The ledger that follows.
    function seal(address successor_) external onlyAdministrator whileOpen {
        require(successor_ != address(0) && successor_ != address(this), SuccessorInvalid(successor_));
        successor = successor_;
        emit LedgerSealed(successor_);
    }

    /// @dev Reverts if `deadline` (seconds) has passed; the second itself still counts.
    function _requireDeadline(uint40 deadline) internal view {
        require(deadline >= block.timestamp, DeadlinePassed(deadline, block.timestamp));
    }

    /// @dev Reverts if `deadline` (seconds) has passed or is more than an hour ahead.
    function _requireNearDeadline(uint40 deadline) internal view {
        _requireDeadline(deadline);
        uint256 latest = block.timestamp + MAXIMUM_DEADLINE_SECONDS;
        require(deadline <= latest, DeadlineTooFar(deadline, latest));
    }

    /// @dev Reverts unless `signature` (65 bytes r, s, v; low s) is by `expected` over the EIP-712 struct of `structHash` in
    /// this contract's domain. Malformed signatures revert with OpenZeppelin's ECDSA errors.
    function _requireSigned(address expected, bytes32 structHash, bytes calldata signature) internal view {
        address recovered = ECDSA.recoverCalldata(_hashTypedDataV4(structHash), signature);
        require(recovered == expected, SignatureInvalid(expected, recovered));
    }
}
