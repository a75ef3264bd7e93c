import pytest
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from monai.transforms import AsDiscreted
from torch import nn

from monai_ext.engines import ClickEvaluator
from monai_ext.errors import ConfigError
from monai_ext.metrics import ClickScores
from monai_ext.transforms import RandClicksd


class Obedient(nn.Module):
    """Takes for lesion what was clicked as lesion, and keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, image):
        self.seen.append(image[0].as_tensor().clone())
        return torch.cat([torch.full_like(image[:, :1], 0.01), image[:, -2:-1]], 1)


def items(channels=4):
    found = []
    for number in range(2):
        label = MetaTensor(torch.zeros(1, 16, 14, 12), affine=torch.eye(4))
        label[0, 2:7, 2:7, 2:7], label[0, 10:14, 8:12, 5:9] = 1, 1
        image = torch.randn(channels, 16, 14, 12, generator=torch.Generator().manual_seed(number))
        found.append({"id": f"case{number}", "image": MetaTensor(image, affine=torch.eye(4)), "label": label})
    return found


def run(data, max_clicks=3, seed=0):
    torch.manual_seed(seed)
    network, kept = Obedient(), []
    evaluator = ClickEvaluator(
        torch.device("cpu"),
        data,
        network,
        RandClicksd("balls"),
        max_clicks,
        postprocessing=AsDiscreted("pred", argmax=True),
        key_val_metric={"val_dice": ClickScores(max_clicks)},
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: kept.extend(engine.state.output))
    evaluator.run()
    return network.seen, [item["pred"].as_tensor() for item in kept], evaluator.state.metrics


def test_every_number_of_clicks_adds_one_of_each_kind_to_those_before():
    data = items()
    seen, masks, metrics = run(data)
    assert [tuple(mask.shape) for mask in masks] == [(4, 16, 14, 12)] * 2
    for case, item in enumerate(data):
        own = seen[4 * case : 4 * case + 4]
        for number, image in enumerate(own):
            assert torch.equal(image[:2], item["image"][:2].as_tensor())
            assert bool(image[2:].any()) == (number > 0)
            assert (image[2] == 1).sum() <= number
            assert (image[2:] >= own[max(number - 1, 0)][2:]).all()  # nested
            at = image[2] == 1
            assert (item["label"][0][at] == 1).all()
            assert not (item["label"][0][image[3] == 1] == 1).any()
            assert torch.equal(masks[case][number] > 0, image[2] > 0.01)
    assert metrics["dice_0"] == 0
    assert metrics["dice_0"] < metrics["dice_1"] <= metrics["dice_3"]


def test_clicks_belong_to_the_case_and_not_to_the_run():
    data = items()
    whole, _, _ = run(data, seed=0)
    alone, _, _ = run(data[1:], seed=1)
    assert all(torch.equal(a, b) for a, b in zip(whole[4:], alone, strict=True))
    assert not torch.equal(whole[3][2], whole[7][2])  # another case has others


def test_an_image_without_channels_for_clicks_is_refused():
    with pytest.raises(ConfigError, match=r"no channels for clicks.*variants/clicks\.json"):
        run(items(channels=2))
