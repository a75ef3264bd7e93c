"""How Sphinx makes the site of README, guides, bundles' documents and CONTRIBUTING; run by ``ci/site``.

The files stay where they are and are read as GitHub reads them: a link to a page becomes a link to its HTML, a link to
any other file of the repository a copy of that file.
"""

from pathlib import Path

project = "monai-ext"
copyright = "monai-ext contributors, Apache-2.0"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "ci/pages/*.md", "bundles/*/docs/*.md", "bundles/*/weights/*/model_card.md"]
exclude_patterns = [".*", "build", "dist", "tests", "monai_ext", "bundles/*/[!dw]*", "bundles/*/demo"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "Segmentation with few labels"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False

GUIDES = ("install", "train", "predict", "serve", "share", "gpus", "what_went_wrong", "trust", "measured", "commands")
ROOT = Path(__file__).parents[2]
BUNDLES = [
    f"{page.parts[-3]} <{page}>" if page.name == "README" else str(page)
    for page in (file.relative_to(ROOT).with_suffix("") for file in sorted(ROOT.glob("bundles/*/docs/*.md")))
]
CARDS = [str(card.relative_to(ROOT).with_suffix("")) for card in sorted(ROOT.glob("bundles/*/weights/*/model_card.md"))]
MENU = {
    "Guides": [f"ci/pages/{guide}" for guide in GUIDES],
    "Bundles": BUNDLES,
    "Weights": CARDS,
    "Project": ["CONTRIBUTING", "SCALING", "CHANGELOG"],
}


def add_menu(app, docname, source):
    """Put the menu at the end of the README, which on GitHub has none."""
    if docname == root_doc:
        for title, pages in MENU.items():
            entries = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n"


def setup(app):
    """Connect the menu; Sphinx calls this."""
    app.connect("source-read", add_menu)
