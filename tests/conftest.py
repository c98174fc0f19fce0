"""What every room's tests can use: see tests/support."""

import hypothesis

pytest_plugins = [
    "database_fixtures",
    "kubo_fixtures",
    "chain_fixtures",
    "node_fixtures",
    "custody_world",
    "phr_commands",
]

# How long an example takes says how busy the machine is; in CI it is so by Hypothesis's own profile.
hypothesis.settings.register_profile("busy", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("busy")
