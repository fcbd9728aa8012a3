// The customer page. The server's HTML works alone; this makes it move.
import { ask, Feed, serverNow, type Link } from './feed';
import * as words from './order';
import type { Order } from './order';
import { keep, keptOrder, keptOrders } from './store';

const pending_key = 'pizzeria.pending';
const brand = 'Pizzeria Pronto';

const find = <T extends HTMLElement>(selector: string, within: ParentNode = document) =>
  within.querySelector<T>(selector);
const put = (element: Element | null, text: string) => {
  if (element && element.textContent !== text) element.textContent = text;
};

const form_page = find('#form-page');
const order_page = find('#order-page');
const view = find('#order');
const history_list = find('#history');
const icon = find<HTMLLinkElement>('#icon');
const plain_icon = icon?.href ?? '';

let shown: { order: Order; at: number; first: number } | undefined;
let link: Link | 'paused' = 'connecting';
let was_lost = false;
let asked_at = 0;

function announce(text: string): void {
  put(find('#announce'), text);
}

// ---- one order ---------------------------------------------------------------------------------

const field = (name: string) => find(`[data-field="${name}"]`, view ?? document);

function step(entry: words.Step): HTMLElement {
  const item = document.createElement('li');
  const label = document.createElement('span');
  const time = document.createElement('time');
  item.dataset.status = entry.status;
  label.textContent = words.labels[entry.status] ?? entry.status;
  time.dateTime = entry.at;
  time.textContent = words.exactTime(entry.at);
  item.append(label, time);
  return item;
}

function renderJourney(order: Order): void {
  const list = field('journey');
  if (!list) return;
  order.journey.forEach((entry, index) => {
    const there = list.children[index] as HTMLElement | undefined;
    if (!there) list.append(step(entry));
    else if (there.dataset.status !== entry.status || !there.dataset.local) there.replaceWith(step(entry));
    (list.children[index] as HTMLElement).dataset.local = '1';
  });
  while (list.children.length > order.journey.length) list.lastChild?.remove();
}

function renderCancel(order: Order): void {
  const place = field('cancel');
  if (!place) return;
  const there = find<HTMLDetailsElement>('details', place);
  if (!words.isCancellable(order)) {
    if (there?.contains(document.activeElement)) field('sentence')?.focus();
    place.replaceChildren();
  } else if (there?.dataset.id !== order.id) {
    const template = find<HTMLTemplateElement>('#cancel-template');
    if (template) place.replaceChildren(template.content.cloneNode(true));
    const details = find<HTMLDetailsElement>('details', place);
    if (details) details.dataset.id = order.id;
    find<HTMLFormElement>('form', place)?.setAttribute('action', `/orders/${order.id}/cancel`);
  }
}

function renderPickup(order: Order): void {
  const place = field('pickup');
  if (!place) return;
  if (order.status !== 'ready' || !order.pickup_code) return place.replaceChildren();
  if (!place.firstElementChild) {
    const template = find<HTMLTemplateElement>('#pickup-template');
    if (template) place.replaceChildren(template.content.cloneNode(true));
  }
  put(find('.pickup-code', place), order.pickup_code);
}

function renderNotify(order: Order): void {
  const button = find('[data-action="notify"]', view ?? document);
  const granted = field('granted');
  const can = 'Notification' in self && !words.isFinal(order);
  if (button) button.hidden = !(can && Notification.permission === 'default');
  if (granted) granted.hidden = !(can && Notification.permission === 'granted');
}

/** What changes with the clock alone. */
function tick(): void {
  if (!shown || order_page?.hidden) return;
  const { order, first } = shown;
  const now = serverNow();
  put(field('estimate'), words.estimate(order, now));
  put(field('grew'), words.growth(order, first));
  const last = `last update ${words.ago(now - shown.at)}`;
  const text = words.isFinal(order)
    ? ''
    : link === 'live'
      ? `Live, ${last}`
      : link === 'paused'
        ? `Paused, ${last}`
        : link === 'lost'
          ? `${navigator.onLine ? 'Reconnecting' : 'Offline'}, ${last}, ${words.clockTime(shown.at)}`
          : 'Connecting';
  put(field('link'), text);
  if (text && link !== 'paused' && now - shown.at > 45_000 && now - asked_at > 10_000) {
    asked_at = now; // whoever reads the stream for us has gone silent
    void feed.refresh(order.id);
  }
  const line = find('[data-link]', view ?? document);
  if (line) {
    line.dataset.link = link;
    line.hidden = words.isFinal(order);
  }
}

