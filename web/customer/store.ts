// The last known state of this browser's orders, so that a page without a server still says something.
import { merge, type Order, type Seen } from './order';

interface Kept extends Seen {
  /** The far end of the first estimate, in milliseconds. */
  first: number;
}

const key = 'pizzeria.orders';
const orders_max = 20;

function read(): Kept[] {
  try {
    const kept = JSON.parse(localStorage.getItem(key) ?? '[]');
    return Array.isArray(kept) ? kept : [];
  } catch {
    return []; // storage is denied or was edited: the server still knows everything
  }
}

export const keptOrders = () => read();
export const keptOrder = (id: string) => read().find((kept) => kept.order.id === id);

/** Joins `order` with what is kept of it and keeps the result. */
export function keep(order: Order, at: number): Kept {
  const all = read();
  const known = all.find((kept) => kept.order.id === order.id);
  const joined = merge(known?.order, order);
  const far = Date.parse(order.estimated_ready_latest ?? order.estimated_ready_at ?? '');
  const kept = { order: joined, at: Math.max(at, known?.at ?? 0), first: known?.first || far || 0 };
  const others = all.filter((other) => other.order.id !== order.id);
  try {
    localStorage.setItem(key, JSON.stringify([kept, ...others].slice(0, orders_max)));
  } catch {
    // no room or no permission: the page works on without memory
  }
  return kept;
}
