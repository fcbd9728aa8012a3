// Shows the last known state when the pizzeria cannot be reached: a reload on a train, a phone that
// dropped the tab, a server that restarts. Nothing else is intercepted.
declare const shell: string[]; // set by the build: the offline page and its hashed files
declare const version: string;

interface Worker extends EventTarget {
  skipWaiting(): Promise<void>;
  clients: {
    claim(): Promise<void>;
    matchAll(options: object): Promise<{ url: string; focus(): Promise<unknown> }[]>;
    openWindow(url: string): Promise<unknown>;
  };
}
type Extendable = Event & {
  request: Request;
  notification: { tag: string; close(): void };
  waitUntil(work: Promise<unknown>): void;
  respondWith(answer: Promise<Response>): void;
};

const worker = self as unknown as Worker;
const on = (name: string, react: (event: Extendable) => void) =>
  worker.addEventListener(name, (event) => react(event as Extendable));

on('install', (event) =>
  event.waitUntil(
    caches
      .open(version)
      .then((cache) => cache.addAll(shell))
      .then(() => worker.skipWaiting()),
  ),
);

on('activate', (event) =>
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((name) => name !== version).map((name) => caches.delete(name))))
      .then(() => worker.clients.claim()),
  ),
);

on('fetch', (event) => {
  const { request } = event;
  const { pathname } = new URL(request.url);
  const is_page = request.mode === 'navigate' && request.method === 'GET' && !pathname.startsWith('/operator');
  if (!is_page && !shell.includes(pathname)) return;
  event.respondWith(
    fetch(request).catch(async (error) => {
      const kept = await caches.match(is_page ? '/offline.html' : pathname);
      if (!kept) throw error;
      return kept;
    }),
  );
});

on('notificationclick', (event) => {
  event.notification.close();
  const path = `/orders/${event.notification.tag}`;
  event.waitUntil(
    worker.clients.matchAll({ type: 'window' }).then((windows) => {
      const there = windows.find((window) => new URL(window.url).pathname === path);
      return there ? there.focus() : worker.clients.openWindow(path);
    }),
  );
});
