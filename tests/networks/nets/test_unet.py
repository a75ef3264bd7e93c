import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn

from monai_ext.networks.nets import MaskedImageModel, UNet


def test_defaults_are_the_papers_layout():
    net = UNet()
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    ups = [m for m in net.modules() if isinstance(m, nn.ConvTranspose2d)]
    pools = [m for m in net.modules() if isinstance(m, nn.MaxPool2d)]
    assert [c.out_channels for c in convs[:10]] == [c for f in (64, 128, 256, 512, 1024) for c in (f, f)]
    assert [(u.in_channels, u.out_channels, u.stride) for u in ups] == [
        (f, f // 2, (2, 2)) for f in (1024, 512, 256, 128)
    ]
    assert [c.in_channels for c in convs[10::2]] == [1024, 512, 256, 128]  # skip and up-sampled features, half each
    assert len(convs) == 18
    assert len(pools) == 4
    assert net.head.kernel_size == (1, 1)
    # Counted by hand: weights of convolutions, of transposed convolutions with bias, norms, head.
    pairs = [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 1024)]
    pairs += [(1024, 1024), *((a, b) for f in (512, 256, 128, 64) for a, b in ((2 * f, f), (f, f)))]
    expected = sum(9 * a * b + 2 * b for a, b in pairs) + sum(4 * f * f // 2 + f // 2 for f in (1024, 512, 256, 128))
    assert sum(p.numel() for p in net.parameters()) == expected + 64 * 2 + 2


def test_is_monais_unet_but_for_the_width_of_its_last_up_sampling():
    """With a last level that keeps its width both have the same layers, and the same output from the same weights."""
    theirs = BasicUNet(2, 1, 2, (8, 8, 16, 32, 64, 8), act="relu", bias=False)
    ours = UNet(1, 2, (8, 8, 16, 32, 64))
    with torch.no_grad():
        for mine, its in zip(ours.parameters(), theirs.parameters()):
            if mine.shape == its.shape:
                its.copy_(mine)
    # MONAI's last up-sampling does not halve: drop the other half of what it gives.
    up, wide = ours.body["decoder"][3], theirs.upcat_1
    with torch.no_grad():
        wide.upsample.deconv.weight.zero_()
        wide.upsample.deconv.bias.zero_()
        wide.upsample.deconv.weight[:, :4] = up.upsample.deconv.weight
        wide.upsample.deconv.bias[:4] = up.upsample.deconv.bias
        wide.convs.conv_0.conv.weight.zero_()
        wide.convs.conv_0.conv.weight[:, :12] = up.convs.conv_0.conv.weight
        wide.convs.conv_1.load_state_dict(up.convs.conv_1.state_dict())
        theirs.final_conv.load_state_dict(ours.head.state_dict())
    image = torch.randn(2, 1, 48, 32)
    assert torch.allclose(ours(image), theirs(image), atol=1e-5)


@pytest.mark.parametrize("size", [(32, 16), (40, 72), (144, 144)])
def test_output_is_as_large_as_the_input(size):
    assert UNet(2, 3, (4, 4, 8, 8, 16))(torch.randn(1, 2, *size)).shape == (1, 3, *size)


def test_a_slice_does_not_depend_on_its_batch():
    net = UNet(1, 2, (4, 4, 8, 8, 16)).train()
    images = torch.randn(3, 1, 32, 32)
    assert torch.allclose(net(images)[1], net(images[1:2])[0], atol=1e-5)


def test_pretraining_and_segmentation_share_all_but_the_head():
    pretrained = MaskedImageModel(UNet(1, 1, (4, 4, 8, 8, 16)), (2, 2)).state_dict()
    segmenter = UNet(1, 2, (4, 4, 8, 8, 16)).state_dict()
    shared = {n.removeprefix("backbone.") for n in pretrained} & {n for n in segmenter if n.startswith("body.")}
    assert shared == {n for n in segmenter if not n.startswith("head.")}
    assert all(pretrained[f"backbone.{n}"].shape == segmenter[n].shape for n in shared)


@pytest.mark.parametrize("features", [(8,), (8, 15)])
def test_impossible_features_are_refused(features):
    with pytest.raises(ValueError, match="features"):
        UNet(features=features)
