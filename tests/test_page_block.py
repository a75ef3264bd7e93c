"""The block of a page that a script runs is found by its words, or the script ends."""

import pytest
from page_block import page_block

PAGE = "Text\n\n```bash\none\n  two\n```\n\n```\nthree\n```\n"


def test_the_block_is_as_it_stands(tmp_path):
    (tmp_path / "page.md").write_text(PAGE)
    assert page_block(tmp_path / "page.md", "two") == "one\n  two\n"


@pytest.mark.parametrize(("words", "count"), [("four", 0), ("e", 2)])
def test_no_block_or_several_are_an_error(tmp_path, words, count):
    (tmp_path / "page.md").write_text(PAGE)
    with pytest.raises(ValueError, match=f"has {count} blocks"):
        page_block(tmp_path / "page.md", words)
