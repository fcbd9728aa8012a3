"""ONE_ORDER.md's table: each row a test that crashes right after that commit, and starts again.

The pizzeria ends itself with SIGKILL right after the N-th commit whose transaction ran a statement that begins with a
given text (PIZZERIA_CRASH_AFTER="N:TEXT"), or right after a named point that is no commit.
"""

import json
import os
import unittest

from harness import CallbackReceiver, Setup, eventually

JOURNEY = ["placed", "prep", "bake", "oven", "ready"]


class CrashPoints(unittest.TestCase):
    def setUp(self):
        self.receiver = CallbackReceiver()
        self.addCleanup(self.receiver.stop)

    def crash_after(self, point, key=None):
        """Starts a pizzeria that crashes at `point`, orders, starts it again without. Returns what is known then."""
        setup = Setup("embedded", stage_seconds="0.1")
        self.addCleanup(setup.stop)
        up = setup.services["up"]
        up.environment = dict(os.environ, PIZZERIA_CRASH_AFTER=point)
        setup.start()
        token = setup.token("alice")
        accepted = None
        try:
            answer = setup.order(token, key=key, callback_url=self.receiver.url)
            self.assertEqual(answer.status, 202, answer.body)
            accepted = answer.json["id"]
        except OSError:
            pass  # it crashed before it could answer
        eventually(f"the crash after {point}", lambda: not up.is_running())
        self.assertEqual(up.running.returncode, -9)
        up.environment = None
        setup.start()
        return setup, token, accepted

    def check(self, setup, token, order):
        setup.wait_for(order, token)
        shown = setup.call("GET", f"/orders/{order}", token=token).json
        self.assertEqual([step["status"] for step in shown["journey"]], JOURNEY)
        self.assertEqual([step["sequence"] for step in shown["journey"]], [1, 2, 3, 4, 5])
        eventually("the callback", lambda: self.receiver.of_order(order))
        self.assertEqual(len({entry[0] for entry in self.receiver.of_order(order)}), 1)
        history = setup.call("GET", "/orders", token=token).json["orders"]
        self.assertEqual([one["id"] for one in history], [order])

    def test_step_1_a_key_without_an_order_is_published_under_the_same_id_by_the_retry(self):
        setup, token, accepted = self.crash_after("1:insert into http_idempotency", key="k")
        self.assertIsNone(accepted)
        self.assertEqual(setup.call("GET", "/orders", token=token).json["orders"], [])
        again = setup.order(token, key="k", callback_url=self.receiver.url)
        self.assertEqual(again.status, 202, again.body)
        self.check(setup, token, again.json["id"])
        other = setup.order(token, key="k", callback_url=self.receiver.url + "/other")
        self.assertEqual(other.status, 422)

    def test_step_2_an_order_that_nobody_was_told_of_is_made_all_the_same(self):
        setup, token, accepted = self.crash_after("1:published")
        self.assertIsNone(accepted)
        orders = eventually("the order", lambda: setup.call(
            "GET", "/orders", token=token).json["orders"])
        self.check(setup, token, orders[0]["id"])

    def commit(self, point):
        setup, token, accepted = self.crash_after(point)
        if accepted is None:  # the crash was faster than the answer
            orders = eventually("the order", lambda: setup.call(
                "GET", "/orders", token=token).json["orders"])
            accepted = orders[0]["id"]
        self.check(setup, token, accepted)

    def test_step_4_the_inbox_knows_an_event_that_history_had_taken(self):
        self.commit("1:insert into history_orders")

    def test_step_5_the_inbox_knows_an_order_that_the_kitchen_had_opened(self):
        self.commit("1:insert into executor_orders")

    def test_step_6_a_ticket_taken_again_waits_what_is_left_and_sends_its_status_once(self):
        for nth in (1, 3, 5):  # prep, bake, oven begin
            with self.subTest(nth):
                self.commit(f"{nth}:update executor_orders")

    def test_step_8_an_old_ticket_is_dropped_when_the_row_has_moved_on(self):
        for nth in (2, 4, 6):  # prep, bake, oven end
            with self.subTest(nth):
                self.commit(f"{nth}:update executor_orders")

    def test_step_9_each_status_is_in_the_history_once(self):
        for nth in (2, 3, 4, 5):  # the first is `placed`
            with self.subTest(nth):
                self.commit(f"{nth}:insert into history_steps")

    def test_step_10_a_callback_is_sent_again_with_the_same_id(self):
        self.commit("1:insert into http_callbacks")
        self.commit("1:update http_callbacks")


if __name__ == "__main__":
    unittest.main()
