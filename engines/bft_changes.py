"""Validators of this machine that come and go: their directories and who may connect to them.

Whether a validator votes is the chain's to say (``engines.bft_administration``). A new one is made, started and left to
catch up first: before that it would count as one that fails.
"""

import os
import shutil
from dataclasses import replace

from crypto.private_file import atomic_write_private
from engines.bft import DESCRIPTION_FILE, BftChain, ValidatorPlace, describe_chain, slug_of
from engines.bft_ceremony import configure_validator, make_validator_keys
from engines.errors import EnginesError
from ledger.ports import free_ports


def prepare_validator(chain: BftChain, name: str) -> BftChain:
    """Makes a validator's keys and configuration beside the others, which let it connect; the chain with it.

    An interrupted run is taken up where it broke off, and one that is there is left as it is.

    Raises:
        EnginesError: another validator has the same name but for signs.
        EngineFailed: the program refuses a step.
    """
    if any(validator.name == name for validator in chain.validators):
        return chain
    home = chain.directory / "validators" / slug_of(name)
    if not slug_of(name) or any(validator.directory == home for validator in chain.validators):
        raise EnginesError(f"expected a name of letters and digits that no validator has yet; came {name!r}")
    identity = make_validator_keys(chain.binary, home, name)
    shutil.copyfile(chain.validators[0].directory / "genesis.json", home / "genesis.json")
    ports = free_ports(3)
    added = ValidatorPlace(home, name, str(identity["node_id"]), *ports)
    return _save(replace(chain, validators=(*chain.validators, added)))


def withdraw_validator(chain: BftChain, name: str) -> BftChain:
    """Ends a validator's process and lets the others refuse it; the chain without it. Its directory is kept.

    Raises:
        EnginesError: there is none of that name, or it is the only one.
    """
    gone = next((validator for validator in chain.validators if validator.name == name), None)
    if gone is None or len(chain.validators) == 1:
        names = ", ".join(validator.name for validator in chain.validators)
        raise EnginesError(f"expected one of several validators of this machine ({names}); came {name!r}")
    gone.background.stop()
    remaining = tuple(validator for validator in chain.validators if validator is not gone)
    return _save(replace(chain, validators=remaining))


def _save(chain: BftChain) -> BftChain:
    """Configures every validator for the others, then writes the description that counts."""
    for validator in chain.validators:
        configure_validator(chain.binary, validator, chain.validators)
    atomic_write_private(chain.directory / DESCRIPTION_FILE, describe_chain(chain))
    os.sync()
    return chain
