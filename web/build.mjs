// Builds the pages into OUT: hashed assets with gzip beside them, filled-in templates, manifest.json,
// and pages.bin with pages.cpp, which puts all of it into the binary.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const customer_script_gzip_bytes_max = 15 * 1024;
const immutable = 'public, max-age=31536000, immutable';
const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const web = path.dirname(fileURLToPath(import.meta.url));
const hash = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 16);
const gzip = (bytes) => gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION });

const script = {
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['es2022'],
  charset: 'utf8',
  write: false,
  loader: { '.html': 'text', '.svg': 'file' },
  assetNames: 'assets/[name]-[hash]',
  publicPath: '/',
  logLevel: 'warning',
};

/** Replaces {{> file}} by that file, and {{> file blank}} by it without its placeholders. */
function include(file) {
  return readFileSync(file, 'utf8')
    .replace(/\{\{> (\S+?)( blank)?\}\}/g, (_, name, blank) => {
      const text = include(path.join(path.dirname(file), name)).trimEnd();
      return blank ? text.replace(/\{\{\{?[a-z_]+\}?\}\}/g, '') : text;
    })
    .replace(/^[ \t]+/gm, '')
    .replace(/\n+$/, file.includes(`${path.sep}_`) ? '' : '\n');
}

async function buildAssets(out) {
  const result = await build({
    ...script,
    entryPoints: {
      app: path.join(web, 'customer/app.ts'),
      style: path.join(web, 'customer/style.css'),
      operator: path.join(web, 'operator/operator.ts'),
      'operator-style': path.join(web, 'operator/style.css'),
    },
    outdir: out,
    entryNames: 'assets/[name]-[hash]',
    metafile: true,
  });
  const pages = [];
  const names = new Map(); // "/assets/app.js" -> "/assets/app-3F2A.js"
  for (const file of result.outputFiles) {
    const name = `/${path.relative(out, file.path)}`;
    const stable = name.replace(/-[A-Z0-9]{8}(\.\w+)$/, '$1');
    names.set(stable, name);
    pages.push({ path: name, bytes: Buffer.from(file.contents), cache_control: immutable });
  }
  for (const icon of ['icon.svg', 'icon-ready.svg']) {
    const bytes = readFileSync(path.join(web, 'customer', icon));
    const name = `/assets/${icon.replace('.svg', '')}-${hash(bytes).slice(0, 8)}.svg`;
    names.set(`/assets/${icon}`, name);
    pages.push({ path: name, bytes, cache_control: immutable });
  }
  return { pages, names };
}

function buildTemplates(names) {
  const pages = [];
  for (const folder of ['customer', 'operator']) {
    for (const name of readdirSync(path.join(web, folder)).sort()) {
      if (!name.endsWith('.html')) continue;
      const text = include(path.join(web, folder, name)).replace(/\/assets\/[\w.-]+/g, (asset) => {
        if (!names.has(asset)) throw new Error(`${folder}/${name}: ${asset} is not built`);
        return names.get(asset);
      });
      pages.push({ path: `${folder}/${name}`, bytes: Buffer.from(text), cache_control: 'no-store' });
    }
  }
  // Without placeholders, so it is a page rather than a template.
  const offline = pages.find((page) => page.path === 'customer/offline.html');
  offline.path = '/offline.html';
  offline.cache_control = 'no-cache';
  return pages;
}

async function buildServiceWorker(pages, names) {
  const shell = ['/offline.html', ...['app.js', 'style.css', 'icon.svg', 'icon-ready.svg'].map((name) => names.get(`/assets/${name}`))];
  const version = hash(Buffer.concat(pages.filter((page) => shell.includes(page.path)).map((page) => page.bytes)));
  const result = await build({
    ...script,
    entryPoints: [path.join(web, 'customer/service-worker.ts')],
    outdir: web,
    format: 'iife',
    define: { shell: JSON.stringify(shell), version: JSON.stringify(version) },
  });
  return { path: '/service-worker.js', bytes: Buffer.from(result.outputFiles[0].contents), cache_control: 'no-cache' };
}

function checkSize(pages, names) {
  const bytes = pages.find((page) => page.path === names.get('/assets/app.js')).gzip.length;
  if (bytes > customer_script_gzip_bytes_max) {
    throw new Error(`the customer script is ${bytes} bytes gzipped, more than ${customer_script_gzip_bytes_max}`);
  }
  return bytes;
}

/** One blob through .incbin and one table of views into it: compiles in no time. */
function writeSource(out, pages) {
  let position = 0;
  const chunks = [];
  const place = (bytes) => {
    const at = position;
    chunks.push(bytes);
    position += bytes.length;
    return `{pronto_pages_blob + ${at}, ${bytes.length}}`;
  };
  const rows = pages.map(
    (page) =>
      `    {"${page.path}", "${page.content_type}", "\\"${page.hash}\\"", "${page.cache_control}",\n` +
      `     ${place(page.bytes)}, ${page.gzip.length ? place(page.gzip) : '{}'}},`,
  );
  const blob = path.join(out, 'pages.bin');
  writeFileSync(blob, Buffer.concat(chunks));
  writeFileSync(
    path.join(out, 'pages.cpp'),
    `// Made by web/build.mjs. Blob: ${hash(Buffer.concat(chunks))}.
#include "pronto/pages/pages.hpp"

#include <algorithm>

asm(R"(
  .section .rodata.pronto_pages, "a"
  .global pronto_pages_blob
pronto_pages_blob:
  .incbin "${blob}"
  .previous
)");

extern "C" const char pronto_pages_blob[${position}];

namespace pronto::pizzeria {
namespace {
const Page table[] = {
${rows.join('\n')}
};
}  // namespace

std::span<const Page> pages() { return table; }

const Page* find_page(std::string_view path) {
  const auto* found = std::ranges::lower_bound(table, path, {}, &Page::path);
  return found != std::end(table) && found->path == path ? found : nullptr;
}

}  // namespace pronto::pizzeria
`,
  );
}

function writeFiles(out, pages) {
  const root = path.join(out, 'files');
  rmSync(root, { recursive: true, force: true });
  for (const page of pages) {
    const file = path.join(root, page.path);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, page.bytes);
    if (page.gzip.length) writeFileSync(`${file}.gz`, page.gzip);
  }
  const manifest = pages.map(({ path: name, content_type, cache_control, hash: etag, bytes, gzip: packed }) => ({
    path: name, content_type, cache_control, etag: `"${etag}"`, bytes: bytes.length, gzip_bytes: packed.length,
  }));
  writeFileSync(path.join(out, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

export async function buildPages(out) {
  mkdirSync(out, { recursive: true });
  const { pages: assets, names } = await buildAssets(out);
  const pages = [...assets, ...buildTemplates(names)];
  pages.push(await buildServiceWorker(pages, names));
  for (const page of pages) {
    page.content_type = types[path.extname(page.path)];
    page.hash = hash(page.bytes);
    const packed = page.path.startsWith('/') ? gzip(page.bytes) : Buffer.alloc(0);
    page.gzip = packed.length < page.bytes.length ? packed : Buffer.alloc(0);
  }
  pages.sort((a, b) => (a.path < b.path ? -1 : 1));
  const customer_script_bytes = checkSize(pages, names);
  writeFiles(out, pages);
  writeSource(out, pages);
  return { pages, customer_script_bytes };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const out = process.argv[2];
  if (!out) {
    console.error('usage: node web/build.mjs OUT');
    process.exit(2);
  }
  const { pages, customer_script_bytes } = await buildPages(path.resolve(out));
  console.log(`${pages.length} pages; the customer script is ${customer_script_bytes} bytes gzipped`);
}
