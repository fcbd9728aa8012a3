"""Asks Pronto and a real RabbitMQ the same, and compares what they say, to the letter.

Each row asks one thing on a connection of its own to each of the two and puts the answer into a line: whether a channel
or the connection was closed, with which code, text and method, or which answer came with which fields. Names that a
broker makes up count by their form. What was asked is the row's name; a failing row shows both lines.

One row: python3 -m unittest test_replies.Replies.test_queue_purge_missing
"""

import re
import unittest

from pika import spec

from support import HEADER_0_9_1, Gone, Peer, Pronto, Rabbit, eventually, start_all, stop_all, told

BROKERS = []
ROWS = {}


def setUpModule():
    BROKERS.extend([Pronto(), Rabbit()])
    start_all(*BROKERS)


def tearDownModule():
    stop_all(*BROKERS)


def row(name):
    """Makes a row of a function that asks an open peer something and returns what it was told."""
    def keep(ask):
        assert name not in ROWS, name
        ROWS[name] = ask
        return ask
    return keep


def call_row(name, method):
    """A row of one question whose answer is the line."""
    row(name)(lambda peer: told(peer.call(1, method)))


class Replies(unittest.TestCase):
    maxDiff = None

    # Meant to differ: who has to mend a declaration reads all of what is wrong with it, RabbitMQ's text first.
    def test_two_arguments_inequivalent(self):
        lines = []
        for broker in BROKERS:
            with Peer(broker.port) as peer:
                peer.open()
                queue(peer, "probe-two", arguments={"x-expires": 10_000, "x-dead-letter-exchange": "a"})
                lines.append(declared(peer, {"x-expires": 20_000, "x-dead-letter-exchange": "b"}, queue="probe-two"))
        first, _, second = lines[0].removesuffix(" (class 50 method 10)").partition("; ")
        self.assertEqual(first, lines[1].removesuffix(" (class 50 method 10)"))
        self.assertEqual(second, "inequivalent arg 'x-dead-letter-exchange' for queue 'probe-two' in vhost '/': "
                                 "received 'b' but current is 'a'")


def compare(ask):
    def test(self):
        lines = []
        for broker in BROKERS:
            with Peer(broker.port) as peer:
                if not getattr(ask, "opens_itself", False):
                    peer.open()
                peer.port = broker.port
                lines.append(ask(peer))
        self.assertEqual(lines[0], lines[1], "Pronto's line, then RabbitMQ's")
    return test


# -- helpers of the rows --------------------------------------------------------


def settled(peer, channel=1):
    """What was told to a method without an answer of its own: the exception, or nothing by the time of the next answer."""
    answer = peer.call(channel, spec.Basic.Qos())
    return "ok" if isinstance(answer, spec.Basic.QosOk) else told(answer)


def ask(peer, method, channel=1):
    """Asks for something that must work here."""
    answer = peer.call(channel, method)
    assert told(answer).startswith("ok"), told(answer)
    return answer


def queue(peer, name="", **options):
    options.setdefault("exclusive", True)
    return ask(peer, spec.Queue.Declare(queue=name, **options)).queue


def declared(peer, arguments=None, **options):
    return told(peer.call(1, spec.Queue.Declare(arguments=arguments, **{"exclusive": True, **options})))


def itself(ask_it):
    ask_it.opens_itself = True
    return ask_it


# -- names ----------------------------------------------------------------------


@row("queue name generated")
def _(peer):
    name = queue(peer)
    return "well formed" if re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", name) else name


@row("consumer tag generated")
def _(peer):
    tag = ask(peer, spec.Basic.Consume(queue=queue(peer))).consumer_tag
    return "well formed" if re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]{22}", tag) else tag


call_row("queue.declare amq.x", spec.Queue.Declare(queue="amq.x"))
call_row("exchange.declare amq.x", spec.Exchange.Declare(exchange="amq.x", type="direct"))


# -- exchanges ------------------------------------------------------------------

