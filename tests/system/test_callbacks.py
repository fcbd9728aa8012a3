"""Callbacks to receivers that fail, hang, redirect, end it, ask for time, or are not to be called at all.

One embedded pizzeria with a short schedule; each test has receivers of its own.
"""

import http.server
import re
import socket
import sqlite3
import threading
import time
import unittest
import urllib.parse

from harness import CallbackReceiver, Setup, eventually, is_signed

SCHEDULE = "0,0.3,0.6,0.9"
PASSWORD = "behind the counter"
ANSWER_SECONDS_MAX = 10  # Callbacks::Options::limits
CIRCUIT_FAILURES_MAX = 10
CIRCUIT_OPEN_MIN = 5


class Receiver:
    """Answers as told: `answer(count)` gives (status, headers), or waits before it does. Keeps (at, headers, body)."""

    def __init__(self, answer):
        receiver = self
        self.received = []
        self.lock = threading.Lock()
        self.released = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    receiver.received.append((time.monotonic(), dict(self.headers), body))
                    count = len(receiver.received)
                status, headers = answer(count)
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass  # the caller has given up waiting

            def do_GET(self):
                with receiver.lock:
                    receiver.received.append((time.monotonic(), {"method": "GET"}, b""))
                self.send_error(404)

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/told"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def all(self):
        with self.lock:
            return list(self.received)

    def stop(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class Operator:
    """Logs in at /operator, looks at the callbacks, and sends one again."""

    def __init__(self, setup, password):
        self.setup = setup
        self.cookies = {}
        page = self.ask("GET", "/operator/login")
        self.ask("POST", "/operator/login", {"csrf": self.csrf(page), "password": password})
        assert "pizzeria_operator" in self.cookies

    def ask(self, method, path, form=None):
        headers = {"Accept": "text/html",
                   "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urllib.parse.urlencode(form)
        answer = self.setup.call(method, path, body, headers=headers)
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    @staticmethod
    def csrf(page):
        return re.search(r'name="csrf" value="([^"]*)"', page.body.decode()).group(1)

    def callbacks(self):
        return self.ask("GET", "/operator/api/callbacks").json

    def of_order(self, order):
        found = [one for one in self.callbacks()["callbacks"] if one["order"] == order]
        return found[0] if found else None


class Callbacks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.setup = Setup("embedded", stage_seconds="0.01", callback_schedule=SCHEDULE,
                          options=["--operator-password", PASSWORD])
        cls.failed = False
        try:
            cls.setup.start()
            cls.alice = cls.setup.token("alice")
        except BaseException:
            cls.setup.stop(keep=True)
            raise

    @classmethod
    def tearDownClass(cls):
        cls.setup.stop(keep=cls.failed)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            type(self).failed = True

    def receiver(self, answer):
        made = Receiver(answer)
        self.addCleanup(made.stop)
        return made

    def place(self, url, **extra):
        answer = self.setup.order(self.alice, callback_url=url, **extra)
        self.assertEqual(answer.status, 202, answer.body)
        return answer.json

    def operator(self):
        return Operator(self.setup, PASSWORD)

    def wait_for_state(self, order, state, seconds=30):
        operator = self.operator()

        def is_there():
            found = operator.of_order(order)
            return found if found and found["state"] == state else None
        return eventually(f"the callback of {order} is {state}", is_there, seconds)

    def settled(self, receiver, count):
        """All that was received, once no more can come: the whole schedule has passed."""
        eventually(f"{count} attempts", lambda: len(receiver.all()) >= count)
        quiet_until = time.monotonic() + 2.5
        eventually("the schedule has passed", lambda: time.monotonic() > quiet_until)
        received = receiver.all()
        self.assertEqual(len(received), count)
        return received

    def test_500_and_then_200_is_sent_again_with_one_id_each_signed(self):
        receiver = self.receiver(lambda count: (500 if count < 3 else 200, {}))
        order = self.place(receiver.url)
        received = self.settled(receiver, 3)
        self.assertEqual(len({headers["webhook-id"] for _, headers, _ in received}), 1)
        self.assertEqual(len({body for _, _, body in received}), 1)
        for _, headers, body in received:
            self.assertTrue(is_signed(order["callback_secret"], headers, body))
            self.assertFalse(is_signed(order["callback_secret"], headers, body + b" "))
            self.assertLess(abs(int(headers["webhook-timestamp"]) - time.time()), 30)
            self.assertEqual(headers["Content-Type"], "application/cloudevents+json")
        times = [at for at, _, _ in received]
        self.assertGreaterEqual(times[1] - times[0], 0.3)
        self.assertGreaterEqual(times[2] - times[1], 0.6)
        self.assertIsNone(self.operator().of_order(order["id"]))

    def test_a_secret_of_the_callers_own_signs(self):
        secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        receiver = self.receiver(lambda count: (204, {}))
        order = self.place(receiver.url, callback_secret=secret)
        self.assertEqual(order["callback_secret"], secret)
        eventually("the callback", receiver.all)
        _, headers, body = receiver.all()[0]
        self.assertTrue(is_signed(secret, headers, body))
        with sqlite3.connect(f"file:{self.setup.data / 'pizzeria.db'}?mode=ro", uri=True) as database:
            kept = database.execute("select count(*) from callback_secrets where order_id = ?", (order["id"],))
            self.assertEqual(kept.fetchone()[0], 0, "it is kept with the order's callback from its end on")

    def test_a_receiver_that_hangs_is_left_within_its_time_and_delays_nobody(self):
        hanging = self.receiver(lambda count: (hanging.released.wait(60), (204, {}))[1])
        good = self.receiver(lambda count: (204, {}))
        slow = [self.place(hanging.url)["id"] for _ in range(12)]
        started = time.monotonic()
        quick = [self.place(good.url)["id"] for _ in range(20)]
        eventually("all of the good receiver's", lambda: len(good.all()) >= len(quick), 5)
        self.assertLess(time.monotonic() - started, 5)
        operator = self.operator()
        found = eventually("the first attempt has ended", lambda: next(
            (one for one in map(operator.of_order, slow) if one and one["last_error"]), None),
            ANSWER_SECONDS_MAX + 10)
        self.assertLess(time.monotonic() - started, ANSWER_SECONDS_MAX + 5)
        self.assertIn("no answer within", found["last_error"])

    def test_410_ends_it(self):
        receiver = self.receiver(lambda count: (410, {}))
        order = self.place(receiver.url)["id"]
        self.settled(receiver, 1)
        self.assertEqual(self.wait_for_state(order, "ended")["last_status"], 410)

    def test_a_redirect_is_not_followed(self):
        target = self.receiver(lambda count: (204, {}))
        sent = []
        for status in (301, 302, 303, 307, 308):
            receiver = self.receiver(lambda count, status=status: (status, {"Location": target.url}))
            sent.append((status, receiver, self.place(receiver.url)["id"]))
        for status, receiver, order in sent:
            with self.subTest(status):
                found = self.wait_for_state(order, "dead")
                self.assertEqual(len(receiver.all()), 4)
                self.assertIn("redirects are not followed", found["last_error"])
        self.assertEqual(target.all(), [])

    def test_retry_after_of_429_and_503_is_respected(self):
        for status in (429, 503):
            with self.subTest(status):
                receiver = self.receiver(
                    lambda count, status=status: (status, {"Retry-After": "3"}) if count == 1 else (204, {}))
                self.place(receiver.url)
                (first, _, _), (second, _, _) = self.settled(receiver, 2)
                self.assertGreaterEqual(second - first, 2.9)
                self.assertLess(second - first, 5)

    def test_what_was_given_up_is_seen_by_the_operator_and_can_be_sent_again(self):
        mood = {"status": 500}
        receiver = self.receiver(lambda count: (mood["status"], {}))
        order = self.place(receiver.url)
        self.settled(receiver, 4)
        found = self.wait_for_state(order["id"], "dead")
        self.assertEqual((found["attempts"], found["last_status"]), (4, 500))
        operator = self.operator()
        page = operator.ask("GET", "/operator/callbacks")
        self.assertEqual(page.status, 200)
        for shown in (order["id"], "given up", "answered 500", found["id"], f"127.0.0.1:{receiver.port}"):
            self.assertIn(shown.encode(), page.body)
        destinations = {one["destination"]: one for one in operator.callbacks()["destinations"]}
        self.assertEqual(destinations[f"http://127.0.0.1:{receiver.port}"]["dead"], 1)
        mood["status"] = 204
        path = f"/operator/callbacks/{found['id']}/resend"
        self.assertEqual(operator.ask("POST", path, {"csrf": "wrong"}).status, 403)
        stranger = self.setup.call("POST", path, headers={"Content-Type": "application/x-www-form-urlencoded"})
        self.assertEqual((stranger.status, stranger.headers["Location"]), (303, "/operator/login"))
        self.assertEqual(self.setup.call("GET", "/operator/api/callbacks").status, 401)
        self.assertEqual(len(receiver.all()), 4)
        sent = operator.ask("POST", path, {"csrf": operator.csrf(page)})
        self.assertEqual((sent.status, sent.headers["Location"]), (303, "/operator/callbacks?done=resent"))
        eventually("it is sent again", lambda: len(receiver.all()) == 5)
        received = receiver.all()
        self.assertEqual({headers["webhook-id"] for _, headers, _ in received}, {found["id"]})
        self.assertTrue(is_signed(order["callback_secret"], received[4][1], received[4][2]))
        eventually("it is delivered", lambda: operator.of_order(order["id"]) is None)
        again = operator.ask("POST", path, {"csrf": operator.csrf(page)})
        self.assertEqual(again.headers["Location"], "/operator/callbacks?done=delivered")

    def test_a_dead_receiver_is_left_alone_for_a_while_and_delays_nobody(self):
        dead = self.receiver(lambda count: (500, {}))
        for _ in range(30):
            self.place(dead.url)
        operator = self.operator()

        def is_open():
            return any(one["is_circuit_open"] and one["destination"].endswith(f":{dead.port}")
                       for one in operator.callbacks()["destinations"])
        eventually("the circuit is open", is_open)
        before = len(dead.all())
        self.assertGreater(before, CIRCUIT_FAILURES_MAX)
        good = self.receiver(lambda count: (204, {}))
        started = time.monotonic()
        for _ in range(20):
            self.place(good.url)
        eventually("the others are told", lambda: len(good.all()) >= 20, 5)
        self.assertLess(time.monotonic() - started, CIRCUIT_OPEN_MIN)
        self.assertLessEqual(len(dead.all()) - before, 8, "what was under way when the circuit opened")


class RefusedCallbacks(unittest.TestCase):
    """What is refused at the accept. Here no order gets ready, so that one that is taken by mistake calls nobody."""

    @classmethod
    def setUpClass(cls):
        cls.setup = Setup("embedded", stage_seconds="3600", allowed=())
        try:
            cls.setup.start()
            cls.alice = cls.setup.token("alice")
        except BaseException:
            cls.setup.stop(keep=True)
            raise

    @classmethod
    def tearDownClass(cls):
        cls.setup.stop()

    def test_addresses_that_are_not_public_are_refused_in_every_notation(self):
        for host in ("10.0.0.1", "10.1", "0xa.1", "0x0a000001", "0X0A000001", "167772161", "012.0.0.1", "012.0.0.01",
                     "0012.0.1", "192.168.1.1", "3232235777", "172.16.0.1", "172.31.255.255", "169.254.169.254",
                     "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "100.64.0.1", "0.0.0.0", "0", "224.0.0.1",
                     "255.255.255.255", "240.0.0.1", "198.18.0.1", "10.0.0.1.", "169.254.169.254.",
                     "[::]", "[fd00::1]", "[fe80::1]", "[ff02::1]", "[::ffff:10.0.0.1]", "[::ffff:a00:1]",
                     "[0:0:0:0:0:ffff:a9fe:a9fe]", "[64:ff9b::10.0.0.1]", "[64:ff9b::a9fe:a9fe]",
                     "[64:ff9b:1::1]", "[2002:a00:1::1]", "[2001:db8::1]", "[::10.0.0.1]", "[fe80::1%25eth0]",
                     "[fd00:ec2::254]", "10.0.0.1:80", "[::ffff:10.0.0.1]:8080", "%31%30.0.0.1", "\uff11\uff10.0.0.1",
                     "10.0.0.1%00.example.com", "example.com:0", "256.256.256.256", "1.2.3.4.5"):
            for scheme in ("http", "https"):
                with self.subTest(f"{scheme}://{host}"):
                    self.refused(f"{scheme}://{host}/x")
        for url in ("http://example.com@10.0.0.1/", "http://user:password@example.com/", "http://10.0.0.1#@example.com/",
                    "http://10.0.0.1\\@example.com/", "http:/\\10.0.0.1/", "http://", "http:///x", "//example.com/",
                    "file:///etc/passwd", "gopher://example.com/", "ftp://example.com/", "javascript:alert(1)", " ", ""):
            with self.subTest(url):
                self.refused(url)

    def test_loopback_is_refused_in_every_notation_and_the_setting_is_named(self):
        for host in ("127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1",
                     "127.255.255.254", "localhost", "LOCALHOST", "localhost.", "a.localhost",
                     "localhost.localdomain", "ip6-localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
                     "[64:ff9b::127.0.0.1]", "[0:0:0:0:0:0:0:1]"):
            with self.subTest(host):
                answer = self.refused(f"http://{host}:{self.setup.http_port}/x")
                self.assertIn("--allow-callbacks-to", answer.json["detail"])
        self.refused(f"http://127.0.0.1.:{self.setup.http_port}/x")

    def refused(self, url):
        answer = self.setup.order(self.alice, callback_url=url)
        self.assertEqual(answer.status, 422, (url, answer.body))
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        self.assertEqual([one["field"] for one in answer.json["errors"]], ["callback_url"])
        self.assertTrue(answer.json["errors"][0]["reason"])
        return answer


class StrictCallbacks(unittest.TestCase):
    """Nothing is allowed but public addresses, and a name is only known to lead elsewhere when it is resolved."""

    @classmethod
    def setUpClass(cls):
        cls.setup = Setup("embedded", stage_seconds="0.01", callback_schedule="0,0.2", allowed=(),
                          options=["--operator-password", PASSWORD])
        try:
            cls.setup.start()
            cls.alice = cls.setup.token("alice")
        except BaseException:
            cls.setup.stop(keep=True)
            raise

    @classmethod
    def tearDownClass(cls):
        cls.setup.stop()

    def test_a_name_that_leads_here_is_refused_when_it_is_resolved(self):
        name = socket.gethostname()  # resolves to an address of this machine, which is no public one
        receiver = CallbackReceiver()
        self.addCleanup(receiver.stop)
        answer = self.setup.order(
            self.alice, callback_url=f"http://{name}:{receiver.server.server_address[1]}/x")
        self.assertEqual(answer.status, 202, answer.body)
        operator = Operator(self.setup, PASSWORD)

        def given_up():
            found = operator.of_order(answer.json["id"])
            return found if found and found["state"] == "dead" else None
        found = eventually("it is given up", given_up)
        self.assertRegex(found["last_error"], "callbacks may not go to|cannot resolve")
        self.assertEqual(receiver.received, [])


if __name__ == "__main__":
    unittest.main()
