from ignite.engine import Engine, Events

from monai_ext.handlers.attached import attached


class Handler:
    def __call__(self, engine):
        pass

    def start(self, engine):
        pass


class Special(Handler):
    pass


def test_finds_callables_and_owners_of_methods_in_order_of_their_calls():
    engine = Engine(lambda engine, batch: None)
    first, second, third, other = Handler(), Special(), Handler(), Handler()
    engine.add_event_handler(Events.STARTED, first)
    engine.add_event_handler(Events.STARTED, lambda engine: None)
    engine.add_event_handler(Events.STARTED, second.start)
    engine.add_event_handler(
        Events.STARTED,
        third,
    )
    engine.add_event_handler(Events.COMPLETED, other)
    assert attached(engine, Handler) == [first, second, third]
    assert attached(engine, Special) == [second]
    assert attached(engine, Handler, Events.COMPLETED) == [other]
    assert attached(engine, Handler, Events.EPOCH_STARTED) == []