call_row("exchange.declare unknown type", spec.Exchange.Declare(exchange="e", type="nosuch"))
call_row("exchange.declare default (passive)", spec.Exchange.Declare(exchange="", type="direct", passive=True))
call_row("exchange.declare default", spec.Exchange.Declare(exchange="", type="direct"))
call_row("exchange.declare passive missing", spec.Exchange.Declare(exchange="nonesuch", type="direct", passive=True))
call_row("exchange.declare amq.direct as it is", spec.Exchange.Declare(exchange="amq.direct", type="direct", durable=True))
call_row("exchange.declare amq.direct with another type",
         spec.Exchange.Declare(exchange="amq.direct", type="fanout", durable=True))
call_row("exchange.delete amq.direct", spec.Exchange.Delete(exchange="amq.direct"))
call_row("exchange.delete default", spec.Exchange.Delete(exchange=""))
call_row("exchange.delete missing", spec.Exchange.Delete(exchange="nonesuch"))


def redeclared_exchange(first, second):
    def ask_it(peer):
        ask(peer, spec.Exchange.Declare(exchange="re", **{"type": "direct", **first}))
        answer = peer.call(1, spec.Exchange.Declare(exchange="re", **{"type": "direct", **second}))
        with Peer(peer.port) as other:
            other.open()
            ask(other, spec.Exchange.Delete(exchange="re"))
        return told(answer)
    return ask_it


row("exchange redeclared the same")(redeclared_exchange({"type": "fanout"}, {"type": "fanout"}))
row("inequivalent exchange type")(redeclared_exchange({}, {"type": "fanout"}))
row("inequivalent exchange durable")(redeclared_exchange({}, {"durable": True}))
row("inequivalent exchange auto_delete")(redeclared_exchange({}, {"auto_delete": True}))
row("inequivalent exchange internal")(redeclared_exchange({}, {"internal": True}))
@row("alternate-exchange = 1 (integer)")
def _(peer):
    return told(peer.call(1, spec.Exchange.Declare(
        exchange="alt", type="direct", auto_delete=True, arguments={"alternate-exchange": 1})))


row("inequivalent exchange alternate-exchange")(
    redeclared_exchange({}, {"arguments": {"alternate-exchange": "other"}}))


@row("exchange.delete if_unused in use")
def _(peer):
    ask(peer, spec.Exchange.Declare(exchange="used", type="direct", auto_delete=True))
    ask(peer, spec.Queue.Bind(queue=queue(peer), exchange="used", routing_key="k"))
    return told(peer.call(1, spec.Exchange.Delete(exchange="used", if_unused=True)))


# -- queues and bindings --------------------------------------------------------

call_row("queue.delete missing", spec.Queue.Delete(queue="nonesuch"))
call_row("queue.purge missing", spec.Queue.Purge(queue="nonesuch"))
call_row("queue.declare passive missing", spec.Queue.Declare(queue="nonesuch", passive=True))
call_row("queue.bind missing queue", spec.Queue.Bind(queue="nonesuch", exchange="amq.direct"))
call_row("basic.get missing queue", spec.Basic.Get(queue="nonesuch"))
call_row("basic.consume missing queue", spec.Basic.Consume(queue="nonesuch"))


@row("queue.bind missing exchange")
def _(peer):
    return told(peer.call(1, spec.Queue.Bind(queue=queue(peer), exchange="nonesuch")))


@row("queue.unbind missing binding")
def _(peer):
    return told(peer.call(1, spec.Queue.Unbind(queue=queue(peer), exchange="amq.direct", routing_key="k")))


@row("queue.unbind missing exchange")
def _(peer):
    return told(peer.call(1, spec.Queue.Unbind(queue=queue(peer), exchange="nonesuch", routing_key="k")))


@row("queue.unbind missing queue")
def _(peer):
    return told(peer.call(1, spec.Queue.Unbind(queue="nonesuch", exchange="amq.direct", routing_key="k")))


@row("queue.bind to default exchange")
def _(peer):
    return told(peer.call(1, spec.Queue.Bind(queue=queue(peer), exchange="")))


@row("queue.unbind from default exchange")
def _(peer):
    name = queue(peer)
    return told(peer.call(1, spec.Queue.Unbind(queue=name, exchange="", routing_key=name)))


