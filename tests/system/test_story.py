"""The story of DESIGN.md section 2, a test for each row, on each set-up.

Run one set-up: PRONTO_SETUP=embedded|pronto|rabbitmq python3 -m unittest test_story
"""

import json
import os
import time
import unittest

import pika

from harness import CallbackReceiver, Setup, eventually, is_signed

KIND = os.environ.get("PRONTO_SETUP", "embedded")
JOURNEY = ["placed", "prep", "bake", "oven", "ready"]


class Tap:
    """A queue of the test's own on an event's exchange: what every service gets."""

    def __init__(self, setup, exchange):
        parameters = pika.ConnectionParameters("127.0.0.1", setup.amqp_port)
        self.connection = pika.BlockingConnection(parameters)
        self.channel = self.connection.channel()
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(self.queue, exchange)
        self.exchange = exchange

    def take(self):
        """The next (properties, event), or None."""
        method, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
        return (properties, json.loads(body)) if method else None

    def take_all(self, count, seconds=30):
        taken = []

        def enough():
            while (one := self.take()) is not None:
                taken.append(one)
            return len(taken) >= count
        eventually(f"{count} events on {self.exchange}", enough, seconds)
        return taken

    def publish(self, properties, event):
        self.channel.basic_publish(self.exchange, "", json.dumps(event).encode(), properties)

    def close(self):
        self.connection.close()


