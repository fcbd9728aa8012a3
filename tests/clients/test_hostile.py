"""Clients that break the protocol, by mistake or on purpose, and what happens to them and to everybody else.

Every offence is committed against Pronto and against a real RabbitMQ: the connection or channel has to end with the same
code on both, and where the words are more than a dump of the other's insides, with the same text. After each offence a
client that did nothing wrong is served on the connection that it had all along.
"""

import contextlib
import datetime
import os
import random
import re
import resource
import select
import socket
import struct
import time
import unittest

from pika import frame, spec

from support import HEADER_0_9_1, Gone, Peer, Pronto, Rabbit, eventually, frame_bytes, start_all, stop_all, told

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_MAX = 131072
HANDSHAKE_SECONDS = 10  # the broker's limit
OFFENCES = {}
BROKERS = []


def setUpModule():
    BROKERS.extend([Pronto("--log-level", "error"), Rabbit()])
    start_all(*BROKERS)


def tearDownModule():
    stop_all(*BROKERS)


class Bystander:
    """A well-behaved client: one connection, made before anything bad happens."""

    def __init__(self, port):
        self.peer = Peer(port).open()
        self.queue = self.peer.call(1, spec.Queue.Declare(exclusive=True)).queue

    def is_served(self, body=b"still here"):
        self.peer.publish(1, "", self.queue, body)
        answer = self.peer.call(1, spec.Basic.Get(queue=self.queue, no_ack=True))
        assert isinstance(answer, spec.Basic.GetOk), answer
        self.peer.receive_frame()
        content = self.peer.receive_frame()
        assert content.fragment == body, content
        return True


