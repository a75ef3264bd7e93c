import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss
from monai.networks.utils import convert_to_onnx

from monai_ext.losses import MaskedPatchLoss
from monai_ext.maskers import RandomMasker
from monai_ext.networks import load_weights, save_atomically
from monai_ext.networks.blocks import ViLBlock, mask_to_image
from monai_ext.networks.nets import ResidualDecoder, XLSTMEncoder, XLSTMMaskedAutoencoder, XLSTMUNet

SMALL = {"channels": (4, 8, 12, 16), "strides": (1, 2, 2, 2)}
POSITIONS = ["encoder", "bottleneck", "none"]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("position", "bidirectional", "parameters"),
    [
        ("none", False, 41_445_450),
        ("bottleneck", False, 42_087_698),
        ("bottleneck", True, 42_729_626),
        ("encoder", False, 44_308_002),
        ("encoder", True, 46_007_098),
    ],
)
def test_parameters_of_the_full_size(position, bidirectional, parameters):
    with torch.device("meta"):
        net = XLSTMUNet(position=position, bidirectional=bidirectional, deep_supervision=5)
    assert count(net) == parameters


def test_parameters_equal_the_containers():
    """42.09 M (Bot) and 43.76 M (Enc), if the container's additional layers are counted."""
    with torch.device("meta"):
        bottleneck, encoder = (
            count(XLSTMUNet(position=p, bidirectional=False, deep_supervision=5)) for p in ("bottleneck", "encoder")
        )
        tokens_of_voxels, tokens_of_channels = count(ViLBlock(320, False)), count(ViLBlock(4 * 6 * 5, False))

    def unused_norms(*dims):
        return sum(2 * d for d in dims)

    assert bottleneck + unused_norms(320) == 42_088_338
    assert encoder - tokens_of_voxels + tokens_of_channels + unused_norms(256, 320, 120) == 43_763_994


@pytest.mark.parametrize("position", POSITIONS)
def test_outputs_in_training_and_evaluation(position):
    net = XLSTMUNet(out_channels=3, deep_supervision=2, position=position, **SMALL)
    image = torch.randn(2, 2, 16, 24, 32)
    outputs = net(image)
    assert [tuple(x.shape) for x in outputs] == [(2, 3, 16, 24, 32), (2, 3, 8, 12, 16)]
    torch.testing.assert_close(net.eval()(image), outputs[0])
    assert isinstance(XLSTMUNet(deep_supervision=1, **SMALL)(image), torch.Tensor)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_every_parameter_gets_a_gradient_in_segmentation(position, bidirectional):
    net = XLSTMUNet(deep_supervision=3, position=position, bidirectional=bidirectional, **SMALL)
    label = (torch.rand(2, 1, 16, 16, 16) > 0.7).float()
    loss = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True, batch=True))
    loss(net(torch.randn(2, 2, 16, 16, 16)), label).backward()
    assert missing_gradients(net) == []


@pytest.mark.parametrize("position", POSITIONS)
def test_every_parameter_gets_a_gradient_in_pretraining(position):
    net = XLSTMMaskedAutoencoder(patch_size=(4, 4, 4), position=position, **SMALL)
    image = torch.randn(2, 2, 16, 16, 16)
    mask = RandomMasker(64, 0.75)({"image": image})
    MaskedPatchLoss((4, 4, 4), normalize=False)(net(image, mask), image, mask).backward()
    assert missing_gradients(net) == []


def missing_gradients(net):
    """Names of parameters that do not learn. An instance norm removes the bias before it."""
    constant = ("conv1.bias", "conv2.bias")
    return [
        name
        for name, p in net.named_parameters()
        if p.grad is None or not p.grad.isfinite().all() or not (p.grad.any() or name.endswith(constant))
    ]


def test_blocks_of_the_paper_with_the_masked_loss():
    image = torch.randn(1, 2, 32, 48, 32)
    mask = RandomMasker(12, 0.75)({"image": image}, generator=torch.Generator().manual_seed(0))
    net = XLSTMMaskedAutoencoder(**SMALL)
    pred = net(image, mask)
    assert pred.shape == image.shape
    loss = MaskedPatchLoss((16, 16, 16), normalize=False)(pred, image, mask)
    hidden = mask_to_image(mask, image.shape[2:], (16, 16, 16)).expand_as(image)
    torch.testing.assert_close(loss, (pred - image)[hidden].square().mean())


def test_the_autoencoder_never_sees_masked_voxels():
    net = XLSTMMaskedAutoencoder(patch_size=(4, 4, 4), **SMALL)
    image = torch.randn(1, 2, 16, 16, 16)
    mask = RandomMasker(64, 0.75)({"image": image})
    hidden = mask_to_image(mask, (16, 16, 16), (4, 4, 4))
    other = torch.where(hidden, torch.randn_like(image), image)
    assert torch.equal(net(other, mask), net(image, mask))
    assert not torch.equal(net(image + 1, mask), net(image, mask))


def test_without_skips_only_the_coarsest_features_count():
    decoder = ResidualDecoder((4, 8, 12), 2, skips=False)
    features = [torch.randn(1, c, s, s, s) for c, s in ((4, 16), (8, 8), (12, 4))]
    other = [torch.randn_like(x) for x in features[:-1]] + features[-1:]
    assert torch.equal(decoder(features)[0], decoder(other)[0])