function show(order: Order, at: number): void {
  const kept = keep(order, at);
  const before = shown?.order.id === order.id ? shown.order : undefined;
  shown = kept;
  if (!view || !kept) return;
  const now = kept.order;
  const sentence = (words.sentences[now.status] ?? now.status).trim();
  view.dataset.status = now.status;
  view.querySelectorAll('[data-field="summary"]').forEach((place) => put(place, words.summary(now)));
  put(field('id'), now.id);
  put(field('sentence'), sentence);
  renderJourney(now);
  renderPickup(now);
  renderCancel(now);
  renderNotify(now);
  tick();
  const code = now.status === 'ready' && now.pickup_code ? ` Pickup code ${now.pickup_code}.` : '';
  if (before?.status !== now.status || (code && !before?.pickup_code)) {
    announce(`${sentence} ${words.estimate(now, serverNow())}${code}`.trim());
  }
  const ready = now.status === 'ready';
  document.title = `${ready ? '✓ ' : ''}${words.labels[now.status]} – ${brand}`;
  if (icon) icon.href = ready ? (icon.dataset.ready ?? plain_icon) : plain_icon;
}

function open(order: Order, at: number): void {
  if (form_page) form_page.hidden = true;
  const offline = find('#offline-page');
  if (offline) offline.hidden = true;
  if (order_page) order_page.hidden = false;
  put(field('message'), '');
  link = 'connecting';
  show(order, at);
  feed.follow([order]);
  scrollTo(0, 0);
}

async function cancel(order: Order): Promise<void> {
  const message = field('message');
  put(message, '');
  try {
    const response = await ask(`/orders/${encodeURIComponent(order.id)}`, { method: 'DELETE' });
    if (response.status === 409) put(message, 'Too late to cancel: it is in the oven already.');
    else if (!response.ok) put(message, await problem(response));
    else announce('The kitchen was told to stop.');
  } catch {
    put(message, 'No connection, so nothing was cancelled. Please try again.');
  }
  await feed.refresh(order.id);
}

async function problem(response: Response): Promise<string> {
  const body = await response.json().catch(() => ({}));
  const fields = (body.errors ?? []).map(({ field, reason }: Record<string, string>) => `${field} ${reason}.`);
  return [body.detail ?? body.title ?? `The pizzeria answered ${response.status}.`, ...fields].join(' ');
}

async function notify(order: Order): Promise<void> {
  if (!('Notification' in self) || Notification.permission !== 'granted') return;
  const options = {
    body: `${words.summary(order)}${order.pickup_code ? `. Code ${order.pickup_code}` : ''}`,
    tag: order.id,
    icon: icon?.dataset.ready ?? '',
  };
  try {
    new Notification('Your pizza is ready', options);
  } catch {
    // Phones show notifications only through a service worker.
    const worker = await navigator.serviceWorker?.getRegistration();
    await worker?.showNotification('Your pizza is ready', options);
  }
}

// ---- history -----------------------------------------------------------------------------------

/** A row of the history, from the same template that the server fills. */
function historyItem(order: Order): HTMLElement | undefined {
  const template = find<HTMLTemplateElement>('#history-item');
  const item = (template?.content.cloneNode(true) as ParentNode | undefined)?.querySelector('li');
  if (!item) return undefined;
  item.dataset.id = order.id;
  find<HTMLAnchorElement>('a', item)!.href = `/orders/${order.id}`;
  put(find('[data-field="summary"]', item), words.summary(order));
  const time = find<HTMLTimeElement>('time', item)!;
  time.dateTime = order.journey[0]?.at ?? '';
  localTime(time);
  fillState(item, order);
  return item;
}

