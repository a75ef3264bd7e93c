import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss
from torch import nn

from monai_ext.networks.nets import STUNet
from monai_ext.networks.precision import autocast, has_bf16


@pytest.mark.parametrize(
    ("size", "millions", "keys"), [("S", 14.60, 130), ("B", 58.26, 130), ("L", 440.30, 218), ("H", 1457.33, 306)]
)
def test_has_the_published_number_of_parameters(size, millions, keys):
    with torch.device("meta"):
        network = STUNet(in_channels=1, num_classes=105, size=size)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == millions
    assert len(network.state_dict()) == keys


def small(**kwargs):
    torch.manual_seed(0)
    return STUNet(num_classes=3, size="S", **kwargs)


def test_predicts_at_every_scale_in_training_and_at_the_finest_after():
    network, image = small(), torch.randn(2, 1, 32, 32, 16)
    assert [tuple(y.shape[1:]) for y in network(image)] == [
        (3, 32, 32, 16),
        (3, 16, 16, 8),
        (3, 8, 8, 4),
        (3, 4, 4, 2),
        (3, 2, 2, 1),
    ]
    finest = network(image)[0]
    network.eval()
    torch.testing.assert_close(network(image), finest)


@pytest.mark.parametrize("deep_supervision", [True, False])
def test_every_parameter_gets_a_gradient(deep_supervision):
    network = small(deep_supervision=deep_supervision)
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    loss = DeepSupervisionLoss(loss) if deep_supervision else loss
    loss(network(torch.randn(1, 1, 32, 32, 16)), torch.randint(0, 3, (1, 1, 32, 32, 16)).float()).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]
    assert len(network.heads) == (5 if deep_supervision else 1)


class Counter:
    """Values that autograd keeps for the backward pass."""

    values = 0

    def pack(self, tensor):
        self.values += tensor.numel()
        return tensor


def test_checkpointing_changes_memory_and_nothing_else():
    image = torch.randn(1, 1, 32, 32, 16)
    results = []
    for checkpointing in (False, True):
        network = small(checkpointing=checkpointing, deep_supervision=False)
        saved = Counter()
        with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
            out = network(image)
        out.square().mean().backward()
        results.append((out, [p.grad for p in network.parameters()], saved.values))
    torch.testing.assert_close(results[0][:2], results[1][:2])
    assert results[1][2] < 0.5 * results[0][2]


@pytest.mark.skipif(not has_bf16(torch.device("cpu")), reason="this CPU computes in fp32 anyway")
def test_checkpointing_recomputes_small_maps_in_fp32_too():
    """The last stage has two voxels along each axis, whose convolutions leave bfloat16."""
    image, gradients = torch.randn(2, 1, 32, 32, 32), []
    for checkpointing in (False, True):
        network = small(checkpointing=checkpointing, deep_supervision=False)
        with autocast(torch.device("cpu")):
            out = network(image)
        out.float().square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    torch.testing.assert_close(*gradients)


def test_strides_of_its_own_and_sizes_that_do_not_fit():
    network = small(strides=((1, 2, 2), (2, 2, 2), (2, 2, 2)), deep_supervision=False).eval()
    assert network(torch.randn(1, 1, 12, 24, 24)).shape == (1, 3, 12, 24, 24)
    with pytest.raises(ValueError, match=r"\(12, 20, 24\) is not a multiple of \(4, 8, 8\)"):
        network(torch.randn(1, 1, 12, 20, 24))
    with pytest.raises(ValueError, match="'M' is none of S, B, L, H"):
        STUNet(size="M")


def test_channels_last_computes_the_same():
    torch.manual_seed(0)
    image = torch.randn(2, 1, 32, 32, 16).double()  # in single precision a gradient differs by up to 1 %
    results = []
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        network = small(deep_supervision=False).double().to(memory_format=layout)
        out = network(image)
        out.square().mean().backward()
        results.append((out.contiguous(), network.encoder.stages[0][0].conv1.weight.grad.contiguous()))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-12)


def test_traces():
    network, image = small().eval(), torch.randn(1, 1, 32, 32, 16)
    with torch.no_grad():
        traced = torch.jit.trace(network, image)
        other = torch.randn(1, 1, 32, 32, 16)
        torch.testing.assert_close(traced(other), network(other))


def test_upsampling_after_the_convolution_equals_upsampling_before():
    network = small()
    upsample, x = network.upsamples[1], torch.randn(1, 256, 2, 2, 2)
    before = upsample.conv(nn.Upsample(scale_factor=2, mode="nearest")(x))
    torch.testing.assert_close(upsample(x), before)
