"""`pronto broker` is killed with SIGKILL under full load and started again, over and over on one data folder.

Publishers send without pause and remember what was confirmed; a consumer acks what it is handed. Every confirmed
message is delivered; a second time only marked as redelivered; in order within every session; and nothing is delivered
that was never published.

PRONTO_KILLS=10 (200 by ./test --all, or PRONTO_KILLS=200 ./test system.kill_broker), PRONTO_SEED to repeat a run.
"""

import os
import pathlib
import random
import shutil
import struct
import tempfile
import threading
import unittest

import pika
from pika import spec
from pika.exceptions import AMQPError

from harness import BIN, Process, accepts, free_port
from wire import FRAME_END, Wire, method_frame

KILLS = int(os.environ.get("PRONTO_KILLS", "200" if os.environ.get("PRONTO_TEST_ALL") else "10"))
SEED = int(os.environ.get("PRONTO_SEED", random.SystemRandom().randrange(1 << 32)))
QUEUES = ("one", "two")
WINDOW = 1000
BURST = 100


class Publisher(threading.Thread):
    """Publishes numbers to one queue until the broker dies."""

    def __init__(self, port, queue, first):
        super().__init__(daemon=True)
        self.port, self.queue, self.next = port, queue, first
        self.confirmed = set()
        self.wrong = []
        header = struct.pack(">HHQH", 60, 0, 200, 0x1000) + b"\x02"  # persistent
        self.start_of_one = method_frame(1, spec.Basic.Publish(exchange="", routing_key=queue)) + \
            struct.pack(">BHI", 2, 1, len(header)) + header + FRAME_END + struct.pack(">BHI", 3, 1, 200)

    def run(self):
        try:
            wire = Wire(self.port)
            first, sent, known = self.next, 0, 0  # tags are counted from 1
            while True:
                burst = b"".join(self.start_of_one + b"%-200d" % (self.next + i) + FRAME_END for i in range(BURST))
                self.next += BURST
                sent += BURST
                wire.socket.sendall(burst)
                while sent - known > WINDOW - BURST:
                    index, fields = wire.read_method()
                    if index != spec.Basic.Ack.INDEX:
                        self.wrong.append(f"method {index:x} instead of a confirm")
                        return
                    tag, multiple = struct.unpack(">QB", fields)
                    if not multiple and tag != known + 1:
                        self.wrong.append(f"a confirm of {tag} after {known}")
                    self.confirmed.update(range(first + known, first + tag))
                    known = tag
        except OSError:
            pass  # it was killed


class Consumer(threading.Thread):
    """Takes and acks from both queues until the broker dies, or until they are empty."""

    def __init__(self, port, until_empty=False):
        super().__init__(daemon=True)
        self.port, self.until_empty = port, until_empty
        self.deliveries = []  # (queue, number, redelivered)

    def run(self):
        try:
            connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port))
            channel = connection.channel()
            channel.basic_qos(prefetch_count=500)
            for queue in QUEUES:
                self.take(channel, queue)
            connection.close()
        except (AMQPError, OSError):
            pass

    def take(self, channel, queue):
        limit = 0.5 if self.until_empty else 0.05
        taken, last = 0, 0
        for method, _, body in channel.consume(queue, inactivity_timeout=limit):
            if method is None:
                break
            self.deliveries.append((queue, int(body), method.redelivered))
            taken, last = taken + 1, method.delivery_tag
            if taken % 50 == 0:
                channel.basic_ack(last, multiple=True)
            if not self.until_empty and taken >= 5000:
                break
        if taken % 50 != 0:
            channel.basic_ack(last, multiple=True)
        channel.cancel()  # gives back what came and was not taken


class KillBroker(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pronto-kill-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.port = free_port()
        self.broker = Process("broker", [BIN / "pronto", "broker", "--amqp", f"127.0.0.1:{self.port}", "--management",
                                         "127.0.0.1:0", "--data", self.folder / "data"],
                              self.folder, ready=lambda: accepts(self.port))
        self.addCleanup(self.broker.kill)

    def test_nothing_confirmed_is_lost(self):
        print(f"PRONTO_KILLS={KILLS} PRONTO_SEED={SEED}", flush=True)
        draw = random.Random(SEED)
        self.broker.start()
        with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port)) as connection:
            for queue in QUEUES:
                connection.channel().queue_declare(queue, durable=True)
        following = {queue: 1 for queue in QUEUES}
        confirmed = {queue: set() for queue in QUEUES}
        seen = {queue: set() for queue in QUEUES}
        for kill in range(KILLS):
            publishers = [Publisher(self.port, queue, following[queue]) for queue in QUEUES]
            consumer = Consumer(self.port)
            for thread in (*publishers, consumer):
                thread.start()
            consumer.join(draw.uniform(0.05, 0.8))
            self.broker.kill()
            for thread in (*publishers, consumer):
                thread.join(30)
                self.assertFalse(thread.is_alive(), "a client does not see that the broker has gone")
            for publisher in publishers:
                self.assertEqual(publisher.wrong, [])
                following[publisher.queue] = publisher.next
                confirmed[publisher.queue] |= publisher.confirmed
            self.note(consumer, seen, following, kill)
            self.broker.start()
        last = Consumer(self.port, until_empty=True)
        last.run()
        self.note(last, seen, following, KILLS)
        total = 0
        for queue in QUEUES:
            lost = confirmed[queue] - seen[queue]
            self.assertEqual(sorted(lost)[:10], [], f"{len(lost)} confirmed messages of '{queue}' are lost")
            total += len(confirmed[queue])
        self.assertGreater(total, KILLS * WINDOW, "there was hardly any load")
        print(f"{KILLS} kills, {total:,} confirmed messages, none lost", flush=True)

    def note(self, consumer, seen, following, kill):
        """Checks a session's deliveries, and remembers them."""
        last = {queue: 0 for queue in QUEUES}
        for queue, number, redelivered in consumer.deliveries:
            self.assertGreater(number, last[queue], f"out of order in '{queue}' after kill {kill}")
            last[queue] = number
            self.assertLess(number, following[queue], f"never published to '{queue}'")
            if number in seen[queue]:
                self.assertTrue(redelivered, f"{number} of '{queue}' a second time, without a word, after kill {kill}")
            seen[queue].add(number)


if __name__ == "__main__":
    unittest.main()
