"""The web site of all pages: it is made without a warning, and whoever follows its links finds something."""

import os
import shutil
import subprocess
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["README", "CONTRIBUTING", "SCALING", "CHANGELOG"]
PAGES += [str(page.relative_to(ROOT).with_suffix("")) for page in ROOT.glob("ci/pages/*.md")]
PAGES += [str(page.relative_to(ROOT).with_suffix("")) for page in ROOT.glob("bundles/*/docs/*.md")]
PAGES += [str(page.relative_to(ROOT).with_suffix("")) for page in ROOT.glob("bundles/*/weights/*/model_card.md")]

pytestmark = pytest.mark.slow


class Links(HTMLParser):
    """What a page leads to, and the names in it that one can lead to."""

    def __init__(self, page):
        super().__init__()
        self.targets, self.names = [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.names |= {found[key] for key in ("id", "name") if found.get(key)}
        self.targets += [found[key] for key in ("href", "src") if found.get(key)]


def make(root, out):
    environment = os.environ | {"SITE_VENV": str(ROOT / ".venv-site")}
    return subprocess.run(["bash", "ci/site", str(out)], cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    result = make(ROOT, folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return {page: Links(page) for page in sorted(folder.rglob("*.html"))}


def follow(page, target):
    """File and anchor of a link; None for one that leaves the site."""
    url = urlsplit(target)
    if url.scheme or url.netloc:
        return None
    return (page.parent / unquote(url.path)).resolve() if url.path else page, unquote(url.fragment)


def test_every_link_leads_somewhere(site):
    nowhere = defaultdict(list)
    for page, links in site.items():
        for file, anchor in filter(None, (follow(page, target) for target in links.targets)):
            if not file.is_file() or (anchor and file in site and anchor not in site[file].names):
                nowhere[page.name].append((file.name, anchor))
    assert not nowhere


def test_every_page_can_be_reached_from_the_first(site):
    home = next(page for page in site if page.name == "index.html")
    reached, left = {home}, [home]
    while left:
        page = left.pop()
        found = {place[0] for target in site[page].targets if (place := follow(page, target))} & site.keys()
        left += found - reached
        reached |= found
    assert len(PAGES) > 20
    assert reached >= {home.parent / f"{page}.html" for page in PAGES}


def test_files_of_the_repository_and_pictures_come_with_it(site):
    page = next(page for page in site if page.name == "what_went_wrong.html")
    copies = {place[0] for target in site[page].targets if (place := follow(page, target)) and place[0].suffix == ".py"}
    assert len(copies) > 10
    for copy in copies:
        assert any(copy.read_bytes() == file.read_bytes() for file in ROOT.glob(f"tests/**/{copy.name}"))
    home = next(page for page in site if page.name == "index.html")
    assert any(target.endswith("preview.png") for target in site[home].targets)


@pytest.mark.parametrize("wrong", ["ci/pages/nowhere.md", "CONTRIBUTING.md#nowhere", "bundles/amlp/docs/nowhere.png"])
def test_a_link_that_leads_nowhere_is_an_error(tmp_path, wrong):
    for page in PAGES:
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / f"{page}.md", tmp_path / f"{page}.md")
    shutil.copy(ROOT / "ci/site", tmp_path / "ci")
    for file in (ROOT / "ci/pages").glob("*.*"):
        shutil.copy(file, tmp_path / "ci/pages")
    with (tmp_path / "README.md").open("a") as readme:
        readme.write(f"\n{'!' * wrong.endswith('.png')}[text]({wrong})\n")
    result = make(tmp_path, tmp_path / "out")
    assert result.returncode != 0
    assert "README.md" in result.stderr
    assert "nowhere" in result.stderr
