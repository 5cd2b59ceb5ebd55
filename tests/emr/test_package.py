"""What a cluster gets: the code as a zip that runs in place, and an archive without what the platform brings."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from emr.environment import MANIFEST, pack_environment, runtime_distributions
from emr.package import Package, build_package, build_wheel, requirements_of, upload_package
from tidemark.errors import Fault, UserError

HERE = sys.version_info


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_platform_s_packages_are_left_out(wheel: Path) -> None:
    chosen = runtime_distributions([*requirements_of(wheel), "pyspark==4.1.1", "delta-spark==4.2.0"])
    assert not {"pyspark", "py4j", "delta-spark"} & set(chosen)
    assert {"great-expectations", "hiredis", "numpy", "python-dateutil", "redis"} <= set(chosen)


def test_what_is_not_installed_cannot_be_packed() -> None:
    with pytest.raises(Fault, match="tidemark-nowhere is not installed"):
        runtime_distributions(["tidemark-nowhere>=1"])


def test_the_code_finds_its_definitions_inside_the_zip(wheel: Path, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(wheel)!r})\n"
        "from conf.settings import PACKAGED, load_settings\n"
        "from tidemark.metrics.registry import load_registry\n"
        "import tidemark; assert '.whl' in tidemark.__file__, tidemark.__file__\n"
        "print(len(load_registry([PACKAGED]).metrics), load_settings('aws').shuffle_partitions, PACKAGED)"
    )
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    metrics, partitions, unpacked = done.stdout.split()
    assert (int(metrics) >= 11, partitions) == (True, "32")
    assert not Path(unpacked).exists()


def test_the_archive_is_an_environment_of_the_cluster_s_python(tmp_path: Path) -> None:
    archive = tmp_path / "environment.tar.gz"
    pack_environment(["orjson"], archive, "/usr/bin/python3")
    with tarfile.open(archive) as packed:
        names = packed.getnames()
        manifest = json.load(packed.extractfile(MANIFEST) or pytest.fail("no manifest"))
        assert packed.getmember("bin/python").linkname == "/usr/bin/python3"
    assert list(manifest["distributions"]) == ["orjson"]
    assert manifest["python"] == f"{HERE.major}.{HERE.minor}"
    assert f"lib/python{HERE.major}.{HERE.minor}/site-packages/orjson/__init__.py" in names


def test_the_same_distributions_give_the_same_archive(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pack_environment(["orjson", "pyyaml"], tmp_path / name, "/usr/bin/python3")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_package_needs_the_sources(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="in a checkout"):
        build_package(tmp_path / "out", project=tmp_path)


def test_the_files_are_uploaded_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "none")
    package = Package(tmp_path, tmp_path / "tidemark.whl", {})
    for file in package.files:
        file.write_text(file.name)
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="code")
        uris = upload_package(package, s3, "code", "/tidemark/1/")
        stored = {found["Key"] for found in s3.list_objects_v2(Bucket="code")["Contents"]}
    assert uris == [f"s3://code/tidemark/1/{file.name}" for file in package.files]
    assert stored == {f"tidemark/1/{file.name}" for file in package.files}
