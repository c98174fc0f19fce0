"""What every room's tests can use: see tests/support."""

pytest_plugins = [
    "database_fixtures",
    "kubo_fixtures",
    "chain_fixtures",
    "node_fixtures",
    "custody_world",
    "phr_commands",
]
