// amqplib, Node's usual client, does with Pronto what it does with RabbitMQ.
//
// Starts `pronto broker` from PRONTO_BIN; with AMQP_ADDRESS it tests the broker that runs there instead.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import amqplib from 'amqplib';

const deadline_ms = 20_000;
const mebibyte = 1024 * 1024;
let broker;
let address = process.env.AMQP_ADDRESS;
const open = [];

class Broker {
  folder = mkdtempSync(path.join(os.tmpdir(), 'pronto-amqplib-'));
  output = '';

  async start() {
    const ports_file = path.join(this.folder, 'ports.json');
    this.process = spawn(path.join(process.env.PRONTO_BIN, 'pronto'), [
      'broker', '--amqp', '127.0.0.1:0', '--management', '127.0.0.1:0', '--data', path.join(this.folder, 'data'),
      '--ports-file', ports_file, '--log-level', 'warning',
    ], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.process.stderr.on('data', (text) => (this.output += text));
    const end = Date.now() + deadline_ms;
    while (!existsSync(ports_file)) {
      assert.equal(this.process.exitCode, null, `the broker ended:\n${this.output}`);
      assert.ok(Date.now() < end, 'the broker is not ready');
      await pause(20);
    }
    return JSON.parse(readFileSync(ports_file, 'utf8')).amqp;
  }

  async stop() {
    const ended = once(this.process, 'exit');
    this.process.kill('SIGTERM');
    const [status] = await ended;
    rmSync(this.folder, { recursive: true, force: true });
    assert.equal(status, 0, this.output);
  }
}

before(async () => {
  if (address) return;
  broker = new Broker();
  address = await broker.start();
});
after(async () => broker?.stop());
afterEach(async () => {
  for (const connection of open.splice(0)) await connection.close().catch(() => {});
});

async function connect(options = '') {
  const connection = await amqplib.connect(`amqp://guest:guest@${address}${options}`);
  connection.errors = [];
  connection.on('error', (error) => connection.errors.push(error));
  open.push(connection);
  return connection;
}

// A channel whose errors are kept, since one that nobody hears ends the process.
async function channel_of(connection, kind = 'createChannel') {
  const channel = await connection[kind]();
  channel.failed = new Promise((resolve) => channel.on('error', resolve));
  return channel;
}

const channel = async () => channel_of(await connect());
const confirming = async () => channel_of(await connect(), 'createConfirmChannel');

// Consumes into a list that can be waited for.
class Inbox {
  taken = [];
  waiting = [];

  static async of(channel, queue, options) {
    const inbox = new Inbox();
    inbox.tag = (await channel.consume(queue, (message) => inbox.put(message), options)).consumerTag;
    return inbox;
  }

  put(message) {
    const next = this.waiting.shift();
    if (next) next(message);
    else this.taken.push(message);
  }

