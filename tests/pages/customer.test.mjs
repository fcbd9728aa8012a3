// The customer page in a real browser: the promises of its story, one test each.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  axeFindings, eventually, hasHorizontalScroll, history, launchBrowser, order, reaches, startAgain, startPizzeria,
  statusOf, steps, tabTo, whole_journey,
} from './support.mjs';

let pizzeria;
let slow_kitchen; // where an order stays in prep
let browser;
before(async () => {
  [pizzeria, slow_kitchen, browser] = await Promise.all([startPizzeria(), startPizzeria({ prep_seconds: 600 }), launchBrowser()]);
});
after(async () => {
  await browser?.close();
  for (const one of [pizzeria, slow_kitchen]) {
    await one?.stop();
    one?.dispose();
  }
});

const together = { concurrency: 3 }; // mostly waiting for the kitchen

/** A person with a browser of their own; an error of the page's script fails the test. */
async function person(work, options = {}) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  context.setDefaultTimeout(30_000);
  const errors = [];
  context.on('weberror', (error) => errors.push(error.error()));
  try {
    await work(context, await context.newPage());
  } finally {
    await context.close();
  }
  assert.deepEqual(errors, []);
}

describe('ordering', together, () => {
  test('two clicks order a pizza and its journey moves by itself until pickup', () =>
    person(async (context, page) => {
      await page.goto(pizzeria.url);
      await page.getByText('diavola').click();
      await page.click('#order-button');
      await page.waitForURL(/\/orders\/.+/);
      await eventually('the live lamp', async () => (await page.getAttribute('#order [data-link]', 'data-link')) === 'live');
      await reaches(page, 'ready');
      assert.deepEqual(await steps(page), whole_journey);
      await page.locator('.pickup-code').waitFor();
      const [made] = await history(context, pizzeria.url);
      assert.equal(await page.textContent('.pickup-code'), made.pickup_code);
      assert.deepEqual(made.items, [{ pizza: 'diavola', size: 'medium', quantity: 1 }]);
      const times = await page.locator('.steps time').evaluateAll((all) => all.map((time) => time.dateTime));
      assert.deepEqual(times, made.journey.map((step) => step.at));
    }));

  test('a whole order is possible by keyboard alone', () =>
    person(async (context, page) => {
      await page.goto(pizzeria.url);
      await tabTo(page, '[name="pizza"]');
      await page.keyboard.press('ArrowDown');
      await tabTo(page, '[name="size"]');
      await page.keyboard.press('ArrowRight');
      await tabTo(page, '#quantity');
      await page.keyboard.type('2');
      await tabTo(page, '#order-button');
      await page.keyboard.press('Enter');
      await page.waitForURL(/\/orders\/.+/);
      assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1');
      await reaches(page, 'ready');
      const [{ items }] = await history(context, pizzeria.url);
      assert.equal(items[0].size, 'large');
      assert.equal(items[0].quantity, 2);
      await tabTo(page, 'a.again');
      await page.keyboard.press('Enter');
      await page.waitForURL(`${pizzeria.url}/`);
    }));

  test('ordering and watching work without JavaScript', () =>
    person(
      async (context, page) => {
        await page.goto(pizzeria.url);
        await page.getByText('funghi').click();
        await page.click('#order-button');
        await page.waitForURL(/\/orders\/.+/);
        await page.locator('.pickup-code').waitFor(); // the page reloads by itself
        assert.equal(await statusOf(page), 'ready');
        assert.deepEqual(await steps(page), whole_journey);
      },
      { javaScriptEnabled: false },
    ));

  test('a plain form sent twice with one key is one order', () =>
    person(
      async (context, page) => {
        await page.goto(pizzeria.url);
        const form = { pizza: 'margherita', size: 'small', quantity: '1', idempotency_key: await page.inputValue('[name="idempotency_key"]') };
        const send = () => context.request.post(`${pizzeria.url}/orders`, { form, headers: { Accept: 'text/html' }, maxRedirects: 0 });
        const answers = await Promise.all([send(), send()]);
        assert.deepEqual(answers.map((answer) => answer.status()), [303, 303]);
        assert.equal(answers[0].headers().location, answers[1].headers().location);
        assert.equal((await history(context, pizzeria.url)).length, 1);
        await page.reload();
        assert.notEqual(await page.inputValue('[name="idempotency_key"]'), form.idempotency_key);
      },
      { javaScriptEnabled: false },
    ));

  test('a double click is one order', () =>
    person(async (context, page) => {
      await page.goto(pizzeria.url);
      await page.dblclick('#order-button');
      await page.waitForURL(/\/orders\/.+/);
      await reaches(page, 'ready');
      assert.equal((await history(context, pizzeria.url)).length, 1);
    }));

  test('an answer that got lost is asked for again, under the same key', () =>
    person(async (context, page) => {
      let lost = 0;
      await page.route('**/orders', async (route) => {
        if (route.request().method() !== 'POST' || lost) return route.continue();
        ++lost;
        await route.fetch();
        await route.abort();
      });
      await order(page, pizzeria.url);
      assert.equal(lost, 1);
      await reaches(page, 'ready');
      assert.equal((await history(context, pizzeria.url)).length, 1);
    }));

  test('a reload, before or after the answer, keeps the one order', () =>
    person(async (context, page) => {
      let held = true;
      await page.route('**/orders', (route) => {
        if (route.request().method() !== 'POST' || !held) return route.continue();
        held = false; // the server has it, the page never hears of it
        return route.fetch();
      });
      await page.goto(pizzeria.url);
      const arrived = page.waitForRequest((request) => request.method() === 'POST');
      await page.click('#order-button');
      await arrived;
      await page.reload();
      await page.waitForURL(/\/orders\/.+/);
      const url = page.url();
      await page.reload();
      await reaches(page, 'ready');
      assert.equal(page.url(), url);
      assert.equal((await history(context, pizzeria.url)).length, 1);
    }));

  test('what is not on the menu is refused in words', () =>
    person(async (context, page) => {
      await page.goto(pizzeria.url);
      await page.evaluate(() => (document.querySelector('[name="pizza"]').value = 'hawaii'));
      await page.click('#order-button');
      await eventually('a message', async () => /items\[0\]\.pizza is not on the menu/.test(await page.textContent('#form-message')));
      assert.equal((await history(context, pizzeria.url)).length, 0);
    }));
});

