import { connect } from 'node:net';
import { startIntake } from './fakes/intake-server.ts';
const downs: (() => unknown)[] = [];
const server = await startIntake({ teardown: (f: () => unknown) => { downs.push(f); } } as never);
const port = Number(new URL(server.url).port);
const t0 = performance.now();
await Promise.all(['silent', 'drip', 'none'].map((kind) => new Promise<void>((resolve) => {
  const s = connect(port, '127.0.0.1'); let got = '';
  if (kind !== 'none') s.write('POST /batches HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: ');
  const timer = kind === 'drip' ? setInterval(() => s.write('a'), 2000) : null;
  s.on('data', (d) => { got += d; }); s.on('error', () => {});
  s.on('close', () => { if (timer) clearInterval(timer); console.log(kind, 'closed after', Math.round((performance.now() - t0) / 1000), 's', got.split('\r\n')[0], got.slice(-180)); resolve(); });
})));
for (const d of downs.reverse()) await d();