  // The next message; null when the broker has cancelled the consumer.
  async take(ms = deadline_ms) {
    if (this.taken.length > 0) return this.taken.shift();
    const cancelled = new AbortController();
    const late = pause(ms, undefined, { signal: cancelled.signal }).then(() => {
      throw new Error(`no message within ${ms} ms`);
    });
    try {
      return await Promise.race([new Promise((resolve) => this.waiting.push(resolve)), late]);
    } finally {
      late.catch(() => {});
      cancelled.abort();
    }
  }
}

const text = (message) => message.content.toString();

test('publishes with confirms arrive in order', async () => {
  const one = await confirming();
  const { queue } = await one.assertQueue('', { exclusive: true });
  for (let i = 0; i < 500; ++i) one.sendToQueue(queue, Buffer.from(`${i}`), { persistent: true });
  await one.waitForConfirms();
  const inbox = await Inbox.of(one, queue, { noAck: true });
  for (let i = 0; i < 500; ++i) assert.equal(text(await inbox.take()), `${i}`);
});

test('persistent publishes to a durable queue are confirmed one by one, each once', async () => {
  const one = await confirming();
  await one.assertQueue('node-durable');
  const confirmed = [];
  await Promise.all(Array.from({ length: 200 }, (_, i) => new Promise((resolve, reject) => {
    one.sendToQueue('node-durable', Buffer.from('x'), { persistent: true }, (error) => {
      confirmed.push(i);
      error ? reject(error) : resolve();
    });
  })));
  assert.deepEqual(confirmed, Array.from({ length: 200 }, (_, i) => i));
  assert.deepEqual(await one.deleteQueue('node-durable'), { messageCount: 200 });
});

test('a mandatory message to nowhere comes back before its confirm', async () => {
  const one = await confirming();
  const order = [];
  one.on('return', (message) => order.push([message.fields.replyCode, message.fields.replyText, text(message)]));
  one.publish('amq.direct', 'nowhere', Buffer.from('lost?'), { mandatory: true }, () => order.push('confirmed'));
  await one.waitForConfirms();
  assert.deepEqual(order, [[312, 'NO_ROUTE', 'lost?'], 'confirmed']);
});

test('prefetch, ack, nack, reject and requeue', async () => {
  const one = await channel();
  const { queue } = await one.assertQueue('', { exclusive: true });
  await one.prefetch(2);
  for (let i = 0; i < 5; ++i) one.sendToQueue(queue, Buffer.from(`${i}`));
  const inbox = await Inbox.of(one, queue);
  const first = await inbox.take();
  const second = await inbox.take();
  assert.deepEqual([text(first), text(second)], ['0', '1']);
  assert.equal((await one.checkQueue(queue)).messageCount, 3);
  one.nack(first, false, true);
  const again = await inbox.take();
  assert.deepEqual([text(again), again.fields.redelivered], ['0', true]);
  one.reject(second, false);
  assert.equal(text(await inbox.take()), '2');
  one.ackAll();
  assert.deepEqual([text(await inbox.take()), text(await inbox.take())], ['3', '4']);
  one.nackAll(true);
  const back = await inbox.take();
  assert.deepEqual([text(back), back.fields.redelivered], ['3', true]);
  await one.recover();
});

test('a rejected message is dead-lettered with its story', async () => {
  const one = await channel();
  const dead = (await one.assertQueue('', { exclusive: true })).queue;
  await one.assertExchange('node-dead', 'fanout', { durable: false, autoDelete: true });
  await one.bindQueue(dead, 'node-dead', '');
  const { queue } = await one.assertQueue('node-mortal', {
    exclusive: true, deadLetterExchange: 'node-dead', deadLetterRoutingKey: 'buried', messageTtl: 60_000,
  });
  one.sendToQueue(queue, Buffer.from('body'), { headers: { mine: true } });
  const inbox = await Inbox.of(one, queue);
  one.reject(await inbox.take(), false);
  const letter = await (await Inbox.of(one, dead, { noAck: true })).take();
  assert.deepEqual([letter.fields.exchange, letter.fields.routingKey, text(letter)], ['node-dead', 'buried', 'body']);
  const { headers } = letter.properties;
  const [death] = headers['x-death'];
  const { time, ...rest } = death;
  assert.deepEqual(rest, {
    count: 1, reason: 'rejected', queue: 'node-mortal', exchange: '', 'routing-keys': ['node-mortal'],
  });
  assert.ok(Math.abs(Number(time.value ?? time) - Date.now() / 1000) < 60, JSON.stringify(time));
  assert.deepEqual(
    [headers.mine, headers['x-first-death-reason'], headers['x-first-death-queue'], headers['x-first-death-exchange']],
    [true, 'rejected', 'node-mortal', '']);
});

test('messages expire by their own time and by the queue\'s', async () => {
  const one = await channel();
  const dead = (await one.assertQueue('', { exclusive: true })).queue;
  const { queue } = await one.assertQueue('', {
    exclusive: true, messageTtl: 200, deadLetterExchange: '', deadLetterRoutingKey: dead,
  });
  one.sendToQueue(queue, Buffer.from('own'), { expiration: 20 });
  one.sendToQueue(queue, Buffer.from("queue's"));
  const inbox = await Inbox.of(one, dead, { noAck: true });
  const letters = [await inbox.take(), await inbox.take()];
  assert.deepEqual(letters.map(text), ['own', "queue's"]);
  const deaths = letters.map((letter) => letter.properties.headers['x-death'][0]);
  assert.deepEqual(deaths.map((death) => death.reason), ['expired', 'expired']);
  assert.deepEqual(deaths.map((death) => death['original-expiration']), ['20', undefined]);
});

test('get takes one message, or says that there is none', async () => {
  const one = await channel();
  const { queue } = await one.assertQueue('', { exclusive: true });
  assert.equal(await one.get(queue), false);
  one.sendToQueue(queue, Buffer.from('first'));
  one.sendToQueue(queue, Buffer.alloc(0));
  const first = await one.get(queue);
  assert.deepEqual([text(first), first.fields.messageCount, first.fields.redelivered], ['first', 1, false]);
  const second = await one.get(queue, { noAck: true });
  assert.deepEqual([second.content.length, second.fields.messageCount], [0, 0]);
  one.nack(first);
  const again = await one.get(queue, { noAck: true });
  assert.deepEqual([text(again), again.fields.redelivered], ['first', true]);
});

test('bodies of every size arrive whole', async () => {
  const one = await confirming();
  const { queue } = await one.assertQueue('', { exclusive: true });
  const inbox = await Inbox.of(one, queue, { noAck: true });
  for (const size of [0, 1, 4088, 131064, 131065, mebibyte, 16 * mebibyte]) {
    const body = Buffer.alloc(size, `${size} `);
    one.sendToQueue(queue, body);
    const { content } = await inbox.take();
    assert.ok(content.equals(body), `a body of ${size} bytes came as one of ${content.length}`);
  }
});

test('headers and properties arrive as they were sent', async () => {
  const one = await channel();
  const { queue } = await one.assertQueue('', { exclusive: true });
  const headers = {
    text: 'grüße', empty: '', yes: true, no: false, byte: 7, negative: -7, short: 300, int: 70_000, long: 2 ** 40,
    float: 1.5, nothing: null, list: [1, 'two', [true], { three: 3 }], table: { inner: { deep: 'x' } }, none: {},
    long_text: 'y'.repeat(10_000), buffer: Buffer.from([0, 255]), time: { '!': 'timestamp', value: 1_700_000_000 },
    decimal: { '!': 'decimal', value: { digits: 1234, places: 2 } },
  };
  const sent = {
    headers, contentType: 'a/b', contentEncoding: 'c', deliveryMode: 2, priority: 5, correlationId: 'd', replyTo: 'e',
    expiration: '60000', messageId: 'f', timestamp: 1_700_000_001, type: 'g', userId: 'guest', appId: 'h',
  };
  one.sendToQueue(queue, Buffer.from('x'), sent);
  const { properties } = await one.get(queue, { noAck: true });
  const { clusterId, ...came } = properties;
  assert.equal(clusterId, undefined);
  assert.deepEqual(came, sent);
});

test('exclusive, auto-delete and server-named queues', async () => {
  const one = await channel();
  const other = await channel();
  const { queue } = await one.assertQueue('', { exclusive: true });
  assert.match(queue, /^amq\.gen-/);
  await assert.rejects(other.checkQueue(queue), /405 \(RESOURCE-LOCKED\).*cannot obtain exclusive access to locked queue/);
  const third = await channel();
  await third.assertQueue('node-fleeting', { autoDelete: true, durable: false });
  const inbox = await Inbox.of(third, 'node-fleeting');
  await third.cancel(inbox.tag);
  await assert.rejects(third.checkQueue('node-fleeting'), /404 \(NOT-FOUND\).*no queue 'node-fleeting' in vhost '\/'/);
});

test('a consumer is told with null when its queue is deleted', async () => {
  const one = await channel();
  const other = await channel();
  await one.assertQueue('node-doomed', { durable: false });
  const inbox = await Inbox.of(one, 'node-doomed');
  await other.deleteQueue('node-doomed');
  assert.equal(await inbox.take(), null);
});

test('direct reply-to', async () => {
  const client = await channel();
  const server = await channel();
  await server.assertQueue('node-rpc', { exclusive: true });
  const answer = (message) => server.sendToQueue(
    message.properties.replyTo, Buffer.from(text(message).toUpperCase()),
    { correlationId: message.properties.correlationId });
  await server.consume('node-rpc', answer, { noAck: true });
  const replies = await Inbox.of(client, 'amq.rabbitmq.reply-to', { noAck: true });
  client.sendToQueue('node-rpc', Buffer.from('hello'), { replyTo: 'amq.rabbitmq.reply-to', correlationId: '42' });
  const reply = await replies.take();
  assert.deepEqual([text(reply), reply.properties.correlationId], ['HELLO', '42']);
});

test('exchanges bound to exchanges, unbound, deleted', async () => {
  const one = await channel();
  await one.assertExchange('node-source', 'direct', { durable: false });
  await one.assertExchange('node-target', 'fanout', { durable: false });
  const { queue } = await one.assertQueue('', { exclusive: true });
  await one.bindExchange('node-target', 'node-source', 'key');
  await one.bindQueue(queue, 'node-target', '');
  one.publish('node-source', 'key', Buffer.from('through'));
  const inbox = await Inbox.of(one, queue, { noAck: true });
  assert.equal(text(await inbox.take()), 'through');
  await one.unbindExchange('node-target', 'node-source', 'key');
  await one.unbindQueue(queue, 'node-target', '');
  await one.deleteExchange('node-source');
  await one.deleteExchange('node-target');
  await assert.rejects(one.checkExchange('node-source'), /404 \(NOT-FOUND\).*no exchange 'node-source' in vhost '\/'/);
});

test('an error of a channel names code and reason, and the connection lives on', async () => {
  const connection = await connect();
  const bad = await channel_of(connection);
  await bad.assertQueue('node-ttl', { durable: false, messageTtl: 1000, autoDelete: true });
  await assert.rejects(
    bad.assertQueue('node-ttl', { durable: false, messageTtl: 2000, autoDelete: true }),
    /406 \(PRECONDITION-FAILED\).*'x-message-ttl' for queue 'node-ttl' in vhost '\/': received '2000' but current is '1000'/);
  assert.equal((await bad.failed).code, 406);
  const lost = await channel_of(connection);
  lost.publish('nonesuch', 'k', Buffer.from(''));
  assert.match((await lost.failed).message, /404 \(NOT-FOUND\).*no exchange 'nonesuch' in vhost '\/'/);
  const twice = await channel_of(connection);
  await twice.assertQueue('node-twice', { exclusive: true });
  twice.sendToQueue('node-twice', Buffer.from('x'));
  const message = await twice.get('node-twice');
  twice.ack(message);
  twice.ack(message);
  assert.match((await twice.failed).message, /406 \(PRECONDITION-FAILED\).*unknown delivery tag 1/);
  const good = await channel_of(connection);
  await good.deleteQueue('node-ttl');
  assert.deepEqual(connection.errors, []);
});

test('an error of the connection names code and reason', async () => {
  const connection = await connect();
  const closed = new Promise((resolve) => connection.on('close', resolve));
  const one = await channel_of(connection);
  await assert.rejects(one.assertExchange('e', 'nosuch'));
  await closed;
  assert.match(connection.errors[0].message, /503 \(COMMAND-INVALID\).*unknown exchange type 'nosuch'/);
});

test('a wrong password and an unknown virtual host are refused', async () => {
  await assert.rejects(amqplib.connect(`amqp://guest:wrong@${address}`), /403 \(ACCESS-REFUSED\).*Login was refused/);
  await assert.rejects(connect('/nonesuch'), /ConnectionClose/); // all that amqplib tells of it
});

test('heartbeats keep an idle connection', async () => {
  const connection = await connect('?heartbeat=1');
  await pause(4000); // what is tested is that nothing happens meanwhile
  assert.deepEqual(connection.errors, []);
  const one = await channel_of(connection);
  await one.assertQueue('', { exclusive: true });
});
