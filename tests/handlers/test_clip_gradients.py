import pytest
import torch
from monai.engines import SupervisedTrainer
from torch import nn

from monai_ext.handlers import ClipGradients


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_step_is_that_of_the_clipped_gradient(max_norm):
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    before = [p.detach().clone() for p in net.parameters()]
    data = [{"image": torch.randn(8, 4), "label": 50 * torch.randn(8, 3)}]
    loss = nn.MSELoss()
    grads = torch.autograd.grad(loss(net(data[0]["image"]), data[0]["label"]), list(net.parameters()))
    norm = torch.cat([g.flatten() for g in grads]).norm()
    assert 0.5 < norm < 1e6
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=data,
        network=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        loss_function=loss,
        train_handlers=[ClipGradients(net, max_norm)],
        decollate=False,
    )
    trainer.run()
    for old, new, grad in zip(before, net.parameters(), grads):
        torch.testing.assert_close(new.detach(), old - 0.1 * grad * min(1.0, max_norm / norm), rtol=1e-4, atol=1e-6)
