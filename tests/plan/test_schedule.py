"""Steps and rates for the minutes that there are."""

from monai_ext.plan.schedule import schedule


def test_schedule_fills_the_minutes():
    run = schedule(15, 0.5, 60)
    assert run.seconds <= 15 * 60
    assert run.seconds > 0.85 * 15 * 60
    assert run.epochs * run.iterations == run.steps
    assert run.few
    assert run.rate > schedule(600, 0.5, 60).rate
    assert schedule(0.1, 100, 1000).steps == 1
    assert schedule(1e6, 0.01, 0).steps == 250_000
    assert not schedule(1e6, 0.01, 0).few
