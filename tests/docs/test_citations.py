"""The documents cite code, tests and one another: what they name is there."""

import re
from pathlib import Path

import pytest

from cli.main import COMMANDS

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")])
ROOTS = "tidemark|quality|intake|runtime|conf|streaming|spark_jobs|serving|emr|data|cli|tests|notebooks|docs"
CITED = re.compile(rf"`((?:{ROOTS})/[A-Za-z0-9_./]+)`|`(pyproject\.toml|Makefile)`")
LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.relative_to(PROJECT).as_posix())
def test_what_a_document_names_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    cited = {PROJECT / (path or other) for path, other in CITED.findall(text)}
    linked = {document.parent / path for path in LINK.findall(text)}
    assert sorted(str(path) for path in cited | linked if not path.exists()) == []


def test_every_decision_is_in_the_index_and_says_what_holds_it() -> None:
    folder = PROJECT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    for page in sorted(folder.glob("0*.md")):
        assert f"({page.name})" in index
        assert "**Held by** `" in page.read_text(encoding="utf-8"), page.name


def test_the_sentence_stands_on_top() -> None:
    for document in (PROJECT / "README.md", PROJECT / "docs" / "ARCHITECTURE.md"):
        top = " ".join(document.read_text(encoding="utf-8")[:400].replace(">", " ").split())
        assert "Batch owns every window that ended at or before `sealed_through`" in top


def test_the_readme_names_every_command() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`tidemark {name}" not in readme] == []
