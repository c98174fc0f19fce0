// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import "../src/Types.sol";
import {LedgerModel} from "./LedgerModel.sol";
import {hashOf} from "./Signing.sol";
import {vm} from "./Vm.sol";

/// @dev Acts on a ledger as patients, provider, requester, administrator and thief do, with fields so small that they meet; the
/// model says at once whether the ledger did what it must.
contract LedgerHandler is LedgerModel {
    function setUp() public override {
        super.setUp();
        // Both patients have records under small fields from the start.
        for (uint256 i = 0; i < 6; ++i) {
            publishRecord(i, uint8(i), uint8(i / 2), 1);
        }
    }

    function publishRecord(uint256 who, uint8 category, uint8 startDay, uint8 days_) public {
        Publication memory publication_ = publication(vm.addr(patientKeys[who % 2]), nextNonce++);
        publication_.category = category % 2;
        publication_.startDay = startDay % 4;
        publication_.endDay = publication_.startDay + days_ % 2;
        bool lands = patients[publication_.patient].status == 1 && recordIds.length < 24;
        if (!lands && recordIds.length >= 24) return;
        vm.recordLogs();
        vm.prank(hospital);
        (bool done, bytes memory result) = address(ledger).call(abi.encodeCall(ledger.publish, (publication_)));
        vm.assertTrue(done == lands, "a publication lands if and only if the patient is active");
        if (!done) return;
        bytes32 recordId = abi.decode(result, (bytes32));
        records[recordId].publication = publication_;
        recordIds.push(recordId);
        foldPublications();
    }

    function grantConsent(uint256 who, uint8 nonce, uint256 draw, bool ofRecord) public {
        Grant memory t = drawnTerms(who, nonce, draw, ofRecord);
        bytes32 id = consentIdOf(t.patient, t.recordId, t.nonce);
        bool lands = patients[t.patient].status != 3 && consents[id].status == 0 && t.dataFrom <= t.dataUntil
            && t.validUntil > t.validFrom;
        bytes memory signature = sign(patientKeys[who % 2], hashOf(t));
        (bool done,) = address(ledger).call(abi.encodeCall(ledger.grant, (t, signature)));
        vm.assertTrue(done == lands, "a grant lands if and only if its slot is empty and its terms hold");
        if (!done) return;
        consents[id].terms = t;
        consents[id].status = 1;
        consentIds.push(id);
        (done,) = address(ledger).call(abi.encodeCall(ledger.grant, (t, signature)));
        vm.assertTrue(!done, "a grant landed twice");
    }

    function grantForged(uint256 who, uint8 nonce, uint256 draw, bool ofRecord, uint8 forger) public {
        Grant memory t = drawnTerms(who, nonce, draw, ofRecord);
        uint256 key = [THIEF_KEY, CLINIC_KEY, HOSPITAL_KEY, patientKeys[1 - who % 2]][forger % 4];
        (bool done,) = address(ledger).call(abi.encodeCall(ledger.grant, (t, sign(key, hashOf(t)))));
        vm.assertTrue(!done, "another key granted");
        Revocation memory r = Revocation(t.patient, clinic, t.recordId, t.nonce);
        (done,) = address(ledger).call(abi.encodeCall(ledger.revoke, (r, sign(key, hashOf(r)))));
        vm.assertTrue(!done, "another key revoked");
    }

    function revokeConsent(uint256 who, uint8 nonce, uint256 draw, bool ofRecord) public {
        Grant memory t = drawnTerms(who, nonce, draw, ofRecord);
        bytes32 id = consentIdOf(t.patient, t.recordId, t.nonce);
        Revocation memory r = Revocation(t.patient, clinic, t.recordId, t.nonce);
        bytes memory call = abi.encodeCall(ledger.revoke, (r, sign(patientKeys[who % 2], hashOf(r))));
        (bool done,) = address(ledger).call(call);
        vm.assertTrue(done == (consents[id].status != 2), "a revocation lands, once");
        if (!done) return;
        if (consents[id].status == 0) consentIds.push(id);
        consents[id].status = 2;
    }

    function changePolicy(uint256 who, uint32 categories, uint16 purposes) public {
        PatientModel storage model = patients[vm.addr(patientKeys[who % 2])];
        if (model.status == 3) return;
        // Mostly nothing is denied.
        (model.deniedCategories, model.deniedPurposes) = (categories % 8 == 1 ? 1 : 0, purposes % 8 == 1 ? 1 : 0);
        deny(patientKeys[who % 2], model.deniedCategories, model.deniedPurposes, ++model.policyNonce);
    }

    function freezeSometimes(uint256 who, uint8 luck) public {
        PatientModel storage model = patients[vm.addr(patientKeys[who % 2])];
        if (luck != 0 || model.status == 3) return;
        freeze(patientKeys[who % 2]);
        model.status = 3;
    }

    function setClinic(bool active, uint8 roles) public {
        (clinicActive, clinicRoles) = (active || roles % 4 != 0, roles % 8 == 1 ? 1 : 6);
        setActive(clinic, clinicActive);
        vm.prank(administrator);
        ledger.setMemberRoles(clinic, clinicRoles);
    }

    function retractSometimes(uint256 which, uint8 luck) public {
        bytes32 recordId = recordIds[which % recordIds.length];
        if (luck % 8 != 0 || records[recordId].retracted) return;
        vm.prank(hospital);
        ledger.retract(recordId);
        records[recordId].retracted = true;
    }

    function restrictOrLift(uint256 which, bool restricted) public {
        bytes32 recordId = recordIds[which % recordIds.length];
        RecordModel storage model = records[recordId];
        address owner = model.publication.patient;
        if (patients[owner].status == 3) return;
        model.restricted = restricted;
        restrict(owner == patient ? PATIENT_KEY : OTHER_PATIENT_KEY, recordId, restricted, ++model.statusNonce);
    }

    function waitSeconds(uint8 seconds_) public {
        vm.warp(block.timestamp + seconds_ % 3);
    }

    function requestOne(uint256 which, uint8 nonce, bool ofRecord, uint8 purpose) public {
        bytes32 recordId = recordIds[which % recordIds.length];
        AccessRequest memory request_ = requestOf(recordId, nonce % 4);
        request_.recordScope = ofRecord;
        request_.purpose = purpose % 2;
        bytes32 id = consentIdOf(records[recordId].publication.patient, ofRecord ? recordId : bytes32(0), nonce % 4);
        uint8 expected = expectDecision(recordId, id, ofRecord, request_.purpose);
        vm.recordLogs();
        vm.assertEq(uint256(request(request_)), uint256(expected), "the decision is the specified one");
        foldSingle();
    }

    function requestMany(uint256 which, uint8 nonce, uint8 count) public {
        bytes32 first = recordIds[which % recordIds.length];
        address owner = records[first].publication.patient;
        bytes32 id = consentIdOf(owner, 0, nonce % 4);
        bytes32[] memory asked = new bytes32[](1 + count % 4);
        uint8[] memory expected = new uint8[](asked.length);
        uint256 found;
        for (uint256 i = which % recordIds.length; found < asked.length; ++i) {
            bytes32 recordId = recordIds[i % recordIds.length];
            if (records[recordId].publication.patient != owner) continue;
            asked[found] = recordId;
            expected[found++] = expectDecision(recordId, id, false, 0);
        }
        vm.recordLogs();
        vm.prank(clinic);
        ledger.requestAccessBatch(0, "response key", "person", groupOf(nonce % 4, false, asked));
        foldBatch(expected);
    }

    function drawnTerms(uint256 who, uint8 nonce, uint256 draw, bool ofRecord) private view returns (Grant memory t) {
        t = terms();
        t.patient = vm.addr(patientKeys[who % 2]);
        t.recordId = ofRecord ? recordIds[draw % recordIds.length] : bytes32(0);
        t.categories = uint32(1 + (draw >> 8) % 3);
        t.purposes = uint16(1 + (draw >> 16) % 3);
        t.validFrom = uint40(block.timestamp + (draw >> 24) % 3 - 1);
        t.validUntil = uint40(block.timestamp + 1 + (draw >> 32) % 8);
        t.dataFrom = uint24((draw >> 40) % 3);
        t.dataUntil = uint24(1 + (draw >> 48) % 4);
        t.maxUses = uint24((draw >> 56) % 3);
        t.nonce = nonce % 4;
    }
}
