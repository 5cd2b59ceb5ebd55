"""`tidemark emr package | submit`: what an EMR cluster needs, and the step that runs a batch job there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from cli.output import note, print_json
from conf.locations import is_remote
from conf.settings import Settings, load_settings
from tidemark.errors import Fault, UserError

if TYPE_CHECKING:
    from emr.package import Package

app = typer.Typer(no_args_is_help=True, help="Package the project for EMR and hand it jobs.")


@app.command()
def package(
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("dist/emr"),
    python: Annotated[str | None, typer.Option(help="Python on the cluster; without: /usr/bin/python3.N.")] = None,
    to: Annotated[str | None, typer.Option(help="s3://bucket/prefix to upload the files to.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Build the wheel, the dependency archive and the job scripts; with --to, upload them."""
    from emr.package import build_package

    if to is not None and not (is_remote(to) and urlsplit(to).netloc):
        raise UserError(f"--to: {to!r} is not s3://bucket/prefix")
    built = build_package(out, python)
    uploaded = _upload(built, to, load_settings()) if to else []
    files = {file.name: file.stat().st_size for file in (built.wheel, *built.files)}
    if as_json:
        print_json({"folder": str(out), "bytes": files, "distributions": built.distributions, "uploaded": uploaded})
        return
    for name, size in files.items():
        print(f"{out / name}  {size / 1e6:.1f} MB")
    print(f"{len(built.distributions)} distributions in the archive" + (f"; uploaded to {to}" if to else ""))


@app.command()
def submit(
    cluster: Annotated[str, typer.Option(help="Id of the cluster, j-...")],
    job: Annotated[str, typer.Option(help="nightly or maintain.")] = "nightly",
    through: Annotated[str | None, typer.Option(help="The new sealed_through, ISO 8601 with a zone.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Recompute what is sealed, too.")] = False,
    artifacts: Annotated[str | None, typer.Option(help="s3://bucket/prefix or folder of the package.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the request; ask nothing of AWS.")] = False,
) -> None:
    """Add a batch job to a running EMR cluster as a step; prints the request (--dry-run) or the step's id, as JSON."""
    from emr.submit import Step, default_artifacts, job_environment, submit_step

    settings = load_settings()
    environment, withheld = job_environment(settings)
    step = Step(cluster, job, through, full, artifacts or default_artifacts(settings), environment)
    for name in withheld:
        note(f"{name} is secret and not put into the step: set it in the cluster's own configuration")
    if dry_run:
        print_json(step.request)
        return
    print_json({"cluster": cluster, "step_id": submit_step(step, _client("emr", settings))})


def _upload(built: "Package", to: str, settings: Settings) -> list[str]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    from emr.package import upload_package

    place = urlsplit(to)
    try:
        return upload_package(built, _client("s3", settings), place.netloc, place.path)
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise Fault(f"S3: {' '.join(str(error).split())}") from None


def _client(service: str, settings: Settings) -> Any:
    """A boto3 client; credentials come from AWS' own chain."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        return boto3.client(service, region_name=settings.aws_region)
    except BotoCoreError as error:
        raise Fault(f"AWS: {' '.join(str(error).split())}") from None
