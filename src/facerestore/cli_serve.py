"""`facerestore serve`: a page in the browser to restore the films of a folder with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from facerestore.cli_options import Verbose
from facerestore.running import guarded

PORT = 8642


def serve(
    folder: Annotated[
        Path, typer.Argument(help="The films; nothing outside of it is shown or changed.")
    ] = Path("."),
    host: Annotated[
        str, typer.Option(help="Where to listen; other than 127.0.0.1 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any that is free.")] = PORT,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the browser, too.")] = False,
    verbose: Verbose = False,
) -> None:
    """Restore the films of a folder from a page in the browser, until Ctrl-C.

    The page previews three seconds, restores in a queue and shows the reports. Needs
    facerestore[serve].
    """
    from facerestore.console import choose_reporter

    reporter = choose_reporter(as_json=False, quiet=False)

    def opened(address: str) -> None:
        reporter.note(f"serving the films in {folder.resolve()}; Ctrl-C ends it")
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
        if open_browser:
            import webbrowser

            webbrowser.open(address)

    def job() -> int:
        from facerestore.serve.guard import Door
        from facerestore.serve.server import serve as run

        if not Door("", host).private:
            reporter.note(
                f"warning: --host {host} lets other machines in: whoever has the address below can "
                "see, add and restore films here, and everybody on the way can read along "
                "(no encryption)"
            )
        run(folder, host=host, port=port, opened=opened)
        return 0

    raise typer.Exit(guarded(job, folder, reporter, verbose=verbose))
