import pytest
import torch
from monai.engines import SupervisedTrainer
from torch.nn.functional import mse_loss

from monai_ext.handlers import ClipGradients


@pytest.mark.parametrize("limit", [0.01, 1e6, None])
def test_step_is_that_of_the_clipped_gradient(limit):
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    before = {name: value.clone() for name, value in network.named_parameters()}
    x, y = torch.randn(4, 3), torch.randn(4, 2) * 100
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[{"image": x, "label": y}],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        loss_function=mse_loss,
        decollate=False,
        train_handlers=[ClipGradients(network, limit)],
    ).run()
    twin = torch.nn.Linear(3, 2)
    twin.load_state_dict(before)
    mse_loss(twin(x), y).backward()
    norm = torch.cat([p.grad.flatten() for p in twin.parameters()]).norm()
    for (name, value), grad in zip(network.named_parameters(), (p.grad for p in twin.parameters())):
        torch.testing.assert_close(
            value, before[name] - grad * min(1.0, (limit or torch.inf) / norm.item()), rtol=1e-4, atol=1e-6
        )


def test_limit_must_be_positive():
    with pytest.raises(ValueError, match="0"):
        ClipGradients(torch.nn.Linear(1, 1), 0)
