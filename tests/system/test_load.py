"""Even spread over competing workers, and a service that comes late.

PRONTO_SETUP=pronto|rabbitmq|embedded
"""

import os
import unittest

from harness import CallbackReceiver, Setup, eventually
from test_nothing_lost import history

KIND = os.environ.get("PRONTO_SETUP", "pronto")
JOURNEY = ["placed", "prep", "bake", "oven", "ready"]


class LateService(unittest.TestCase):
    def test_history_that_was_down_for_1000_orders_is_complete_and_right_once_started(self):
        setup = Setup(KIND, stage_seconds="0.005", workers=16)
        receiver = CallbackReceiver()
        healthy = False
        try:
            setup.start()
            token = setup.token("alice")
            self.assertEqual(setup.services["order-history"].terminate(), 0)
            accepted = []
            for _ in range(1000):
                answer = setup.order(token, callback_url=receiver.url)
                self.assertEqual(answer.status, 202, answer.body)
                accepted.append(answer.json["id"])

            def finished():
                with receiver.lock:
                    return len({webhook_id for webhook_id, _, _ in receiver.received}) >= 1000
            eventually("1,000 orders are finished", finished, 180, every=0.2)
            setup.services["order-history"].start()
            eventually("the history is complete",
                       lambda: len(history(setup, token)) == 1000, 120, every=0.5)

            def all_ready():
                return all(one["status"] == "ready" for one in history(setup, token))
            eventually("each order is ready in it", all_ready, 120, every=0.5)
            orders = history(setup, token)
            self.assertEqual({one["id"] for one in orders}, set(accepted))
            for one in orders:
                self.assertEqual([step["status"] for step in one["journey"]], JOURNEY)
            places = [one["journey"][0]["at"] for one in orders]
            self.assertEqual(places, sorted(places, reverse=True), "newest first")
            healthy = True
        finally:
            receiver.stop()
            setup.stop(keep=not healthy)

    def test_a_cancellation_waits_for_an_executor_that_is_down_and_is_refused_where_it_cannot_be_kept(self):
        setup = Setup(KIND, stage_seconds="prep=60,bake=60,oven=60")
        healthy = False
        try:
            setup.start()
            token = setup.token("alice")
            order = setup.order(token).json["id"]
            setup.wait_for(order, token, "prep")
            setup.services["order-executor"].kill()
            answer = setup.call("DELETE", f"/orders/{order}", token=token)
            self.assertEqual(answer.status, 202, answer.body)
            self.assertEqual(answer.json["status"], "cancelling")
            again = setup.call("DELETE", f"/orders/{order}", token=token)
            self.assertEqual(again.status, 202, again.body)
            setup.services["order-executor"].start()
            setup.wait_for(order, token, "cancelled")
            journey = setup.call("GET", f"/orders/{order}", token=token).json["journey"]
            self.assertEqual([step["status"] for step in journey], ["placed", "prep", "cancelled"])
            log = setup.services["order-executor"].log.read_text()
            self.assertNotIn("level=error", log)
            self.assertNotIn("a request failed", log)

            order = setup.order(token).json["id"]
            setup.wait_for(order, token, "prep")
            setup.broker.kill()
            answer = setup.call("DELETE", f"/orders/{order}", token=token)
            self.assertEqual(answer.status, 503, answer.body)
            self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
            setup.broker.start()
            eventually("it can be cancelled again", lambda: setup.call(
                "DELETE", f"/orders/{order}", token=token).status == 200)
            healthy = True
        finally:
            setup.stop(keep=not healthy)


if __name__ == "__main__":
    unittest.main()
