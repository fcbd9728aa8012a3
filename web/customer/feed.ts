// One event stream per browser. Tabs say over a BroadcastChannel which orders they look at; the tab
// that holds the Web Lock reads the stream of the newest of them, asks for the others now and then,
// and tells all tabs. Where locks are missing (plain HTTP on another host) each tab is its own leader.
import { isFinal, lastSequence, merge, type Order, type Step } from './order';

export type Link = 'connecting' | 'live' | 'lost';

type Message =
  | { kind: 'want'; tab: string; ids: string[] }
  | { kind: 'order'; order: Order; at: number }
  | { kind: 'link'; link: Link; at: number }
  | { kind: 'gone'; id: string; status: number }
  | { kind: 'leader' };

export interface Listener {
  onOrder(order: Order, at: number): void;
  onLink(link: Link, at: number): void;
  onGone(id: string, status: number): void;
  /** Only in the leading tab: the order has just become ready. */
  onReady(order: Order): void;
}

const silence_ms_max = 40_000;
const retry_ms_max = 10_000;
const poll_ms = 3_000;
const renew_ms = 20_000;
const tab_ms_max = 200_000; // background tabs may run timers once a minute only

let offset = 0;
/** Now by the server's clock, in milliseconds. */
export const serverNow = () => Date.now() + offset;

function readClock(response: Response): void {
  const at = Date.parse(response.headers.get('date') ?? '');
  if (at) offset = Math.abs(at - Date.now()) > 2500 ? at - Date.now() : 0;
}

/** fetch() for JSON with the house's headers; also sets the clock. */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(path, {
    cache: 'no-cache',
    ...init,
    headers: { Accept: 'application/json', ...init.headers },
  });
  readClock(response);
  return response;
}

export class Feed {
  private readonly tab = Math.random().toString(36).slice(2);
  private readonly channel = 'BroadcastChannel' in self ? new BroadcastChannel('pizzeria') : null;
  private readonly known = new Map<string, Order>();
  private readonly tabs = new Map<string, { ids: string[]; at: number }>();
  private wanted: string[] = [];
  private leading = false;
  private streaming = '';
  private heard_at = 0;
  private link: Link = 'connecting';
  private abort = new AbortController();
  private wake = () => {};

  constructor(private readonly listener: Listener) {
    if (this.channel) this.channel.onmessage = (event) => this.onMessage(event.data);
    if (navigator.locks) {
      // Held until this tab is gone; then the browser hands it to the next tab.
      void navigator.locks.request('pizzeria-stream', () => this.lead());
    } else {
      void this.lead();
    }
    setInterval(() => this.wanted.length && this.say(this.wanted), renew_ms);
    addEventListener('pagehide', () => this.say([]));
    addEventListener('pageshow', () => this.wanted.length && this.say(this.wanted));
    addEventListener('offline', () => this.restart('lost'));
    addEventListener('online', () => this.restart('connecting'));
  }

  /** Follow these orders, most important first; replaces what this tab followed before. */
  follow(orders: Order[]): void {
    for (const order of orders) this.known.set(order.id, merge(this.known.get(order.id), order));
    this.wanted = orders.map((order) => order.id);
    this.say(this.wanted);
  }

  /** Asks the server for one order now and tells every tab. */
  async refresh(id: string): Promise<void> {
    try {
      const response = await ask(`/orders/${encodeURIComponent(id)}`);
      if (response.ok) this.learn(await response.json());
      else if (response.status < 500 && response.status !== 429) this.tell({ kind: 'gone', id, status: response.status });
    } catch {
      // the stream's own retry says that the connection is lost
    }
  }

  private tellLink(link: Link): void {
    this.link = link;
    this.tell({ kind: 'link', link, at: link === 'live' ? this.heard_at : 0 });
  }

  private say(ids: string[]): void {
    this.tell({ kind: 'want', tab: this.tab, ids });
  }

  private tell(message: Message): void {
    this.channel?.postMessage(message);
    this.onMessage(message);
  }

  private onMessage(message: Message): void {
    switch (message.kind) {
      case 'want':
        if (message.ids.length) this.tabs.set(message.tab, { ids: message.ids, at: Date.now() });
        else this.tabs.delete(message.tab);
        if (!this.leading) break;
        if (this.pick() !== this.streaming) this.restart();
        else if (message.ids.length) this.tellLink(this.link);
        break;
      case 'order':
        this.known.set(message.order.id, merge(this.known.get(message.order.id), message.order));
        if (this.wanted.includes(message.order.id)) this.listener.onOrder(message.order, message.at);
        break;
      case 'link':
        this.listener.onLink(message.link, message.at);
        break;
      case 'gone':
        if (this.wanted.includes(message.id)) this.listener.onGone(message.id, message.status);
        break;
      case 'leader':
        if (this.wanted.length) this.say(this.wanted);
    }
  }