class Story(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.setup = Setup(KIND, stage_seconds="0.1")
        cls.failed = False
        try:
            cls.setup.start()
        except BaseException:
            cls.setup.stop(keep=True)
            raise
        cls.alice = cls.setup.token("alice")
        cls.bob = cls.setup.token("bob")

    @classmethod
    def tearDownClass(cls):
        cls.setup.stop(keep=cls.failed)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            type(self).failed = True

    def place(self, **extra):
        answer = self.setup.order(self.alice, **extra)
        self.assertEqual(answer.status, 202, answer.body)
        return answer.json["id"]

    # row 1
    def test_given_alice_when_she_orders_then_she_has_a_202_with_the_address_and_the_order_is_on_disk(self):
        started = time.monotonic()
        answer = self.setup.order(self.alice)
        seconds = time.monotonic() - started
        self.assertEqual(answer.status, 202, answer.body)
        order = answer.json
        self.assertEqual(answer.headers["Location"], f"/orders/{order['id']}")
        self.assertEqual(order["status"], "placed")
        self.assertEqual(order["links"]["self"], f"/orders/{order['id']}")
        self.assertIn("estimated_ready_at", order)
        self.assertLess(seconds, 5, "answered without waiting for the pizza")
        self.setup.kill_all()  # right after the answer: what was only in memory is gone
        self.setup.start()
        self.setup.wait_for(order["id"], self.alice)

    # row 2
    def test_given_an_accepted_order_when_services_are_down_then_the_event_waits_for_each_of_them(self):
        late = [name for name in ("order-history", "order-executor", "notifier")
                if name in self.setup.services]
        for name in late:
            self.assertEqual(self.setup.services[name].terminate(), 0)
        order = self.place()
        for name in late:
            self.setup.services[name].start()
        self.setup.wait_for(order, self.alice)

    # row 3
    def test_given_order_placed_when_it_is_delivered_again_and_again_then_it_is_in_the_history_once(self):
        tap = Tap(self.setup, "pizzeria.order-placed.v1")
        order = self.place()
        properties, event = tap.take_all(1)[0]
        self.assertEqual(event["order"], order)
        for _ in range(5):
            tap.publish(properties, event)
        self.setup.wait_for(order, self.alice)
        tap.close()
        history = self.setup.call("GET", "/orders", token=self.alice).json["orders"]
        self.assertEqual([one["id"] for one in history].count(order), 1)
        shown = self.setup.call("GET", f"/orders/{order}", token=self.alice).json
        self.assertEqual([step["status"] for step in shown["journey"]], JOURNEY)

    # row 4
    def test_given_order_placed_when_the_executor_takes_it_then_a_status_is_published_at_each_stage(self):
        tap = Tap(self.setup, "pizzeria.order-status.v1")
        order = self.place()
        events = []

        def all_of_it():
            while (one := tap.take()) is not None:
                if one[1]["order"] == order:
                    events.append(one[1])
            return len(events) >= 4
        eventually("four statuses", all_of_it)
        tap.close()
        self.assertEqual([event["status"] for event in events], JOURNEY[1:])
        self.assertEqual([event["sequence"] for event in events], [2, 3, 4, 5])

    # row 5
    def test_given_stages_under_way_when_each_is_published_then_the_page_moves_and_catches_up(self):
        order = self.place()
        seen = list(self.setup.events(order, self.alice))
        self.assertEqual([data["status"] for _, data in seen], JOURNEY)
        self.assertEqual([number for number, _ in seen], [1, 2, 3, 4, 5])
        missed = list(self.setup.events(order, self.alice, last_id=3))
        self.assertEqual([data["status"] for _, data in missed], ["oven", "ready"])
        shown = self.setup.call("GET", f"/orders/{order}", token=self.alice).json
        self.assertEqual([step["status"] for step in shown["journey"]], JOURNEY)

    # row 6
    def test_given_the_last_stage_is_done_when_the_order_is_ready_then_alice_is_told(self):
        order = self.place()
        *_, (_, last) = self.setup.events(order, self.alice)
        self.assertEqual(last["status"], "ready")
        shown = self.setup.call("GET", f"/orders/{order}", token=self.alice).json
        self.assertEqual(len(shown["pickup_code"]), 4)

    # row 7
    def test_given_a_callback_url_when_the_order_is_ready_then_the_result_is_sent_signed_until_taken(self):
        receiver = CallbackReceiver()
        self.addCleanup(receiver.stop)
        receiver.answer = lambda count: 500 if count < 3 else 204
        answer = self.setup.order(self.alice, callback_url=receiver.url)
        self.assertEqual(answer.status, 202, answer.body)
        order, secret = answer.json["id"], answer.json["callback_secret"]
        eventually("the third attempt", lambda: len(receiver.of_order(order)) >= 3)
        attempts = receiver.of_order(order)
        self.assertEqual(len({webhook_id for webhook_id, _, _ in attempts}), 1)
        for _, body, headers in attempts:
            self.assertTrue(is_signed(secret, headers, body))
        event = json.loads(attempts[-1][1])
        self.assertEqual(event["specversion"], "1.0")
        self.assertEqual(event["type"], "pizzeria.order-ready")
        self.assertEqual([step["status"] for step in event["data"]["journey"]], JOURNEY)

    # row 7, cancelled
    def test_given_a_callback_url_when_the_order_is_cancelled_then_that_is_sent(self):
        receiver = CallbackReceiver()
        self.addCleanup(receiver.stop)
        order = self.place(callback_url=receiver.url)
        answer = self.setup.call("DELETE", f"/orders/{order}", token=self.alice)
        self.assertIn(answer.status, (200, 202, 204), answer.body)
        self.setup.wait_for(order, self.alice, "cancelled")
        eventually("the callback", lambda: receiver.of_order(order))
        event = json.loads(receiver.of_order(order)[0][1])
        self.assertEqual(event["type"], "pizzeria.order-cancelled")

    # row 8
    def test_given_a_surge_when_many_workers_run_then_each_stage_of_each_order_is_done_once(self):
        tap = Tap(self.setup, "pizzeria.order-status.v1")
        orders = [self.place() for _ in range(40)]
        for order in orders:
            self.setup.wait_for(order, self.alice, seconds=120)
        events = [event for _, event in tap.take_all(160)]
        tap.close()
        for order in orders:
            self.assertEqual([event["status"] for event in events if event["order"] == order],
                             JOURNEY[1:])

    # row 9
    def test_given_several_services_when_order_placed_is_published_once_then_each_has_its_own_copy(self):
        first = Tap(self.setup, "pizzeria.order-placed.v1")
        second = Tap(self.setup, "pizzeria.order-placed.v1")
        order = self.place()
        self.assertEqual(first.take_all(1)[0][1]["order"], order)
        self.assertEqual(second.take_all(1)[0][1]["order"], order)
        first.close()
        second.close()
        self.setup.wait_for(order, self.alice)

    # row 10
    def test_given_orders_under_way_when_everything_is_killed_then_each_goes_on_and_none_is_baked_twice(self):
        orders = [self.place() for _ in range(10)]
        self.setup.kill_all()
        self.setup.start()
        for order in orders:
            self.setup.wait_for(order, self.alice)
            shown = self.setup.call("GET", f"/orders/{order}", token=self.alice).json
            self.assertEqual([step["status"] for step in shown["journey"]], JOURNEY)
            self.assertEqual([step["sequence"] for step in shown["journey"]], [1, 2, 3, 4, 5])

    # section 3
    def test_an_idempotency_key_gives_one_order(self):
        first = self.setup.order(self.alice, key="k1")
        again = self.setup.order(self.alice, key="k1")
        self.assertEqual((first.status, again.status), (202, 202), again.body)
        self.assertEqual(first.json["id"], again.json["id"])
        other = self.setup.order(self.alice, key="k1", callback_url="https://example.com/x")
        self.assertEqual(other.status, 422)
        of_bob = self.setup.order(self.bob, key="k1")
        self.assertNotEqual(of_bob.json["id"], first.json["id"])

    def test_nobody_reads_or_cancels_the_order_of_another(self):
        order = self.place()
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
            answer = self.setup.call(method, f"/orders/{order}{path}", token=self.bob)
            self.assertEqual(answer.status, 404)
            self.assertEqual(answer.headers["Content-Type"], "application/problem+json")

    def test_an_order_cannot_be_cancelled_in_the_oven_or_later(self):
        order = self.place()
        self.setup.wait_for(order, self.alice)
        answer = self.setup.call("DELETE", f"/orders/{order}", token=self.alice)
        self.assertEqual(answer.status, 409, answer.body)

    def test_prefer_wait_holds_the_answer_until_the_order_is_ready(self):
        answer = self.setup.order(self.alice, wait=20)
        self.assertEqual(answer.json["status"], "ready", answer.body)
        self.assertEqual(answer.headers["Preference-Applied"], "wait=20")

    def test_a_long_poll_answers_at_the_next_change(self):
        order = self.place()
        tag, seen = None, []
        while not seen or seen[-1] != "ready":
            headers = {"Prefer": "wait=20"}
            if tag:
                headers["If-None-Match"] = tag
            answer = self.setup.call("GET", f"/orders/{order}", token=self.alice, headers=headers)
            self.assertEqual(answer.status, 200)
            tag = answer.headers["ETag"]
            seen.append(answer.json["status"])
        self.assertEqual(seen, sorted(set(seen), key=JOURNEY.index), "each change once, in order")

    def test_a_callback_to_a_private_address_is_refused_at_once(self):
        for url in ("http://10.0.0.1/", "http://169.254.169.254/latest", "http://[fd00::1]/",
                    "http://0x0a000001/", "ftp://example.com/", "nonsense"):
            answer = self.setup.order(self.alice, callback_url=url)
            self.assertEqual(answer.status, 422, url)
            self.assertEqual(answer.headers["Content-Type"], "application/problem+json")

    def test_drain_on_sigterm_exits_with_0_and_loses_nothing(self):
        orders = [self.place() for _ in range(5)]
        for process in self.setup.services.values():
            self.assertEqual(process.terminate(), 0, process.log_tail())
        self.setup.start()
        for order in orders:
            self.setup.wait_for(order, self.alice)


if __name__ == "__main__":
    unittest.main()
