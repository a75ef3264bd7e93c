"""An entry of the register, as a user reads it."""

import pytest

from monai_ext.networks.published import PublishedEncoder

ENTRY = PublishedEncoder(
    name="mine",
    architecture="ResEnc-L",
    method="MAE",
    learned_from="100 CT",
    licence="CC BY 4.0",
    citation="Somebody 2025",
    facts_from="the card",
    repository="OWNER/NAME",
    spacing=(1.0, 1.0, 2.5),
    unverified=("spacing", "patch"),
)


def test_the_text_tells_facts_from_guesses_and_admits_what_is_missing():
    lines = dict(line.split(maxsplit=1) for line in str(ENTRY).replace("learned from", "learned").splitlines())
    assert lines["spacing"] == "1 x 1 x 2.5 mm  (unverified)"
    assert lines["patch"] == "not known  (unverified)"
    assert lines["licence"] == "CC BY 4.0"
    assert lines["tried"] == "nobody with the real file"
    assert "note" not in lines
    assert lines["download"] == "https://huggingface.co/OWNER/NAME/resolve/main/checkpoint_final.pth"


@pytest.mark.parametrize("repository", ["", "OWNER/NAME"])
def test_where_nothing_is_released_there_is_no_address(repository):
    entry = PublishedEncoder(**{**vars(ENTRY), "repository": repository})
    assert bool(entry.url) == bool(repository)
    assert ("no weights have been released" in str(entry)) == (not repository)