@row("exchange.bind missing source")
def _(peer):
    return told(peer.call(1, spec.Exchange.Bind(destination="amq.fanout", source="nonesuch")))


@row("exchange.bind missing destination")
def _(peer):
    return told(peer.call(1, spec.Exchange.Bind(destination="nonesuch", source="amq.fanout")))


@row("exchange.bind default exchange")
def _(peer):
    return told(peer.call(1, spec.Exchange.Bind(destination="", source="amq.fanout")))


@row("exchange.unbind missing")
def _(peer):
    return told(peer.call(1, spec.Exchange.Unbind(destination="amq.fanout", source="amq.direct", routing_key="k")))


@row("headers x-match=bogus")
def _(peer):
    return told(peer.call(1, spec.Queue.Bind(
        queue=queue(peer), exchange="amq.headers", arguments={"x-match": "bogus"})))


@row("queue name left out means the last one declared")
def _(peer):
    name = queue(peer)
    peer.publish(1, "", name, b"one")
    return [told(peer.call(1, spec.Queue.Bind(queue="", exchange="amq.direct", routing_key="last"))),
            told(peer.call(1, spec.Queue.Purge(queue=""))),
            told(peer.call(1, spec.Basic.Get(queue=""))),
            told(peer.call(1, spec.Basic.Consume(queue="", consumer_tag="t"))),
            told(peer.call(1, spec.Queue.Unbind(queue="", exchange="amq.direct", routing_key="last"))),
            told(peer.call(1, spec.Queue.Delete(queue="")))]


@row("queue.declare passive without a name")
def _(peer):
    queue(peer)
    return told(peer.call(1, spec.Queue.Declare(queue="", passive=True)))


@row("queue.bind without names binds the last queue by its own name")
def _(peer):
    name = queue(peer)
    ask(peer, spec.Queue.Bind(queue="", exchange="amq.direct", routing_key=""))
    peer.publish(1, "amq.direct", name, b"one")
    return told(peer.call(1, spec.Queue.Purge(queue=name)))


call_row("basic.get without a name and no queue declared", spec.Basic.Get(queue=""))
call_row("queue.bind without a name and no queue declared", spec.Queue.Bind(queue="", exchange="amq.direct"))
call_row("queue.delete without a name and no queue declared", spec.Queue.Delete(queue=""))


@row("queue.delete if_unused in use")
def _(peer):
    name = queue(peer, "in-use")
    ask(peer, spec.Basic.Consume(queue=name))
    return told(peer.call(1, spec.Queue.Delete(queue=name, if_unused=True)))


@row("queue.delete if_empty not empty")
def _(peer):
    name = queue(peer, "not-empty")
    peer.publish(1, "", name, b"one")
    return told(peer.call(1, spec.Queue.Delete(queue=name, if_empty=True)))


@row("queue.delete counts its messages")
def _(peer):
    name = queue(peer)
    for _ in range(3):
        peer.publish(1, "", name, b"one")
    return told(peer.call(1, spec.Queue.Delete(queue=name)))


@row("queue.delete with a consumer of one's own")
def _(peer):
    name = queue(peer)
    ask(peer, spec.Basic.Consume(queue=name, consumer_tag="t"))
    return [told(peer.call(1, spec.Queue.Delete(queue=name))), told(peer.receive())]


@row("other connection's exclusive queue")
def _(peer):
    queue(peer, "probe-excl")
    asked = [spec.Queue.Declare(queue="probe-excl", exclusive=True), spec.Queue.Declare(queue="probe-excl", passive=True),
             spec.Queue.Delete(queue="probe-excl"), spec.Queue.Purge(queue="probe-excl"),
             spec.Queue.Bind(queue="probe-excl", exchange="amq.direct"), spec.Basic.Get(queue="probe-excl"),
             spec.Basic.Consume(queue="probe-excl")]
    lines = []
    with Peer(peer.port) as other:
        other.open(channels=range(1, len(asked) + 1))
        for channel, method in enumerate(asked, 1):
            lines.append(told(other.call(channel, method)))
    return lines


