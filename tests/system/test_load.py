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


if __name__ == "__main__":
    unittest.main()
