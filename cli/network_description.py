"""Writing what a network's directory says of it."""

from cli.json_files import json_bytes
from cli.places import NetworkPlace, describe_network
from crypto.private_file import atomic_write_private

UNFINISHED = "network.json.new"
"""The description of a network that is being made: a directory with it alone can be deleted and made again."""


def write_network(place: NetworkPlace, name: str = "network.json") -> None:
    """Replace the description of a network, whole or not at all."""
    atomic_write_private(place.directory / name, json_bytes(describe_network(place)))
