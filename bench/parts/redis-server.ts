// A Redis of a bench's own, where the machine has one: on a free port, with its data in a scratch folder.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';

const PROGRAM = 'redis-server';
const POLL_INTERVAL_MS = 50;

export function hasRedis(): boolean {
  return spawnSync(PROGRAM, ['--version']).status === 0;
}

export class RedisServer implements AsyncDisposable {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  /** Every write goes to its log, which reaches the disk once a second: the usual setting where jobs must not be lost. */
  static async start(folder: string): Promise<RedisServer> {
    const port = await freePort();
    const settings = { port, bind: '127.0.0.1', dir: folder, save: '', appendonly: 'yes' };
    const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const child = spawn(PROGRAM, [...flags, '--maxmemory-policy', 'noeviction'], { stdio: 'ignore' });
    const redis = new RedisServer(child, port);
    while (!(await answers(port))) {
      if (child.exitCode !== null) throw new Error('Redis ended at its start');
      await sleep(POLL_INTERVAL_MS);
    }
    return redis;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
