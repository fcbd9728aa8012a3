"""pika, Python's usual client, does with Pronto what it does with RabbitMQ.

Each test runs against both: what is expected of Pronto was seen at RabbitMQ, too. What only Pronto promises is in a class
of its own at the end.
"""

import contextlib
import datetime
import decimal
import os
import signal
import struct
import threading
import time
import unittest

import pika
from pika import exceptions, spec

from support import Peer, Pronto, Rabbit, eventually, frame_bytes, start_all, stop_all

BROKERS = {}
MEBIBYTE = 1024 * 1024
PERSISTENT = pika.BasicProperties(delivery_mode=2)


def setUpModule():
    BROKERS.update(pronto=Pronto("--log-level", "warning"), rabbitmq=Rabbit())
    start_all(*BROKERS.values())


def tearDownModule():
    stop_all(*BROKERS.values())


class Client(unittest.TestCase):
    kind = "pronto"
    maxDiff = None

    @property
    def port(self):
        return BROKERS[self.kind].port

    def connect(self, **options):
        options.setdefault("heartbeat", 0)
        options.setdefault("blocked_connection_timeout", 30)
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, **options))
        self.addCleanup(self.close, connection)
        return connection

    @staticmethod
    def close(connection):
        with contextlib.suppress(exceptions.AMQPError):
            if connection.is_open:
                connection.close()

    def channel(self, **options):
        return self.connect(**options).channel()

    def queue(self, channel, name="", **options):
        if not name:
            options.setdefault("exclusive", True)
        return channel.queue_declare(name, **options).method.queue

    def take(self, channel, queue, count=1, seconds=20, **options):
        """`count` deliveries by consuming, as (method, properties, body)."""
        taken = []
        deadline = time.monotonic() + seconds
        for delivery in channel.consume(queue, inactivity_timeout=0.2, **options):
            if delivery[0] is not None:
                taken.append(delivery)
            if len(taken) >= count:
                break
            self.assertLess(time.monotonic(), deadline, f"{len(taken)} of {count} deliveries came")
        return taken

    def get(self, channel, queue, seconds=20, **options):
        """The next message by basic.get, waiting until there is one."""
        return eventually(f"a message in {queue}",
                          lambda: (lambda got: got[0] and got)(channel.basic_get(queue, **options)), seconds)

    def count(self, channel, queue):
        return channel.queue_declare(queue, passive=True).method.message_count

    def holds(self, channel, queue, count):
        eventually(f"{queue} holds {count}", lambda: self.count(channel, queue) == count)