@row("exclusive queue redeclared as shared")
def _(peer):
    queue(peer, "mine")
    return told(peer.call(1, spec.Queue.Declare(queue="mine")))


# -- arguments of queues --------------------------------------------------------


@row("inequivalent x-message-ttl")
def _(peer):
    queue(peer, "probe-ttl", arguments={"x-message-ttl": 1000})
    return declared(peer, {"x-message-ttl": 2000}, queue="probe-ttl")


@row("inequivalent x-message-ttl of a server-named queue")
def _(peer):
    name = queue(peer, arguments={"x-message-ttl": 1000})
    return declared(peer, {"x-message-ttl": 2000}, queue=name)


@row("argument missing on redeclaration")
def _(peer):
    queue(peer, "probe-missing", arguments={"x-dead-letter-exchange": "amq.fanout"})
    return declared(peer, queue="probe-missing")


@row("argument new on redeclaration")
def _(peer):
    queue(peer, "probe-new")
    return declared(peer, {"x-expires": 10_000}, queue="probe-new")


@row("argument equal with another integer type")
def _(peer):
    queue(peer, "probe-integer", arguments={"x-message-ttl": 1000})
    return declared(peer, {"x-message-ttl": 1000 + 2**40 - 2**40}, queue="probe-integer")


def redeclared_queue(first, second):
    def ask_it(peer):
        ask(peer, spec.Queue.Declare(queue="probe-d", **first))
        answer = peer.call(1, spec.Queue.Declare(queue="probe-d", **second))
        with Peer(peer.port) as other:
            other.open()
            ask(other, spec.Queue.Delete(queue="probe-d"))
        return told(answer)
    return ask_it


row("inequivalent durable")(redeclared_queue({}, {"durable": True}))
row("inequivalent auto_delete")(redeclared_queue({}, {"auto_delete": True}))
row("inequivalent exclusive")(redeclared_queue({}, {"exclusive": True}))
row("unknown x-argument differs")(redeclared_queue({}, {"arguments": {"x-unheard-of": 1}}))

for argument, value in {
        "x-message-ttl = -1": ("x-message-ttl", -1), 'x-message-ttl = "10" (string)': ("x-message-ttl", "10"),
        "x-message-ttl = 0": ("x-message-ttl", 0), "x-message-ttl too big": ("x-message-ttl", 2**40),
        "x-message-ttl of ten years": ("x-message-ttl", 315_360_000_000),
        "x-message-ttl of ten years and a millisecond": ("x-message-ttl", 315_360_000_001),
        "x-message-ttl = true": ("x-message-ttl", True), "x-message-ttl = none": ("x-message-ttl", None),
        "x-expires = 0": ("x-expires", 0), "x-expires = -1": ("x-expires", -1),
        'x-expires = "1" (string)': ("x-expires", "1"), "x-expires too big": ("x-expires", 2**40),
        "x-max-priority = 256": ("x-max-priority", 256), "x-overflow = bogus": ("x-overflow", "bogus"),
        "x-overflow = 1 (integer)": ("x-overflow", 1),
        "x-dead-letter-routing-key without DLX": ("x-dead-letter-routing-key", "k"),
        "x-dead-letter-routing-key = 1 (integer)": ("x-dead-letter-routing-key", 1),
        "x-dead-letter-exchange = 1 (integer)": ("x-dead-letter-exchange", 1),
        "x-dead-letter-exchange missing": ("x-dead-letter-exchange", "nonesuch"),
        "unknown x-argument": ("x-unheard-of", "anything"),
        "x-queue-mode = lazy": ("x-queue-mode", "lazy"),
        "x-queue-type = classic": ("x-queue-type", "classic")}.items():
    row(argument)(lambda peer, name=value[0], content=value[1]: declared(peer, {name: content}))


@row("x-queue-type = quorum, non durable")
def _(peer):
    return declared(peer, {"x-queue-type": "quorum"}, queue="pq", exclusive=False)


@row("x-queue-type = quorum, exclusive")
def _(peer):
    return declared(peer, {"x-queue-type": "quorum"}, queue="pq", durable=True)


@row("x-queue-type = quorum, auto-delete")
def _(peer):
    return declared(peer, {"x-queue-type": "quorum"}, queue="pq", durable=True, exclusive=False, auto_delete=True)


