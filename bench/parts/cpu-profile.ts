// What a V8 processor profile says of a stretch of time: self time by function, and by the area that a function belongs to.

import { basename } from 'node:path';

export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** Ids of nodes, one a sample. */
  readonly samples: readonly number[];
  /** Microseconds from the sample before, the first from `startTime` on. */
  readonly timeDeltas: readonly number[];
  /** Microseconds of the monotonic clock, which is that of process.hrtime(). */
  readonly startTime: number;
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

/** Of the monotonic clock. */
export interface Stretch {
  readonly fromUs: number;
  readonly toUs: number;
}

/** Microseconds by name. */
export interface SelfTimes {
  readonly byArea: ReadonlyMap<string, number>;
  readonly byFunction: ReadonlyMap<string, number>;
}

export const IDLE = 'idle';

const V8_AREAS: Readonly<Record<string, string>> = {
  '(idle)': IDLE,
  '(garbage collector)': 'garbage collection',
  '(program)': 'outside JavaScript (system calls, event loop)',
};

/** By a part of the address of the code, the first that fits. */
const AREAS: readonly (readonly [RegExp, string])[] = [
  [/node_modules\/undici\//, 'HTTP client (undici)'],
  [/node_modules\/piscina\//, 'messages between threads'],
  [/node_modules\/((?:@[^/]+\/)?[^/]+)/, '$1'],
  [/\/src\/([^/]+)\//, 'src/$1'],
  [/\/src\//, 'src'],
  [/^node:sqlite/, 'SQLite'],
  [/^node:internal\/(worker|per_context\/messageport|event_target)/, 'messages between threads'],
  [/^node:(internal\/)?(web)?streams?/, 'streams'],
  [/^node:(net|_http|internal\/(net|http|stream_base_commons))/, 'sockets (node:net, node:http)'],
  [/^node:(buffer|internal\/(buffer|encoding))/, 'buffers and text encoding'],
  [/^node:(internal\/(process\/|timers|async_hooks|promise)|timers)/, 'timers, ticks and promises'],
  [/^node:(.*)/, 'node: others'],
];

/** Functions of C++ have no address: by name; all others count to who called them. */
const NATIVE_AREAS: readonly (readonly [RegExp, string])[] = [
  [/^(run|all|get|exec|iterate|prepare)$/, 'SQLite'],
  [/^(postMessage|drain|receiveMessageOnPort)$/, 'messages between threads'],
  [
    /^(write(Utf8|Latin1)String|writev|writeBuffer|shutdown|readStart|readStop)$/,
    'sockets (node:net, node:http)',
  ],
  [/^(oneShotDigest|hash|digest|update)$/, 'hashes'],
  [/^(start|toggleImmediateRef|scheduleTimer|toggleTimerRef|setTimeout)$/, 'timers, ticks and promises'],
  [
    /^(utf8Write|utf8Slice|latin1Slice|byteLengthUtf8|copy|compare|fill|decode|encodeInto)/,
    'buffers and text encoding',
  ],
];

/** Regular expressions are functions too, and their texts are their names. */
const NAME_LENGTH = 40;

export function selfTimes(profile: CpuProfile, { fromUs, toUs }: Stretch): SelfTimes {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(
    profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])),
  );
  const areaOf = (id: number | undefined): string => {
    const frame = id === undefined ? undefined : nodes.get(id)?.callFrame;
    if (id === undefined || frame === undefined) return 'unknown';
    const { functionName, url } = frame;
    if (url !== '') return named(AREAS, url) ?? 'others';
    return V8_AREAS[functionName] ?? named(NATIVE_AREAS, functionName) ?? areaOf(parents.get(id));
  };
  const byArea = new Map<string, number>();
  const byFunction = new Map<string, number>();
  let atUs = profile.startTime;
  for (const [index, id] of profile.samples.entries()) {
    const us = profile.timeDeltas[index + 1] ?? 0;
    atUs += profile.timeDeltas[index] ?? 0;
    if (atUs < fromUs || atUs >= toUs) continue;
    add(byArea, areaOf(id), us);
    add(byFunction, functionOf(nodes.get(id)), us);
  }
  return { byArea, byFunction };
}

function named(names: readonly (readonly [RegExp, string])[], text: string): string | null {
  for (const [pattern, name] of names) {
    const found = pattern.exec(text);
    if (found) return name.replace('$1', found[1] ?? '');
  }
  return null;
}

function functionOf(node: ProfileNode | undefined): string {
  if (!node) return 'unknown';
  const { functionName, url, lineNumber } = node.callFrame;
  const name = functionName === '' ? '(anonymous)' : functionName.slice(0, NAME_LENGTH);
  return url === '' ? name : `${name} ${url.startsWith('node:') ? url : basename(url)}:${lineNumber + 1}`;
}

function add(sums: Map<string, number>, name: string, value: number): void {
  sums.set(name, (sums.get(name) ?? 0) + value);
}
