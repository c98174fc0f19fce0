"""`phr node move-blocks`: a member moves from the embedded block store to its Kubo, or back."""

from enum import StrEnum
from pathlib import Path

import typer

from cli.output import JSON_OPTION, YES_OPTION, confirm, emit_json, say, working
from cli.texts import _

_DOING = {
    "copying": _("copying blocks: {done} of {all}"),
    "verifying": _("reading them back: {done} of {all}"),
    "removing": _("deleting the old copies: {done} of {all}"),
}


class Store(StrEnum):
    """Where a node may keep its blocks."""

    EMBEDDED = "embedded"
    KUBO = "kubo"


def move_blocks(
    directory: Path = typer.Argument(help=_("The node's directory; the node must not run.")),
    to: Store = typer.Option(..., "--to", help=_("The store that the node is to use.")),
    kubo_url: str = typer.Option(
        "", "--kubo-url", help=_("Where Kubo's RPC answers, unless the node's settings say it.")
    ),
    kubo_secret_file: Path | None = typer.Option(
        None, "--kubo-secret-file", help=_("A private file (0600) with the RPC's secret, unless they say it.")
    ),
    remove_old: bool = typer.Option(
        False,
        "--remove-old",
        help=_("Delete the copies in the old store once the new one has given each back."),
    ),
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Move a node's blocks to another store. What was begun and broken off is finished by the same command."""
    from node.moving_blocks import move_blocks as move

    if remove_old:
        confirm(
            _("Delete the blocks of {directory} from the old store, once they are in the {to} store?").format(
                directory=directory, to=to.value
            ),
            yes,
            as_json,
        )
    interrupted = _("The node uses the old store until all is copied; run the same command again to go on")
    with working(_("moving blocks"), interrupted) as show:
        moved = move(
            directory,
            to.value,
            kubo_url=kubo_url,
            kubo_secret_file=kubo_secret_file,
            remove_old=remove_old,
            progress=lambda doing, done, total: show(_DOING[doing].format(done=done, all=total)),
        )
    if as_json:
        return emit_json(
            {
                "store": to.value,
                "blocks": moved.blocks,
                "copied": moved.copied,
                "switched": moved.switched,
                "removed": moved.removed,
            }
        )
    if moved.switched:
        say(
            _(
                "{blocks} blocks are in the {to} store, each read back; the node uses it from its next start."
            ).format(blocks=moved.blocks, to=to.value)
        )
    else:
        say(_("The node uses the {to} store already.").format(to=to.value))
    if remove_old:
        say(_("{count} copies were deleted from the old store.").format(count=moved.removed))
    elif moved.switched:
        say(_("The old store still has its copies; the same command with --remove-old deletes them."))
