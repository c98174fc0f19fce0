"""The ledger that a wallet was made for."""

from dataclasses import dataclass

from wire.ledger import LedgerDescription


@dataclass(frozen=True, slots=True)
class Pin:
    """Chain id, contract (20 bytes), genesis hash (32 bytes) and block of deployment: together, one ledger."""

    chain_id: int
    contract: bytes
    genesis_hash: bytes
    deployment_block: int

    @classmethod
    def of(cls, description: LedgerDescription) -> "Pin":
        """The ledger that a node says it follows."""
        return cls(
            description.chain_id,
            description.contract,
            description.genesis_hash,
            description.deployment_block,
        )

    def difference(self, description: LedgerDescription) -> str | None:
        """In words, how the ledger that a node follows is another than this one; None when it is this one."""
        came = Pin.of(description)
        for name in ("chain_id", "contract", "genesis_hash", "deployment_block"):
            expected, found = getattr(self, name), getattr(came, name)
            if expected != found:
                return (
                    f"expected a ledger of {name.replace('_', ' ')} {_shown(expected)}; came {_shown(found)}"
                )
        return None


def _shown(value: int | bytes) -> str:
    return str(value) if isinstance(value, int) else "0x" + value.hex()
