import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_ext.engines import MaskedPretrainer
from monai_ext.handlers import EMA, Checkpoints
from monai_ext.losses import MaskedPatchLoss
from monai_ext.maskers import AnatoMasker
from monai_ext.networks.nets import MaskedSTUNet
from monai_ext.networks.precision import has_bf16


def network():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_momentum_rises_over_the_first_quarter():
    ema = EMA(network())
    assert [round(ema.momentum_at(p), 7) for p in (0, 0.125, 0.25, 0.6, 1)] == [0.999, 0.99945, 0.9999, 0.9999, 0.9999]
    assert {EMA(network(), 0.9, None).momentum_at(p) for p in (0, 0.1, 1)} == {0.9}


def test_is_the_weighted_sum_of_all_the_students_there_were():
    student = network()
    ema = EMA(student, momentum=0.5, final_momentum=0.9, warmup=0.5)
    generator = torch.Generator().manual_seed(0)

    def step(engine, _):
        for value in [*student.parameters(), student[1].running_mean]:
            value.data = torch.randn(value.shape, generator=generator)
        student[1].num_batches_tracked += 1
        history.append({k: v.clone() for k, v in student.state_dict().items()})

    history = [{k: v.clone() for k, v in student.state_dict().items()}]
    engine = Engine(step)
    ema.attach(engine)
    engine.run(range(4), max_epochs=2)
    momenta = [0.5 + 0.4 * min(1, i / 8 / 0.5) for i in range(8)]
    for name, value in ema.teacher.state_dict().items():
        expected = history[0][name].double()
        for m, state in zip(momenta, history[1:]):
            expected = m * expected + (1 - m) * state[name].double()
        if name == "1.num_batches_tracked":
            expected = torch.tensor(8.0)
        torch.testing.assert_close(value.double(), expected.double(), rtol=1e-5, atol=1e-6)


def test_the_teacher_stands_alone():
    student = network().train()
    ema = EMA(student)
    assert student.training
    assert not ema.teacher.training
    assert not any(p.requires_grad for p in ema.teacher.parameters())
    mine = {t.data_ptr() for t in ema.teacher.state_dict().values()}
    ema.update()
    assert mine == {t.data_ptr() for t in ema.teacher.state_dict().values()}
    assert not mine & {t.data_ptr() for t in student.state_dict().values()}


def test_predicts_with_the_average_and_without_a_graph():
    student = network()
    ema = EMA(student, amp=False)
    x = torch.randn(4, 2)
    before = ema.predict(x)
    nn.init.zeros_(student[0].weight)
    torch.testing.assert_close(ema.predict(x), before)
    assert not before.requires_grad
    dtype = torch.bfloat16 if has_bf16(x.device) else torch.float32
    assert EMA(student[0]).predict(x).dtype == dtype


def test_goes_through_a_checkpoint(tmp_path):
    ema = EMA(network())
    torch.save(ema.state_dict(), tmp_path / "ema.pt")
    other = EMA(network())
    other.load_state_dict(torch.load(tmp_path / "ema.pt", weights_only=True))
    torch.testing.assert_close(other.state_dict(), ema.state_dict())


def test_momentum_one_keeps_the_teacher():
    student = network()
    ema = EMA(student, momentum=1.0, final_momentum=1.0)
    before = {k: v.clone() for k, v in ema.state_dict().items()}
    nn.init.zeros_(student[0].weight)
    ema.update(0.3)
    assert torch.equal(ema.state_dict()["0.weight"], before["0.weight"])


def test_arguments_out_of_range():
    with pytest.raises(ValueError, match=r"1\.1"):
        EMA(network(), momentum=1.1)


def pretrain(folder, epochs, of=4, resume=False):
    """AnatoMask in small: four epochs of two crops, possibly stopped after some."""
    torch.manual_seed(0)
    images = [{"image": torch.randn(1, 1, 8, 8, 16, generator=torch.Generator().manual_seed(i))} for i in range(2)]
    student = MaskedSTUNet(size="S", strides=((2, 2, 2),) * 2, decoder="simple")
    ema = EMA(student, momentum=0.5, final_momentum=0.9, amp=False)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    objects = {"network": student, "optimizer": optimizer, "ema": ema}
    trainer = MaskedPretrainer(
        device=torch.device("cpu"),
        max_epochs=of,
        train_data_loader=images,
        network=student,
        masker=AnatoMasker((4, 4, 4), teacher=ema.predict),
        loss_function=MaskedPatchLoss((4, 4, 4)),
        optimizer=optimizer,
        amp=False,
        train_handlers=[ema, Checkpoints(str(folder), objects, str(folder / "weights.pt"), resume=resume)],
    )
    if epochs < of:
        trainer.add_event_handler(Events.EPOCH_COMPLETED(once=epochs), lambda engine: engine.terminate())
    trainer.run()
    return student.state_dict(), ema.state_dict()


def test_a_resumed_run_ends_at_the_same_student_and_teacher(tmp_path):
    whole = pretrain(tmp_path / "whole", 4)
    pretrain(tmp_path / "parts", 2)
    (tmp_path / "parts" / "last.pt").unlink()  # what the stop itself wrote: begin from the epoch before it
    (tmp_path / "parts" / "previous.pt").rename(tmp_path / "parts" / "last.pt")
    resumed = pretrain(tmp_path / "parts", 4, resume=True)
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)
    assert not torch.equal(whole[0]["encoder.stages.0.0.conv1.weight"], whole[1]["encoder.stages.0.0.conv1.weight"])
