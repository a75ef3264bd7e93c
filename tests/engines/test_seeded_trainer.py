import torch
from ignite.engine import Events

from monai_ext.engines import SeededTrainer, seed_step


class Drawing(SeededTrainer):
    """Records the random numbers of each step."""

    def __init__(self, seed=0, **kwargs):
        super().__init__(torch.device("cpu"), 3, [{}, {}, {}, {}], seed, **kwargs)
        self.drawn = []

    def _iteration(self, engine, batchdata):
        self.drawn.append(torch.rand((), generator=self.draws()).item())
        return {"loss": torch.zeros(())}


def test_each_step_draws_anew_and_a_repeated_run_draws_the_same():
    first, second, other = Drawing(), Drawing(), Drawing(seed=1)
    for trainer in (first, second, other):
        trainer.run()
    assert len(set(first.drawn)) == 12
    assert first.drawn == second.drawn
    assert not set(first.drawn) & set(other.drawn)


def test_a_run_that_starts_at_the_third_epoch_draws_what_the_whole_one_drew():
    whole, resumed = Drawing(), Drawing()
    whole.run()

    @resumed.on(Events.STARTED)
    def skip(engine):
        engine.state.epoch, engine.state.iteration = 2, 8

    resumed.run()
    assert resumed.drawn == whole.drawn[8:]


def test_ranks_draw_differently():
    generator = torch.Generator()
    drawn = {torch.rand((), generator=seed_step(generator, 5, rank, 7)).item() for rank in range(8)}
    assert len(drawn) == 8


def test_autocast_is_off_unless_asked_for():
    x = torch.ones(4, 4)
    with Drawing(amp=False).autocast():
        assert (x @ x).dtype == torch.float32
