"""Orders are placed without pause while processes are killed with SIGKILL at random and started again.

Every order with a 202 reaches ready, each stage once and in order in the history, each callback at least once with
one webhook-id, and there is no order that nobody placed.

PRONTO_SETUP=embedded|pronto|rabbitmq, PRONTO_KILLS=20 (500 by ./test --all), PRONTO_SEED to repeat a run.
"""

import json
import os
import random
import sys
import threading
import time
import unittest

from harness import CallbackReceiver, Setup, eventually

KIND = os.environ.get("PRONTO_SETUP", "embedded")
KILLS = int(os.environ.get("PRONTO_KILLS", "500" if os.environ.get("PRONTO_TEST_ALL") else "20"))
SEED = int(os.environ.get("PRONTO_SEED", random.SystemRandom().randrange(1 << 32)))
JOURNEY = ["placed", "prep", "bake", "oven", "ready"]
CUSTOMERS = 4
IN_FLIGHT_MAX = 150  # per run, so that the kitchen can finish what was accepted


class Customer(threading.Thread):
    """Places one order after the other, with and without a key; keeps what was answered 202."""

    def __init__(self, setup, receiver, name, token):
        super().__init__(daemon=True)
        self.setup, self.receiver, self.token, self.customer = setup, receiver, token, name
        self.attempts = 0
        self.accepted = {}  # order id -> attempt
        self.over = threading.Event()
        self.wrong = []

    def run(self):
        while not self.over.is_set():
            if len(self.accepted) - self.ready_count() > IN_FLIGHT_MAX // CUSTOMERS:
                time.sleep(0.02)
                continue
            self.attempts += 1
            attempt = f"{self.customer}-{self.attempts}"
            key = attempt if self.attempts % 2 == 0 else None
            while not self.place(attempt, key) and key and not self.over.is_set():
                time.sleep(0.05)  # with a key the same order may be asked for again

    def ready_count(self):
        with self.receiver.lock:
            return sum(1 for _, body, _ in self.receiver.received
                       if json.loads(body)["data"]["id"] in self.accepted)

    def place(self, attempt, key):
        try:
            answer = self.setup.order(self.token, key=key,
                                      callback_url=f"{self.receiver.url}/{attempt}")
        except OSError:
            time.sleep(0.05)
            return False
        if answer.status == 202:
            self.accepted[answer.json["id"]] = attempt
            return True
        if answer.status not in (409, 503):
            self.wrong.append((answer.status, answer.body))
        time.sleep(0.05)
        return answer.status not in (409, 503)


def history(setup, token):
    """All orders of a customer, oldest page last."""
    orders, cursor = [], ""
    while True:
        page = setup.call("GET", f"/orders?cursor={cursor}" if cursor else "/orders", token=token)
        assert page.status == 200, page.body
        orders += page.json["orders"]
        cursor = page.json["next"]
        if not cursor:
            return orders


class NothingLost(unittest.TestCase):
    def campaign(self, kills, victims):
        """Kills `victims(setup, draw)` again and again under load, then holds the books against each other."""
        print(f"PRONTO_SETUP={KIND} PRONTO_KILLS={kills} PRONTO_SEED={SEED}", flush=True)
        draw = random.Random(SEED)
        setup = Setup(KIND, stage_seconds="0.02", workers=8)
        receiver = CallbackReceiver()
        healthy = False
        customers = []
        try:
            setup.start()
            for number in range(CUSTOMERS):
                name = f"customer{number}"
                customers.append(Customer(setup, receiver, name, setup.token(name)))
            for customer in customers:
                customer.start()
            for kill in range(kills):
                time.sleep(draw.uniform(0.05, 0.8))
                victims(setup, draw)
                setup.start()
                if sys.stderr.isatty():
                    print(f"\r{kill + 1} of {kills} kills", end="", file=sys.stderr, flush=True)
            for customer in customers:
                customer.over.set()
            for customer in customers:
                customer.join(60)
            self.check(setup, receiver, customers)
            healthy = True
        finally:
            for customer in customers:
                customer.over.set()
            receiver.stop()
            setup.stop(keep=not healthy)

    def check(self, setup, receiver, customers):
        accepted = {order: customer for customer in customers for order in customer.accepted}
        self.assertGreater(len(accepted), 2 * CUSTOMERS, "hardly anything was accepted")
        for customer in customers:
            self.assertEqual(customer.wrong, [])

        def all_called_back():
            with receiver.lock:
                called = {json.loads(body)["data"]["id"] for _, body, _ in receiver.received}
            return called >= accepted.keys()
        eventually("each accepted order is called back", all_called_back, 180, every=0.2)

        for customer in customers:
            def all_ready():
                # Its service may still be on its way back to the broker: then orders are missing, not late.
                known = {one["id"]: one["status"] for one in history(setup, customer.token)}
                return customer.accepted.keys() <= known.keys() and set(known.values()) <= {"ready"}
            eventually("the history is complete", all_ready, 60, every=0.2)
            orders = history(setup, customer.token)
            ids = [one["id"] for one in orders]
            self.assertEqual(len(ids), len(set(ids)))
            self.assertLessEqual(customer.accepted.keys(), set(ids))
            for one in orders:
                self.assertEqual([step["status"] for step in one["journey"]], JOURNEY, one)
                self.assertEqual([step["sequence"] for step in one["journey"]], [1, 2, 3, 4, 5])
            attempts = [one["callback_url"].rsplit("/", 1)[1] for one in orders]
            self.assertEqual(len(attempts), len(set(attempts)), "one attempt, one order at most")
            for attempt in attempts:
                name, number = attempt.rsplit("-", 1)
                self.assertEqual(name, customer.customer)
                self.assertLessEqual(int(number), customer.attempts)
        for order in accepted:
            webhook_ids = {webhook_id for webhook_id, _, _ in receiver.of_order(order)}
            self.assertEqual(len(webhook_ids), 1, order)
        print(f"{len(accepted)} orders accepted, all ready", flush=True)

    def test_everything_is_killed_at_random(self):
        self.campaign(KILLS, lambda setup, draw: setup.kill_all())

    def test_single_services_and_the_broker_are_killed_alone(self):
        # Embedded everything is one process, so there this is the same campaign with other draws.
        self.campaign(max(1, KILLS // 2), lambda setup, draw: draw.choice(setup.processes()).kill())


if __name__ == "__main__":
    unittest.main()
