"""`weightslab token`."""

from __future__ import annotations

from pathlib import Path

import click

from weightslab.command import options


@click.command(short_help="Print the access token.")
@click.option("--link", is_flag=True, help="Print a link to the page that logs in once, within 15 minutes.")
@click.option("--viewer", is_flag=True, help="For somebody who may look and not change anything.")
@options.data_dir
def command(link: bool, viewer: bool, data_dir: Path | None) -> None:
    """Print the editor token, a viewer's token, or with --link a link that logs in.

    The editor token is WL_TOKEN, or the one that is kept in the data folder, readable by you only. Clients send it as
    `authorization: Bearer <token>`.

    \b
    Examples
      weightslab token
      weightslab token --link --viewer
    """
    from weightslab_common.settings import load
    from weightslab_common.tokens import Role, Tokens

    from weightslab.studio import plan, runfile, session
    from weightslab.studio.settings import StudioSettings

    settings = load(StudioSettings, data_dir=data_dir)
    editor = plan.editor_token(settings)
    role = Role.VIEWER if viewer else Role.EDITOR
    if link:
        entry = runfile.running(settings.data_dir)
        page_url = entry.page_url if entry else f"http://localhost:{settings.page_port}"
        if entry is None:
            click.echo("no studio runs in this folder now; the link works once one does", err=True)
        click.echo(session.link(page_url=page_url, token=editor, role=role))
    else:
        # A session is the token of a viewer: signed, and good for a week.
        click.echo(editor if role is Role.EDITOR else Tokens(editor_token=editor).session(role))
