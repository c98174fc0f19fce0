// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccessLog} from "./AccessLog.sol";
import {ConsentRegistry} from "./ConsentRegistry.sol";
import {LedgerBase} from "./LedgerBase.sol";
import {MemberRegistry} from "./MemberRegistry.sol";
import {PatientRegistry} from "./PatientRegistry.sol";
import {RecordRegistry} from "./RecordRegistry.sol";
import {Relay} from "./Relay.sol";

/// @title The consortium's ledger of members, patients, records, consents and accesses.
/// @notice One contract, so that a decision reads all it needs without calling another; immutable, so that nobody can
/// rewrite a consent.
contract ConsentLedger is MemberRegistry, PatientRegistry, RecordRegistry, ConsentRegistry, AccessLog, Relay {
    /// @param administrator The account that enrols members.
    /// @param minimumThreshold The least number of custodians' shares that may open a record, at least 1.
    constructor(address administrator, uint8 minimumThreshold) LedgerBase(administrator, minimumThreshold) {}
}
