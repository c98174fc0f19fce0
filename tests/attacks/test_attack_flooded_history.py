"""Any member may ask, and be denied: it makes a patient's history as long as it likes, and must gain nothing by it."""

from pathlib import Path

import pytest
from node_fixtures import Network
from wallet_flow import Person

from ledger import calls
from ledger.messages import AccessGroup
from vocabulary import Category, Purpose
from wallet import ConsentState, TooFewNodes
from wallet.transport import NodeTransport

VIEW_BYTES = 200_000
"""The wallet's own limit takes a hundred times as many denials; the attack is the same."""


def test_attack_history_flooded_by_denials_does_not_keep_a_patient_from_revoking(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = Person.begin(network, tmp_path)
    (record_id,) = person.publish(network.members[0])
    consent_id = person.grant(network.members[2], Category.LABORATORY)
    flood = calls.request_access_batch(
        Purpose.TREAT, bytes(32), bytes(32), [AccessGroup(0, False, (record_id,) * 500)]
    )
    network.members[1].node.sender.send(network.deployment.address, flood)
    network.wait_for_all()
    monkeypatch.setattr(NodeTransport.get, "__defaults__", (None, VIEW_BYTES))
    with pytest.raises(TooFewNodes, match="bytes"):
        person.wallet.history()

    assert "bytes" in person.wallet.preview_revocation(consent_id).history_detail
    receipt = person.wallet.revoke(consent_id)
    assert (len(receipt.confirmed_by), receipt.permits) == (2, ())
    assert "bytes" in receipt.history_detail
    assert receipt.rotated == (Category.LABORATORY,)
    assert person.wallet.unfinished == ()
    assert [consent.state for consent in person.wallet.consents()] == [ConsentState.REVOKED]

    monkeypatch.undo()
    assert person.wallet.revocation_receipt(consent_id).history_detail == ""
    person.wallet.close()
