"""Documents link what exists; what they call a test is one, in the file they link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def links(document: Path) -> list[tuple[str, Path]]:
    """What a document links within the project: the words, and the file."""
    found = _LINK.findall(document.read_text())
    return [
        (words.strip("`"), (document.parent / target.partition("#")[0]).resolve())
        for words, target in found
        if "://" not in target and not target.startswith("#")
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for words, file in links(document):
        assert file.exists(), f"[{words}] links {file}, which is not there"
        if words.startswith("test_") and file.suffix == ".py":
            named = re.escape(words.removesuffix(".py"))
            assert re.search(rf"def {named}\(", file.read_text()) or (
                words == file.name
            ), f"{file} has no {words}"


def test_the_readme_leads_to_every_document() -> None:
    known = {file for _, file in links(ROOT / "README.md")}
    missing = {each.name for each in DOCUMENTS[1:]} - {file.name for file in known}
    assert not missing
