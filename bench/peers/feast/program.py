"""A Feast repository over the same Redis: `program.py FOLDER` applies it and fills its online store, then ends.

FOLDER/devices.json: {"names": [...], "avg_access": [...], "total_users": [...], "at": epoch seconds}: the newest window
of every device. The server is Feast's own `feast serve`.
"""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64, Int64

CONFIGURATION = """
project: peer
provider: local
registry: registry.db
online_store: {{type: redis, connection_string: "{host}:{port},db=0,password={password}"}}
offline_store: {{type: dask}}
entity_key_serialization_version: 3
"""


def main() -> None:
    folder = Path(sys.argv[1])
    os.chdir(folder)
    redis = urlsplit(os.environ["PEER_REDIS"])
    configuration = CONFIGURATION.format(host=redis.hostname, port=redis.port, password=redis.password)
    (folder / "feature_store.yaml").write_text(configuration)
    given = json.loads((folder / "devices.json").read_text())
    at = datetime.fromtimestamp(given.pop("at"), UTC)
    rows = pd.DataFrame(given).rename(columns={"names": "device_id"})
    rows["event_timestamp"] = rows["created"] = at
    rows.to_parquet(folder / "devices.parquet")
    device = Entity(name="device", join_keys=["device_id"])
    view = FeatureView(
        name="device_access",
        entities=[device],
        ttl=timedelta(days=2),
        schema=[Field(name="avg_access", dtype=Float64), Field(name="total_users", dtype=Int64)],
        source=FileSource(
            path=str(folder / "devices.parquet"),
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
        ),
    )
    store = FeatureStore(repo_path=str(folder))
    store.apply([device, view])
    store.write_to_online_store("device_access", rows)


if __name__ == "__main__":
    main()
