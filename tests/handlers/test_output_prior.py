import pytest
import torch
from ignite.engine import Engine

from monai_ext.handlers import OutputPrior
from monai_ext.networks.nets import UNet


@pytest.mark.parametrize("share", [None, 0.01])
def test_it_is_set_when_attached_and_not_again_when_a_run_begins(share):
    network = UNet(in_channels=1, out_channels=2, features=(4, 8))
    before = network.head.bias.softmax(0).clone()
    engine = Engine(lambda engine, batch: None)
    OutputPrior(network, share).attach(engine)
    expected = before if share is None else torch.tensor([0.99, 0.01])
    torch.testing.assert_close(network.head.bias.softmax(0), expected)
    with torch.no_grad():
        network.head.bias.zero_()  # as a checkpoint would
    engine.run([0], max_epochs=2)
    assert network.head.bias.tolist() == [0, 0]