def test_the_autoencoder_reconstructs_from_the_coarsest_features():
    class ScrambledFine(torch.nn.Module):
        def __init__(self, encoder):
            super().__init__()
            self.encoder = encoder

        def forward(self, image):
            *fine, coarsest = self.encoder(image)
            return [*(torch.randn_like(x) for x in fine), coarsest]

    net = XLSTMMaskedAutoencoder(patch_size=(4, 4, 4), **SMALL)
    image, mask = torch.randn(1, 2, 16, 16, 16), torch.zeros(1, 64, dtype=torch.bool)
    expected = net(image, mask)
    net.encoder = ScrambledFine(net.encoder)
    assert torch.equal(net(image, mask), expected)


def test_convolving_before_copying_is_the_same():
    decoder = ResidualDecoder((4, 8), 2, skips=False)
    x = torch.randn(1, 8, 4, 4, 4)
    up = torch.nn.Upsample(scale_factor=2)
    expected = decoder.heads[0](decoder.stages[0](decoder.up[0](up(x))))
    torch.testing.assert_close(decoder([torch.empty(1, 4, 8, 8, 8), x])[0], expected)


@pytest.mark.parametrize("position", POSITIONS)
def test_encoder_weights_move_from_pretraining_to_segmentation(position, tmp_path):
    pretrained = XLSTMMaskedAutoencoder(position=position, **SMALL)

    net = XLSTMUNet(deep_supervision=2, position=position, **SMALL)
    weights, own = pretrained.state_dict(), net.state_dict()
    encoder = {name for name in own if name.startswith("encoder.")}
    assert weights.keys() & own.keys() == encoder
    save_atomically(weights, tmp_path / "pretrained.pt")
    report = load_weights(net, tmp_path / "pretrained.pt", part="encoder")
    assert set(report.matched) == encoder
    assert report.missing == []
    assert all(name.startswith(("reconstruction.", "fill.")) for name in report.unexpected)
    image = torch.randn(1, 2, 16, 16, 16)
    for ours, theirs in zip(net.encoder(image), pretrained.encoder(image)):
        assert torch.equal(ours, theirs)


def test_the_bottleneck_is_a_part_of_the_encoder_variant():
    names = [set(XLSTMEncoder(position=p, blocks=(1, 1, 1, 1), **SMALL).state_dict()) for p in POSITIONS]
    assert names[0] > names[1] > names[2]


@pytest.mark.parametrize("size", [(24, 24, 24), (17, 20, 30)])
def test_one_net_takes_every_size(size):
    net = XLSTMUNet(deep_supervision=1, position="encoder", **SMALL)
    assert net(torch.randn(1, 2, *size)).shape == (1, 2, *size)


def test_anisotropic_strides_and_other_channels():
    strides = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    net = XLSTMUNet(in_channels=4, deep_supervision=3, channels=SMALL["channels"], strides=strides)
    outputs = net(torch.randn(1, 4, 8, 16, 16))
    assert [tuple(x.shape[2:]) for x in outputs] == [(8, 16, 16), (4, 8, 8), (2, 4, 4)]


def test_xlstm_carries_a_far_corner_across():
    def reach(position):
        net = XLSTMEncoder(2, (4, 8), (1, 2), position=position, bidirectional=True).double()
        for module in net.modules():  # instance norms see the whole volume; without them only xLSTM does
            if isinstance(module, torch.nn.InstanceNorm3d):
                module.forward = lambda x: x
        image = torch.randn(1, 2, 32, 8, 8, dtype=torch.float64, requires_grad=True)
        corner = net(image)[-1][0, :, 0, 0, 0].sum()
        return torch.autograd.grad(corner, image)[0][..., -1, -1, -1].abs().max() > 0

    assert reach("bottleneck")
    assert not reach("none")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_autocast(kind):
    net = XLSTMUNet(deep_supervision=1, position="encoder", **SMALL)
    # Not smaller: torch 2.13 on the CPU gives a 3x3x3 convolution of 2x2x2 voxels a weight gradient in bf16 that reads
    # memory nobody wrote, now and then NaN.
    with torch.autocast("cpu", dtype=kind):
        loss = net(torch.randn(1, 2, 24, 24, 24)).float().square().mean()
    loss.backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_exported_nets_give_the_same():
    net = XLSTMUNet(channels=(4, 8), strides=(1, 2), deep_supervision=1).eval()
    image = torch.randn(1, 2, 10, 12, 10)  # 150 tokens in the second stage: three chunks
    with torch.no_grad():
        expected = net(image)
        torch.testing.assert_close(torch.jit.trace(net, image, check_trace=False)(image), expected)
    runtime = pytest.importorskip("onnxruntime")
    model = convert_to_onnx(net, [image], input_names=["image"], dynamo=False)  # the other takes seconds
    (exported,) = runtime.InferenceSession(model.SerializeToString()).run(None, {"image": image.numpy()})
    torch.testing.assert_close(torch.from_numpy(exported), expected, rtol=1e-4, atol=1e-4)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="decoder"):
        XLSTMEncoder(position="decoder")
    with pytest.raises(ValueError, match="3 strides"):
        XLSTMEncoder(strides=(1, 2, 2))
    with pytest.raises(ValueError, match="num_outputs 4"):
        XLSTMUNet(deep_supervision=4, **SMALL)
    with pytest.raises(ValueError, match="2 numbers of blocks"):
        XLSTMUNet(deep_supervision=1, decoder_blocks=(1, 1), **SMALL)
