// What the page tests stand on: a pizzeria (the real one when PIZZERIA_BINARY names it, else the fake),
// Chromium, axe, and waiting for conditions instead of for time.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import amqplib from 'amqplib';
import axe from 'axe-core';
import { chromium } from 'playwright-core';
import { FakePizzeria } from './fake_server.mjs';

const stage_seconds = 2; // long enough for a busy machine's browser to see each
const deadline_ms = 30_000;

export async function eventually(what, condition, ms = deadline_ms) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}; last: ${last}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

class RealPizzeria {
  constructor(binary, { prep_seconds }) {
    this.binary = binary;
    this.prep_seconds = prep_seconds;
    this.folder = mkdtempSync(path.join(os.tmpdir(), 'pizzeria-'));
    this.http = '127.0.0.1:0';
    this.output = '';
  }

  async start() {
    const ports_file = path.join(this.folder, 'ports.json');
    rmSync(ports_file, { force: true });
    this.process = spawn(this.binary, [
      'up', '--http', this.http, '--amqp', '127.0.0.1:0', '--management', '127.0.0.1:0',
      '--data', path.join(this.folder, 'data'), '--ports-file', ports_file,
      '--workers', 'prep=8,bake=8,oven=8',
      '--stage-seconds', `prep=${this.prep_seconds},bake=${stage_seconds},oven=${stage_seconds}`,
    ], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', (text) => (this.output += text));
    await eventually('the ports file', () => {
      if (this.process.exitCode !== null) throw new Error(`pizzeria up ended:\n${this.output}`);
      return existsSync(ports_file);
    }, 60_000);
    const ports = JSON.parse(readFileSync(ports_file, 'utf8'));
    this.http = ports.http;
    this.amqp = ports.amqp;
    this.url = `http://${ports.http}`;
    this.password ??= await eventually('the operator password in the output', () => /password:?\s+(\S+)/i.exec(this.output)?.[1]);
  }

  /** Puts a message where the bus puts what it gave up on, as the bus does it. */
  async addDeadLetter(error) {
    const connection = await amqplib.connect(`amqp://guest:guest@${this.amqp}`);
    try {
      const channel = await connection.createConfirmChannel();
      const at = new Date().toISOString();
      const id = randomBytes(9).toString('base64url');
      const queue = 'order-history';
      await channel.checkQueue(`${queue}.dead`);
      channel.sendToQueue(`${queue}.dead`, Buffer.from('not what a handler expects'), {
        persistent: true, messageId: id, type: 'pizzeria.order-placed.v1',
        headers: {
          'cloudEvents:id': id, 'cloudEvents:type': 'pizzeria.order-placed.v1', 'pronto-attempts': 5, 'pronto-error': error,
          'pronto-handler': 'OrderHistoryService', 'pronto-queue': queue, 'pronto-first-failed-at': at, 'pronto-failed-at': at,
        },
      });
      await channel.waitForConfirms();
    } finally {
      await connection.close();
    }
  }

  async stop() {
    if (this.process.exitCode !== null) return;
    this.process.kill('SIGTERM');
    await once(this.process, 'exit');
  }

  dispose() {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** With more for prep an order stays there, and can be cancelled at leisure. */
export async function startPizzeria({ prep_seconds = stage_seconds } = {}) {
  const binary = process.env.PIZZERIA_BINARY;
  const pizzeria = binary ? new RealPizzeria(binary, { prep_seconds }) : new FakePizzeria({ stage_seconds, prep_seconds });
  await pizzeria.start();
  return pizzeria;
}

/** Starts it again at the same address with the same data. */
export const startAgain = (pizzeria) => pizzeria.start(pizzeria.port);

export const launchBrowser = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });

/** Serious and minor alike: the pages have no axe finding at all. */
export async function axeFindings(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join(' | ')}`);
}

export const hasHorizontalScroll = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

export const statusOf = (page) => page.getAttribute('#order', 'data-status');
export const steps = (page) => page.locator('#order .steps li').evaluateAll((items) => items.map((item) => item.dataset.status));
export const whole_journey = ['placed', 'prep', 'bake', 'oven', 'ready'];

export const reaches = (page, status) => eventually(`the page shows ${status}`, async () => (await statusOf(page)) === status);

/** Orders with the form as it stands and returns the order's id. */
export async function order(page, url) {
  await page.goto(url);
  await page.click('#order-button');
  await page.waitForURL(/\/orders\/[^/]+$/);
  return page.url().split('/').pop();
}

/** The caller's history as the API tells it. */
export async function history(context, url) {
  const response = await context.request.get(`${url}/orders`, { headers: { Accept: 'application/json' } });
  return (await response.json()).orders;
}

/** Presses Tab until the focused element matches, as a person without a mouse would. */
export async function tabTo(page, selector) {
  for (let press = 0; press < 30; ++press) {
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab does not reach ${selector}`);
}
