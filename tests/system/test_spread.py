"""Competing workers: work goes to who is free.

Four OrderExecutor processes with one slot each for the stage `bake`, which is the slowest by far, so its tickets wait
on one queue and each worker takes one at a time. What a worker did is read from its own metrics: how many tickets, and
how long it had one in hand.

PRONTO_SETUP=pronto|rabbitmq, PRONTO_TICKETS=2000
"""

import concurrent.futures
import http.client
import json
import os
import time
import unittest

from harness import Process, Setup, eventually

KIND = os.environ.get("PRONTO_SETUP", "pronto")
TICKETS = int(os.environ.get("PRONTO_TICKETS", "2000"))
JOURNEY = ["placed", "prep", "bake", "oven", "ready"]
WORKERS = 4
BAKE_SECONDS = 0.06


class Worker:
    """One OrderExecutor process with one slot at the oven's mouth."""

    def __init__(self, setup, index, bake_seconds):
        self.ports = setup.folder / f"worker-{index}.json"
        arguments = setup.executor_arguments + [
            "--workers", "prep=4,bake=1,oven=4", "--stage-seconds", f"prep=0,bake={bake_seconds},oven=0",
            "--instance", f"worker-{index}", "--management", "127.0.0.1:0", "--ports-file", self.ports]
        self.process = Process(f"worker-{index}", arguments, setup.folder, ready=self.is_ready)
        setup.services[f"worker-{index}"] = self.process

    def ask(self, path):
        connection = http.client.HTTPConnection(json.loads(self.ports.read_text())["management"], timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def is_ready(self):
        try:
            return self.ports.exists() and self.ask("/health/ready")[0] == 200
        except OSError:
            return False

    def metric(self, name):
        _, text = self.ask("/metrics")
        sought = f'{name}{{queue="order-executor.bake"}} '
        return next((float(line[len(sought):]) for line in text.splitlines() if line.startswith(sought)), 0.0)

    def done(self):
        return int(self.metric("pronto_bus_handled_total"))

    def seconds(self):
        """How long it had a ticket in hand, in all."""
        return self.metric("pronto_bus_handler_seconds_sum")


class Spread(unittest.TestCase):
    def kitchen(self, bake_seconds, without=()):
        """The services, with workers of these speeds that are not started yet."""
        self.setup = Setup(KIND)
        self.addCleanup(self.setup.stop)
        self.setup.executor_arguments = self.setup.services.pop("order-executor").arguments
        for name in without:
            self.setup.services.pop(name)
        self.setup.start()
        self.token = self.setup.token("alice")
        return [Worker(self.setup, index, seconds) for index, seconds in enumerate(bake_seconds)]

    def place(self, count):
        def one(_):
            answer = self.setup.order(self.token)
            self.assertEqual(answer.status, 202, answer.body)
            return answer.json["id"]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return list(pool.map(one, range(count)))

    def bake(self, workers):
        """All orders are there; the workers come. Returns: the seconds from the first ticket to the last."""
        for worker in workers:
            worker.process.start(wait=False)
        for worker in workers:
            worker.process.wait_ready()
        started = time.monotonic()  # a few tickets were taken meanwhile: they are in the time of the workers
        head_start = max(worker.seconds() for worker in workers)
        eventually(f"{TICKETS} tickets are done", lambda: sum(worker.done() for worker in workers) >= TICKETS,
                   600, every=0.05)
        return time.monotonic() - started + head_start

    def report(self, workers, seconds):
        done = [worker.done() for worker in workers]
        busy = [worker.seconds() for worker in workers]
        ideal = TICKETS / sum(count / time for count, time in zip(done, busy))
        print(f"{KIND}: {done} of {TICKETS} tickets, {[round(one / seconds, 3) for one in busy]} busy, "
              f"{seconds:.1f} s, ideal {ideal:.1f} s", flush=True)
        self.assertEqual(sum(done), TICKETS)
        return done, ideal

    def test_equally_fast_workers_take_equal_shares(self):
        workers = self.kitchen([BAKE_SECONDS] * WORKERS, without=("order-history", "notifier"))
        self.place(TICKETS)
        seconds = self.bake(workers)
        done, _ = self.report(workers, seconds)
        for count in done:
            self.assertAlmostEqual(count / TICKETS, 1 / WORKERS, delta=0.02)

    def test_a_worker_that_is_ten_times_slower_does_not_hold_the_others_up(self):
        workers = self.kitchen([BAKE_SECONDS] * (WORKERS - 1) + [10 * BAKE_SECONDS],
                               without=("order-history", "notifier"))
        self.place(TICKETS)
        seconds = self.bake(workers)
        done, ideal = self.report(workers, seconds)
        self.assertLessEqual(seconds, 1.1 * ideal)
        self.assertLess(done[-1], min(done[:-1]) / 5)

    def test_the_ticket_of_a_killed_worker_is_taken_over(self):
        workers = self.kitchen([1.0] * WORKERS)
        orders = self.place(12)
        for worker in workers:
            worker.process.start(wait=False)
        for worker in workers:
            worker.process.wait_ready()

        def baking():
            return sum(self.setup.status(order, self.token) == "bake" for order in orders)
        eventually("each worker has a ticket", lambda: baking() >= WORKERS)
        workers[0].process.kill()
        for order in orders:
            self.setup.wait_for(order, self.token)
            shown = self.setup.call("GET", f"/orders/{order}", token=self.token).json
            self.assertEqual([step["status"] for step in shown["journey"]], JOURNEY)
            self.assertEqual([step["sequence"] for step in shown["journey"]], [1, 2, 3, 4, 5])
        self.assertFalse(workers[0].process.is_running())
        self.assertGreaterEqual(sum(worker.done() for worker in workers[1:]), len(orders) - 1)


if __name__ == "__main__":
    unittest.main()
