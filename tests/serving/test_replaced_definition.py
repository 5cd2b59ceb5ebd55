"""A definition that batch has not published yet gives way to the published one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.backlog import Backlogs
from tests.serving.stage import Stage, ask, at


def test_the_published_definition_answers_and_the_source_is_asked_for_it_alone(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.seal({600: {(at("00:10"), "dev-1"): (4, 2)}}, at("01:00"), hot_from=at("00:00"))
    stage.stream({}, alive=False)
    folder = tmp_path / "definitions" / "metrics"
    folder.mkdir(parents=True)
    sql = "SELECT device_id, MAX(access_count) AS most FROM access GROUP BY device_id"
    (folder / "m.yaml").write_text(yaml.safe_dump({**stage.metric.source_text, "sql": sql}))
    asked: list[tuple[Any, ...]] = []
    look = Backlogs.of

    async def counted(self: Backlogs, *lane: Any) -> Any:
        asked.append(lane)
        return await look(self, *lane)

    monkeypatch.setattr(Backlogs, "of", counted)
    with stage.api(definitions=str(tmp_path / "definitions")) as client:
        (point,) = ask(client, dim="device_id:dev-1").json()["points"]
    assert point["values"] == {"avg_access": 2.0, "total_users": 2}
    assert len(asked) == 1
