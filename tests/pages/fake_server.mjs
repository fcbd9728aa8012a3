// The Pizzeria's HTTP API in memory, filling the templates as web/README.md says. For developing the
// pages without the C++ server: `node tests/pages/fake_server.mjs [PORT [STAGE_SECONDS]]`.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildPages } from '../../web/build.mjs';

const stages = ['placed', 'prep', 'bake', 'oven', 'ready'];
const labels = {
  placed: 'Order placed', prep: 'Prep', bake: 'Bake', oven: 'Oven',
  ready: 'Ready for pickup', cancelled: 'Cancelled', failed: 'Failed',
};
const menu = [
  ['margherita', 'Tomato, mozzarella, basil', 750, 950, 1250],
  ['marinara', 'Tomato, garlic, oregano, olive oil', 650, 850, 1100],
  ['funghi', 'Mozzarella, mushrooms, thyme', 850, 1050, 1350],
  ['diavola', 'Tomato, mozzarella, spicy salami, chilli', 900, 1150, 1450],
  ['quattro formaggi', 'Mozzarella, gorgonzola, fontina, parmesan', 950, 1200, 1500],
  ['capricciosa', 'Tomato, ham, artichokes, olives, mushrooms', 950, 1200, 1550],
];
const sizes = ['small', 'medium', 'large'];