@row("x-queue-type = quorum, nothing right")
def _(peer):
    return declared(peer, {"x-queue-type": "quorum"}, queue="pq", exclusive=True, auto_delete=True)


@row("x-queue-type = quorum, non durable and auto-delete")
def _(peer):
    return declared(peer, {"x-queue-type": "quorum"}, queue="pq", exclusive=False, auto_delete=True)


@row("x-queue-type = quorum, non durable and exclusive")
def _(peer):
    return declared(peer, {"x-queue-type": "quorum"}, queue="pq", exclusive=True)


@row("exclusive queue redeclared as durable")
def _(peer):
    queue(peer, "never-durable")
    return declared(peer, queue="never-durable", durable=True)


@row("x-queue-type = bogus")
def _(peer):
    return declared(peer, {"x-queue-type": "bogus"}, queue="pq")


# -- publishing -----------------------------------------------------------------


@row("publish to missing exchange")
def _(peer):
    peer.publish(1, "nonesuch", "k")
    return settled(peer)


@row("basic.publish immediate=true")
def _(peer):
    peer.publish(1, "", "k", immediate=True)
    return settled(peer)


@row("bad expiration property")
def _(peer):
    peer.publish(1, "", "k", properties=spec.BasicProperties(expiration="abc"))
    return settled(peer)


for text in ("-1", "", "1.5", " 1", "1 ", "315360000000", "315360000001", "0", "-0", "+1", "+-1", "0x10"):
    @row(f"expiration '{text}'")
    def _(peer, text=text):
        peer.publish(1, "", "k", properties=spec.BasicProperties(expiration=text))
        return settled(peer)


@row("user_id mismatch")
def _(peer):
    peer.publish(1, "", "k", properties=spec.BasicProperties(user_id="zz"))
    return settled(peer)


@row("user_id as it is")
def _(peer):
    peer.publish(1, "", "k", properties=spec.BasicProperties(user_id="guest"))
    return settled(peer)


@row("publish to internal exchange")
def _(peer):
    ask(peer, spec.Exchange.Declare(exchange="probe-int", type="direct", internal=True, auto_delete=True))
    peer.publish(1, "probe-int", "k")
    line = settled(peer)
    with Peer(peer.port) as other:
        ask(other.open(), spec.Exchange.Delete(exchange="probe-int"))
    return line


