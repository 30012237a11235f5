"""Links between the pages, and to the repository's files, lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

CARDS = sorted((ROOT / "model_cards").glob("*.md"))
GENERATED = {ROOT / "docs" / "reference" / "commands.md", ROOT / "docs" / "reference" / "python.md"}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, *CARDS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:|\{", target) or page.name == "template.md":
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} leads nowhere"
        assert not anchor or file in GENERATED or anchor in anchors(file), f"{target}: there is no such heading"


def test_the_rooms_and_files_of_the_tour_are_there():
    page = (ROOT / "docs" / "contributing" / "where-things-are.md").read_text("utf-8")
    package = ROOT / "hf_cocondenser"
    rooms = set(re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE))
    assert rooms == {path.parent.name for path in package.glob("*/__init__.py")}
    for named in re.findall(r"`([\w/]+(?:\.py|/))`", page.split("Beside the package")[0]):
        assert list(package.rglob(named.rstrip("/"))), named
