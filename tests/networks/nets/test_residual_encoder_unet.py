"""The residual encoder U-Net beside the authors' own class, its training, and its masked pretraining."""

import pytest
import torch
from monai.data import MetaTensor
from monai.networks.utils import convert_to_onnx
from published_code import published_resenc
from published_networks import shuffle

from monai_ext.losses import DeepSupervisionLoss, MemoryEfficientDiceCELoss
from monai_ext.networks.nets import ResidualEncoder, ResidualEncoderUNet

SMALL = {"channels": (4, 8, 12), "strides": (1, 2, (1, 2, 2)), "blocks": (1, 2, 2)}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_names_shapes_and_count_of_resenc_l_are_the_published_ones():
    with torch.device("meta"):
        ours = ResidualEncoderUNet()
        theirs = published_resenc(
            1, 2, (32, 64, 128, 256, 320, 320), (1, 2, 2, 2, 2, 2), (1, 3, 4, 6, 6, 6), deep_supervision=True
        )
    assert sum(p.numel() for p in ours.parameters()) == 102_349_770
    assert [(name, p.shape) for name, p in ours.named_parameters()] == [
        (name, p.shape) for name, p in theirs.named_parameters()
    ]


@pytest.mark.parametrize("training", [True, False])
def test_computes_what_the_published_class_does(training):
    theirs = shuffle(published_resenc(2, 3, **SMALL, deep_supervision=training)).train(training)
    ours = ResidualEncoderUNet(2, 3, **SMALL).train(training)
    ours.load_state_dict(dict(theirs.named_parameters()), strict=True)
    image = torch.randn(2, 2, 4, 8, 12)
    expected, found = theirs(image), ours(image)
    assert isinstance(found, list) == training
    for mine, its in zip(found if training else [found], expected if training else [expected], strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5)
    if training:
        losses = [sum(o.square().mean() for o in outputs) for outputs in (found, expected)]
        gradients = [torch.autograd.grad(loss, list(n.parameters())) for loss, n in zip(losses, (ours, theirs))]
        for mine, its in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("position", ["none", "bottleneck"])
@pytest.mark.parametrize("deep_supervision", [True, False])
def test_every_parameter_learns(position, deep_supervision):
    net = shuffle(ResidualEncoderUNet(1, 3, **SMALL, position=position, deep_supervision=deep_supervision))
    label = torch.randint(0, 3, (2, 1, 4, 8, 8))
    outputs = net(MetaTensor(torch.randn(2, 1, 4, 8, 8)))
    assert [o.shape[2:] for o in outputs] == [(4, 8, 8), (2, 4, 4)] if deep_supervision else outputs.shape[1] == 3
    DeepSupervisionLoss(MemoryEfficientDiceCELoss())(outputs, label).backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None]
    silent = [name for name, p in net.named_parameters() if not p.grad.abs().sum() and not name.endswith("conv.bias")]
    assert not silent  # a bias before a norm is taken out again
    assert isinstance(net.eval()(torch.randn(1, 1, 4, 8, 8)), torch.Tensor)


def test_xlstm_at_the_bottleneck_adds_its_block_and_nothing_else():
    plain, ours = ResidualEncoder(1, **SMALL), ResidualEncoder(1, **SMALL, position="bottleneck")
    names = {name for name, _ in ours.named_parameters()} - {name for name, _ in plain.named_parameters()}
    assert names
    assert all(name.startswith("xlstm.") for name in names)
    plain.load_state_dict(ours.state_dict(), strict=False)
    image = torch.randn(1, 1, 4, 8, 8)
    for mine, its in zip(ours(image)[:-1], plain(image)[:-1], strict=True):
        assert torch.equal(mine, its)
    assert not torch.equal(ours(image)[-1], plain(image)[-1])


def test_arguments_and_images_that_do_not_fit():
    with pytest.raises(ValueError, match="'encoder' is not one of"):
        ResidualEncoder(position="encoder")
    with pytest.raises(ValueError, match="6 channels, 6 strides, 5 blocks"):
        ResidualEncoder(blocks=(1,) * 5)
    net = ResidualEncoderUNet(1, 2, **SMALL)
    for size in ((4, 8, 6), (2, 4, 4)):  # no multiple; a single voxel at the last stage
        with pytest.raises(ValueError, match=r"is not a multiple of \(2, 4, 4\)"):
            net(torch.randn(1, 1, *size))


def test_exports(tmp_path):
    net = shuffle(ResidualEncoderUNet(1, 2, **SMALL)).eval()
    image = torch.randn(1, 1, 4, 8, 8)
    with torch.no_grad():
        expected = net(image)
        torch.testing.assert_close(torch.jit.trace(net, image)(image), expected, rtol=1e-4, atol=1e-5)
    model = convert_to_onnx(net, [image], use_trace=True, verify=True, rtol=1e-3, atol=1e-4)
    assert model.graph.output
