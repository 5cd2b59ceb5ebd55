"""`tidemark backup`: lake, metadata and definitions into a folder of their own."""

import time
from typing import Annotated

import typer

from cli.output import print_json
from cli.transfer import transfer_bar
from conf.settings import load_settings


def command(
    destination: Annotated[str, typer.Argument(help="Folder or s3:// URI; the backup gets a folder of its own below.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Back up the lake at a consistent set of versions, the metadata and the definitions; nothing is stopped for it."""
    from spark_jobs.backup import run

    settings = load_settings()
    with transfer_bar("backup", wanted=not as_json) as progress:
        done = run(settings, destination, time.time(), progress)
    manifest = done.manifest
    if as_json:
        print_json(
            {
                "backup": done.uri,
                "created_at": manifest.created_at,
                "tables": manifest.tables,
                "received_through": manifest.received_through,
                "metadata": manifest.metadata,
                "files": len(manifest.files),
                "bytes": manifest.size_bytes,
                "seconds": round(done.seconds, 3),
            }
        )
    else:
        print(
            f"{done.uri}: {len(manifest.tables)} tables, {len(manifest.files)} files, {manifest.size_bytes:,} bytes, "
            f"{done.seconds:.1f} s"
        )
