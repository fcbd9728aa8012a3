// Keeps the operator page current. Everything on it also works as plain HTML.
interface Queue {
  name: string;
  ready: number;
  unacked: number;
  consumers: number;
  publish_rate: number;
  deliver_rate: number;
}
interface DeadLetter {
  id: string;
  queue: string;
  message_type: string;
  reason: string;
  error: string;
  attempts: number;
  first_at: string;
  last_at: string;
  order?: string;
}
interface Overview {
  queues: Queue[];
  dead_letters: DeadLetter[];
  dead_letters_total?: number;
}

const poll_ms = 2000;
const find = <T extends HTMLElement>(selector: string, within: ParentNode = document) =>
  within.querySelector<T>(selector);
const put = (element: Element | null | undefined, text: string) => {
  if (element && element.textContent !== text) element.textContent = text;
};
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
const exact = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });

let seen_at = Date.now();
let paused = false;
let failed = false;
let dead_before = -1;

/** Rows by key: what is there stays (and keeps its focus), what is new is made, what is gone goes. */
function fillList<T>(list: HTMLElement, entries: T[], key: (entry: T) => string, template: string, empty: string, fill: (row: HTMLElement, entry: T) => void): void {
  const old = new Map([...list.children].map((row) => [(row as HTMLElement).dataset.key ?? '', row as HTMLElement]));
  const make = (id: string, selector: string) =>
    find<HTMLTemplateElement>(id)!.content.querySelector<HTMLElement>(selector)!.cloneNode(true) as HTMLElement;
  const selector = list.tagName === 'UL' ? 'li' : 'tr';
  const rows = entries.map((entry) => {
    const row = old.get(key(entry)) ?? make(template, selector);
    row.dataset.key = key(entry);
    fill(row, entry);
    return row;
  });
  if (!rows.length) rows.push(old.get('') ?? make(empty, selector));
  for (const [, row] of old) if (!rows.includes(row)) row.remove();
  rows.forEach((row, index) => {
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${Math.ceil(seconds / 3600)} h`;
}

function drain({ ready, publish_rate, deliver_rate }: Queue): string {
  if (!ready) return 'empty';
  const speed = deliver_rate - publish_rate;
  return speed > 0.05 ? duration(ready / speed) : 'not shrinking';
}

function fillQueue(row: HTMLElement, queue: Queue): void {
  const cell = (name: string) => find(`[data-field="${name}"]`, row);
  put(cell('name'), queue.name);
  for (const name of ['ready', 'unacked', 'consumers'] as const) put(cell(name), String(queue[name]));
  for (const name of ['publish_rate', 'deliver_rate'] as const) put(cell(name), queue[name].toFixed(1));
  let last = cell('drain');
  if (!last) {
    last = document.createElement('td');
    last.className = 'number';
    last.dataset.field = 'drain';
    row.append(last);
  }
  put(last, drain(queue));
  row.toggleAttribute('data-backlog', queue.ready > 0 && queue.deliver_rate <= queue.publish_rate);
}

function fillLetter(row: HTMLElement, letter: DeadLetter): void {
  for (const name of ['message_type', 'queue', 'reason', 'error'] as const) put(find(`[data-field="${name}"]`, row), letter[name]);
  put(find('[data-field="attempts"]', row), String(letter.attempts));
  put(find('[data-field="order"]', row), letter.order ?? '');
  for (const name of ['first_at', 'last_at'] as const) {
    const time = find<HTMLTimeElement>(`[data-field="${name}"]`, row)!;
    time.dateTime = letter[name];
    put(time, day.format(new Date(letter[name])));
  }
  for (const form of row.querySelectorAll('form')) {
    form.action = `/operator/dead-letters/${encodeURIComponent(letter.id)}/${form.dataset.deed}`;
    find<HTMLInputElement>('[name="csrf"]', form)!.value = document.body.dataset.csrf ?? '';
    const button = find('button', form)!;
    button.setAttribute('aria-label', `${button.textContent}: ${letter.message_type} from ${letter.queue}`);
  }
}

function show(overview: Overview): void {
  const { queues, dead_letters } = overview;
  fillList(find('#queues')!, queues, (queue) => queue.name, '#queue-template', '#queues-empty', fillQueue);
  fillList(find('#dead-letters')!, dead_letters, (letter) => letter.id, '#dead-letter-template', '#dead-letters-empty', fillLetter);
  const dead = overview.dead_letters_total ?? dead_letters.length;
  put(find('#dead-count'), String(dead));
  if (dead_before >= 0 && dead > dead_before) put(find('#announce'), `${dead} dead letters, ${dead - dead_before} new.`);
  dead_before = dead;
  const waiting = queues.reduce((sum, queue) => sum + queue.ready, 0);
  const moving = waiting ? `${waiting} message${waiting === 1 ? '' : 's'} waiting` : 'Nothing is waiting';
  const stuck = dead ? `${dead} dead letter${dead === 1 ? '' : 's'}` : 'nothing is stuck';
  put(find('#health'), `${moving}, ${stuck}.`);
}

function showFreshness(): void {
  const time = exact.format(seen_at);
  const line = find('#fresh')!;
  line.dataset.state = failed ? 'stale' : 'live';
  put(find('#fresh-text'), failed ? `Not reachable. This is what was known at ${time}.` : paused ? `Paused at ${time}.` : `Live, as of ${time}.`);
}

async function poll(): Promise<void> {
  try {
    const response = await fetch('/operator/api/overview', {
      headers: { Accept: 'application/json' },
      cache: 'no-store',
      signal: AbortSignal.timeout(10_000),
    });
    if (response.status === 401 || response.status === 403) return location.assign('/operator/login');
    if (!response.ok) throw new Error(String(response.status));
    show(await response.json());
    seen_at = Date.now();
    failed = false;
  } catch {
    failed = true;
  }
  showFreshness();
}

async function run(): Promise<never> {
  for (;;) {
    if (!paused && document.visibilityState === 'visible') await poll();
    await new Promise((resolve) => setTimeout(resolve, poll_ms));
  }
}

const pause = find<HTMLButtonElement>('#pause')!;
pause.hidden = false;
document.querySelectorAll<HTMLElement>('[data-script]').forEach((element) => (element.hidden = false));
pause.addEventListener('click', () => {
  paused = !paused;
  put(pause, paused ? 'Go on' : 'Pause');
  showFreshness();
  if (!paused) void poll();
});
if (location.search) history.replaceState(null, '', location.pathname);
void run();