class AgainstPronto(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = BROKERS[0]
        cls.bystander = Bystander(cls.broker.port)

    @classmethod
    def tearDownClass(cls):
        cls.bystander.peer.close()

    def tearDown(self):
        self.assertTrue(self.broker.process.is_running(), self.broker.process.log_tail())
        self.assertTrue(self.bystander.is_served())

    def peer(self, **options):
        peer = Peer(self.broker.port, **options)
        self.addCleanup(peer.close)
        return peer


# -- at the door ----------------------------------------------------------------


class Greetings(AgainstPronto):
    def answers(self, hello):
        """What each broker answers to a greeting, until it hangs up."""
        said = []
        for broker in BROKERS:
            with Peer(broker.port) as peer:
                peer.send_bytes(hello)
                said.append(peer.receive_to_end())
        return said

    def test_garbage_is_answered_with_the_protocol_that_is_spoken_here(self):
        for hello in (b"hello?!!", bytes(8), b"\xff" * 64, b"AMQP\x00\x00\x0a\x00", b"AMQP\x03\x01\x00\x00"):
            with self.subTest(hello):
                self.assertEqual(self.answers(hello), [HEADER_0_9_1, HEADER_0_9_1])

    def test_amqp_1_0_is_answered_with_the_protocol_that_is_spoken_here(self):
        self.assertEqual(self.answers(b"AMQP\x00\x01\x00\x00"), [HEADER_0_9_1, HEADER_0_9_1])

    def test_a_browser_is_told_in_http_where_to_go(self):
        peer = self.peer()
        peer.send_bytes(b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n")
        answer = peer.receive_to_end().decode()
        self.assertRegex(answer, r"^HTTP/1\.1 400 Bad Request\r\n")
        self.assertRegex(answer, r"go to http://127\.0\.0\.1:\d+/ instead")

    def test_a_tls_hello_is_answered_with_a_fatal_alert_in_tls(self):
        peer = self.peer()
        peer.send_bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
        answer = peer.receive_to_end()
        self.assertEqual(answer[:1] + answer[5:6], b"\x15\x02", "an alert record, fatal")

    def test_amqp_0_8_is_spoken(self):
        peer = self.peer()
        peer.send_bytes(b"AMQP\x01\x01\x08\x00")
        start = peer.receive()
        self.assertEqual((start.version_major, start.version_minor), (8, 0))


# -- once the connection is open ------------------------------------------------


def offence(name, text=True, channels=(1,)):
    """An offence on an open connection.

    text: True compares all, "words" all but the method at fault, False severity and code: for dumps of RabbitMQ's insides.
    """
    def keep(commit):
        assert name not in OFFENCES, name
        OFFENCES[name] = (commit, text, channels)
        return commit
    return keep


def publish_frames(body_bytes, routing_key="nowhere", channel=1, class_id=60):
    """basic.publish and its header, without any body."""
    return (frame.Method(channel, spec.Basic.Publish(exchange="", routing_key=routing_key)).marshal() +
            frame_bytes(HEADER, channel, struct.pack(">HHQH", class_id, 0, body_bytes, 0)))


def method_bytes(class_id, method_id, arguments=b""):
    return struct.pack(">HH", class_id, method_id) + arguments


@offence("a frame that does not end in its end octet", text=False)
def _(peer):
    peer.send_bytes(frame_bytes(METHOD, 1, method_bytes(60, 10, bytes(7)), end=0xCD))


@offence("a frame larger than was agreed on", text=False)
def _(peer):
    peer.send_bytes(publish_frames(2 * FRAME_MAX) + frame_bytes(BODY, 1, bytes(FRAME_MAX + 1)))


@offence("a frame that announces four gigabytes", text=False)
def _(peer):
    peer.send_bytes(struct.pack(">BHI", BODY, 1, 0xFFFFFFFF) + bytes(4096))


@offence("a frame of a type that is none", text=False)
def _(peer):
    peer.send_bytes(frame_bytes(4, 1, b"what?"))


@offence("garbage instead of frames", text=False)
def _(peer):
    peer.send_bytes(b"\xff" * 4096)


@offence("a content header on channel 0", text=False)
def _(peer):
    peer.send_bytes(frame_bytes(HEADER, 0, struct.pack(">HHQH", 60, 0, 1, 0)))


@offence("a body on channel 0", text=False)
def _(peer):
    peer.send_bytes(frame_bytes(BODY, 0, b"body"))


@offence("a channel's method on channel 0")
def _(peer):
    peer.send(0, spec.Queue.Declare(queue="x"))


@offence("channel.open on channel 0")
def _(peer):
    peer.send(0, spec.Channel.Open())


@offence("connection.open a second time")
def _(peer):
    peer.send(0, spec.Connection.Open())


@offence("connection.start-ok a second time")
def _(peer):
    peer.send(0, spec.Connection.StartOk(mechanism="PLAIN", response="\0guest\0guest"))


@offence("a method on a channel that is not open")
def _(peer):
    peer.send(7, spec.Queue.Declare(queue="x"))


@offence("a body on a channel that is not open")
def _(peer):
    peer.send_bytes(frame_bytes(BODY, 7, b"body"))


@offence("a content header on a channel that is not open")
def _(peer):
    peer.send_bytes(frame_bytes(HEADER, 7, struct.pack(">HHQH", 60, 0, 1, 0)))


@offence("one channel more than was agreed on", text="words", channels=())
def _(peer):
    for channel in range(1, 2048):
        peer.send(channel, spec.Channel.Open())
    for _ in range(2047):
        assert isinstance(peer.receive(), spec.Channel.OpenOk)
    peer.send(2048, spec.Channel.Open())


@offence("a body before its header")
def _(peer):
    peer.send_bytes(frame.Method(1, spec.Basic.Publish(exchange="", routing_key="k")).marshal() +
                    frame_bytes(BODY, 1, b"body"))


@offence("a body without a publish")
def _(peer):
    peer.send_bytes(frame_bytes(BODY, 1, b"body"))


@offence("a content header without a publish")
def _(peer):
    peer.send_bytes(frame_bytes(HEADER, 1, struct.pack(">HHQH", 60, 0, 1, 0)))


@offence("a second content header")
def _(peer):
    peer.send_bytes(publish_frames(4) + frame_bytes(HEADER, 1, struct.pack(">HHQH", 60, 0, 4, 0)))


@offence("a content header of another class")
def _(peer):
    peer.send_bytes(publish_frames(4, class_id=50))


@offence("a method between publish and header")
def _(peer):
    peer.send(1, spec.Basic.Publish(exchange="", routing_key="k"))
    peer.send(1, spec.Basic.Qos())


@offence("a method before the body")
def _(peer):
    peer.send_bytes(publish_frames(4))
    peer.send(1, spec.Basic.Qos())


@offence("a method amid the body")
def _(peer):
    peer.send_bytes(publish_frames(4) + frame_bytes(BODY, 1, b"bo"))
    peer.send(1, spec.Basic.Qos())


@offence("a body where none was announced")
def _(peer):
    peer.send_bytes(publish_frames(0) + frame_bytes(BODY, 1, b"body"))


@offence("a method that only the broker sends")
def _(peer):
    peer.send(1, spec.Queue.DeclareOk("q", 0, 0))


def declare_with(table):
    """queue.declare with an argument table of raw bytes."""
    return frame_bytes(METHOD, 1, method_bytes(
        50, 10, b"\0\0" + b"\x03raw" + b"\x08" + struct.pack(">I", len(table)) + table))


class Offences(AgainstPronto):
    maxDiff = None


def against_both(name, commit, text, channels):
    def test(self):
        answers = []
        for broker in BROKERS:
            with Peer(broker.port) as peer:
                peer.open(channels=channels)
                commit(peer)
                try:
                    answers.append(told(peer.receive()))
                except Gone as gone:
                    answers.append(f"{gone} without a word")
        if not text:
            answers = [re.sub(r"^(\w+ \d+) .*", r"\1", answer, flags=re.DOTALL) for answer in answers]
        elif text == "words":
            answers = [re.sub(r" \(class \d+ method \d+\)$", "", answer) for answer in answers]
        self.assertEqual(answers[0], answers[1], "Pronto's answer, then RabbitMQ's")
        self.assertRegex(answers[0], "^(CONNECTION|CHANNEL) ")
    return test


for offence_name, what in OFFENCES.items():
    setattr(Offences, "test_" + re.sub(r"\W+", "_", offence_name), against_both(offence_name, *what))


# -- where RabbitMQ is no model -------------------------------------------------


class Limits(AgainstPronto):
    """RabbitMQ takes these, waits for ever, or breaks: Pronto answers with an error."""

    def refused(self, data, code):
        peer = self.peer().open()
        peer.send_bytes(data)
        answer = peer.receive()
        self.assertIsInstance(answer, spec.Connection.Close, told(answer))
        self.assertEqual(answer.reply_code, code, told(answer))

    def test_tables_nested_a_thousand_deep(self):
        table = b""
        for _ in range(1000):
            table = b"\x01kF" + struct.pack(">I", len(table)) + table
        self.refused(declare_with(table), 502)

    def test_arrays_nested_a_thousand_deep(self):
        array = b""
        for _ in range(1000):
            array = b"A" + struct.pack(">I", len(array)) + array
        self.refused(declare_with(b"\x01k" + array), 502)

    def test_an_array_of_nothing_a_hundred_thousand_times(self):
        self.refused(declare_with(b"\x01kA" + struct.pack(">I", 100_000) + b"V" * 100_000), 502)

    def test_headers_nested_a_thousand_deep(self):
        table = b""
        for _ in range(1000):
            table = b"\x01kF" + struct.pack(">I", len(table)) + table
        properties = struct.pack(">H", 1 << 13) + struct.pack(">I", len(table)) + table
        self.refused(frame.Method(1, spec.Basic.Publish(exchange="", routing_key="k")).marshal() +
                     frame_bytes(HEADER, 1, struct.pack(">HHQ", 60, 0, 0) + properties), 502)

    # RabbitMQ has 501 for the next four; what the frame holds is wrong, not the frame: 502 in AMQP's words.

    def test_a_content_header_that_is_cut_off(self):
        self.refused(frame.Method(1, spec.Basic.Publish(exchange="", routing_key="k")).marshal() +
                     frame_bytes(HEADER, 1, struct.pack(">HHI", 60, 0, 1)), 502)

    def test_a_method_that_is_cut_off(self):
        self.refused(frame_bytes(METHOD, 1, method_bytes(50, 10, b"\0\0\xffshort")), 502)

    def test_an_empty_method_frame(self):
        self.refused(frame_bytes(METHOD, 1, b""), 502)

    def test_a_table_longer_than_its_method(self):
        self.refused(frame_bytes(METHOD, 1, method_bytes(
            50, 10, b"\0\0" + b"\x01q" + b"\x08" + struct.pack(">I", 0xFFFFFFF0) + b"\x01k")), 502)

    def test_a_table_value_of_a_type_that_is_none(self):
        self.refused(declare_with(b"\x01kZ\0\0\0\0"), 502)

    def test_a_table_whose_last_value_is_cut_off(self):
        self.refused(declare_with(b"\x01kl\0\0"), 502)

    def test_property_flags_that_say_more_than_comes(self):
        self.refused(frame.Method(1, spec.Basic.Publish(exchange="", routing_key="k")).marshal() +
                     frame_bytes(HEADER, 1, struct.pack(">HHQH", 60, 0, 0, 0xFFFC)), 502)

    def test_a_method_that_does_not_exist(self):
        for class_id, method_id in ((99, 99), (60, 99), (0, 0), (65535, 65535)):
            with self.subTest(class_id=class_id, method_id=method_id):
                self.refused(frame_bytes(METHOD, 1, method_bytes(class_id, method_id)), 503)

    def test_a_body_longer_than_announced(self):
        self.refused(publish_frames(4) + frame_bytes(BODY, 1, b"body and more"), 501)

    def test_body_frames_without_a_body_for_ever(self):
        peer = self.peer().open()
        peer.send_bytes(publish_frames(4) + frame_bytes(BODY, 1, b"") * 10_000)
        self.assertRegex(told(peer.receive()), "^CONNECTION 501 ")

    def test_a_heartbeat_with_a_payload(self):
        self.refused(frame_bytes(HEARTBEAT, 0, b"beat"), 501)

    def test_a_message_past_the_limit_costs_only_its_channel(self):
        peer = self.peer().open(channels=(1, 2))
        limit = 16 * 1024 * 1024
        for size in (limit + 1, 2**63, 2**64 - 1):
            peer.send_bytes(publish_frames(size))
            self.assertEqual(
                told(peer.receive()),
                f"CHANNEL 406 PRECONDITION_FAILED - message size {size} is larger than configured max size {limit} "
                "(class 60 method 40)")
            # What was on its way already is not heard; the other channel goes on.
            peer.send_bytes(frame_bytes(BODY, 1, bytes(1000)))
            self.assertIsInstance(peer.call(2, spec.Basic.Qos()), spec.Basic.QosOk)
            peer.send(1, spec.Channel.CloseOk())
            self.assertIsInstance(peer.call(1, spec.Channel.Open()), spec.Channel.OpenOk)

    def test_methods_before_the_connection_is_open(self):
        for ask in (spec.Queue.Declare(queue="early"), spec.Channel.Open(), spec.Basic.Publish(routing_key="k")):
            with self.subTest(ask.NAME):
                peer = self.peer()
                peer.start()
                peer.send(1, ask)
                self.assertTrue(self.is_ended(peer.receive))
                peer = self.peer()
                peer.start()
                peer.log_in()
                peer.send(0, spec.Connection.TuneOk(channel_max=2047, frame_max=FRAME_MAX, heartbeat=0))
                peer.send(1, ask)
                self.assertTrue(self.is_ended(peer.receive))

    def is_ended(self, receive):
        """Before a connection is open RabbitMQ cuts it without a word; Pronto may give one."""
        try:
            answer = receive()
        except Gone:
            return True
        self.assertIsInstance(answer, spec.Connection.Close)
        return True

    def test_a_large_frame_before_its_size_was_agreed_on(self):
        peer = self.peer()
        peer.start()
        peer.send_bytes(frame_bytes(METHOD, 0, bytes(100_000)))
        self.assertTrue(self.is_ended(peer.receive))

    def test_open_before_login(self):
        peer = self.peer()
        peer.start()
        peer.send(0, spec.Connection.Open(virtual_host="/"))
        self.assertTrue(self.is_ended(peer.receive))

    def test_logins_that_cannot_be_understood(self):
        for how in ({"mechanism": "NOSUCH"}, {"response": "guest"}, {"response": ""}, {"response": "\0" * 10},
                    {"mechanism": "AMQPLAIN", "response": ""}, {"mechanism": "AMQPLAIN", "response": "garbage"},
                    {"response": "\0guest\0"}, {"response": "\0\0"}, {"response": "\0" + "g" * 4000 + "\0guest"}):
            with self.subTest(how):
                peer = self.peer()
                peer.start()
                self.assertTrue(self.is_ended(lambda: peer.log_in(**how)))

    def test_tuning_beyond_what_was_proposed(self):
        for how in ({"channel_max": 2048}, {"frame_max": FRAME_MAX + 1}, {"frame_max": 100}):
            with self.subTest(how):
                peer = self.peer()
                peer.start()
                peer.log_in()
                tuned = spec.Connection.TuneOk(**{"channel_max": 2047, "frame_max": FRAME_MAX, "heartbeat": 0, **how})
                self.assertTrue(self.is_ended(lambda: peer.call(0, tuned)))

    def test_methods_without_waiting_for_answers_are_all_answered(self):
        peer = self.peer().open()
        for _ in range(2000):
            peer.send(1, spec.Basic.Qos())
        for _ in range(2000):
            self.assertIsInstance(peer.receive(), spec.Basic.QosOk)


# -- bytes gone wrong -----------------------------------------------------------


def conversation():
    """What a client sends that does a bit of everything, frame by frame."""
    headers = {"text": "x", "list": [1, {"deep": None}], "time": datetime.datetime(2024, 1, 1), "CC": ["other"]}
    methods = [
        spec.Queue.Declare(queue="mutant", auto_delete=True, arguments={"x-message-ttl": 1000, "x-expires": 1000}),
        spec.Exchange.Declare(exchange="mutant", type="fanout", auto_delete=True, arguments={"alternate-exchange": "a"}),
        spec.Queue.Bind(queue="mutant", exchange="mutant", routing_key="k", arguments={"a": 1}),
        spec.Basic.Qos(prefetch_count=10), spec.Basic.Consume(queue="mutant", arguments={"x-priority": 1}),
        spec.Confirm.Select(), "publish", "publish", spec.Basic.Get(queue="mutant"), spec.Basic.Ack(delivery_tag=1),
        spec.Basic.Nack(delivery_tag=0, multiple=True), spec.Basic.Recover(requeue=True), spec.Exchange.Bind(
            destination="mutant", source="amq.direct", routing_key="k"), spec.Queue.Purge(queue="mutant"),
        spec.Basic.Cancel(consumer_tag="c"), spec.Channel.Close(0, "", 0, 0), spec.Channel.Open(), spec.Tx.Select(),
        "publish", spec.Tx.Commit(), spec.Queue.Delete(queue="mutant"), spec.Exchange.Delete(exchange="mutant")]
    frames = []
    for method in methods:
        if not isinstance(method, str):
            frames.append(frame.Method(1, method).marshal())
            continue
        properties = spec.BasicProperties(headers=headers, delivery_mode=2, expiration="500", priority=3, message_id="m")
        frames += [frame.Method(1, spec.Basic.Publish(exchange="mutant", routing_key="k", mandatory=True)).marshal(),
                   frame.Header(1, 8, properties).marshal(), frame.Body(1, b"half").marshal(),
                   frame.Body(1, b"half").marshal()]
    return frames


def mutate(chance, frames):
    """Frames left out, doubled or swapped, bytes flipped, lengths made wrong, the end cut off."""
    frames = list(frames)
    for _ in range(chance.randrange(3)):
        at = chance.randrange(len(frames))
        frames[at:at + 1] = chance.choice([[], [frames[at]] * 2, [chance.choice(frames), frames[at]]])
    data = bytearray(b"".join(frames))
    for _ in range(chance.choice([0, 1, 1, 2, 8])):
        at = chance.randrange(len(data))
        data[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, data[at] ^ 1 << chance.randrange(8), chance.randrange(256)])
    return bytes(data[:chance.choice([len(data), len(data), chance.randrange(len(data))])])


class Mutants(AgainstPronto):
    """PRONTO_SEED=N repeats one, PRONTO_MUTANTS=N runs as many."""

    def test_bytes_gone_wrong_hurt_nobody_else(self):
        frames = conversation()
        given = os.environ.get("PRONTO_SEED")
        seeds = [int(given)] if given else [
            random.SystemRandom().randrange(2**32) for _ in range(int(os.environ.get("PRONTO_MUTANTS", "500")))]
        for seed in seeds:
            with self.subTest(f"PRONTO_SEED={seed}"):
                with Peer(self.broker.port) as peer:
                    peer.open()
                    peer.send_bytes(mutate(random.Random(seed), frames))
                    with contextlib.suppress(OSError):  # cut off already
                        peer.socket.shutdown(socket.SHUT_WR)
                    peer.receive_to_end()
                self.assertTrue(self.broker.process.is_running(), self.broker.process.log_tail())
        self.assertTrue(self.bystander.is_served())


# -- those who do not speak -----------------------------------------------------


class Silence(AgainstPronto):
    def test_a_thousand_who_never_speak_are_cut_at_the_limit_and_others_are_served_meanwhile(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
        started = time.monotonic()
        silent = [socket.create_connection(("127.0.0.1", self.broker.port)) for _ in range(1000)]
        half = [self.peer() for _ in range(3)]
        half[0].send_bytes(b"AMQP\x00")
        half[1].send_bytes(HEADER_0_9_1)  # and never start-ok
        half[2].start()
        half[2].send_bytes(frame_bytes(METHOD, 0, method_bytes(10, 11, bytes(50)))[:20])
        slow = self.peer()  # a byte at a time does not buy time
        letters = iter(HEADER_0_9_1 + frame_bytes(METHOD, 0, bytes(200)))
        open_ones = {one.fileno(): one for one in silent + [peer.socket for peer in half + [slow]]}
        poll = select.poll()
        for number in open_ones:
            poll.register(number, select.POLLIN)
        first_cut = None
        longest = 0.0
        next_letter = started
        while open_ones:
            now = time.monotonic()
            self.assertLess(now - started, HANDSHAKE_SECONDS + 20, f"{len(open_ones)} were never cut")
            if now >= next_letter:
                with contextlib.suppress(OSError, StopIteration):
                    slow.socket.send(bytes([next(letters)]))
                next_letter = now + 0.2
            before = time.monotonic()
            self.bystander.is_served()
            longest = max(longest, time.monotonic() - before)
            for number, _ in poll.poll(50):
                try:
                    is_over = not open_ones[number].recv(4096)
                except OSError:
                    is_over = True
                if is_over:
                    first_cut = first_cut or time.monotonic() - started
                    poll.unregister(number)
                    open_ones.pop(number).close()
        self.assertGreater(first_cut, HANDSHAKE_SECONDS - 1, "nobody is cut before the limit")
        self.assertLess(longest, 2, "others are served without delay")

    def test_half_a_frame_and_then_no_heartbeats(self):
        peer = self.peer()
        peer.start()
        peer.log_in()
        peer.send(0, spec.Connection.TuneOk(channel_max=10, frame_max=FRAME_MAX, heartbeat=1))
        peer.call(0, spec.Connection.Open(virtual_host="/"))
        peer.call(1, spec.Channel.Open())
        started = time.monotonic()
        peer.send_bytes(publish_frames(1000)[:-5])
        while True:  # the broker's own heartbeats come meanwhile
            try:
                peer.receive_bytes()
            except Gone:
                break
        self.assertLess(time.monotonic() - started, 6)

    def test_a_consumer_that_never_reads_holds_up_nobody(self):
        name = "unread"
        deaf = self.peer().open()
        deaf.call(1, spec.Queue.Declare(queue=name, auto_delete=True))
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.call(1, spec.Basic.Consume(queue=name, no_ack=True))  # and never looks at what comes
        before = self.resident_bytes()
        publisher = self.peer().open()
        publisher.call(1, spec.Confirm.Select())
        body = bytes(100_000)
        for _ in range(400):
            publisher.publish(1, "", name, body)
            self.assertIsInstance(publisher.receive(), spec.Basic.Ack)
        self.assertTrue(self.bystander.is_served())
        waiting = publisher.call(1, spec.Queue.Declare(queue=name, passive=True)).message_count
        self.assertGreater(waiting, 100, "what does not fit stays in the queue")
        self.assertLess(self.resident_bytes() - before, 400 * len(body) + 64 * 1024 * 1024)
        publisher.call(1, spec.Queue.Delete(queue=name))

    def resident_bytes(self):
        pid = self.broker.process.running.pid
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def test_those_who_vanish_leave_nothing_behind(self):
        for _ in range(50):
            peer = self.peer().open()
            peer.call(1, spec.Queue.Declare(queue="left", exclusive=True))
            peer.send_bytes(publish_frames(1000) + frame_bytes(BODY, 1, b"half"))
            # A reset instead of an orderly end.
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()

            def is_free():
                with Peer(self.broker.port) as next_one:
                    return isinstance(next_one.open().call(1, spec.Queue.Declare(queue="left", exclusive=True)),
                                      spec.Queue.DeclareOk)
            eventually("the exclusive queue is gone with its connection", is_free)


if __name__ == "__main__":
    unittest.main()
