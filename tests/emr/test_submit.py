"""The step that EMR is asked for, exactly, and what is refused before asking."""

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from typer.testing import CliRunner

from cli.emr import app
from conf.settings import Settings, load_settings
from emr.submit import Step, default_artifacts, job_environment, submit_step
from tidemark.errors import Fault, UserError

ARTIFACTS = "s3://example-code/tidemark/1"
STEP = Step("j-2AXXXXXXGAPLF", "nightly", "2026-01-01T01:00:00+01:00", artifacts=ARTIFACTS)
REQUEST = {
    "JobFlowId": "j-2AXXXXXXGAPLF",
    "Steps": [
        {
            "Name": "tidemark nightly --through 2026-01-01T00:00:00Z",
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {
                "Jar": "command-runner.jar",
                "Args": [
                    *("spark-submit", "--master", "yarn", "--deploy-mode", "cluster", "--name", "tidemark-nightly"),
                    *("--py-files", f"{ARTIFACTS}/tidemark.zip"),
                    *("--archives", f"{ARTIFACTS}/environment.tar.gz#environment"),
                    *("--conf", "spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python"),
                    *("--conf", "spark.yarn.appMasterEnv.PYSPARK_DRIVER_PYTHON=./environment/bin/python"),
                    *("--conf", "spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python"),
                    *("--conf", "spark.yarn.maxAppAttempts=1"),
                    *("--conf", "spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension"),
                    *("--conf", "spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog"),
                    *(f"{ARTIFACTS}/nightly.py", "--env", "aws", "--through", "2026-01-01T00:00:00Z"),
                ],
            },
        }
    ],
}


def emr_client() -> Any:
    return boto3.client("emr", region_name="eu-west-1", aws_access_key_id="none", aws_secret_access_key="none")


def test_exactly_this_is_asked_of_emr() -> None:
    client = emr_client()
    with Stubber(client) as stub:
        stub.add_response("add_job_flow_steps", {"StepIds": ["s-1"]}, REQUEST)
        assert submit_step(STEP, client) == "s-1"
        stub.assert_no_pending_responses()


def test_a_refusal_of_emr_is_one_line() -> None:
    client = emr_client()
    with Stubber(client) as stub:
        stub.add_client_error("add_job_flow_steps", "ValidationException", "Cluster id 'j-2' is not valid.")
        with pytest.raises(Fault, match=r"^EMR: .*Cluster id 'j-2' is not valid\.$"):
            submit_step(STEP, client)


def test_delta_is_never_fetched_and_a_failure_leaves_the_cluster_up() -> None:
    step = STEP.request["Steps"][0]
    assert "--packages" not in step["HadoopJarStep"]["Args"]
    assert step["ActionOnFailure"] == "CONTINUE"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"cluster": "my-cluster"}, "--cluster"),
        ({"job": "hourly"}, "--job"),
        ({"through": "2026-01-01"}, "--through"),
        ({"job": "maintain", "through": "2026-01-01T00:00:00Z"}, "--through"),
        ({"job": "maintain", "full": True}, "--full"),
        ({"artifacts": "dist/emr"}, "--artifacts"),
    ],
)
def test_a_wrong_argument_is_named_before_aws_is_asked(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError) as refused:
        Step(**{"cluster": "j-1", **wrong})
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_job_gets_the_places_that_are_set_here_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_LAKE", "s3://example-lake/tidemark")
    monkeypatch.setenv("TIDEMARK_CHECKPOINTS", "/mnt/checkpoints")
    monkeypatch.setenv("TIDEMARK_SOURCE", "kafka")
    monkeypatch.setenv("TIDEMARK_KAFKA_BOOTSTRAP", "broker:9092")
    monkeypatch.setenv("TIDEMARK_REDIS_URL", "rediss://:not-for-all@redis:6379/0")
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY", "not-for-all-not-for-all")
    settings = load_settings()
    given, withheld = job_environment(settings)
    assert given == {
        "TIDEMARK_LAKE": "s3://example-lake/tidemark",
        "TIDEMARK_SOURCE": "kafka",
        "TIDEMARK_KAFKA_BOOTSTRAP": "broker:9092",
    }
    assert withheld == ["TIDEMARK_PSEUDONYM_KEY", "TIDEMARK_REDIS_URL"]
    request = json.dumps(Step("j-1", artifacts=default_artifacts(settings), environment=given).request)
    assert "spark.yarn.appMasterEnv.TIDEMARK_LAKE=s3://example-lake/tidemark" in request
    assert "s3://example-lake/tidemark/_artifacts/nightly.py" in request
    assert "not-for-all" not in request


def test_without_an_object_store_the_package_is_where_a_bootstrap_action_puts_it() -> None:
    assert default_artifacts(Settings(env="test")) == "/home/hadoop/tidemark"


def test_a_dry_run_prints_the_request_and_needs_no_aws(home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    arguments = ["--cluster", STEP.cluster, "--job", "nightly", "--through", "2026-01-01T00:00:00Z", "--dry-run"]
    done = CliRunner().invoke(app, ["submit", *arguments, "--artifacts", ARTIFACTS])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == REQUEST
