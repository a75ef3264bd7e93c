"""What a setting may hold, read off defaults, expressions and signatures."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
import torch

from monai_ext.phases.settings import Kind, describe_settings, kind_of_annotation, kind_of_setting


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (bool, "true or false"),
        (int | None, "a whole number or null"),
        (Sequence[int], "a list, each element a whole number"),
        (tuple[float, ...] | None, "a list, each element a number or null"),
        (Literal["a", "b"], "'a' or 'b'"),
        (Mapping[str, Any], "a mapping"),
        (torch.device | str, "text or a device such as cpu or cuda:0"),
        (Any, "anything"),
        (torch.nn.Module, "anything"),
        (int | torch.nn.Module, "anything"),
    ],
)
def test_kind_of_annotation(annotation, text):
    assert str(kind_of_annotation(annotation)) == text


CONFIG = {
    "flag": True,
    "number": 3,
    "rate": 0.1,
    "twice": "$2 * @number",
    "half": "$@number / 2",
    "same": "@rate",
    "path": "$@root + '/model.pt'",
    "bigger": "$@number > 2",
    "device": "$torch.device('cpu')",
    "count": None,
    "sizes": [1, 2],
    "modalities": ["flair"],
    "mode": "bilinear",
    "layer": {"_target_": "torch.nn.Upsample", "mode": "@mode"},
    "linear": {"_target_": "torch.nn.Linear", "in_features": "@number", "out_features": 2, "bias": "@flag"},
    "fields": {"a": 1},
    "circle": "@circle",
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("flag", "true or false"),
        ("number", "a whole number"),
        ("twice", "a whole number"),
        ("half", "a number"),
        ("same", "a number"),
        ("path", "a path"),
        ("bigger", "true or false"),
        ("device", "a device such as cpu or cuda:0"),
        ("count", "anything"),
        ("sizes", "a list, each element a whole number"),
        ("modalities", "a list, each element text"),
        ("mode", "text"),
        ("layer", "anything"),
        ("fields", "a mapping"),
        ("circle", "anything"),
    ],
)
def test_kind_of_a_setting(name, text):
    assert str(kind_of_setting(CONFIG, name)) == text


def test_null_takes_its_kind_from_where_it_is_handed():
    config = {"patience": None, "run": {"_target_": "monai_ext.handlers.TrainingRun", "patience": "@patience"}}
    assert str(kind_of_setting(config, "patience")) == "a whole number or null"
    config = {"count": None, "items": "$monai_ext.data.draw_patients([], count=@count)"}
    assert str(kind_of_setting(config, "count")) == "a whole number or null"


@pytest.mark.parametrize(
    ("names", "given", "found"),
    [
        ({"bool"}, "NO", False),
        ({"bool"}, 1, True),
        ({"int"}, 20.0, 20),
        ({"float"}, "1e-4", 1e-4),
        ({"float"}, 3, 3.0),
        ({"list"}, (1, 2), [1, 2]),
        ({"int", "none"}, "null", None),
        ({"int", "list"}, [1], [1]),
        ({"device"}, "cpu", torch.device("cpu")),
        ({"int"}, "$1 + 1", "$1 + 1"),
        (set(), "anything", "anything"),
    ],
)
def test_convert(names, given, found):
    assert Kind(frozenset(names)).convert(given) == found


def test_a_word_is_a_list_of_words():
    words = Kind(frozenset({"list"}), element=Kind(frozenset({"str"})))
    assert words.convert("flair") == ["flair"]
    assert words.convert("t1, flair") == words.convert(("t1", "flair"))
    with pytest.raises(ValueError, match="must be a list"):
        Kind(frozenset({"list"}), element=Kind(frozenset({"int"}))).convert("flair")


@pytest.mark.parametrize(
    ("names", "given"),
    [
        *[({"bool"}, 2), ({"bool"}, 1.0), ({"int"}, 2.5), ({"int"}, True), ({"float"}, "fast"), ({"path"}, 3)],
        *[({"path"}, ""), ({"list"}, "ab"), ({"dict"}, [1]), ({"int"}, None), ({"device"}, "cuda:77"), ({"str"}, 1)],
    ],
)
def test_convert_refuses(names, given):
    with pytest.raises(ValueError, match=r"must be|is cuda"):
        Kind(frozenset(names)).convert(given)


def test_sentences_come_from_the_config_or_the_docstring():
    config = {
        "shape": "cosine",
        "warmup": 0.1,
        "_desc_warmup": "how long the rate rises",
        "lr_scheduler": {"_target_": "monai_ext.handlers.LearningRate", "shape": "@shape", "warmup": "@warmup"},
    }
    shape, warmup = describe_settings(config, ["shape", "warmup"])
    assert shape.kind.choices == ("constant", "cosine", "polynomial", "linear")
    assert shape.sentence == "see above."
    assert warmup.sentence == "how long the rate rises"
