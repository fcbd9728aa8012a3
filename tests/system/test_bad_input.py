"""Bad input of every kind: the right status, a problem document, nothing stored, nothing leaked, others served.

While the tests run, Bob orders and reads in the background; his slowest answer is looked at in the end.
"""

import concurrent.futures
import json
import socket
import sqlite3
import threading
import time
import unittest

from harness import Setup, eventually

ITEM = {"pizza": "margherita", "size": "large", "quantity": 1}
HEAD_SECONDS_MAX = 10  # ServerLimits::head_time_max
BODY_SECONDS_MAX = 30  # ServerLimits::body_time_max
BOB_SECONDS_MAX = 2.0
LEAKS = (b"exception", b"sqlite", b"select ", b"insert ", b".cpp", b"stack", b"/tmp/", b"terminate")


class Raw:
    """A connection that sends bytes as they are."""

    def __init__(self, setup, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", setup.http_port), timeout=timeout)

    def send(self, data):
        self.socket.sendall(data)

    def read_all(self):
        """Everything until the server closes."""
        got = b""
        while piece := self.socket.recv(65536):
            got += piece
        return got

    def close(self):
        self.socket.close()


class Bob(threading.Thread):
    """A customer who is served meanwhile: orders and reads on connections of his own."""

    def __init__(self, setup):
        super().__init__(daemon=True)
        self.setup = setup
        self.token = setup.token("bob")
        self.is_done = threading.Event()
        self.slowest = 0.0
        self.served = 0
        self.problems = []

    def run(self):
        while not self.is_done.wait(0.1):
            for ask in (lambda: self.setup.order(self.token),
                        lambda: self.setup.call("GET", "/orders", token=self.token)):
                started = time.monotonic()
                try:
                    answer = ask()
                    if answer.status not in (200, 202):
                        self.problems.append((answer.status, answer.body))
                except OSError as error:
                    self.problems.append(error)
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.served += 1

    def end(self):
        self.is_done.set()
        self.join(30)


def statuses_of(raw):
    """The status of each response in what a connection has sent."""
    return [int(line.split(b" ")[1]) for line in raw.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.setup = Setup("embedded", stage_seconds="0.05")
        cls.failed = False
        try:
            cls.setup.start()
            cls.alice = cls.setup.token("alice")
            cls.mallory = cls.setup.token("mallory")
            cls.bob = Bob(cls.setup)
            cls.bob.start()
        except BaseException:
            cls.setup.stop(keep=True)
            raise

    @classmethod
    def tearDownClass(cls):
        cls.bob.end()
        cls.setup.stop(keep=cls.failed)
        assert not cls.bob.problems, cls.bob.problems[:3]
        assert cls.bob.served > 50, cls.bob.served
        assert cls.bob.slowest < BOB_SECONDS_MAX, f"Bob waited {cls.bob.slowest:.2f} s"

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            type(self).failed = True

    def setUp(self):
        self.before = self.stored()

    def tearDown(self):
        # What is stored comes a moment after an answer, so what must not be there is looked for
        # behind an order of Bob's that was accepted later.
        after = self.setup.order(self.bob.token).json["id"]
        self.setup.wait_for(after, self.bob.token)
        self.assertEqual(self.stored(), self.before, "nothing was stored")

    def stored(self):
        """What the database holds of anybody but Bob: counts by table."""
        with sqlite3.connect(f"file:{self.setup.data / 'pizzeria.db'}?mode=ro", uri=True) as database:
            def count(sql):
                return database.execute(sql).fetchone()[0]
            return {
                "history": count("select count(*) from history_orders where customer <> 'bob'"),
                "kitchen": count("select count(*) from executor_orders where customer <> 'bob'"),
                "keys": count("select count(*) from http_idempotency where caller <> 'bob'"),
                "callbacks": count("select count(*) from http_callbacks"),
                "secrets": count("select count(*) from callback_secrets")}

    def keep(self):
        """What this test stores on purpose is no longer new."""
        self.before = self.stored()

    def place_one(self, token):
        order = self.setup.order(token).json["id"]
        self.setup.wait_for(order, token)
        self.keep()
        return order

    def check_problem(self, answer, status, field=None):
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        problem = answer.json
        self.assertEqual(problem["status"], status)
        self.assertTrue(problem["title"] and problem["detail"], problem)
        if field is not None:
            self.assertIn(field, [one["field"] for one in problem.get("errors", [])], problem)
            self.assertTrue(all(one["reason"] for one in problem["errors"]), problem)
        for leak in LEAKS:
            self.assertNotIn(leak, answer.body.lower())
        return problem

    def check_raw(self, raw, status):
        """One answer, a problem of that status, and the connection was closed behind it."""
        self.assertEqual(statuses_of(raw), [status], raw[:300])
        head, _, body = raw.partition(b"\r\n\r\n")
        self.assertIn(b"application/problem+json", head)
        self.assertEqual(json.loads(body)["status"], status)
        for leak in LEAKS:
            self.assertNotIn(leak, body.lower())

    def post(self, body, headers=None, token=None):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
        return self.setup.call("POST", "/orders", body, token or self.alice, headers)

    # -- bodies ---------------------------------------------------------------

    def test_what_is_not_json_is_400(self):
        for body in (b"", b"{", b'{"items": [', b"nonsense", b"{'items': []}", b'{"items": NaN}', b"null",
                     b"[]", b'"text"', b"7", b"[" * 60_000, b'{"a":' * 10_000, b"\xef\xbb\xbf{}",
                     b'{"items": "\xff\xfe"}', b'{"items": []} and more', b"\x00" * 100):
            with self.subTest(body[:30]):
                self.check_problem(self.post(body), 400)

    def test_wrong_types_and_values_name_their_field(self):
        item = {"pizza": "margherita", "size": "large", "quantity": 1}
        for body, field in (
                ({}, "items"),
                ({"items": None}, "items"),
                ({"items": "margherita"}, "items"),
                ({"items": {"pizza": "margherita"}}, "items"),
                ({"items": []}, "items"),
                ({"items": [item] * 21}, "items"),
                ({"items": [7]}, "items[0]"),
                ({"items": [None]}, "items[0]"),
                ({"items": [item, {**item, "pizza": "hawaii"}]}, "items[1].pizza"),
                ({"items": [{**item, "pizza": 7}]}, "items[0].pizza"),
                ({"items": [{**item, "pizza": "margherita\x00"}]}, "items[0].pizza"),
                ({"items": [{"size": "large"}]}, "items[0].pizza"),
                ({"items": [{**item, "size": "giant"}]}, "items[0].size"),
                ({"items": [{**item, "size": ["large"]}]}, "items[0].size"),
                ({"items": [{**item, "quantity": 0}]}, "items[0].quantity"),
                ({"items": [{**item, "quantity": -1}]}, "items[0].quantity"),
                ({"items": [{**item, "quantity": 21}]}, "items[0].quantity"),
                ({"items": [{**item, "quantity": 2 ** 63 - 1}]}, "items[0].quantity"),
                ({"items": [{**item, "quantity": 10 ** 30}]}, "items[0].quantity"),
                ({"items": [{**item, "quantity": 1.5}]}, "items[0].quantity"),
                ({"items": [{**item, "quantity": "1"}]}, "items[0].quantity"),
                ({"items": [{**item, "quantity": True}]}, "items[0].quantity"),
                ({"items": [{**item, "topping": "pineapple"}]}, "items[0].topping"),
                ({"items": [item], "price": 0}, "price"),
                ({"items": [item], "callback_url": 7}, "callback_url"),
                ({"items": [item], "callback_url": "nonsense"}, "callback_url"),
                ({"items": [item], "callback_url": "http://127.0.0.1:9/" + "x" * 2000}, "callback_url"),
                ({"items": [item], "callback_url": "http://127.0.0.1:9/\r\nX: y"}, "callback_url"),
                ({"items": [item], "callback_secret": "whsec_" + "A" * 44}, "callback_secret"),
                ({"items": [item], "callback_url": "http://127.0.0.1:9/", "callback_secret": "short"},
                 "callback_secret")):
            with self.subTest(body):
                self.check_problem(self.post(body), 422, field)

    def test_another_content_type_is_415(self):
        for content_type in ("text/plain", "multipart/form-data; boundary=x", "application/xml"):
            with self.subTest(content_type):
                answer = self.post({"items": [ITEM]}, {"Content-Type": content_type})
                self.check_problem(answer, 415)

    def test_a_wrong_form_is_a_problem_as_well_and_a_page_escapes_it(self):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        for form in ("", "pizza=hawaii&size=large&quantity=1", "pizza=margherita&size=large&quantity=0",
                     "pizza=margherita&size=large&quantity=1e3", "pizza=%zz", "&" * 5000):
            with self.subTest(form[:40]):
                answer = self.setup.call("POST", "/orders", form, self.alice, headers)
                self.assertIn(answer.status, (400, 422), answer.body)
                self.check_problem(answer, answer.status)
        script = "%3Cscript%3Ealert(1)%3C/script%3E"
        answer = self.setup.call("POST", "/orders", f"pizza={script}&size={script}&quantity={script}",
                                 self.alice, {**headers, "Accept": "text/html"})
        self.assertEqual(answer.status, 422)
        self.assertIn("text/html", answer.headers["Content-Type"])
        self.assertNotIn(b"<script>alert", answer.body)

    def test_a_body_of_2_megabytes_is_413(self):
        self.check_problem(self.post(b'{"items": "' + b"x" * 2_000_000 + b'"}'), 413)
        raw = Raw(self.setup)
        raw.send(b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 b"Transfer-Encoding: chunked\r\n\r\n")
        with _unless_refused():
            for _ in range(200):
                raw.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
            raw.send(b"0\r\n\r\n")
        self.check_raw(raw.read_all(), 413)
        raw.close()

    def test_a_body_that_was_only_announced_is_refused_before_it_is_sent(self):
        raw = Raw(self.setup)
        raw.send(b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 b"Content-Length: 2000000\r\nExpect: 100-continue\r\n\r\n")
        self.check_raw(raw.read_all(), 413)
        raw.close()

    # -- heads ----------------------------------------------------------------

    def test_10_000_fields_are_431(self):
        raw = Raw(self.setup)
        with _unless_refused():
            raw.send(b"GET /menu HTTP/1.1\r\nHost: x\r\n" +
                     b"".join(b"X-%d: y\r\n" % i for i in range(10_000)) + b"\r\n")
        self.check_raw(raw.read_all(), 431)
        raw.close()

    def test_a_field_of_a_megabyte_is_431_and_such_a_target_414(self):
        for head, status in ((b"GET /menu HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * 1_000_000, 431),
                             (b"GET /" + b"y" * 1_000_000, 414)):
            raw = Raw(self.setup)
            with _unless_refused():
                raw.send(head)
            self.check_raw(raw.read_all(), status)
            raw.close()

    def test_what_two_parsers_could_read_differently_is_refused_and_nothing_behind_it_is_answered(self):
        body = json.dumps({"items": [ITEM]}).encode()
        length = b"%d" % len(body)
        chunked = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
        behind = b"GET /menu HTTP/1.1\r\nHost: x\r\n\r\n"
        start = (b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 b"Authorization: Bearer " + self.alice.encode() + b"\r\n")
        cases = {
            "CL and TE": start + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
            "TE and CL": start + b"Transfer-Encoding: chunked\r\nContent-Length: " + length + b"\r\n\r\n" + chunked,
            "two CL": start + b"Content-Length: " + length + b"\r\nContent-Length: 0\r\n\r\n" + body,
            "two equal CL": start + (b"Content-Length: " + length + b"\r\n") * 2 + b"\r\n" + body,
            "a list of CL": start + b"Content-Length: " + length + b", " + length + b"\r\n\r\n" + body,
            "a signed CL": start + b"Content-Length: +" + length + b"\r\n\r\n" + body,
            "a hexadecimal CL": start + b"Content-Length: 0x10\r\n\r\n" + body,
            "an empty CL": start + b"Content-Length:\r\n\r\n" + body,
            "two TE": start + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + chunked,
            "a folded TE": start + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + chunked,
            "a folded field": start + b"X-A: b\r\n c\r\nContent-Length: " + length + b"\r\n\r\n" + body,
            "a space before the colon": start + b"Content-Length : " + length + b"\r\n\r\n" + body,
            "a bare LF": start.replace(b"\r\n", b"\n") + b"Content-Length: " + length + b"\n\n" + body,
            "one bare LF": start + b"X: y\nContent-Length: " + length + b"\r\n\r\n" + body,
            "a bare CR": start + b"X: y\rContent-Length: " + length + b"\r\n\r\n" + body,
            "a NUL": start + b"X: a\x00b\r\nContent-Length: " + length + b"\r\n\r\n" + body,
            "two hosts": start + b"Host: y\r\nContent-Length: " + length + b"\r\n\r\n" + body,
            "no host": start.replace(b"Host: x\r\n", b"") + b"Content-Length: " + length + b"\r\n\r\n" + body,
            "a broken chunk size": start + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body,
            "a chunk size with a sign": start + b"Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
            "a chunk that is too long": start + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
            "a chunk size that overflows":
                start + b"Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
            "a chunk line that ends in LF": start + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
        }
        for name, data in cases.items():
            with self.subTest(name):
                raw = Raw(self.setup)
                with _unless_refused():
                    raw.send(data + behind)
                got = raw.read_all()
                self.assertIn(statuses_of(got), ([400], [413]), got[:200])
                self.check_raw(got, statuses_of(got)[0])
                raw.close()
        for coding in (b"gzip, chunked", b"xchunked", b"chunked, identity", b"identity"):
            with self.subTest(coding):
                raw = Raw(self.setup)
                raw.send(start + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + chunked + behind)
                self.check_raw(raw.read_all(), 501)
                raw.close()

    def test_half_a_request_is_ended_with_408_within_its_limit(self):
        def wait_for_end(start, drip, limit):
            raw = Raw(self.setup, timeout=limit + 15)
            raw.send(start)
            started = time.monotonic()
            is_done = threading.Event()

            def go_on():  # a byte now and then does not buy more time
                while not is_done.wait(1):
                    with _unless_refused():
                        raw.send(drip)
            dripping = threading.Thread(target=go_on, daemon=True)
            dripping.start()
            try:
                got = raw.read_all()
            except ConnectionResetError:
                got = b""
            seconds = time.monotonic() - started
            is_done.set()
            dripping.join()
            raw.close()
            return got, seconds, limit

        halves = [(b"GET /menu HTT", b"P", HEAD_SECONDS_MAX),
                  (b"GET /menu HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"y", HEAD_SECONDS_MAX),
                  (b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", b" ", BODY_SECONDS_MAX)]
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            ended = [pool.submit(wait_for_end, *half) for half in halves for _ in range(10)]
            for one in ended:
                got, seconds, limit = one.result()
                self.assertLess(seconds, limit + 8)
                self.check_raw(got, 408)

    # -- who asks ---------------------------------------------------------------

    def test_the_order_of_another_is_404_and_looks_like_one_that_never_was(self):
        order = self.place_one(self.alice)
        never = "A" * len(order)
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("POST", "/cancel")):
            with self.subTest(method + path):
                its = self.setup.call(method, f"/orders/{order}{path}", token=self.mallory)
                none = self.setup.call(method, f"/orders/{never}{path}", token=self.mallory)
                self.check_problem(its, 404)
                self.assertEqual(its.body, none.body)
                guest = self.setup.call(method, f"/orders/{order}{path}")
                self.check_problem(guest, 404)
        self.assertEqual(self.setup.call("GET", "/orders", token=self.mallory).json["orders"], [])
        self.assertEqual(self.setup.status(order, self.alice), "ready")

    def test_a_forged_or_altered_order_id_is_404(self):
        order = self.place_one(self.alice)
        changed = [order[:i] + ("A" if order[i] != "A" else "B") + order[i + 1:] for i in range(len(order))]
        others = [order[:-1], order + "A", order.lower(), order + "%00", "%2e%2e%2f" + order, "'%20or%201=1--",
                  "x" * 7000]
        for one in changed + others:
            with self.subTest(one[:40]):
                answer = self.setup.call("GET", f"/orders/{one}", token=self.alice)
                self.check_problem(answer, 404)

    def test_a_forged_token_is_401(self):
        name, expiry, mac = self.alice.split(".")
        of_bob = self.bob.token.split(".")
        for token in ("x", "..", f"{name}.{expiry}.", f"{name}.{expiry}.{mac[:-2]}AA", f"{of_bob[0]}.{expiry}.{mac}",
                      f"{name}.{int(expiry) + 1}.{mac}", f"{name}.{expiry}.{of_bob[2]}", f"{name}.0.{mac}",
                      self.alice + "x", "x" * 5000):
            for method, path, body in (("GET", "/orders", None), ("POST", "/orders", {"items": [ITEM]})):
                with self.subTest(token=token[:60], method=method):
                    answer = self.setup.call(method, path, body, token)
                    self.check_problem(answer, 401)
                    self.assertIn("Bearer", answer.headers["WWW-Authenticate"])
        for scheme in ("Basic YWxpY2U6eA==", "Bearer", self.alice):
            answer = self.setup.call("GET", "/orders", headers={"Authorization": scheme})
            self.check_problem(answer, 401)

    def test_a_forged_cookie_is_401_and_opens_nothing(self):
        page = self.setup.call("GET", "/", headers={"Accept": "text/html"})
        cookie = page.headers["Set-Cookie"].split(";")[0]
        self.assertIn("HttpOnly", page.headers["Set-Cookie"])
        headers = {"Cookie": cookie}
        placed = self.setup.call("POST", "/orders", {"items": [ITEM]}, headers=headers)
        self.assertEqual(placed.status, 202, placed.body)
        path = "/orders/" + placed.json["id"]
        eventually("the order is ready", lambda: self.setup.call(
            "GET", path, headers=headers).json["status"] == "ready")
        self.keep()
        name, _, value = cookie.partition("=")
        who, expiry, mac = value.split(".")
        for forged in (f"{who}.{expiry}.{'A' * len(mac)}", f"{who}.{int(expiry) + 1}.{mac}", "x", f"{who}..",
                       self.alice[:-3] + "AAA"):
            headers = {"Cookie": f"{name}={forged}"}
            with self.subTest(forged):
                for method, target, body in (("POST", "/orders", {"items": [ITEM]}), ("GET", "/orders", None),
                                             ("GET", path, None), ("DELETE", path, None),
                                             ("GET", path + "/events", None)):
                    answer = self.setup.call(method, target, body, headers=headers)
                    self.check_problem(answer, 401)
                # A browser that brings a stale cookie just begins a new session.
                page = self.setup.call("GET", "/", headers={**headers, "Accept": "text/html"})
                self.assertEqual(page.status, 200)
                self.assertNotIn(placed.json["id"].encode(), page.body)
                self.assertIn(name, page.headers["Set-Cookie"])
        page = self.setup.call("GET", "/operator", headers={"Cookie": f"pizzeria_operator={value}"})
        self.assertEqual((page.status, page.headers["Location"]), (303, "/operator/login"))

    # -- keys -------------------------------------------------------------------

    def test_a_replayed_key_with_another_body_is_422(self):
        first = self.setup.order(self.alice, key="bad-input-1")
        self.assertEqual(first.status, 202)
        self.setup.wait_for(first.json["id"], self.alice)
        self.keep()
        other = self.post({"items": [{**ITEM, "quantity": 2}]}, {"Idempotency-Key": "bad-input-1"})
        self.check_problem(other, 422, "Idempotency-Key")
        again = self.setup.order(self.alice, key="bad-input-1")
        self.assertEqual(again.json["id"], first.json["id"])

    def test_an_unusable_key_is_400(self):
        for key in ("k" * 256, "k" * 10_000, "", "\x7fdel", "gr\xfc\xdfe"):
            with self.subTest(key[:20]):
                answer = self.post({"items": [ITEM]}, {"Idempotency-Key": key.encode("latin-1")})
                self.assertIn(answer.status, (400, 431))
                self.check_problem(answer, answer.status,
                                   "Idempotency-Key" if answer.status == 400 and key != "\x7fdel" else None)

    def test_a_refused_order_does_not_use_its_key_up(self):
        wrong = self.post({"items": []}, {"Idempotency-Key": "bad-input-2"})
        self.check_problem(wrong, 422, "items")
        self.assertEqual(self.stored(), self.before)
        right = self.post({"items": [ITEM]}, {"Idempotency-Key": "bad-input-2"})
        self.assertEqual(right.status, 202, right.body)
        self.setup.wait_for(right.json["id"], self.alice)
        self.keep()

    # -- paths, methods and fields ------------------------------------------------

    def test_unknown_paths_are_404(self):
        for path in ("/nothing", "/orders/", "/orders//events", "/orders/x/y/z", "/menu/", "/..", "/../etc/passwd",
                     "/assets/..%2f..%2fetc%2fpasswd", "/assets/../operator.mac", "/%00", "//menu", "/operator/x"):
            with self.subTest(path):
                self.check_problem(self.setup.call("GET", path, token=self.alice), 404)
        self.check_problem(self.setup.call("GET", "/%zz", token=self.alice), 400)

    def test_unknown_methods_are_405_and_say_which_are_allowed(self):
        order = self.place_one(self.alice)
        for method, path, allowed in (("PUT", "/orders", "GET, HEAD, OPTIONS, POST"),
                                      ("DELETE", "/orders", "GET, HEAD, OPTIONS, POST"),
                                      ("POST", "/menu", "GET, HEAD, OPTIONS"),
                                      ("BREW", "/menu", "GET, HEAD, OPTIONS"),
                                      ("TRACE", "/menu", "GET, HEAD, OPTIONS"),
                                      ("PATCH", f"/orders/{order}", "DELETE, GET, HEAD, OPTIONS"),
                                      ("DELETE", f"/orders/{order}/events", "GET, HEAD, OPTIONS")):
            with self.subTest(f"{method} {path}"):
                answer = self.setup.call(method, path, token=self.alice)
                self.check_problem(answer, 405)
                self.assertEqual(answer.headers["Allow"], allowed)
                options = self.setup.call("OPTIONS", path, token=self.alice)
                self.assertEqual((options.status, options.headers["Allow"]), (204, allowed))

    def test_a_browser_sees_a_page_for_whatever_is_wrong(self):
        page = {"Accept": "text/html"}
        for method, path, status in (("GET", "/nothing/here", 404), ("POST", "/menu", 405),
                                     ("GET", f"/orders/{'x' * 40}", 404), ("GET", "/orders?cursor=none", 400)):
            with self.subTest(f"{method} {path}"):
                answer = self.setup.call(method, path, token=self.alice, headers=page)
                self.assertEqual(answer.status, status)
                self.assertTrue(answer.headers["Content-Type"].startswith("text/html"), answer.headers)
                self.assertIn(str(status).encode(), answer.body)
                self.assertEqual(answer.headers.get("Allow"), "GET, HEAD, OPTIONS" if status == 405 else None)

    def test_head_answers_as_get_without_a_body(self):
        order = self.place_one(self.alice)
        for path in ("/menu", "/orders", f"/orders/{order}", "/health/live", "/nothing"):
            with self.subTest(path):
                got = self.setup.call("GET", path, token=self.alice)
                head = self.setup.call("HEAD", path, token=self.alice)
                self.assertEqual(head.status, got.status)
                self.assertEqual(head.headers["Content-Length"], str(len(got.body)))
                self.assertEqual(head.body, b"")
        head = self.setup.call("HEAD", f"/orders/{order}/events", token=self.alice)
        self.assertEqual((head.status, head.headers["Content-Type"]), (200, "text/event-stream"))

    def test_a_bad_cursor_is_400(self):
        for cursor in ("x", "%00", "AAAA", "*" * 100, "x" * 5000, "bm9zcGFjZQ"):
            with self.subTest(cursor[:20]):
                answer = self.setup.call("GET", f"/orders?cursor={cursor}", token=self.alice)
                self.check_problem(answer, 400, "cursor")

    def test_a_bad_last_event_id_gives_the_whole_stream(self):
        order = self.place_one(self.alice)
        for last_id in ("x", "-1", "1.5", "1e3", " ", "99999999999999999999999"):
            with self.subTest(last_id):
                self.assertEqual([number for number, _ in self.setup.events(order, self.alice, last_id)],
                                 [1, 2, 3, 4, 5])

    def test_a_preference_that_is_not_understood_is_ignored(self):
        order = self.place_one(self.alice)
        for prefer in ("wait=x", "wait=-5", "wait", "wait=1.5", "nonsense", "wait=" + "9" * 400, "=", ";;,"):
            with self.subTest(prefer[:20]):
                answer = self.setup.call("GET", f"/orders/{order}", token=self.alice, headers={"Prefer": prefer})
                self.assertEqual(answer.status, 200)

    def test_another_protocol_is_answered_in_it(self):
        raw = Raw(self.setup)
        raw.send(b"AMQP\x00\x00\x09\x01")
        self.assertTrue(raw.read_all())
        raw.close()
        raw = Raw(self.setup)
        raw.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32))
        self.assertTrue(raw.read_all().startswith(b"\x15\x03"))
        raw.close()
        for rubbish in (b"\x00\xff" * 500, b"GET\r\n\r\n", b"GET / HTTP/3.0\r\n\r\n", b"\r\n\r\nnonsense\r\n\r\n"):
            with self.subTest(rubbish[:20]):
                raw = Raw(self.setup)
                raw.send(rubbish)
                got = raw.read_all()
                self.assertIn(statuses_of(got), ([400], [505]))
                raw.close()


class _unless_refused:
    """Sending may end early: the server has answered and closes."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        return kind is not None and issubclass(kind, OSError)


if __name__ == "__main__":
    unittest.main()
