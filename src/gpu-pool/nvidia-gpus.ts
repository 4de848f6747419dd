// The NVIDIA GPUs of this machine or container: as nvidia-smi lists them, else by the files of the driver.

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CountedGpus, Gpu } from './gpu.ts';
import { type ToolOptions, toolAnswer } from './tool-answer.ts';

const QUERY = ['--query-gpu=index,uuid,mig.mode.current', '--format=csv,noheader'];
const NONE_FOUND = /no devices were found/i;

/** null: nvidia-smi is not there, or says nothing that can be used; a note tells which, unless it is not there. */
export async function listNvidiaGpus(
  options: ToolOptions,
  note: (text: string) => void,
): Promise<readonly Gpu[] | null> {
  const answer = await toolAnswer('nvidia-smi', QUERY, options);
  if (answer.kind === 'missing') return null;
  if (answer.kind === 'silent') {
    note(`nvidia-smi: ${answer.reason}`);
    return null;
  }
  if (NONE_FOUND.test(answer.text)) return [];
  const queried = answer.kind === 'text' ? readQuery(answer.text) : [];
  if (queried.length > 0 && queried.every(({ instances }) => instances === null)) return queried;
  // MIG devices stand in the other list only; drivers that do not know MIG refuse the query.
  const list = await toolAnswer('nvidia-smi', ['-L'], options);
  if (list.kind === 'text') {
    const listed = readList(list.text, queried);
    if (listed.length > 0) return listed;
  } else if (list.kind === 'failed' && NONE_FOUND.test(list.text)) return [];
  note(`nvidia-smi -L: ${'reason' in list ? list.reason : 'its answer names no GPU'}`);
  return queried.length > 0 ? queried : null;
}

/** How many the driver's files show, and where; null: there are none. */
export async function countNvidiaFiles(root: string): Promise<CountedGpus | null> {
  const driver = (await namesIn(join(root, 'proc/driver/nvidia/gpus'))).length;
  const nodes = (await namesIn(join(root, 'dev'))).filter((name) => /^nvidia[0-9]+$/.test(name)).length;
  // A container sees all GPUs of its host in /proc, but only the devices that it was given in /dev.
  if (nodes > 0 && (driver === 0 || nodes < driver)) return { count: nodes, source: '/dev/nvidia*' };
  return driver > 0 ? { count: driver, source: '/proc/driver/nvidia/gpus' } : null;
}

/** Lines such as `0, GPU-5d5ba0d6-…, Disabled`. */
function readQuery(text: string): Gpu[] {
  return [...text.matchAll(/^\s*\d+\s*,\s*(GPU-[0-9a-f-]+)\s*,(.*)$/gim)].map(([, uuid = '', mode = '']) => ({
    uuid,
    instances: mode.trim() === 'Enabled' ? [] : null,
  }));
}

/** Lines such as `GPU 0: NVIDIA A100 (UUID: GPU-…)`, each followed by its `  MIG 1g.5gb Device 0: (UUID: MIG-…)`. */
function readList(text: string, queried: readonly Gpu[]): Gpu[] {
  const inMigMode = new Set(queried.flatMap(({ uuid, instances }) => (instances === null ? [] : [uuid])));
  const gpus: { uuid: string; instances: string[] | null }[] = [];
  for (const line of text.split('\n')) {
    const uuid = /\(UUID: ([A-Za-z]+-[^)]+)\)/.exec(line)?.[1];
    if (uuid === undefined) continue;
    const parent = gpus.at(-1);
    if (/^GPU \d+:/.test(line)) gpus.push({ uuid, instances: inMigMode.has(uuid) ? [] : null });
    else if (/^\s+MIG /.test(line) && parent) parent.instances = [...(parent.instances ?? []), uuid];
  }
  return gpus;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch {
    return [];
  }
}
