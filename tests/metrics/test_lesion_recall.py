import torch

from monai_ext.metrics import lesion_recall


def test_recall_and_chance_by_hand():
    label = torch.zeros(3, 1, 8, 8)
    label[0, 0, :4, :4] = 2  # the first of four patches
    label[0, 0, 4:, 4:] = 1  # and the last
    label[1, 0, 0, 0] = 1  # one pixel of 16: below the share that makes a lesion patch
    label[2, 0, 0, 4:6] = 1  # two of 16
    mask = torch.tensor([[True, True, False, False]]).expand(3, 4)
    recall, chance = lesion_recall(mask, label, (4, 4))
    assert recall[0] == 0.5
    assert recall[1].isnan()
    assert recall[2] == 1
    assert chance.tolist() == [0.5] * 3