function fillState(item: HTMLElement, order: Order): void {
  item.dataset.status = order.status;
  put(find('[data-field="label"]', item), words.labels[order.status] ?? order.status);
}

function localTime(time: HTMLTimeElement): void {
  if (time.dateTime) put(time, words.dayTime(time.dateTime));
}

async function refreshHistory(): Promise<void> {
  if (!history_list || !form_page) return;
  try {
    const response = await ask('/orders');
    if (!response.ok) return;
    const { orders }: { orders: Order[] } = await response.json();
    const items = orders.slice(0, 5).map(historyItem);
    if (items.length) history_list.replaceChildren(...items.filter((item) => item !== undefined));
    followHistory(orders.slice(0, 5));
  } catch {
    // the list stays as it was
  }
}

function followHistory(orders: Order[]): void {
  if (!form_page?.hidden) feed.follow(orders.filter((order) => !words.isFinal(order)));
}

// ---- ordering ----------------------------------------------------------------------------------

interface Pending {
  key: string;
  body: string;
}

const freshKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

function takePending(): Pending | undefined {
  try {
    return JSON.parse(sessionStorage.getItem(pending_key) ?? 'null') ?? undefined;
  } catch {
    return undefined;
  }
}

function setPending(pending: Pending | undefined): void {
  try {
    if (pending) sessionStorage.setItem(pending_key, JSON.stringify(pending));
    else sessionStorage.removeItem(pending_key);
  } catch {
    // without storage a reload in this very second asks the server, which knows the key
  }
}

let sending = false;

/** Sends until there is an answer; always under one key, so that it is one order. */
async function send(pending: Pending): Promise<void> {
  if (sending) return;
  sending = true;
  setPending(pending);
  const message = find('#form-message');
  const button = find('#order-button');
  button?.setAttribute('aria-disabled', 'true');
  put(message, '');
  for (let wait = 500; ; wait = Math.min(8000, wait * 2)) {
    try {
      const response = await ask('/orders', {
        method: 'POST',
        body: pending.body,
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': pending.key },
      });
      const retry = Number(response.headers.get('retry-after')) * 1000;
      if (response.status === 409) {
        wait = Math.max(wait, retry);
      } else {
        setPending(undefined);
        const key = find<HTMLInputElement>('[name="idempotency_key"]');
        if (key) key.value = freshKey();
        if (response.ok) {
          const order: Order = await response.json();
          history.pushState(null, '', `/orders/${order.id}`);
          open(order, serverNow());
          field('sentence')?.focus();
        } else if (response.status === 503) {
          const when = retry ? `in about ${Math.ceil(retry / 1000)} seconds` : 'in a moment';
          put(message, `The kitchen is full right now. Please try again ${when}.`);
        } else {
          put(message, await problem(response));
        }
        break;
      }
    } catch {
      put(message, 'No connection. Your order goes out as soon as there is one, and only once.');
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, wait);
      addEventListener('online', () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
  button?.removeAttribute('aria-disabled');
  sending = false;
}

function initForm(form: HTMLFormElement): void {
  const total = () => {
    const data = new FormData(form);
    const dish = find('[name="pizza"]:checked', form)?.closest('.dish');
    const price = dish?.querySelector(`.price.${data.get('size')}`)?.textContent ?? '';
    const number = /(\d+)[.,](\d\d)/.exec(price);
    const quantity = Number(data.get('quantity'));
    if (!number || !(quantity > 0)) return put(find('#total'), '');
    const cents = (Number(number[1]) * 100 + Number(number[2])) * quantity;
    put(find('#total'), price.replace(number[0], (cents / 100).toFixed(2)));
  };
  form.addEventListener('input', total);
  total();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const data = new FormData(form);
    const item = {
      pizza: String(data.get('pizza')),
      size: String(data.get('size')),
      quantity: Number(data.get('quantity')),
    };
    void send({ key: String(data.get('idempotency_key')), body: JSON.stringify({ items: [item] }) });
  });
}

