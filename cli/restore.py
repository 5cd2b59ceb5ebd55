"""`tidemark restore`: a backup into an empty deployment."""

from typing import Annotated

import typer

from cli.output import note, print_json
from cli.transfer import transfer_bar
from conf.settings import load_settings


def command(
    backup: Annotated[str, typer.Argument(help="A backup, or the folder of backups: then its newest whole one.")],
    force: Annotated[
        bool, typer.Option("--force", help="Delete lake, checkpoints, views and metadata that are there first.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only read the backup and compare every checksum.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Restore a backup: the lake, the metadata and the definitions. Then run `tidemark stream` and `tidemark batch`."""
    from spark_jobs import restore

    with transfer_bar("check" if check else "restore", wanted=not as_json) as progress:
        if check:
            uri, manifest = restore.check(backup, progress)
            document: dict[str, object] = {"backup": uri, "whole": True}
        else:
            done = restore.run(load_settings(), backup, force, progress)
            uri, manifest = done.uri, done.manifest
            document = {"backup": uri, "definitions": done.definitions, "replaced": list(done.replaced)}
            document["seconds"] = round(done.seconds, 3)
    facts = {"created_at": manifest.created_at, "files": len(manifest.files), "bytes": manifest.size_bytes}
    if as_json:
        print_json({**document, **facts, "tables": manifest.tables, "received_through": manifest.received_through})
        return
    said = "whole" if check else "restored and checked"
    print(f"{uri}: {said}, {len(manifest.tables)} tables, {len(manifest.files)} files, {manifest.size_bytes:,} bytes")
    if others := document.get("definitions"):
        note(f"the backup's definitions differ from those in force; to use them: TIDEMARK_DEFINITIONS={others}")
    for contract, received in [] if check else manifest.received_through.items():
        note(f"{contract}: the source must still hold what was received after {received}")