class Behaviour:
    """What both brokers do."""

    # -- publishing -----------------------------------------------------------

    def test_publishes_are_confirmed_and_arrive_in_order(self):
        channel = self.channel()
        channel.confirm_delivery()
        queue = self.queue(channel, "in-order", durable=True)
        for index in range(200):
            channel.basic_publish("", queue, str(index), PERSISTENT, mandatory=True)
        bodies = [body for _, _, body in self.take(channel, queue, 200, auto_ack=True)]
        self.assertEqual(bodies, [str(index).encode() for index in range(200)])
        channel.queue_delete(queue)

    def test_confirms_cover_every_publish_of_a_burst_exactly_once(self):
        with Peer(self.port) as peer:
            peer.open()
            peer.call(1, spec.Confirm.Select())
            queue = peer.call(1, spec.Queue.Declare(queue="burst", durable=True)).queue
            for index in range(1000):
                peer.publish(1, "", queue if index % 3 else "nowhere", b"x", spec.BasicProperties(delivery_mode=2))
            confirmed = set()
            while len(confirmed) < 1000:
                ack = peer.receive()
                self.assertIsInstance(ack, spec.Basic.Ack)
                first = max(confirmed, default=0) + 1 if ack.multiple else ack.delivery_tag
                new = {tag for tag in range(1 if ack.multiple else first, ack.delivery_tag + 1)} - confirmed
                self.assertTrue(new, "an ack that confirms nothing new")
                confirmed |= new
            self.assertEqual(confirmed, set(range(1, 1001)))
            peer.call(1, spec.Queue.Delete(queue=queue))

    def test_what_cannot_be_routed_comes_back_before_its_confirm(self):
        channel = self.channel()
        channel.confirm_delivery()
        with self.assertRaises(exceptions.UnroutableError) as raised:
            channel.basic_publish("amq.direct", "nowhere", b"lost?", pika.BasicProperties(message_id="m1"), mandatory=True)
        [returned] = raised.exception.messages
        self.assertEqual((returned.method.reply_code, returned.method.reply_text), (312, "NO_ROUTE"))
        self.assertEqual((returned.method.exchange, returned.method.routing_key), ("amq.direct", "nowhere"))
        self.assertEqual((returned.properties.message_id, returned.body), ("m1", b"lost?"))
        channel.basic_publish("amq.direct", "nowhere", b"nobody cares", mandatory=False)

        with Peer(self.port) as peer:
            peer.open()
            peer.call(1, spec.Confirm.Select())
            peer.publish(1, "amq.direct", "nowhere", b"lost?", mandatory=True)
            self.assertIsInstance(peer.receive(), spec.Basic.Return)
            self.assertIsInstance(peer.receive(), spec.Basic.Ack)

    def test_bodies_of_every_size_arrive_whole(self):
        channel = self.channel()
        channel.confirm_delivery()
        queue = self.queue(channel)
        frame = 131072 - 8
        for size in (0, 1, frame - 1, frame, frame + 1, 2 * frame, MEBIBYTE, 16 * MEBIBYTE):
            for mode in (1, 2):
                body = (os.urandom(1024) * (size // 1024 + 1))[:size]
                channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=mode))
                method, _, got = self.get(channel, queue, auto_ack=True)
                self.assertEqual(len(got), size)
                self.assertEqual(got, body)
                self.assertFalse(method.redelivered)

    def test_small_frames_can_be_agreed_on(self):
        channel = self.channel(frame_max=4096)
        channel.confirm_delivery()
        queue = self.queue(channel)
        body = os.urandom(100_000)
        channel.basic_publish("", queue, body)
        self.assertEqual(self.get(channel, queue, auto_ack=True)[2], body)

    def test_every_property_arrives_as_it_was_sent(self):
        channel = self.channel()
        queue = self.queue(channel)
        sent = pika.BasicProperties(
            content_type="text/plain", content_encoding="utf-8", headers={"h": "ü"}, delivery_mode=2, priority=7,
            correlation_id="c", reply_to="r", expiration="60000", message_id="m", timestamp=1_700_000_000,
            type="t", user_id="guest", app_id="a", cluster_id="k")
        channel.basic_publish("", queue, b"", sent)
        got = self.get(channel, queue)[1]
        self.assertEqual(vars(got), vars(sent))
        channel.basic_publish("", queue, b"")
        channel.basic_publish("", queue, b"", pika.BasicProperties(headers={}, content_type=""))
        method, _, _ = self.get(channel, queue, auto_ack=True)
        got = self.get(channel, queue, auto_ack=True)[1]
        self.assertEqual((got.headers, got.content_type), ({}, ""))

    def test_headers_of_every_type_pika_knows(self):
        channel = self.channel()
        queue = self.queue(channel)
        headers = {
            "text": "grüße", "empty": "", "bytes": b"\x00\xff", "true": True, "false": False, "int": -7, "long": 2**40,
            "decimal": decimal.Decimal("12.34"), "time": datetime.datetime(2024, 2, 29, 12, 30, 15), "none": None,
            "table": {"inner": {"deep": [1, "two", {"three": None}]}}, "list": [], "long text": "x" * 10_000}
        channel.basic_publish("", queue, b"", pika.BasicProperties(headers=headers))
        self.assertEqual(self.get(channel, queue, auto_ack=True)[1].headers, headers)

    def test_headers_of_every_type_of_the_dialect_arrive_byte_for_byte(self):
        values = {
            b"t": b"\x01", b"b": b"\xff", b"B": b"\xff", b"s": b"\xff\xfe", b"u": b"\xff\xfe", b"I": b"\xff\xff\xff\xfd",
            b"i": b"\xff\xff\xff\xfd", b"l": b"\xff" * 8, b"L": b"\x7f" + b"\xff" * 7, b"f": struct.pack(">f", 1.5),
            b"d": struct.pack(">d", -2.25), b"D": b"\x02" + struct.pack(">i", 1234), b"S": b"\0\0\0\x02\xc3\xbc",
            b"x": b"\0\0\0\x03\x00\xff\x7f", b"T": struct.pack(">Q", 1_700_000_000), b"V": b"",
            b"A": struct.pack(">I", 3) + b"Vt\x00", b"F": struct.pack(">I", 4) + b"\x01kb\x7f"}
        table = b"".join(bytes([len(b"key" + letter)]) + b"key" + letter + letter + value
                         for letter, value in values.items())
        properties = struct.pack(">H", 1 << 13) + struct.pack(">I", len(table)) + table
        with Peer(self.port) as peer:
            peer.open()
            queue = peer.call(1, spec.Queue.Declare(exclusive=True)).queue
            peer.send(1, spec.Basic.Publish(exchange="", routing_key=queue))
            peer.send_bytes(frame_bytes(2, 1, struct.pack(">HHQ", 60, 0, 0) + properties))
            self.assertIsInstance(peer.call(1, spec.Basic.Get(queue=queue, no_ack=True)), spec.Basic.GetOk)
            while len(peer.waiting) < 7 or len(peer.waiting) < 8 + int.from_bytes(peer.waiting[3:7], "big"):
                peer.waiting += peer.receive_bytes()
            self.assertEqual(peer.waiting[7 + 12:-1], properties)

    # -- routing --------------------------------------------------------------

    def test_direct_and_fanout_exchanges_and_bindings_between_exchanges(self):
        channel = self.channel()
        for name, kind in (("colours", "direct"), ("everyone", "fanout"), ("second", "direct")):
            channel.exchange_declare(name, kind, auto_delete=False)
            self.addCleanup(lambda one=name: self.channel().exchange_delete(one))
        red, blue, all_of_them = (self.queue(channel) for _ in range(3))
        channel.queue_bind(red, "colours", "red")
        channel.queue_bind(blue, "colours", "blue")
        channel.queue_bind(blue, "second", "blue")
        channel.queue_bind(all_of_them, "everyone", "ignored")
        channel.queue_bind(all_of_them, "everyone", "also")  # one copy, though two bindings
        channel.exchange_bind("everyone", "colours", "red")
        channel.exchange_bind("second", "colours", "blue")
        for key in ("red", "blue", "green"):
            channel.basic_publish("colours", key, key)
        self.holds(channel, red, 1)
        self.holds(channel, blue, 1)
        self.holds(channel, all_of_them, 1)
        channel.queue_unbind(red, "colours", "red")
        channel.exchange_unbind("everyone", "colours", "red")
        channel.confirm_delivery()
        with self.assertRaises(exceptions.UnroutableError):
            channel.basic_publish("colours", "red", b"", mandatory=True)

    def test_what_an_exchange_cannot_route_goes_to_its_alternate(self):
        channel = self.channel()
        channel.exchange_declare("rest", "fanout")
        channel.exchange_declare("chosen", "direct", arguments={"alternate-exchange": "rest"})
        queue = self.queue(channel)
        channel.queue_bind(queue, "rest")
        channel.confirm_delivery()
        channel.basic_publish("chosen", "unknown", b"anyway", mandatory=True)
        method, _, body = self.get(channel, queue, auto_ack=True)
        self.assertEqual((method.exchange, method.routing_key, body), ("chosen", "unknown", b"anyway"))
        channel.exchange_delete("chosen")
        channel.exchange_delete("rest")

    def test_an_exchange_bound_to_itself_can_be_deleted_and_bindings_made_after_it(self):
        channel = self.channel()
        for _ in range(3):
            channel.exchange_declare("narcissus", "fanout")
            channel.exchange_bind("narcissus", "narcissus")
            queue = self.queue(channel)
            channel.queue_bind(queue, "narcissus")
            channel.basic_publish("narcissus", "", b"once")
            self.assertEqual(self.get(channel, queue, auto_ack=True)[2], b"once")
            self.assertEqual(self.count(channel, queue), 0)
            channel.exchange_delete("narcissus")
        channel.queue_bind(self.queue(channel), "amq.fanout")

    def test_an_auto_delete_exchange_goes_with_its_last_binding(self):
        channel = self.channel()
        channel.exchange_declare("fleeting", "fanout", auto_delete=True)
        queue = self.queue(channel)
        channel.queue_bind(queue, "fleeting")
        channel.queue_unbind(queue, "fleeting")
        with self.assertRaises(exceptions.ChannelClosedByBroker) as raised:
            channel.exchange_declare("fleeting", passive=True)
        self.assertEqual(raised.exception.reply_code, 404)

    # -- consuming ------------------------------------------------------------

    def test_prefetch_limits_what_is_in_hand_and_acks_make_room(self):
        channel = self.channel()
        channel.basic_qos(prefetch_count=3)
        queue = self.queue(channel)
        for index in range(10):
            channel.basic_publish("", queue, str(index))
        taken = []
        channel.basic_consume(queue, lambda _, method, __, body: taken.append((method.delivery_tag, body)))
        self.pump(channel, lambda: len(taken) >= 3)
        self.assertEqual(self.count(channel, queue), 7)
        channel.basic_ack(taken[1][0], multiple=True)
        self.pump(channel, lambda: len(taken) >= 5)
        self.assertEqual(self.count(channel, queue), 5)
        self.assertEqual([body for _, body in taken], [b"0", b"1", b"2", b"3", b"4"])

    def pump(self, channel, condition, seconds=20):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            channel.connection.process_data_events(0.05)

    def test_a_prefetch_of_the_whole_channel_holds_over_its_consumers_and_is_freed_by_acks(self):
        channel = self.channel()
        channel.basic_qos(prefetch_count=2, global_qos=True)
        queues = [self.queue(channel) for _ in range(2)]
        taken = []
        tags = []
        for queue in queues:
            for _ in range(3):
                channel.basic_publish("", queue, queue)
            tags.append(channel.basic_consume(queue, lambda _, method, __, body: taken.append(method.delivery_tag)))
        self.pump(channel, lambda: len(taken) >= 2)
        self.assertEqual(sum(self.count(channel, queue) for queue in queues), 4)
        # Cancelled consumers leave their deliveries in hand; answered, these make room for the next.
        for tag in tags:
            channel.basic_cancel(tag)
        for tag in taken[:2]:
            channel.basic_ack(tag)
        before = len(taken)
        channel.basic_consume(queues[0], lambda _, method, __, body: taken.append(method.delivery_tag))
        channel.basic_consume(queues[1], lambda _, method, __, body: taken.append(method.delivery_tag))
        self.pump(channel, lambda: len(taken) >= before + 2)

    def test_consumers_of_a_queue_take_turns(self):
        channels = [self.channel() for _ in range(3)]
        queue = self.queue(channels[0], "turns", auto_delete=True)
        taken = [[] for _ in channels]
        for index, channel in enumerate(channels):
            channel.basic_consume(queue, lambda _, __, ___, body, index=index: taken[index].append(body), auto_ack=True)
        for index in range(30):
            channels[0].basic_publish("", queue, str(index))

        def all_came():
            for channel in channels:
                channel.connection.process_data_events(0)
            return sum(map(len, taken)) == 30
        eventually("30 deliveries", all_came)
        self.assertEqual([len(one) for one in taken], [10, 10, 10])

    def test_requeued_messages_come_again_marked_and_in_their_old_place(self):
        channel = self.channel()
        queue = self.queue(channel)
        for index in range(5):
            channel.basic_publish("", queue, str(index))
        tags = [self.get(channel, queue)[0].delivery_tag for _ in range(3)]
        channel.basic_nack(tags[1], requeue=True)
        channel.basic_reject(tags[0], requeue=True)
        channel.basic_nack(tags[2], multiple=True, requeue=True)
        got = [self.get(channel, queue, auto_ack=True) for _ in range(5)]
        self.assertEqual([body for _, _, body in got], [b"0", b"1", b"2", b"3", b"4"])
        self.assertEqual([method.redelivered for method, _, _ in got], [True, True, True, False, False])

    def test_what_a_vanished_consumer_had_in_hand_goes_to_another(self):
        first = self.channel()
        queue = self.queue(first, "inherited", auto_delete=False)
        for index in range(4):
            first.basic_publish("", queue, str(index))
        self.take(first, queue, 4)
        second = self.channel()
        self.assertEqual(self.count(second, queue), 0)
        first.connection.close()
        got = [self.get(second, queue, auto_ack=True) for _ in range(4)]
        self.assertEqual([(body, method.redelivered) for method, _, body in got],
                         [(b"0", True), (b"1", True), (b"2", True), (b"3", True)])
        second.queue_delete(queue)

    def test_recover_gives_everything_in_hand_back(self):
        channel = self.channel()
        queue = self.queue(channel)
        channel.basic_publish("", queue, b"one")
        self.get(channel, queue)
        channel.basic_recover(requeue=True)
        method, _, _ = self.get(channel, queue, auto_ack=True)
        self.assertTrue(method.redelivered)

    def test_get_tells_how_many_are_left(self):
        channel = self.channel()
        queue = self.queue(channel)
        self.assertEqual(channel.basic_get(queue), (None, None, None))
        for index in range(3):
            channel.basic_publish("", queue, str(index))
        self.holds(channel, queue, 3)
        left = [channel.basic_get(queue)[0].message_count for _ in range(3)]
        self.assertEqual(left, [2, 1, 0])
        self.assertEqual(channel.basic_get(queue), (None, None, None))

    def test_get_finds_what_was_published_before_on_the_channel(self):
        channel = self.channel()
        queue = self.queue(channel, "at-once", durable=True)
        for index in range(50):
            channel.basic_publish("", queue, str(index), PERSISTENT)
            self.assertEqual(channel.basic_get(queue, auto_ack=bool(index % 2))[2], str(index).encode())
        channel.queue_delete(queue)

    def test_a_consumer_is_told_when_its_queue_is_deleted(self):
        channel, other = self.channel(), self.channel()
        queue = self.queue(channel, "doomed", auto_delete=True)
        cancelled = []
        channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
        tag = channel.basic_consume(queue, lambda *_: None)
        other.queue_delete(queue)
        self.pump(channel, lambda: cancelled)
        self.assertEqual(cancelled, [tag])
        self.assertTrue(channel.is_open)

    def test_an_answer_for_a_deleted_queue_is_taken(self):
        channel = self.channel()
        queue = self.queue(channel)
        channel.basic_publish("", queue, b"one")
        tag = self.get(channel, queue)[0].delivery_tag
        channel.queue_delete(queue)
        channel.basic_ack(tag)
        channel.basic_qos()
        self.assertTrue(channel.is_open)

    def test_purge_takes_what_waits_and_leaves_what_is_in_hand(self):
        channel = self.channel()
        queue = self.queue(channel)
        for index in range(4):
            channel.basic_publish("", queue, str(index))
        tag = self.get(channel, queue)[0].delivery_tag
        self.assertEqual(channel.queue_purge(queue).method.message_count, 3)
        channel.basic_reject(tag, requeue=True)
        self.assertEqual(self.get(channel, queue, auto_ack=True)[2], b"0")

    # -- queues ---------------------------------------------------------------

    def test_an_exclusive_queue_is_its_connections_and_goes_with_it(self):
        channel, other = self.channel(), self.channel()
        queue = self.queue(channel)
        self.assertRegex(queue, r"^amq\.gen-.{22}$")
        with self.assertRaises(exceptions.ChannelClosedByBroker) as raised:
            other.queue_declare(queue, passive=True)
        self.assertEqual(raised.exception.reply_code, 405)
        channel.connection.close()
        self.is_gone(queue)

    def is_gone(self, queue):
        def ask():
            try:
                self.channel().queue_declare(queue, passive=True)
            except exceptions.ChannelClosedByBroker as error:
                return error.reply_code == 404
            return False
        eventually(f"{queue} is gone", ask)

    def test_an_auto_delete_queue_goes_with_its_last_consumer_and_not_before_it_had_one(self):
        channel = self.channel()
        queue = self.queue(channel, "fleeting-queue", auto_delete=True)
        self.assertEqual(channel.basic_get(queue), (None, None, None))
        tags = [channel.basic_consume(queue, lambda *_: None) for _ in range(2)]
        channel.basic_cancel(tags[0])
        self.assertEqual(channel.queue_declare(queue, passive=True).method.consumer_count, 1)
        channel.basic_cancel(tags[1])
        self.is_gone(queue)

    def test_an_unused_queue_expires(self):
        channel = self.channel()
        queue = self.queue(channel, "expiring", arguments={"x-expires": 300})
        tag = channel.basic_consume(queue, lambda *_: None)
        channel.connection.process_data_events(0.6)
        self.assertEqual(channel.queue_declare(queue, passive=True).method.consumer_count, 1)
        channel.basic_cancel(tag)

        def gone():
            with Peer(self.port) as peer:  # looking by a passive declaration would count as use
                return isinstance(peer.open().call(1, spec.Queue.Purge(queue=queue)), spec.Channel.Close)
        eventually("the queue is gone", gone, every=0.1)

    # -- time to live and dead letters ------------------------------------------

    def test_messages_expire_by_the_queues_time_and_by_their_own(self):
        channel = self.channel()
        dead = self.queue(channel)
        queue = self.queue(channel, "short-lived", exclusive=True, arguments={
            "x-message-ttl": 400, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
        channel.basic_publish("", queue, b"own", pika.BasicProperties(expiration="50"))
        channel.basic_publish("", queue, b"queue's")
        channel.basic_publish("", queue, b"at once", pika.BasicProperties(expiration="0"))
        first = self.get(channel, dead, auto_ack=True)
        letters = [first] + [self.get(channel, dead, auto_ack=True) for _ in range(2)]
        self.assertEqual({body for _, _, body in letters}, {b"own", b"queue's", b"at once"})
        self.assertEqual(self.count(channel, queue), 0)
        death = {body: properties.headers["x-death"][0] for _, properties, body in letters}
        self.assertEqual(death[b"own"]["original-expiration"], "50")
        self.assertNotIn("original-expiration", death[b"queue's"])
        for _, properties, _ in letters:
            self.assertIsNone(properties.expiration, "a dead letter does not expire again")
            self.assertEqual(properties.headers["x-death"][0]["reason"], "expired")

    def test_a_dead_letter_tells_of_its_death(self):
        channel = self.channel()
        channel.exchange_declare("morgue", "direct", auto_delete=True)
        dead = self.queue(channel)
        channel.queue_bind(dead, "morgue", "late")
        channel.exchange_declare("source", "fanout", auto_delete=True)
        queue = self.queue(channel, "mortal", exclusive=True, arguments={
            "x-dead-letter-exchange": "morgue", "x-dead-letter-routing-key": "late"})
        channel.queue_bind(queue, "source")
        channel.basic_publish("source", "key", b"body", pika.BasicProperties(
            message_id="m1", headers={"mine": 1, "CC": ["copy"]}))
        channel.basic_reject(self.get(channel, queue)[0].delivery_tag, requeue=False)
        method, properties, body = self.get(channel, dead, auto_ack=True)
        self.assertEqual((method.exchange, method.routing_key, body), ("morgue", "late", b"body"))
        self.assertEqual(properties.message_id, "m1")
        self.assertFalse(method.redelivered)
        headers = properties.headers
        [death] = headers["x-death"]
        age = datetime.datetime.utcnow() - death.pop("time")
        self.assertLess(abs(age.total_seconds()), 60)
        self.assertEqual(death, {"count": 1, "reason": "rejected", "queue": "mortal", "exchange": "source",
                                 "routing-keys": ["key", "copy"]})
        self.assertEqual(
            {name: value for name, value in headers.items() if name not in ("x-death", "CC")},
            {"mine": 1, "x-first-death-reason": "rejected", "x-first-death-queue": "mortal",
             "x-first-death-exchange": "source"})

    def test_deaths_are_counted_by_queue_and_reason_the_newest_first(self):
        channel = self.channel()
        waiting = "waiting-room"
        queue = self.queue(channel, "work-room", exclusive=True, arguments={
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": waiting})
        self.queue(channel, waiting, exclusive=True, arguments={
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue, "x-message-ttl": 20})
        channel.basic_publish("", queue, b"try me")
        for _ in range(3):
            channel.basic_reject(self.get(channel, queue)[0].delivery_tag, requeue=False)
        method, properties, _ = self.get(channel, queue)
        self.assertEqual([(death["queue"], death["reason"], death["count"]) for death in properties.headers["x-death"]],
                         [(waiting, "expired", 3), (queue, "rejected", 3)])
        self.assertEqual(properties.headers["x-first-death-reason"], "rejected")

    def test_a_circle_without_rejection_ends(self):
        channel = self.channel()
        for here, there in (("round", "and-round"), ("and-round", "round")):
            self.queue(channel, here, exclusive=True, arguments={
                "x-dead-letter-exchange": "", "x-dead-letter-routing-key": there, "x-message-ttl": 10})
        channel.basic_publish("", "round", b"dizzy")
        eventually("the message is gone", lambda: self.count(channel, "round") + self.count(channel, "and-round") == 0)

    def test_dead_letters_for_an_exchange_that_is_not_there_are_dropped(self):
        channel = self.channel()
        queue = self.queue(channel, "mortal-2", exclusive=True, arguments={"x-dead-letter-exchange": "nonesuch"})
        channel.basic_publish("", queue, b"one")
        channel.basic_reject(self.get(channel, queue)[0].delivery_tag, requeue=False)
        channel.basic_publish("", queue, b"two")
        self.assertEqual(self.get(channel, queue)[2], b"two")

    # -- transactions -----------------------------------------------------------

    def test_a_transaction_publishes_and_acknowledges_all_or_nothing(self):
        channel, other = self.channel(), self.channel()
        queue = self.queue(channel, "tx", auto_delete=False)
        channel.basic_publish("", queue, b"before")
        tag = self.get(channel, queue)[0].delivery_tag
        channel.tx_select()
        channel.basic_ack(tag)
        channel.basic_publish("", queue, b"one", PERSISTENT)
        channel.basic_publish("", queue, b"two", PERSISTENT)
        self.assertEqual(self.count(other, queue), 0)
        channel.tx_rollback()
        self.assertEqual(self.count(other, queue), 0)
        channel.basic_ack(tag)  # still in hand after the rollback
        channel.basic_publish("", queue, b"three", PERSISTENT)
        channel.tx_commit()
        self.assertEqual(self.count(other, queue), 1)
        channel.basic_publish("", queue, b"never committed")
        channel.connection.close()
        self.assertEqual(self.get(other, queue, auto_ack=True)[2], b"three")
        self.assertEqual(other.basic_get(queue), (None, None, None))
        other.queue_delete(queue)

    # -- requests and replies -----------------------------------------------------

    def test_request_and_reply_without_a_queue_for_the_reply(self):
        server, client = self.channel(), self.channel()
        requests = self.queue(server, "requests", auto_delete=True)

        def answer(channel, method, properties, body):
            channel.basic_publish("", properties.reply_to, body.upper(),
                                  pika.BasicProperties(correlation_id=properties.correlation_id))
            channel.basic_ack(method.delivery_tag)
        server.basic_consume(requests, answer)
        replies = []
        client.basic_consume("amq.rabbitmq.reply-to", lambda _, __, properties, body: replies.append(
            (properties.correlation_id, body)), auto_ack=True)
        for index in range(5):
            client.basic_publish("", requests, f"question {index}", pika.BasicProperties(
                reply_to="amq.rabbitmq.reply-to", correlation_id=str(index)), mandatory=True)

        def all_came():
            server.connection.process_data_events(0)
            client.connection.process_data_events(0)
            return len(replies) == 5
        eventually("five replies", all_came)
        self.assertEqual(replies, [(str(index), f"QUESTION {index}".encode()) for index in range(5)])

    def test_a_reply_to_a_client_that_has_gone_comes_back_to_who_wants_to_know(self):
        server, client = self.channel(), self.channel()
        requests = self.queue(server, "requests-2", auto_delete=True)
        client.basic_consume("amq.rabbitmq.reply-to", lambda *_: None, auto_ack=True)
        client.basic_publish("", requests, b"?", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
        reply_to = self.get(server, requests, auto_ack=True)[1].reply_to
        self.assertTrue(reply_to.startswith("amq.rabbitmq.reply-to."), reply_to)
        client.connection.close()
        server.confirm_delivery()

        def comes_back():
            try:
                server.basic_publish("", reply_to, b"!", mandatory=True)
            except exceptions.UnroutableError:
                return True
            return False
        eventually("the reply comes back", comes_back)

    # -- errors -------------------------------------------------------------------

    def test_a_channels_error_costs_the_channel_and_nothing_else(self):
        connection = self.connect()
        good, bad = connection.channel(), connection.channel()
        queue = self.queue(good)
        with self.assertRaises(exceptions.ChannelClosedByBroker) as raised:
            bad.queue_declare("nonesuch", passive=True)
        self.assertEqual((raised.exception.reply_code, raised.exception.reply_text),
                         (404, "NOT_FOUND - no queue 'nonesuch' in vhost '/'"))
        good.basic_publish("", queue, b"still here")
        self.assertEqual(self.get(good, queue, auto_ack=True)[2], b"still here")
        self.assertEqual(self.get(connection.channel(), queue) if self.count(good, queue) else None, None)

    def test_a_connections_error_costs_the_connection(self):
        channel = self.channel()
        with self.assertRaises(exceptions.ConnectionClosedByBroker) as raised:
            channel.exchange_declare("e", "nosuch")
        self.assertEqual((raised.exception.reply_code, raised.exception.reply_text),
                         (503, "COMMAND_INVALID - unknown exchange type 'nosuch'"))

    def test_a_publish_to_nowhere_closes_the_channel_at_the_next_turn(self):
        channel = self.channel()
        channel.basic_publish("nonesuch", "k", b"")
        with self.assertRaises(exceptions.ChannelClosedByBroker) as raised:
            channel.basic_qos(prefetch_count=1)
        self.assertEqual(raised.exception.reply_code, 404)

    def test_a_wrong_password_is_refused_and_said_so(self):
        with self.assertRaises(exceptions.ProbableAuthenticationError) as raised:
            self.connect(credentials=pika.PlainCredentials("guest", "wrong"))
        self.assertIn("ACCESS_REFUSED - Login was refused", str(raised.exception))

    def test_an_unknown_virtual_host_is_refused_and_said_so(self):
        with self.assertRaises(exceptions.ProbableAccessDeniedError) as raised:
            self.connect(virtual_host="nonesuch")
        self.assertIn("NOT_ALLOWED - vhost nonesuch not found", str(raised.exception))

    # -- connections --------------------------------------------------------------

    def test_heartbeats_keep_an_idle_connection(self):
        channel = self.channel(heartbeat=1)
        channel.connection.process_data_events(4)
        self.assertTrue(self.queue(channel))

    def test_many_threads_each_with_a_connection_lose_nothing(self):
        channel = self.channel()
        queue = self.queue(channel, "threads", durable=True)
        failures = []

        def publish(number):
            try:
                own = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port))
                channels = [own.channel() for _ in range(3)]
                for one in channels:
                    one.confirm_delivery()
                for index in range(20):
                    channels[index % 3].basic_publish("", queue, f"{number}:{index}", PERSISTENT, mandatory=True)
                own.close()
            except Exception as error:  # shown below, in the test's own thread
                failures.append(error)
        threads = [threading.Thread(target=publish, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(failures, [])
        bodies = {body.decode() for _, _, body in self.take(channel, queue, 200, auto_ack=True)}
        self.assertEqual(bodies, {f"{number}:{index}" for number in range(10) for index in range(20)})
        channel.queue_delete(queue)


class PikaOnPronto(Behaviour, Client):
    kind = "pronto"


class PikaOnRabbitMq(Behaviour, Client):
    """That what is expected is what RabbitMQ does."""

    kind = "rabbitmq"


class OnlyPronto(Client):
    """What RabbitMQ does otherwise, or not at all."""

    def test_a_body_past_the_limit_is_refused_with_the_limit(self):
        channel = self.channel()
        queue = self.queue(channel)
        with self.assertRaises(exceptions.ChannelClosedByBroker) as raised:
            channel.basic_publish("", queue, bytes(16 * MEBIBYTE + 1))
            channel.basic_qos()
        self.assertEqual(
            (raised.exception.reply_code, raised.exception.reply_text),
            (406, "PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216"))

    def test_a_message_expires_in_the_midst_of_its_queue(self):
        channel = self.channel()
        queue = self.queue(channel)
        channel.basic_publish("", queue, b"stays")
        channel.basic_publish("", queue, b"goes", pika.BasicProperties(expiration="50"))
        channel.basic_publish("", queue, b"stays, too")
        self.holds(channel, queue, 2)

    def test_a_reply_address_cannot_be_guessed(self):
        channel = self.channel()
        channel.confirm_delivery()
        for address in ("amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.", "amq.rabbitmq.reply-to.AAAA",
                        "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAzMjI0NTc1NQAAJ1QAAAAAYrHP7g==.abc"):
            with self.assertRaises(exceptions.UnroutableError):
                channel.basic_publish("", address, b"x", mandatory=True)


class Restarts(Client):
    """On a broker of its own, which is ended and started again."""

    @property
    def port(self):
        return self.broker.port

    def setUp(self):
        self.broker = Pronto("--log-level", "warning").start()
        self.addCleanup(self.broker.stop)

    def test_what_was_confirmed_is_there_after_a_kill_and_after_an_orderly_end(self):
        channel = self.channel()
        channel.confirm_delivery()
        channel.exchange_declare("kept", "direct", durable=True)
        channel.queue_declare("kept", durable=True, arguments={"x-dead-letter-exchange": "amq.fanout"})
        channel.queue_declare("transient")
        channel.queue_bind("kept", "kept", "key")
        for index in range(10):
            channel.basic_publish("kept", "key", str(index), pika.BasicProperties(
                delivery_mode=2, headers={"index": index}), mandatory=True)
        channel.basic_publish("kept", "key", b"transient message")
        for tag in [self.get(channel, "kept")[0].delivery_tag for _ in range(3)][:2]:
            channel.basic_ack(tag)
        channel.basic_qos()  # the acks have arrived
        self.broker.process.kill()
        self.broker.process.start()
        channel = self.channel()
        self.assertEqual(self.count(channel, "kept") >= 8, True)
        got = [self.get(channel, "kept") for _ in range(self.count(channel, "kept"))]
        bodies = [body for _, _, body in got]
        # Acks ride along with the next sync: after a kill they may be missing, messages never.
        self.assertEqual(bodies[-8:], [str(index).encode() for index in range(2, 10)])
        self.assertEqual(got[-1][1].headers, {"index": 9})
        channel.basic_ack(got[-1][0].delivery_tag, multiple=True)
        channel.confirm_delivery()
        channel.basic_publish("kept", "key", b"after", PERSISTENT, mandatory=True)
        with self.assertRaises(exceptions.ChannelClosedByBroker):
            channel.connection.channel().queue_declare("transient", passive=True)
        channel.connection.close()
        self.assertEqual(self.broker.process.terminate(), 0)
        self.broker.process.start()
        channel = self.channel()
        self.assertEqual(self.count(channel, "kept"), 1)
        self.assertEqual(self.get(channel, "kept")[2], b"after")
        channel.queue_declare("kept", durable=True, arguments={"x-dead-letter-exchange": "amq.fanout"})

    def test_clients_are_told_when_the_broker_is_told_to_end(self):
        channel = self.channel()
        os.kill(self.broker.process.running.pid, signal.SIGTERM)
        with self.assertRaises(exceptions.ConnectionClosedByBroker) as raised:
            while True:
                channel.connection.process_data_events(1)
        self.assertEqual(raised.exception.reply_code, 320)
        self.assertEqual(self.broker.process.running.wait(20), 0)


class Blocked(Client):
    """On a broker that has little memory."""

    @property
    def port(self):
        return self.broker.port

    def setUp(self):
        self.broker = Pronto("--log-level", "warning", "--memory-limit", str(8 * MEBIBYTE)).start()
        self.addCleanup(self.broker.stop)

    def test_a_publisher_is_blocked_by_name_and_let_go_when_consumers_have_made_room(self):
        publisher, consumer = self.channel(), self.channel()
        queue = self.queue(consumer, "heavy", auto_delete=False)
        told = []
        publisher.connection.add_on_connection_blocked_callback(
            lambda _, method: told.append(method.method.reason))
        publisher.connection.add_on_connection_unblocked_callback(lambda _, __: told.append("unblocked"))
        sent = 0
        deadline = time.monotonic() + 60
        while not told:
            self.assertLess(time.monotonic(), deadline, "never blocked")
            publisher.basic_publish("", queue, bytes(256 * 1024))
            sent += 1
            publisher.connection.process_data_events(0)
        self.assertEqual(told, ["low on memory"])
        self.assertLess(sent, 200, "held back in time")
        # What it sends now is held, or not even read; others are served, and that ends it.
        publisher.basic_publish("", queue, b"the last one")
        bodies = 0
        while bodies < sent + 1:
            self.assertLess(time.monotonic(), deadline, f"{bodies} of {sent + 1} came")
            method, _, body = consumer.basic_get(queue)
            publisher.connection.process_data_events(0)
            if method is None:
                continue
            consumer.basic_ack(method.delivery_tag)
            bodies += 1
        self.assertEqual(body, b"the last one")
        while told[-1] != "unblocked":
            self.assertLess(time.monotonic(), deadline, "never unblocked")
            publisher.connection.process_data_events(0.05)
        # What was held back may fill the memory again; each time it is said, and taken back.
        self.assertEqual(told, ["low on memory", "unblocked"] * (len(told) // 2))
        consumer.queue_delete(queue)


if __name__ == "__main__":
    unittest.main()
