// The AMD GPUs of this machine or container: as amd-smi or rocm-smi lists them, else by the files of the driver.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isRecord, parseJson } from '../model-server/server-words.ts';
import type { CountedGpus } from './gpu.ts';
import { type ToolOptions, toolAnswer } from './tool-answer.ts';

const TOOLS = [
  { tool: 'amd-smi', args: ['list', '--json'], count: countAmdSmi },
  { tool: 'rocm-smi', args: ['--showid', '--json'], count: countRocmSmi },
] as const;

/** null: neither a tool nor the driver says anything. */
export async function countAmdGpus(
  options: ToolOptions & { readonly root: string },
  note: (text: string) => void,
): Promise<CountedGpus | null> {
  for (const { tool, args, count } of TOOLS) {
    const answer = await toolAnswer(tool, args, options);
    if (answer.kind === 'missing') continue;
    const counted = answer.kind === 'text' ? count(jsonIn(answer.text)) : null;
    if (counted !== null) return { count: counted, source: tool };
    note(`${tool}: ${'reason' in answer ? answer.reason : 'its answer is not the JSON that is known'}`);
    if (answer.kind === 'silent') break;
  }
  const count = await countDriverNodes(join(options.root, 'sys/class/kfd/kfd/topology/nodes'));
  return count > 0 ? { count, source: '/sys/class/kfd' } : null;
}

/** A list with an element for each GPU; some releases wrap it. */
function countAmdSmi(answer: unknown): number | null {
  const list = isRecord(answer) ? answer.gpu_data : answer;
  return Array.isArray(list) ? list.filter((entry) => isRecord(entry) && 'gpu' in entry).length : null;
}

/** An object with a key such as `card0` for each GPU. */
function countRocmSmi(answer: unknown): number | null {
  return isRecord(answer) ? Object.keys(answer).filter((key) => /^card\d+$/.test(key)).length : null;
}

/** The tools write warnings before it, also to their standard output. */
function jsonIn(text: string): unknown {
  return parseJson(text.slice(Math.max(0, text.search(/^[[{]/m))));
}

/** Each node of the topology is a processor (gpu_id 0) or a GPU. */
async function countDriverNodes(folder: string): Promise<number> {
  try {
    const nodes = await readdir(folder);
    const ids = await Promise.all(
      nodes.map((node) => readFile(join(folder, node, 'gpu_id'), 'utf8').catch(() => '0')),
    );
    return ids.filter((id) => Number(id) > 0).length;
  } catch {
    return 0;
  }
}