describe('watching', together, () => {
  test('the title and the icon change at Ready, and the status is announced', () =>
    person(async (context, page) => {
      await page.goto(pizzeria.url);
      assert.equal(await page.textContent('[role="status"]'), ''); // there before its text
      const icon = await page.getAttribute('#icon', 'href');
      await order(page, pizzeria.url);
      await reaches(page, 'ready');
      await eventually('the announcement', async () => /ready.*Pickup code \S+/i.test(await page.textContent('[role="status"]')));
      assert.match(await page.title(), /^✓ Ready/);
      assert.notEqual(new URL(await page.getAttribute('#icon', 'href'), page.url()).href, new URL(icon, page.url()).href);
    }));

  test('a notification comes only after the person allowed it by a button', () =>
    person(async (context, page) => {
      await page.addInitScript(() => {
        window.asked = 0;
        window.shown = [];
        window.Notification = class {
          static permission = sessionStorage.allowed ?? 'default';
          static requestPermission() {
            ++window.asked;
            sessionStorage.allowed = this.permission = 'granted';
            return Promise.resolve('granted');
          }
          constructor(title, options) {
            window.shown.push(`${title} ${options.body}`);
          }
        };
      });
      await order(page, pizzeria.url);
      await reaches(page, 'ready');
      assert.deepEqual(await page.evaluate(() => [window.asked, window.shown]), [0, []]);

      await order(page, pizzeria.url);
      await page.focus('[data-action="notify"]');
      await page.keyboard.press('Enter');
      await reaches(page, 'ready');
      await eventually('the notification', () => page.evaluate(() => window.shown.length === 1));
      assert.equal(await page.evaluate(() => window.asked), 1);
      assert.match(await page.evaluate(() => window.shown[0]), /ready.*margherita/i);
    }));

  test('a page that lost its connection says so, catches up, and shows each step once', () =>
    person(async (context, page) => {
      const resumed = [];
      context.on('request', (request) => request.url().endsWith('/events') && resumed.push(request.headers()['last-event-id']));
      const id = await order(page, pizzeria.url);
      await reaches(page, 'prep');
      await context.setOffline(true);
      await eventually('offline is shown', async () => /Offline, last update .+ ago/.test(await page.textContent('[data-field="link"]')));
      const seen = await steps(page);
      const cookie = (await context.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
      await eventually('ready without the page', async () => {
        const answer = await fetch(`${pizzeria.url}/orders/${id}`, { headers: { Accept: 'application/json', Cookie: cookie } });
        return (await answer.json()).status === 'ready';
      });
      assert.deepEqual(await steps(page), seen); // nothing is guessed
      await context.setOffline(false);
      await reaches(page, 'ready');
      assert.deepEqual(await steps(page), whole_journey);
      assert.ok(Number(resumed.at(-1)) >= 1, `the stream is resumed: ${resumed}`);
    }));

  test('two tabs share one event stream, and the second takes over when the first is closed', () =>
    person(async (context, page) => {
      let streams = 0;
      context.on('request', (request) => (streams += request.url().endsWith('/events') ? 1 : 0));
      await order(page, pizzeria.url);
      const second = await context.newPage();
      await second.goto(page.url());
      await Promise.all([reaches(page, 'oven'), reaches(second, 'oven')]);
      await Promise.all([reaches(page, 'ready'), reaches(second, 'ready')]);
      assert.equal(streams, 1);

      await order(second, pizzeria.url);
      await eventually('the second order is streamed', () => streams === 2);
      await page.close();
      await eventually('the second tab has its own stream', () => streams === 3);
      await reaches(second, 'ready');
    }));

  test('updates can be paused and taken up again', () =>
    person(async (context, page) => {
      const id = await order(page, pizzeria.url);
      await page.click('text=Pause');
      const seen = await steps(page);
      await eventually('ready without the page', async () => (await history(context, pizzeria.url)).find((made) => made.id === id).status === 'ready');
      assert.deepEqual(await steps(page), seen);
      assert.match(await page.textContent('[data-field="link"]'), /^Paused/);
      await page.click('text=Go on');
      await reaches(page, 'ready');
      assert.deepEqual(await steps(page), whole_journey);
    }));

  test('back and forward move between the menu and the order', () =>
    person(async (context, page) => {
      await order(page, pizzeria.url);
      await reaches(page, 'ready');
      await page.goBack();
      await eventually('the menu', () => page.isVisible('#order-form'));
      await page.goForward();
      await eventually('the order', () => page.isVisible('#order'));
      assert.equal(await statusOf(page), 'ready');
    }));
});

describe('a server that restarts', () => {
  test('a page survives a restart of the server', () =>
    person(async (context, page) => {
      await order(page, pizzeria.url);
      await reaches(page, 'prep');
      await pizzeria.stop();
      await eventually('reconnecting is shown', async () => /Reconnecting, last update .+ ago/.test(await page.textContent('[data-field="link"]')));
      await startAgain(pizzeria);
      await reaches(page, 'ready');
      assert.deepEqual(await steps(page), whole_journey);
    }));

  test('a reload while the server is away shows the last known state, then goes on', () =>
    person(async (context, page) => {
      await order(page, pizzeria.url);
      await eventually('the worker has the page', () => page.evaluate(() => Boolean(navigator.serviceWorker.controller)));
      await pizzeria.stop();
      const before = await steps(page);
      await page.reload();
      assert.deepEqual((await steps(page)).slice(0, before.length), before);
      await eventually('reconnecting is shown', async () => /Reconnecting, last update .+ ago/.test(await page.textContent('[data-field="link"]')));
      await startAgain(pizzeria);
      await reaches(page, 'ready');
      assert.deepEqual(await steps(page), whole_journey);
    }));
});

describe('cancelling', () => {
  test('an order is cancelled before the oven', () =>
    person(async (context, page) => {
      await order(page, slow_kitchen.url);
      await page.click('text=Cancel this order');
      await page.click('text=Yes, cancel it');
      await reaches(page, 'cancelled');
      assert.equal((await steps(page)).at(-1), 'cancelled');
      assert.equal(await page.locator('summary').count(), 0);
    }));

  test('an order is cancelled without JavaScript, and the history says so', () =>
    person(
      async (context, page) => {
        await order(page, slow_kitchen.url);
        await page.click('summary');
        await page.click('text=Yes, cancel it');
        await eventually('cancelled', async () => {
          if ((await statusOf(page)) !== 'cancelled') await page.reload();
          return (await statusOf(page)) === 'cancelled';
        });
        await page.goto(slow_kitchen.url);
        assert.match(await page.textContent('#history li'), /Cancelled/);
      },
      { javaScriptEnabled: false },
    ));

  test('in the oven it is too late, on the page and for the server', () =>
    person(async (context, page) => {
      const id = await order(page, pizzeria.url);
      await page.click('text=Cancel this order');
      await page.evaluate(() => (window.kept_form = document.querySelector('.cancel form')));
      await reaches(page, 'oven');
      assert.equal(await page.locator('summary').count(), 0);
      const status = await page.evaluate((path) => fetch(path, { method: 'DELETE' }).then((answer) => answer.status), `/orders/${id}`);
      assert.equal(status, 409);
      await page.evaluate(() => {
        document.querySelector('[data-field="cancel"]').append(window.kept_form);
        window.kept_form.requestSubmit();
      });
      await eventually('the message', async () => /Too late/.test(await page.textContent('[data-field="message"]')));
      await reaches(page, 'ready');
    }));
});

describe('history', together, () => {
  test('shows the orders newest first and moves with their stages', () =>
    person(async (context, page) => {
      const older = await order(page, pizzeria.url);
      const newer = await order(page, pizzeria.url);
      await page.goto(pizzeria.url);
      await eventually('both rows', async () => (await page.locator('#history [data-id]').count()) === 2);
      assert.deepEqual(await page.locator('#history [data-id]').evaluateAll((rows) => rows.map((row) => row.dataset.id)), [newer, older]);
      await eventually('both are ready', async () => (await page.locator('#history [data-status="ready"]').count()) === 2);
      await page.click('text=All your orders');
      await page.click('#history a >> nth=1');
      await page.waitForURL(`${pizzeria.url}/orders/${older}`);
    }));

  test("somebody else's order is not shown", () =>
    person(async (_, alice) => {
      const id = await order(alice, pizzeria.url);
      await person(async (context, mallory) => {
        const answer = await mallory.goto(`${pizzeria.url}/orders/${id}`);
        assert.equal(answer.status(), 404);
        assert.equal(await mallory.locator('#order').count(), 0);
      });
    }));

  test('names are shown as text, whatever is in them', () =>
    person(async (context, page) => {
      const evil = '<img src=x onerror="window.pwned=1">';
      const at = new Date().toISOString();
      const fake = {
        id: 'evil', status: 'placed', estimated_ready_at: at, items: [{ pizza: evil, size: evil, quantity: 1 }],
        journey: [{ status: 'placed', at, sequence: 1 }], links: {},
      };
      await page.route('**/orders', (route) =>
        route.fulfill({ status: route.request().method() === 'POST' ? 202 : 200, json: route.request().method() === 'POST' ? fake : { orders: [fake], next: null } }));
      await page.route('**/orders/evil', (route) => route.fulfill({ json: fake }));
      await page.route('**/orders/evil/events', (route) => route.abort());
      await order(page, pizzeria.url);
      await eventually('the text', async () => (await page.textContent('#order [data-field="summary"]')).includes(evil));
      await page.goBack();
      await eventually('the history', async () => (await page.textContent('#history')).includes(evil));
      assert.equal(await page.locator('img').count(), 0);

      await page.unroute('**/orders');
      await page.evaluate((pizza) => {
        const form = document.querySelector('#order-form');
        form.querySelector('[name="pizza"]').value = pizza;
        form.submit(); // the plain form, past the script
      }, evil);
      await eventually('the error page', async () => /not on the menu/.test(await page.textContent('.error')));
      assert.equal(await page.locator('img').count(), 0);
      assert.equal(await page.evaluate(() => window.pwned), undefined);
    }));
});

describe('for everyone', () => {
  const states = ['placed', 'prep', 'bake', 'oven', 'ready', 'cancelled'];

  /** Runs in the page: presses Pause at the very moment the status shows, so that it stays. */
  const pauseAt = (state) =>
    new MutationObserver((_, observer) => {
      if (document.querySelector('#order')?.dataset.status !== state) return;
      observer.disconnect();
      document.querySelector('[data-action="pause"]').click();
    }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ['data-status'] });

  test('axe finds nothing on any page or state, light or dark, and 320 pixels are enough', async () => {
    const findings = [];
    const look = async (page, name) => {
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        findings.push(...(await axeFindings(page)).map((finding) => `${name}, ${colorScheme}: ${finding}`));
      }
      if (await hasHorizontalScroll(page)) findings.push(`${name}: scrolls sideways at 320 px`);
    };
    const phone = { viewport: { width: 320, height: 640 } };
    const walk = (state) =>
      person(async (context, page) => {
        if (states.indexOf(state) < 4) await page.addInitScript(pauseAt, state);
        await order(page, state === 'cancelled' ? slow_kitchen.url : pizzeria.url);
        if (state === 'cancelled') await page.evaluate(() => fetch(location.href, { method: 'DELETE' }));
        await reaches(page, state);
        await look(page, `order, ${state}`);
        if (state !== 'cancelled') return;
        for (const path of ['/', '/orders', '/nothing-here', '/offline.html']) {
          await page.goto(pizzeria.url + path);
          await look(page, path);
        }
      }, phone);
    await Promise.all(states.map(walk));
    assert.deepEqual(findings, []);
  });

  test('200 % zoom and doubled text fit and stay usable', () =>
    person(
      async (context, page) => {
        for (const font_size of ['', '200%']) {
          await page.goto(pizzeria.url);
          await page.evaluate((size) => (document.documentElement.style.fontSize = size), font_size);
          assert.equal(await hasHorizontalScroll(page), false);
          await page.click('#order-button');
          await page.waitForURL(/\/orders\/.+/);
          assert.equal(await hasHorizontalScroll(page), false);
        }
      },
      { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 }, // 1280 x 800 at 200 %
    ));
});