@row("reply-to without consumer")
def _(peer):
    peer.publish(1, "", "k", properties=spec.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
    return settled(peer)


@row("mandatory to nowhere")
def _(peer):
    peer.publish(1, "amq.direct", "nowhere", b"body", mandatory=True)
    return told(peer.receive())


def dead_letter(arguments):
    """Where the copies of a rejected message with CC and BCC go, and which headers it has then."""
    def ask_it(peer):
        names = ["carbon", "other", "blind"]
        for name in names:
            queue(peer, name)
        source = queue(peer, "source", arguments={"x-dead-letter-exchange": "", **arguments})
        peer.publish(1, "", source, b"x", spec.BasicProperties(headers={"CC": ["carbon"], "BCC": ["blind"], "a": 1}))
        for name in ["carbon", "blind"]:
            assert eventually(f"a copy in {name}", lambda: ask(peer, spec.Queue.Purge(queue=name)).message_count)
        peer.send(1, spec.Basic.Reject(delivery_tag=ask(peer, spec.Basic.Get(queue=source)).delivery_tag, requeue=False))
        target = arguments.get("x-dead-letter-routing-key", "carbon")
        eventually("the dead letter", lambda: ask(peer, spec.Queue.Declare(queue=target, passive=True)).message_count)
        line = told(peer.call(1, spec.Basic.Get(queue=target)))
        headers = peer.receive_frame().properties.headers
        deaths = [{**death, "time": None} for death in headers.pop("x-death")]
        return [line, headers, deaths]
    return ask_it


row("dead letter of a message with CC")(dead_letter({}))
row("dead letter of a message with CC by a key of the queue's")(dead_letter({"x-dead-letter-routing-key": "other"}))


# -- consuming ------------------------------------------------------------------

call_row("basic.qos prefetch_size=1", spec.Basic.Qos(prefetch_size=1))
call_row("basic.recover requeue=false", spec.Basic.Recover(requeue=False))
call_row("basic.recover requeue=true", spec.Basic.Recover(requeue=True))
call_row("channel.flow active=false", spec.Channel.Flow(active=False))
call_row("channel.flow active=true", spec.Channel.Flow(active=True))
call_row("basic.cancel unknown tag", spec.Basic.Cancel(consumer_tag="zz"))


def cast_row(name, *methods):
    @row(name)
    def _(peer):
        for method in methods:
            peer.send(1, method)
        return settled(peer)


cast_row("basic.ack unknown tag", spec.Basic.Ack(delivery_tag=99))
cast_row("basic.ack unknown tag multiple", spec.Basic.Ack(delivery_tag=99, multiple=True))
cast_row("basic.ack tag 0", spec.Basic.Ack(delivery_tag=0))
cast_row("basic.ack tag 0 multiple (nothing unacked)", spec.Basic.Ack(delivery_tag=0, multiple=True))
cast_row("basic.nack unknown tag", spec.Basic.Nack(delivery_tag=99))
cast_row("basic.reject unknown tag", spec.Basic.Reject(delivery_tag=99))


@row("basic.ack twice")
def _(peer):
    name = queue(peer)
    peer.publish(1, "", name, b"one")
    tag = ask(peer, spec.Basic.Get(queue=name)).delivery_tag
    peer.send(1, spec.Basic.Ack(delivery_tag=tag))
    peer.send(1, spec.Basic.Ack(delivery_tag=tag))
    return settled(peer)


@row("basic.ack multiple up to a tag that was acked already")
def _(peer):
    name = queue(peer)
    for _ in range(3):
        peer.publish(1, "", name, b"one")
        ask(peer, spec.Basic.Get(queue=name))
    peer.send(1, spec.Basic.Ack(delivery_tag=2))
    peer.send(1, spec.Basic.Ack(delivery_tag=2, multiple=True))
    return settled(peer)


@row("basic.ack of a delivery without ack")
def _(peer):
    name = queue(peer)
    peer.publish(1, "", name, b"one")
    tag = ask(peer, spec.Basic.Get(queue=name, no_ack=True)).delivery_tag
    peer.send(1, spec.Basic.Ack(delivery_tag=tag))
    return settled(peer)


@row("duplicate consumer tag")
def _(peer):
    name = queue(peer)
    ask(peer, spec.Basic.Consume(queue=name, consumer_tag="d"))
    return told(peer.call(1, spec.Basic.Consume(queue=name, consumer_tag="d")))


@row("second consumer on exclusive consumer")
def _(peer):
    name = queue(peer)
    ask(peer, spec.Basic.Consume(queue=name, exclusive=True))
    return told(peer.call(1, spec.Basic.Consume(queue=name)))


@row("exclusive consumer where there is one")
def _(peer):
    name = queue(peer)
    ask(peer, spec.Basic.Consume(queue=name))
    return told(peer.call(1, spec.Basic.Consume(queue=name, exclusive=True)))


@row("basic.get empty")
def _(peer):
    return told(peer.call(1, spec.Basic.Get(queue=queue(peer))))


@row("reply consumer that acknowledges")
def _(peer):
    return told(peer.call(1, spec.Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=False)))


@row("two reply consumers on a channel")
def _(peer):
    ask(peer, spec.Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True))
    return told(peer.call(1, spec.Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True)))


@row("declare amq.rabbitmq.reply-to passive")
def _(peer):
    ask(peer, spec.Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True))
    return told(peer.call(1, spec.Queue.Declare(queue="amq.rabbitmq.reply-to", passive=True)))


# -- confirms and transactions --------------------------------------------------


@row("confirm.select then tx.select")
def _(peer):
    ask(peer, spec.Confirm.Select())
    return told(peer.call(1, spec.Tx.Select()))


@row("tx.select then confirm.select")
def _(peer):
    ask(peer, spec.Tx.Select())
    return told(peer.call(1, spec.Confirm.Select()))


