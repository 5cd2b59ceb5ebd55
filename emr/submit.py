"""A batch job as a step of an EMR cluster: one `spark-submit` in cluster mode.

Delta comes from the platform (cluster classification `delta-defaults`, `delta.enabled` = true), never from
`--packages io.delta…`: two Deltas on one class path fail in the middle of a commit. A failed step must not take the
cluster with it, so the action on failure is CONTINUE, and YARN must not run a batch again whose gate refused it.

Secrets never enter the request, where everyone who may list steps can read them: a cluster gets them from its own
configuration.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from conf.locations import is_remote
from conf.settings import PREFIX, Settings
from emr.package import CODE, ENVIRONMENT, SCRIPTS
from tidemark.errors import Fault, UserError
from tidemark.windows import iso, parse_instant

PYTHON = "./environment/bin/python"
"""The archive's interpreter, as every container sees it."""
ON_CLUSTER = "/home/hadoop/tidemark"
"""Where a bootstrap action puts the package when there is no object store to read it from."""
FORWARDED = (
    *("source", "kafka_bootstrap", "kafka_topic_prefix", "kinesis_endpoint", "kinesis_stream_prefix"),
    *("redis_url", "metadata_url"),
)
"""Settings of this environment that the job gets when they are set; the lake's places are handled on their own."""
_CLUSTER = re.compile(r"j-[A-Z0-9]{1,32}")
_CONF = {
    "spark.yarn.appMasterEnv.PYSPARK_PYTHON": PYTHON,
    "spark.yarn.appMasterEnv.PYSPARK_DRIVER_PYTHON": PYTHON,
    "spark.executorEnv.PYSPARK_PYTHON": PYTHON,
    "spark.yarn.maxAppAttempts": "1",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


@dataclass(frozen=True, slots=True)
class Step:
    """What is asked of EMR. Refuses what EMR would only refuse after minutes."""

    cluster: str
    job: str = "nightly"
    through: str | None = None
    full: bool = False
    artifacts: str = ON_CLUSTER
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _CLUSTER.fullmatch(self.cluster):
            raise UserError(f"--cluster: {self.cluster!r} is no cluster id, such as j-2AXXXXXXGAPLF")
        if self.job not in SCRIPTS:
            raise UserError(f"--job: {self.job!r} is none of {', '.join(SCRIPTS)}")
        if self.job != "nightly" and (self.through or self.full):
            raise UserError("--through, --full: only the nightly job takes them")
        if self.through:
            parse_instant(self.through, "--through")
        if not (is_remote(self.artifacts) or self.artifacts.startswith("/")):
            raise UserError(f"--artifacts: {self.artifacts!r} is neither s3://bucket/prefix nor a path on the cluster")

    @property
    def arguments(self) -> list[str]:
        """What the job's script gets."""
        through = ["--through", iso(parse_instant(self.through, "--through"))] if self.through else []
        return ["--env", "aws", *through, *(["--full"] if self.full else [])]

    @property
    def request(self) -> dict[str, Any]:
        """The exact arguments of `add_job_flow_steps`."""
        name = " ".join(["tidemark", self.job, *self.arguments[2:]])
        jar = {"Jar": "command-runner.jar", "Args": self._command()}
        step = {"Name": name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
        return {"JobFlowId": self.cluster, "Steps": [step]}

    def _command(self) -> list[str]:
        place = self.artifacts.rstrip("/")
        handed = {f"spark.yarn.appMasterEnv.{name}": value for name, value in sorted(self.environment.items())}
        return [
            *("spark-submit", "--master", "yarn", "--deploy-mode", "cluster", "--name", f"tidemark-{self.job}"),
            *("--py-files", f"{place}/{CODE}"),
            *("--archives", f"{place}/{ENVIRONMENT}#environment"),
            *(part for key, value in {**_CONF, **handed}.items() for part in ("--conf", f"{key}={value}")),
            *(f"{place}/{SCRIPTS[self.job]}", *self.arguments),
        ]


def job_environment(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """(variables the job gets, names withheld because their value holds a password).

    A lake on this machine means nothing to a cluster and is not handed on: there it must be in the cluster's own
    configuration.
    """
    given = {name: getattr(settings, name) for name in FORWARDED if name in settings.model_fields_set}
    places = {"lake": settings.lake, "checkpoints": settings.checkpoints}
    given |= {name: place for name, place in places.items() if place and is_remote(place)}
    texts = {f"{PREFIX}{name.upper()}": str(value) for name, value in given.items() if value is not None}
    withheld = sorted(name for name, text in texts.items() if _has_password(text))
    if settings.pseudonym_key is not None:
        withheld.append(f"{PREFIX}PSEUDONYM_KEY")
    return {name: text for name, text in texts.items() if name not in withheld}, sorted(withheld)


def default_artifacts(settings: Settings) -> str:
    """Beside the lake's tables when they are in an object store, else the bootstrap action's folder."""
    return f"{settings.lake_uri}/_artifacts" if is_remote(settings.lake_uri) else ON_CLUSTER


def submit_step(step: Step, emr: Any) -> str:
    """Ask EMR to run it; the step's id. `emr` is a boto3 client. Raises Fault in one line."""
    try:
        return str(emr.add_job_flow_steps(**step.request)["StepIds"][0])
    except (BotoCoreError, ClientError) as error:
        raise Fault(f"EMR: {' '.join(str(error).split())}") from None


def _has_password(text: str) -> bool:
    try:
        return "://" in text and urlsplit(text).password is not None
    except ValueError:
        return True
