"""`phr patient`: the patient's own commands, by what they are about."""

import typer

from cli.patient import consents, policy, reading, revoking, vault

app = typer.Typer(no_args_is_help=True)
for group in (vault.app, consents.app, revoking.app, policy.app, reading.app):
    app.registered_commands.extend(group.registered_commands)

__all__ = ["app"]