  /** Joins `order` with what is known, tells every tab, and notices the moment it becomes ready. */
  private learn(order: Order): Order {
    const before = this.known.get(order.id);
    const joined = merge(before, order);
    this.tell({ kind: 'order', order: joined, at: serverNow() });
    if (before && !isFinal(before) && joined.status === 'ready') this.listener.onReady(joined);
    return joined;
  }

  private open(): string[] {
    const ids: string[] = [];
    for (const [tab, want] of [...this.tabs].reverse()) {
      if (Date.now() - want.at > tab_ms_max && tab !== this.tab) this.tabs.delete(tab);
      else ids.push(...want.ids);
    }
    return [...new Set(ids)].filter((id) => {
      const order = this.known.get(id);
      return !order || !isFinal(order);
    });
  }

  private pick(): string {
    const ids = this.open();
    return ids.includes(this.streaming) ? this.streaming : (ids[0] ?? '');
  }

  private restart(link?: Link): void {
    if (!this.leading) return;
    if (link) this.tellLink(link);
    this.abort.abort();
    this.wake();
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => (clearTimeout(timer), resolve());
    });
  }

  private async lead(): Promise<never> {
    this.leading = true;
    this.tell({ kind: 'leader' });
    setInterval(() => {
      for (const id of this.open()) if (id !== this.streaming) void this.refresh(id);
    }, poll_ms);
    for (let failures = 0; ; ) {
      this.streaming = this.pick();
      this.abort = new AbortController();
      if (!this.streaming) {
        await this.pause(renew_ms);
        continue;
      }
      const id = this.streaming;
      const heard = await this.read(id);
      if (this.abort.signal.aborted && navigator.onLine) continue;
      failures = heard ? 0 : failures + 1;
      const order = this.known.get(id);
      if (order && isFinal(order)) {
        this.streaming = '';
        continue;
      }
      this.tellLink('lost');
      await this.pause(Math.min(retry_ms_max, 400 * 2 ** failures) * (0.75 + Math.random() / 2));
    }
  }

  /** Reads the stream of one order until it ends. Returns whether anything was heard. */
  private async read(id: string): Promise<boolean> {
    const { signal } = this.abort;
    const abort = this.abort;
    let heard = false;
    let watchdog = setTimeout(() => abort.abort(), silence_ms_max);
    try {
      if (!this.known.has(id)) await this.refresh(id);
      const known = this.known.get(id);
      const response = await ask(`/orders/${encodeURIComponent(id)}/events`, {
        signal,
        cache: 'no-store',
        headers: {
          Accept: 'text/event-stream',
          ...(known && lastSequence(known) ? { 'Last-Event-ID': String(lastSequence(known)) } : {}),
        },
      });
      if (!response.ok || !response.body) {
        if ([401, 403, 404, 410].includes(response.status)) {
          this.tell({ kind: 'gone', id, status: response.status });
          for (const want of this.tabs.values()) want.ids = want.ids.filter((other) => other !== id);
          this.streaming = '';
        }
        return false;
      }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      void this.refresh(id); // estimates move without an event
      for (let text = ''; ; ) {
        this.heard_at = serverNow();
        this.tellLink('live');
        const { value, done } = await reader.read();
        if (done) return heard;
        heard = true;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), silence_ms_max);
        const blocks = (text + value).split(/\r?\n\r?\n/);
        text = blocks.pop() ?? '';
        for (const block of blocks) this.onEvent(id, block);
      }
    } catch {
      return heard; // aborted or cut: the caller decides what follows
    } finally {
      clearTimeout(watchdog);
    }
  }

  private onEvent(id: string, block: string): void {
    const data = block
      .split(/\r?\n/)
      .filter((line) => line.startsWith('data:'))
      .map((line) => line.slice(5).trim())
      .join('\n');
    if (!data || !/^event: ?order-status\r?$/m.test(block)) return;
    const step: Step = JSON.parse(data);
    const known = this.known.get(id);
    if (known) {
      const { status, at, sequence } = step;
      this.learn({ ...known, journey: [{ status, at, sequence }] });
    }
    void this.settle(id, step.sequence);
  }

  /** The event may be ahead of the order's own page: asks until that has it, and its pickup code. */
  private async settle(id: string, sequence: number): Promise<void> {
    for (let round = 0; round < 6; ++round) {
      await this.refresh(id);
      const order = this.known.get(id);
      if (order && lastSequence(order) >= sequence && (order.status !== 'ready' || order.pickup_code)) return;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}