const escape = (value) =>
  String(value).replace(/[&<>"']/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[c]);
const euros = (cents) => `€${(cents / 100).toFixed(2)}`;
const utc = (at, options) => new Intl.DateTimeFormat('en-GB', { ...options, timeZone: 'UTC' }).format(new Date(at));
const clock = (at) => `${utc(at, { timeStyle: 'medium' })} UTC`;
const day = (at) => `${utc(at, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' })} UTC`;
const summary = (order) => order.items.map((item) => `${item.quantity} × ${item.pizza}, ${item.size}`).join('; ');
const isFinal = (order) => /ready|cancelled|failed/.test(order.status);

export class FakePizzeria {
  password = 'basil';
  orders = new Map();
  keys = new Map();
  dead = new Map();
  streams = new Set();
  operators = new Set();

  constructor({ stage_seconds = 0.5, prep_seconds = stage_seconds } = {}) {
    this.stage_seconds = stage_seconds;
    this.prep_seconds = prep_seconds;
  }

  addDeadLetter(error, minutes_ago = 0) {
    const id = `dl-${randomBytes(6).toString('hex')}`;
    const at = Date.now() - minutes_ago * 60_000;
    this.dead.set(id, {
      id, queue: 'order-executor', message_type: 'pizzeria.order-placed', reason: 'gave up after 5 attempts', error,
      attempts: 5, first_at: new Date(at - 300_000).toISOString(), last_at: new Date(at).toISOString(), order: 'o-17',
    });
    return id;
  }

  async start(port = 0) {
    if (!this.files) {
      this.folder = mkdtempSync(path.join(os.tmpdir(), 'pages-'));
      const { pages } = await buildPages(this.folder);
      this.files = new Map(pages.map((page) => [page.path, page]));
    }
    this.server = createServer((request, response) => {
      this.handle(request, response).catch((error) => {
        console.error(error);
        response.destroy();
      });
    });
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
    this.beat = setInterval(() => this.streams.forEach(({ response }) => response.write(': alive\n\n')), 1000);
  }

  async stop() {
    clearInterval(this.beat);
    this.streams.clear();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  dispose() {
    for (const order of this.orders.values()) clearTimeout(order.timer);
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
  }

  render(name, values = {}) {
    const page = this.files.get(name);
    if (!page) throw new Error(`no template ${name}`);
    return page.bytes.toString().replace(/\{\{\{([a-z_]+)\}\}\}|\{\{([a-z_]+)\}\}/g, (_, raw, safe) => {
      const key = raw ?? safe;
      if (!(key in values)) throw new Error(`${name}: no value for ${key}`);
      return raw ? values[key] : escape(values[key]);
    });
  }

  json(order) {
    const { id, items, status, estimated_ready_at, estimated_ready_latest, journey, pickup_code } = order;
    const links = { self: `/orders/${id}`, events: `/orders/${id}/events` };
    return { id, items, status, estimated_ready_at, estimated_ready_latest, journey, ...(pickup_code ? { pickup_code } : {}), links };
  }

  place(caller, items) {
    const order = { id: randomBytes(12).toString('base64url'), caller, items, status: 'placed', journey: [] };
    const ms = this.stage_seconds * 3000;
    order.estimated_ready_at = new Date(Date.now() + ms).toISOString();
    order.estimated_ready_latest = new Date(Date.now() + ms * 1.6 + 1000).toISOString();
    this.orders.set(order.id, order);
    this.advance(order, 'placed');
    return order;
  }

  advance(order, status) {
    order.status = status;
    const step = { status, at: new Date().toISOString(), sequence: order.journey.length + 1 };
    order.journey.push(step);
    if (status === 'ready') order.pickup_code = String(Math.floor(1000 + Math.random() * 9000));
    for (const stream of this.streams) if (stream.order === order) this.send(stream, step);
    const next = stages[stages.indexOf(status) + 1];
    if (!isFinal(order) && next && this.stage_seconds < 1000) {
      order.timer = setTimeout(() => this.advance(order, next), status === 'placed' ? 150 : (status === 'prep' ? this.prep_seconds : this.stage_seconds) * 1000);
    }
  }

  send(stream, step) {
    const { order, response } = stream;
    response.write(`id: ${step.sequence}\nevent: order-status\ndata: ${JSON.stringify({ order: order.id, ...step })}\n\n`);
    if (/ready|cancelled|failed/.test(step.status)) {
      response.end();
      this.streams.delete(stream);
    }
  }

  async handle(request, response) {
    const url = new URL(request.url, this.url);
    const wants_html = (request.headers.accept ?? '').includes('text/html');
    let body = '';
    for await (const chunk of request) body += chunk;
    const cookies = Object.fromEntries((request.headers.cookie ?? '').split('; ').map((pair) => pair.split('=')));
    const caller = cookies.caller ?? randomBytes(8).toString('hex');
    const set_cookies = cookies.caller ? [] : [`caller=${caller}; HttpOnly; SameSite=Lax; Path=/`];
    response.setHeader('Set-Cookie', set_cookies);
    const html = (status, text) => {
      response.writeHead(status, {
        'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store', Vary: 'Accept',
        'Content-Security-Policy': "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
      });
      response.end(text);
    };
    const json = (status, value, headers = {}) => {
      response.writeHead(status, { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json', Vary: 'Accept', ...headers });
      response.end(JSON.stringify(value));
    };
    const problem = (status, title, detail, errors = []) => {
      const text = [detail, ...errors.map(({ field, reason }) => `${field} ${reason}.`)].join(' ');
      if (wants_html) html(status, this.render('customer/error.html', { status, title, detail: text }));
      else json(status, { status, title, detail, errors });
    };
    const to = (location) => response.writeHead(303, { Location: location }).end();

    const file = this.files.get(url.pathname);
    if (file) {
      response.writeHead(200, { 'Content-Type': file.content_type, 'Cache-Control': file.cache_control, ETag: `"${file.hash}"` });
      return response.end(file.bytes);
    }
    if (url.pathname.startsWith('/operator')) return this.operator({ request, url, body, cookies, response, html, json, to, set_cookies });

    const mine = [...this.orders.values()].filter((order) => order.caller === caller).reverse();
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const call = `${method} ${url.pathname}`;
    if (call === 'GET /') {
      const dishes = menu.map(([pizza, description, ...prices], index) =>
        this.render('customer/_menu_item.html', {
          pizza, description, checked: index ? '' : 'checked',
          ...Object.fromEntries(sizes.map((size, at) => [`price_${size}`, euros(prices[at])])),
        }));
      return html(200, this.render('customer/index.html', {
        idempotency_key: randomBytes(16).toString('hex'), menu: dishes.join(''), history: this.history(mine.slice(0, 5)),
      }));
    }
    if (call === 'GET /orders') {
      const from = Number(url.searchParams.get('cursor') ?? 0);
      const page = mine.slice(from, from + 10);
      const next = mine.length > from + 10 ? String(from + 10) : null;
      if (!wants_html) return json(200, { orders: page.map((order) => this.json(order)), next });
      const more = next ? this.render('customer/_more.html', { cursor: next }) : '';
      return html(200, this.render('customer/history.html', { history: this.history(page), more }));
    }
    if (call === 'POST /orders') {
      const is_form = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded');
      const form = Object.fromEntries(new URLSearchParams(body));
      const items = is_form ? [{ pizza: form.pizza, size: form.size, quantity: Number(form.quantity) }] : JSON.parse(body).items;
      const bad = items.find((item) => !menu.some(([name]) => name === item.pizza) || !sizes.includes(item.size) || !(item.quantity >= 1 && item.quantity <= 20));
      if (bad) return problem(422, 'Unprocessable', 'The order cannot be accepted.', [{ field: 'items[0].pizza', reason: `is not on the menu: ${bad.pizza}` }]);
      const key = is_form ? form.idempotency_key : request.headers['idempotency-key'];
      const order = this.keys.get(key) ?? this.place(caller, items);
      if (key) this.keys.set(key, order);
      if (is_form) return to(`/orders/${order.id}`);
      return json(202, this.json(order), { Location: `/orders/${order.id}` });
    }
    const [, id, rest] = /^\/orders\/([^/]+)(?:\/(events|cancel))?$/.exec(url.pathname) ?? [];
    if (!id) return problem(404, 'Nothing here', `${url.pathname} is not a page of this pizzeria.`);
    const order = this.orders.get(id);
    if (!order || order.caller !== caller) return problem(404, 'No such order', 'There is no order of yours at this address.');
    if (rest === 'events') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      response.write(': alive\n\n');
      const stream = { order, response };
      this.streams.add(stream);
      response.on('close', () => this.streams.delete(stream));
      const seen = Number(request.headers['last-event-id'] ?? 0);
      for (const step of order.journey.filter((entry) => entry.sequence > seen)) this.send(stream, step);
      if (isFinal(order)) response.end();
      return;
    }
    if (method === 'DELETE' || rest === 'cancel') {
      if (!/placed|prep|bake/.test(order.status)) return problem(409, 'Too late to cancel', `The order is at ${order.status}.`);
      clearTimeout(order.timer);
      this.advance(order, 'cancelled');
      return rest ? to(`/orders/${id}`) : json(200, this.json(order));
    }
    if (!wants_html) return json(200, this.json(order));
    html(200, this.orderPage(order, url.searchParams.has('still')));
  }

  orderPage(order, still) {
    const { id, status } = order;
    const left = (Date.parse(order.estimated_ready_at) - Date.now()) / 1000;
    const remaining = left <= 90 ? `about ${Math.ceil(left / 5) * 5} seconds` : `about ${Math.ceil(left / 60)} minutes`;
    const estimate = left > 0 ? this.render('customer/_estimate.html', { remaining }) : this.render('customer/_estimate_late.html');
    const step = (entry) =>
      this.render('customer/_step.html', { status: entry.status, status_label: labels[entry.status], at: entry.at, time: clock(entry.at) });
    return this.render('customer/order.html', {
      id, status, status_label: labels[status], summary: summary(order), order: JSON.stringify(this.json(order)),
      sentence: this.render(`customer/_sentence_${status}.html`),
      estimate: isFinal(order) ? '' : estimate,
      journey: order.journey.map(step).join(''),
      pickup: status === 'ready' ? this.render('customer/_pickup.html', { pickup_code: order.pickup_code }) : '',
      cancel: /placed|prep|bake/.test(status) ? this.render('customer/_cancel.html', { id }) : '',
      refresh: isFinal(order) || still ? '' : this.render('customer/_refresh.html', { id }),
    });
  }

  history(orders) {
    if (!orders.length) return this.render('customer/_history_empty.html');
    const row = (order) => this.render('customer/_history_item.html', {
      id: order.id, summary: summary(order), status: order.status, status_label: labels[order.status],
      at: order.journey[0].at, time: day(order.journey[0].at),
    });
    return orders.map(row).join('');
  }

  overview() {
    const waiting = [...this.orders.values()].filter((order) => !isFinal(order)).length;
    const queue = (name, ready, unacked, consumers, publish_rate, deliver_rate) => ({ name, ready, unacked, consumers, publish_rate, deliver_rate });
    return {
      queues: [
        queue('order-executor', 0, 0, 2, 0.4, 0.4), queue('order-history', 0, 0, 1, 1.6, 1.6),
        queue('tickets.prep', 184, 2, 2, 2.5, 1.9), queue('tickets.bake', 31, 2, 2, 1.2, 1.5), queue('tickets.oven', waiting, 2, 2, 0.4, 0.4),
      ],
      dead_letters: [...this.dead.values()],
    };
  }

  operator({ request, url, body, cookies, response, html, json, to, set_cookies }) {
    const form = Object.fromEntries(new URLSearchParams(body));
    const call = `${request.method} ${url.pathname}`;
    const csrf = cookies.csrf ?? randomBytes(8).toString('hex');
    if (!cookies.csrf) response.setHeader('Set-Cookie', [...set_cookies, `csrf=${csrf}; HttpOnly; SameSite=Strict; Path=/operator`]);
    if (call === 'GET /operator/login') return html(200, this.render('operator/login.html', { csrf, error: '' }));
    if (call === 'POST /operator/login') {
      if (form.csrf !== cookies.csrf || form.password !== this.password) {
        const error = this.render('operator/_login_error.html', { message: 'That is not the password.' });
        return html(401, this.render('operator/login.html', { csrf, error }));
      }
      const session = randomBytes(8).toString('hex');
      this.operators.add(session);
      response.setHeader('Set-Cookie', `operator=${session}; HttpOnly; SameSite=Strict; Path=/operator`);
      return to('/operator');
    }
    if (!this.operators.has(cookies.operator)) return url.pathname.includes('/api/') ? json(401, { title: 'Log in first' }) : to('/operator/login');
    if (call === 'GET /operator/api/overview') return json(200, this.overview());
    if (request.method === 'POST' && form.csrf !== cookies.csrf) return json(403, { title: 'Wrong form token' });
    if (call === 'POST /operator/logout') {
      this.operators.delete(cookies.operator);
      return to('/operator/login');
    }
    const [, id, deed] = /^\/operator\/dead-letters\/([^/]+)\/(retry|discard)$/.exec(url.pathname) ?? [];
    if (id && request.method === 'POST') {
      const done = deed === 'retry' ? 'retried' : 'discarded';
      return to(`/operator?done=${this.dead.delete(decodeURIComponent(id)) ? done : 'gone'}`);
    }
    if (call !== 'GET /operator') return json(404, { title: 'Nothing here' });
    const { queues, dead_letters } = this.overview();
    const done = url.searchParams.get('done') ?? '';
    const now = new Date().toISOString();
    const queue_row = (queue) =>
      this.render('operator/_queue.html', { ...queue, publish_rate: queue.publish_rate.toFixed(1), deliver_rate: queue.deliver_rate.toFixed(1) });
    const letter_row = (letter) =>
      this.render('operator/_dead_letter.html', { csrf, ...letter, first: day(letter.first_at), last: day(letter.last_at) });
    html(200, this.render('operator/operator.html', {
      csrf, updated_at: now, updated: clock(now), dead_letter_count: dead_letters.length,
      notice: /^(retried|discarded|gone)$/.test(done) ? this.render(`operator/_notice_${done}.html`) : '',
      queues: queues.map(queue_row).join(''),
      dead_letters: dead_letters.length ? dead_letters.map(letter_row).join('') : this.render('operator/_dead_letters_empty.html'),
    }));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const pizzeria = new FakePizzeria({ stage_seconds: Number(process.argv[3] ?? 6) });
  await pizzeria.start(Number(process.argv[2] ?? 0));
  pizzeria.addDeadLetter('handler threw: no such pizza\n  at OrderExecutor::start');
  console.log(`${pizzeria.url}  operator password: ${pizzeria.password}`);
}
