from ignite.engine import Engine, Events

from monai_ext.handlers.find_handlers import find_handlers


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
    assert find_handlers(engine, Handler) == [first, second, third]
    assert find_handlers(engine, Special) == [second]
    assert find_handlers(engine, Handler, Events.COMPLETED) == [other]
    assert find_handlers(engine, Handler, Events.EPOCH_STARTED) == []
