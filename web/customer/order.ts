// What an order is, how two views of it are joined, and how it is said in words.
import bake from './_sentence_bake.html';
import cancelled from './_sentence_cancelled.html';
import failed from './_sentence_failed.html';
import late from './_estimate_late.html';
import oven from './_sentence_oven.html';
import placed from './_sentence_placed.html';
import prep from './_sentence_prep.html';
import ready from './_sentence_ready.html';

export type Status = 'placed' | 'prep' | 'bake' | 'oven' | 'ready' | 'cancelled' | 'failed';

export interface Step {
  status: Status;
  at: string;
  sequence: number;
}

export interface Order {
  id: string;
  items: { pizza: string; size: string; quantity: number }[];
  status: Status;
  estimated_ready_at?: string | null;
  estimated_ready_latest?: string | null;
  journey: Step[];
  pickup_code?: string;
}

/** An order with the server's time at which it was last confirmed, in milliseconds. */
export interface Seen {
  order: Order;
  at: number;
}

export const sentences: Record<Status, string> = { placed, prep, bake, oven, ready, cancelled, failed };
export const labels: Record<Status, string> = {
  placed: 'Order placed',
  prep: 'Prep',
  bake: 'Bake',
  oven: 'Oven',
  ready: 'Ready for pickup',
  cancelled: 'Cancelled',
  failed: 'Failed',
};

export const isFinal = (order: Order) => /ready|cancelled|failed/.test(order.status);
export const isCancellable = (order: Order) => /placed|prep|bake/.test(order.status);

export const lastSequence = (order: Order) => order.journey.at(-1)?.sequence ?? 0;

/** Joins what is known with what came: by sequence, so an older view never takes a step back. */
export function merge(known: Order | undefined, came: Order): Order {
  const steps = new Map<number, Step>();
  for (const step of [...(known?.journey ?? []), ...came.journey]) steps.set(step.sequence, step);
  const journey = [...steps.values()].sort((a, b) => a.sequence - b.sequence);
  return { ...known, ...came, journey, status: journey.at(-1)?.status ?? came.status };
}

export const summary = (order: Order) =>
  order.items.map((item) => `${item.quantity} × ${item.pizza}, ${item.size}`).join('; ');

const time = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const exact = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: 'numeric', minute: '2-digit' });

export const clockTime = (at: string | number) => time.format(new Date(at));
export const exactTime = (at: string | number) => exact.format(new Date(at));
export const dayTime = (at: string | number) => day.format(new Date(at));

const seconds = (ms: number) => Math.max(5, Math.ceil(ms / 5000) * 5);
const minutes = (ms: number) => Math.max(1, Math.ceil(ms / 60000));
const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`;
const amount = (ms: number) =>
  ms <= 90_000 ? plural(seconds(ms), 'second') : plural(minutes(ms), 'minute');

/** The estimate as a sentence: a range where the kitchen gave one, and openly late when it is. */
export function estimate(order: Order, now: number): string {
  if (isFinal(order) || !order.estimated_ready_at) return '';
  const near = Date.parse(order.estimated_ready_at) - now;
  const far = Date.parse(order.estimated_ready_latest ?? order.estimated_ready_at) - now;
  if (far <= 0) return late.trim();
  const by = far > 90_000 ? `, by ${clockTime(now + far)}` : '';
  if (near <= 0) return `Ready any moment, at the latest in ${amount(far)}`;
  if (amount(near) === amount(far)) return `Ready in about ${amount(far)}${by}`;
  const unit = far <= 90_000 ? seconds : minutes;
  return `Ready in ${unit(near)}–${amount(far)}${by}`;
}

/** Says so when the estimate has moved away from the first one; `first` is that one's far end. */
export function growth(order: Order, first: number): string {
  const far = Date.parse(order.estimated_ready_latest ?? order.estimated_ready_at ?? '');
  if (isFinal(order) || !(far - first > 10_000)) return '';
  return `Later than we first said: it was to be ready by ${exactTime(first)}.`;
}

export function ago(ms: number): string {
  const past = Math.max(0, Math.round(ms / 1000));
  if (past < 90) return `${past} s ago`;
  return past < 5400 ? `${Math.round(past / 60)} min ago` : `${Math.round(past / 3600)} h ago`;
}
