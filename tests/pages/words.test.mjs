// What the page says about an order, without a browser.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const web = fileURLToPath(new URL('../../web/', import.meta.url));
const { outputFiles } = await build({
  entryPoints: [path.join(web, 'customer/order.ts')], bundle: true, format: 'esm', write: false, loader: { '.html': 'text' },
});
const words = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);

const now = Date.UTC(2026, 0, 1, 12);
const at = (seconds) => new Date(now + seconds * 1000).toISOString();
const step = (sequence, status) => ({ sequence, status, at: at(sequence) });
const order = (near, far, more = {}) => ({
  id: 'o', items: [{ pizza: 'margherita', size: 'large', quantity: 2 }], status: 'prep', journey: [step(1, 'placed'), step(2, 'prep')],
  estimated_ready_at: near === null ? null : at(near), ...(far === undefined ? {} : { estimated_ready_latest: at(far) }), ...more,
});
const said = (near, far, more) => words.estimate(order(near, far, more), now);

test('the estimate is a range, in seconds up to 90 and in minutes beyond', () => {
  assert.equal(said(18, 29), 'Ready in 20–30 seconds');
  assert.equal(said(2, 3), 'Ready in about 5 seconds');
  assert.equal(said(20), 'Ready in about 20 seconds');
  assert.equal(said(90, 90), 'Ready in about 90 seconds');
  assert.match(said(91, 91), /^Ready in about 2 minutes, by /);
  assert.match(said(240, 361), /^Ready in 4–7 minutes, by /);
  assert.match(said(30, 300), /^Ready in 1–5 minutes, by /);
});

test('an estimate that has passed is said to have passed', () => {
  assert.equal(said(-1, 20), 'Ready any moment, at the latest in 20 seconds');
  assert.match(said(-30, -1), /longer than we thought/);
  assert.match(said(0), /longer than we thought/);
});

test('no estimate is made up, and none is left over at the end', () => {
  assert.equal(said(null), '');
  for (const status of ['ready', 'cancelled', 'failed']) assert.equal(said(20, 30, { status }), '');
});

test('an estimate that grew is said to have grown, one that only shook is not', () => {
  assert.equal(words.growth(order(20, 30), now + 25_000), '');
  assert.match(words.growth(order(20, 60), now + 30_000), /^Later than we first said/);
  assert.equal(words.growth(order(null), now), '');
  assert.equal(words.growth(order(20, 60, { status: 'ready' }), now), '');
});

test('views are joined by sequence, so an older one never takes a step back', () => {
  const older = order(20, 30, { journey: [step(1, 'placed')], status: 'placed' });
  const newer = order(10, 20, { journey: [step(3, 'bake')], status: 'bake' });
  for (const joined of [words.merge(older, newer), words.merge(newer, older)]) {
    assert.deepEqual(joined.journey.map((entry) => entry.status), ['placed', 'bake']);
    assert.equal(joined.status, 'bake');
  }
  assert.equal(words.merge(newer, newer).journey.length, 1);
  assert.equal(words.lastSequence(words.merge(older, newer)), 3);
});

test('ages and summaries read well', () => {
  assert.equal(words.ago(-500), '0 s ago');
  assert.equal(words.ago(12_400), '12 s ago');
  assert.equal(words.ago(120_000), '2 min ago');
  assert.equal(words.ago(7_200_000), '2 h ago');
  assert.equal(words.summary(order(1)), '2 × margherita, large');
});
