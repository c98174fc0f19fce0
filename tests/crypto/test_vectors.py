"""The recorded vectors: what is derived comes out the same, what was sealed opens, what is altered fails as said."""

import importlib.util
import json
from pathlib import Path

import pytest

import crypto
from crypto.labels import Label

VECTORS = Path(__file__).parent.parent / "vectors"
RECORDED = json.loads((VECTORS / "crypto.json").read_text())


def load_compositions():
    spec = importlib.util.spec_from_file_location("vector_compositions", VECTORS / "compositions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMPOSITIONS = load_compositions()
RUN = {"derived": COMPOSITIONS.DERIVED, "opened": COMPOSITIONS.OPENED}
POSITIVE = [
    pytest.param(kind, vector, id=f"{kind}-{vector['name']}") for kind in RUN for vector in RECORDED[kind]
]
NEGATIVE = [
    pytest.param(kind, vector, negative, id=f"{kind}-{vector['name']}-{negative['input']}")
    for kind in RUN
    for vector in RECORDED[kind]
    for negative in vector["negative"]
]


@pytest.mark.parametrize(("kind", "vector"), POSITIVE)
def test_vector_gives_its_recorded_output(kind, vector):
    assert RUN[kind][vector["name"]](vector["inputs"]).hex() == vector["output"]


@pytest.mark.parametrize(("kind", "vector", "negative"), NEGATIVE)
def test_vector_with_one_input_altered_fails_as_recorded(kind, vector, negative):
    run = RUN[kind][vector["name"]]
    inputs = vector["inputs"] | {negative["input"]: negative["value"]}
    assert inputs != vector["inputs"]
    if negative["failure"] == "different":
        assert run(inputs).hex() != vector["output"]
        return
    with pytest.raises(crypto.CryptoError) as caught:
        run(inputs)
    assert type(caught.value).__name__ == negative["failure"]


def test_every_composition_has_a_vector_and_every_input_a_negative_one():
    for kind, compositions in RUN.items():
        assert {vector["name"] for vector in RECORDED[kind]} == set(compositions)
        for vector in RECORDED[kind]:
            assert [negative["input"] for negative in vector["negative"]] == list(vector["inputs"])


def test_infos_start_with_their_label_and_have_fixed_sizes():
    sizes = {
        "record-context": (Label.RECORD_CONTENT, 101),
        "streamed-record-context": (Label.STREAMED_CONTENT, 101),
        "owner-wrap-info": (Label.OWNER_WRAP, 165),
        "consent-wrap-info": (Label.CONSENT_WRAP, 167),
        "custody-wrap-info": (Label.CUSTODY_WRAP, 190),
        "journal-wrap-info": (Label.JOURNAL_WRAP, 165),
        "release-info": (Label.RELEASE, 141),
    }
    outputs = {vector["name"]: bytes.fromhex(vector["output"]) for vector in RECORDED["derived"]}
    for name, (label, size_bytes) in sizes.items():
        assert outputs[name].startswith(label.prefix)
        assert len(outputs[name]) == len(label.prefix) + size_bytes
