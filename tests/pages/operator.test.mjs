// The operator page in a real browser.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { axeFindings, eventually, hasHorizontalScroll, launchBrowser, startPizzeria } from './support.mjs';

let pizzeria;
let browser;
before(async () => {
  [pizzeria, browser] = await Promise.all([startPizzeria(), launchBrowser()]);
});
after(async () => {
  await browser?.close();
  await pizzeria?.stop();
  pizzeria?.dispose();
});

async function operator(work, { log_in = true, ...options } = {}) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  context.setDefaultTimeout(15_000);
  try {
    const page = await context.newPage();
    await page.goto(`${pizzeria.url}/operator`);
    if (log_in) await logIn(page, pizzeria.password);
    await work(page, context);
  } finally {
    await context.close();
  }
}

async function logIn(page, password) {
  await page.fill('#password', password);
  await page.click('text=Log in');
}

const letter = (page, text) => page.locator('#dead-letters li').filter({ hasText: text });

test('without the password nobody sees anything', () =>
  operator(
    async (page, context) => {
      assert.match(page.url(), /\/operator\/login$/);
      await logIn(page, 'pineapple');
      await page.getByRole('alert').waitFor();
      assert.equal(await page.locator('#queues').count(), 0);
      const overview = await context.request.get(`${pizzeria.url}/operator/api/overview`);
      assert.equal(overview.status(), 401);
      await logIn(page, pizzeria.password);
      await page.locator('#queues tr').first().waitFor();
      await page.click('text=Log out');
      await page.waitForURL(/login$/);
      await page.goto(`${pizzeria.url}/operator`);
      assert.match(page.url(), /\/operator\/login$/);
    },
    { log_in: false },
  ));

test('queues are shown with backlog and rates, and stay current until paused', () =>
  operator(async (page) => {
    await eventually('live', async () => /^Live/.test(await page.textContent('#fresh-text')));
    const row = page.locator('#queues tr').first();
    assert.equal(await row.locator('td').count(), 6);
    assert.match(await row.locator('[data-field="publish_rate"]').textContent(), /^\d+\.\d$/);
    await page.click('text=Pause');
    assert.match(await page.textContent('#fresh-text'), /^Paused/);
  }));

test('a dead letter is shown as text with its reason, retried, and discarded', () =>
  operator(async (page) => {
    const evil = '<img src=x onerror="window.pwned=1">';
    await pizzeria.addDeadLetter(`first ${evil}`);
    await pizzeria.addDeadLetter(`second ${evil}`);
    for (const [which, deed, done] of [['first', 'Retry', 'Sent back'], ['second', 'Discard for good', 'Discarded']]) {
      const row = letter(page, `${which} ${evil}`);
      await row.waitFor();
      assert.notEqual(await row.locator('[data-field="reason"]').textContent(), '');
      if (which === 'second') await row.locator('summary').click();
      await row.getByRole('button', { name: deed }).click();
      await page.getByText(done).waitFor();
      if (which === 'second' || !process.env.PIZZERIA_BINARY) assert.equal(await letter(page, `${which} ${evil}`).count(), 0);
    }
    assert.equal(await page.locator('img').count(), 0);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
  }));

test('an opened Discard stays open and focused while the list moves', () =>
  operator(async (page) => {
    await pizzeria.addDeadLetter('the one in hand');
    const summary = letter(page, 'the one in hand').locator('summary');
    await summary.click();
    await pizzeria.addDeadLetter('another one');
    await letter(page, 'another one').waitFor();
    assert.equal(await letter(page, 'the one in hand').locator('details').getAttribute('open'), '');
    assert.equal(await summary.evaluate((element) => element === document.activeElement), true);
  }));

test('without JavaScript dead letters are retried and discarded all the same', () =>
  operator(
    async (page) => {
      await pizzeria.addDeadLetter('by hand');
      await eventually('the letter', async () => {
        await page.reload();
        return (await letter(page, 'by hand').count()) === 1;
      });
      await letter(page, 'by hand').locator('summary').click();
      await letter(page, 'by hand').getByText('Discard for good').click();
      await page.getByText('Discarded').waitFor();
      assert.equal(await letter(page, 'by hand').count(), 0);
    },
    { javaScriptEnabled: false },
  ));

test('what is known stays when the server goes away, and its age is said', () =>
  operator(async (page) => {
    await eventually('live', async () => /^Live/.test(await page.textContent('#fresh-text')));
    await page.route('**/overview', (route) => route.abort());
    await eventually('stale', async () => /Not reachable/.test(await page.textContent('#fresh-text')));
    assert.ok((await page.locator('#queues tr').count()) > 0);
  }));

test('axe finds nothing on login and operator page, light or dark, and 320 pixels are enough', () =>
  operator(
    async (page) => {
      const findings = [];
      const look = async (name) => {
        for (const colorScheme of ['light', 'dark']) {
          await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
          findings.push(...(await axeFindings(page)).map((finding) => `${name}, ${colorScheme}: ${finding}`));
        }
        if (await hasHorizontalScroll(page)) findings.push(`${name}: scrolls sideways at 320 px`);
      };
      await look('login');
      await logIn(page, 'pineapple');
      await page.getByRole('alert').waitFor();
      await look('login, refused');
      await logIn(page, pizzeria.password);
      await pizzeria.addDeadLetter('handler threw: a_very_long_word_without_any_space_in_it_'.repeat(4));
      await letter(page, 'a_very_long').first().waitFor();
      await look('operator');
      assert.deepEqual(findings, []);
    },
    { log_in: false, viewport: { width: 320, height: 640 } },
  ));