call_row("tx.commit without tx.select", spec.Tx.Commit())
call_row("tx.rollback without tx.select", spec.Tx.Rollback())


@row("confirm of what nobody takes")
def _(peer):
    ask(peer, spec.Confirm.Select())
    peer.publish(1, "amq.direct", "nowhere", b"body")
    return told(peer.receive())


# -- channels and connections ---------------------------------------------------

call_row("second channel.open", spec.Channel.Open())
call_row("connection method on a channel", spec.Connection.Blocked())


@row("channel.close twice / reuse id")
def _(peer):
    lines = [told(peer.call(1, spec.Channel.Close(0, "", 0, 0))), told(peer.call(1, spec.Channel.Open())),
             told(peer.call(1, spec.Channel.Close(0, "", 0, 0))), told(peer.call(1, spec.Channel.Close(0, "", 0, 0)))]
    return lines


@row("channel.close of one never opened")
def _(peer):
    return told(peer.call(9, spec.Channel.Close(0, "", 0, 0)))


@row("channel number above channel_max")
def _(peer):
    return told(peer.call(2048, spec.Channel.Open()))


@row("body frame as large as the agreed frame")
def _(peer):
    ask(peer, spec.Confirm.Select())
    peer.publish(1, "", "nowhere", bytes(131072))
    return told(peer.receive())


@row("channel closed by the broker can be opened again")
def _(peer):
    peer.call(1, spec.Queue.Purge(queue="nonesuch"))
    peer.send(1, spec.Basic.Qos())  # not heard: the channel is closing
    peer.send(1, spec.Channel.CloseOk())
    return told(peer.call(1, spec.Channel.Open()))


@row("method on a channel never opened")
def _(peer):
    return told(peer.call(9, spec.Basic.Qos()))


@row("connection.close")
def _(peer):
    return told(peer.call(0, spec.Connection.Close(200, "bye", 0, 0)))


@row("unknown vhost")
@itself
def _(peer):
    peer.start()
    peer.log_in()
    peer.send(0, spec.Connection.TuneOk(channel_max=2047, frame_max=131072, heartbeat=0))
    return told(peer.call(0, spec.Connection.Open(virtual_host="nonesuch")))


def logging_in(**how):
    @itself
    def ask_it(peer):
        peer.start()
        try:
            return told(peer.log_in(**how))
        except Gone:
            return "gone without a word"
    return ask_it


row("bad password")(logging_in(password="bad"))
row("unknown user")(logging_in(user="nobody"))
row("bad password of a client that cannot be told")(logging_in(password="bad", capabilities={}))
row("AMQPLAIN")(logging_in(mechanism="AMQPLAIN", response="\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest"))


@row("tune")
@itself
def _(peer):
    peer.start()
    return told(peer.log_in())


@row("capabilities and what clients choose by")
@itself
def _(peer):
    told_of = peer.start()
    properties = told_of.server_properties
    capabilities = dict(properties["capabilities"])
    capabilities.pop("consumer_priorities")  # said honestly until there are any
    return [capabilities, properties["product"], properties["version"], told_of.version_major, told_of.version_minor,
            sorted(set(told_of.mechanisms.split()) & {"PLAIN", "AMQPLAIN"}), told_of.locales]


def greeting(header):
    @itself
    def ask_it(peer):
        peer.send_bytes(header)
        start = peer.receive()
        return [start.NAME, start.version_major, start.version_minor]
    return ask_it


row("header AMQP 0-9-1")(greeting(HEADER_0_9_1))
row("header AMQP 0-9")(greeting(b"AMQP\x01\x01\x00\x09"))
row("header AMQP 0-8")(greeting(b"AMQP\x01\x01\x08\x00"))


@row("header AMQP 1.0")
@itself
def _(peer):
    peer.send_bytes(b"AMQP\x00\x01\x00\x00")
    return peer.receive_to_end()


for name, asked in ROWS.items():
    setattr(Replies, "test_" + re.sub(r"\W+", "_", name).strip("_"), compare(asked))

if __name__ == "__main__":
    unittest.main()