// ---- start -------------------------------------------------------------------------------------

document.documentElement.classList.add('script');

const feed = new Feed({
  onOrder(order, at) {
    if (shown?.order.id === order.id && !order_page?.hidden) show(order, at);
    const item = find(`[data-id="${CSS.escape(order.id)}"]`, history_list ?? document);
    if (item) fillState(item, order);
  },
  onLink(now, at) {
    if (link === 'paused') return;
    if (now === 'lost' && link === 'live') announce('The connection is lost. Trying again.');
    if (now === 'live' && was_lost) announce('Connected again.');
    was_lost = now === 'lost' || (was_lost && now !== 'live');
    link = now;
    if (shown) shown.at = Math.max(shown.at, at);
    tick();
  },
  onGone(id, status) {
    if (shown?.order.id !== id) return;
    const text = status === 410 ? 'This order is too old to be shown.' : 'This order cannot be found for this browser.';
    put(field('message'), text);
  },
  onReady: (order) => void notify(order),
});

const pathId = () => /^\/orders\/([^/]+)$/.exec(location.pathname)?.[1];

function route(): void {
  const id = pathId();
  if (id) {
    const given = view?.dataset.order;
    const kept = keptOrder(decodeURIComponent(id));
    if (given) open(JSON.parse(given), serverNow());
    else if (kept) open(kept.order, kept.at);
    else if (find('#offline-page')) return showOffline();
    void feed.refresh(decodeURIComponent(id));
  } else if (form_page) {
    shown = undefined;
    form_page.hidden = false;
    if (order_page) order_page.hidden = true;
    document.title = brand;
    if (icon) icon.href = plain_icon;
    void refreshHistory();
  } else if (find('#offline-page')) {
    showOffline();
  }
}

/** The service worker's page: what this browser last knew, until the server answers again. */
function showOffline(): void {
  for (const { order } of keptOrders()) {
    const item = historyItem(order);
    if (item) history_list?.append(item);
  }
  const retry = () =>
    fetch(location.href, { method: 'HEAD', cache: 'no-store' }).then(
      (response) => response.status < 500 && location.reload(),
      () => {},
    );
  setInterval(retry, 3000);
  addEventListener('online', retry);
}

const form = find<HTMLFormElement>('#order-form');
if (form) initForm(form);
document.querySelectorAll<HTMLTimeElement>('.orders time').forEach(localTime);
route();
const pending = takePending();
if (pending && form) void send(pending);

addEventListener('popstate', () => {
  if (pathId() ? order_page : form_page) {
    if (view) delete view.dataset.order;
    route();
  } else {
    location.reload();
  }
});
addEventListener('pageshow', (event) => event.persisted && route());
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState !== 'visible') return;
  if (!shown) void refreshHistory();
  else if (link !== 'paused' && serverNow() - shown.at > 5000) void feed.refresh(shown.order.id);
});

view?.addEventListener('submit', (event) => {
  event.preventDefault();
  if (shown) void cancel(shown.order);
});
view?.addEventListener('click', (event) => {
  const button = (event.target as Element).closest<HTMLElement>('[data-action]');
  if (!button || !shown) return;
  const { order } = shown;
  if (button.dataset.action === 'notify') {
    void Notification.requestPermission().then((answer) => {
      renderNotify(order);
      if (answer === 'denied') put(field('message'), 'Your browser keeps notifications off for this page.');
      (field('granted')?.hidden ? field('sentence') : field('granted'))?.focus();
    });
  } else {
    const pause = link !== 'paused';
    link = pause ? 'paused' : 'connecting';
    put(button, pause ? 'Go on' : 'Pause');
    feed.follow(pause ? [] : [order]);
    if (!pause) void feed.refresh(order.id);
    tick();
  }
});
setInterval(tick, 1000);

if ('serviceWorker' in navigator) void navigator.serviceWorker.register('/service-worker.js').catch(() => {});
