import json

from monai_ext.metrics import MetricTable, summarize


def test_text_and_dict():
    table = MetricTable()
    table.add("dice", [0.5, 0.75, 1.0])
    table.update({"a longer name": summarize([0.25], groups=["p1"])})
    table.add("nothing", [])
    assert str(table).splitlines() == [
        "metric           mean  95 % CI           n",
        "dice           0.7500  0.5000 to 1.0000  3",
        "a longer name  0.2500  -                 1",
        "nothing             -  -                 0",
    ]
    report = json.loads(json.dumps(table.as_dict(), allow_nan=False))
    assert report["dice"] == summarize([0.5, 0.75, 1.0])
    assert report["a longer name"] == {"mean": 0.25, "ci_low": None, "ci_high": None, "n": 1, "groups": 1}
