import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { Gpu } from '../../src/gpu-pool/gpu.ts';
import { type CountOptions, countGpus, type GpuCount } from '../../src/gpu-pool/gpu-count.ts';
import { amongCounted, amongListed, cudaVisible } from '../../src/gpu-pool/visible-devices.ts';
import { systemClock } from '../../src/time.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { until } from '../fakes/until.ts';

interface Machine {
  /** Shell scripts by the name of the tool. */
  readonly tools?: Readonly<Record<string, string>>;
  /** Files by their path below the root. */
  readonly files?: Readonly<Record<string, string>>;
  readonly settings?: CountOptions['settings'];
}

const UUIDS = ['10aa', '11bb', '20cc', '30dd'].map((begin) => `GPU-${begin}0000-1111-2222-3333-444455556666`);
const FOUR_GPUS = { 'nvidia-smi': smi({ modes: ['[N/A]', '[N/A]', 'Disabled', '[N/A]'] }) };
/** The first two in MIG mode, with three devices and with none. */
const MIG = ['MIG-aaaa1111-0000', 'MIG-aaaa2222-0000', 'MIG-bbbb3333-0000'];
const MIG_GPUS = {
  'nvidia-smi': smi({ modes: ['Enabled', 'Enabled', 'Disabled', '[N/A]'], instances: MIG }),
};
/** What a machine whose driver cannot be reached prints. */
const NO_DRIVER = "echo 'NVIDIA-SMI has failed because it cannot talk to the driver.'; exit 9";

/** nvidia-smi with both answers that it is asked for; `instances` are those of its first GPU. */
function smi({ modes, instances = [] }: { modes: readonly string[]; instances?: readonly string[] }): string {
  const query = modes.map((mode, index) => `${index}, ${UUIDS[index]}, ${mode}`);
  const list = modes.map((_, index) => `GPU ${index}: NVIDIA A100-SXM4-40GB (UUID: ${UUIDS[index]})`);
  const cut = instances.map((uuid, place) => `  MIG 1g.5gb      Device  ${place}: (UUID: ${uuid})`);
  list.splice(1, 0, ...cut);
  return byQuestion(print(query), print(list));
}

function print(lines: readonly string[]): string {
  return `printf '%s\\n' ${lines.map((line) => `'${line}'`).join(' ')}`;
}

function byQuestion(query: string, list: string): string {
  return `case "$*" in\n--query-gpu=*) ${query};;\n-L) ${list};;\n*) exit 2;;\nesac`;
}

function optionsFor(t: Test, { tools = {}, files = {}, settings = {} }: Machine): CountOptions {
  const root = t.testdir({ bin: {} });
  for (const [name, script] of Object.entries(tools)) {
    writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return { settings, root, searchPath: join(root, 'bin'), clock: systemClock };
}

const count = (t: Test, machine: Machine): Promise<GpuCount> => countGpus(optionsFor(t, machine));

t.test('a machine that shows nothing is an ordinary answer', async (t) => {
  t.same(await count(t, {}), { count: null, source: 'nothing', notes: [] });
});

t.test('GPU_COUNT goes before everything else', async (t) => {
  const tools = { 'nvidia-smi': 'touch "$0.asked"' };
  const options = optionsFor(t, { tools, settings: { GPU_COUNT: 0, CUDA_VISIBLE_DEVICES: '0,1' } });
  t.same(await countGpus(options), { count: 0, source: 'GPU_COUNT', notes: [] });
  t.notOk(existsSync(join(options.root, 'bin/nvidia-smi.asked')), 'and nobody is asked');
});

t.test('counts what nvidia-smi lists', async (t) => {
  t.same(await count(t, { tools: FOUR_GPUS }), { count: 4, source: 'nvidia-smi', notes: [] });
  const none = "echo 'No devices were found'; exit 6";
  t.match(await count(t, { tools: { 'nvidia-smi': none } }), { count: 0, source: 'nvidia-smi' });
});

t.test('a GPU in MIG mode counts as its MIG devices, and without any not at all', async (t) => {
  const answer = await count(t, { tools: MIG_GPUS });
  t.match(answer, { count: 3 + 0 + 2, source: 'nvidia-smi', notes: [/2 of 4 GPUs in MIG mode.* 3 devices/] });
});

t.test('a driver that knows no MIG mode refuses the question for it, and counts all the same', async (t) => {
  const list = print(['GPU 0: Tesla K80 (UUID: GPU-1-1)', 'GPU 1: Tesla K80 (UUID: GPU-2-2)']);
  const tools = { 'nvidia-smi': byQuestion('echo not a valid field; exit 2', list) };
  t.match(await count(t, { tools }), { count: 2, source: 'nvidia-smi', notes: [] });
});

t.test('CUDA_VISIBLE_DEVICES leaves those of the listed that it names', async (t) => {
  const [first = '', , third = ''] = UUIDS;
  for (const [list, left, note] of [
    ['0', 1],
    ['3, 1', 2],
    ['0,1,2,3', 4],
    ['0,1,9,2', 2, /ends at "9"/],
    ['0,,1', 1, /leaves 1/],
    ['1gpu', 1],
    ['', 0, /leaves 0/],
    ['-1', 0],
    [' ', 0],
    ['none', 0, /ends at "none"/],
    ['0,1,0', 0, /ends at "0"/],
    [first, 1],
    ['GPU-20', 1],
    ['gpu-20', 0],
    ['GPU-1', 0, /ends at "GPU-1"/],
    [`${third},GPU-11,0`, 2, /ends at "0"/],
    ['0,GPU-11', 1],
    ['GPU-', 0],
    ['MIG-aaaa', 0],
  ] as const) {
    const answer = await count(t, { tools: FOUR_GPUS, settings: { CUDA_VISIBLE_DEVICES: list } });
    t.equal(answer.count, left, `"${list}"`);
    t.equal(answer.source, left === 4 ? 'nvidia-smi' : 'CUDA_VISIBLE_DEVICES');
    if (note) t.match(answer.notes.join('; '), note);
  }
});

t.test('CUDA_VISIBLE_DEVICES names MIG devices', async (t) => {
  for (const [list, left] of [
    [MIG.join(','), 3],
    ['MIG-aaaa1,MIG-b', 2],
    ['MIG-aaaa', 0],
    ['0', 1],
    ['2,0,3', 3],
    ['1', 0],
    ['MIG-aaaa1,0', 1],
  ] as const) {
    const answer = await count(t, { tools: MIG_GPUS, settings: { CUDA_VISIBLE_DEVICES: list } });
    t.equal(answer.count, left, list);
  }
});

t.test('NVIDIA_VISIBLE_DEVICES counts where nvidia-smi lists more than it gives', async (t) => {
  const [, second = ''] = UUIDS;
  for (const [list, left] of [
    ['all', 4],
    ['void', 4],
    ['', 4],
    ['none', 0],
    ['1,3', 2],
    [`${second},GPU-30`, 2],
    ['4,5,6,7', 4],
    ['7', 4],
    ['GPU-99', 4],
  ] as const) {
    const answer = await count(t, { tools: FOUR_GPUS, settings: { NVIDIA_VISIBLE_DEVICES: list } });
    t.equal(answer.count, left, `"${list}"`);
  }
  for (const [list, left] of [
    ['0:1,2', 2],
    ['MIG-b', 1],
    ['0', 3],
  ] as const) {
    const answer = await count(t, { tools: MIG_GPUS, settings: { NVIDIA_VISIBLE_DEVICES: list } });
    t.equal(answer.count, left, `"${list}" with MIG`);
  }
  const both = { NVIDIA_VISIBLE_DEVICES: '2,3', CUDA_VISIBLE_DEVICES: '1,2' };
  t.equal((await count(t, { tools: FOUR_GPUS, settings: both })).count, 1, 'CUDA numbers what is left anew');
  t.equal((await count(t, { settings: { NVIDIA_VISIBLE_DEVICES: '0,1' } })).count, null, 'not alone');
});

t.test('without nvidia-smi the files of the driver count', async (t) => {
  const proc = (n: number) => ({ [`proc/driver/nvidia/gpus/0000:0${n}:00.0/information`]: '' });
  const node = (n: number) => ({ [`dev/nvidia${n}`]: '' });
  const host = { ...proc(1), ...proc(2), ...proc(3) };
  const others = { 'dev/nvidiactl': '', 'dev/nvidia-uvm': '', 'dev/nvidia-caps/nvidia-cap1': '' };
  t.match(await count(t, { files: { ...host, ...others } }), {
    count: 3,
    source: '/proc/driver/nvidia/gpus',
  });
  t.match(await count(t, { files: { ...host, ...node(0), ...node(1), ...node(2) } }), { count: 3 });
  t.match(
    await count(t, { files: { ...host, ...others, ...node(2) } }),
    { count: 1, source: '/dev/nvidia*' },
    'a container that was given one',
  );
  t.match(await count(t, { files: { ...node(0), ...node(11) } }), { count: 2, source: '/dev/nvidia*' });
  const narrowed = { files: host, settings: { CUDA_VISIBLE_DEVICES: 'GPU-a,GPU-b' } };
  t.match(await count(t, narrowed), { count: 2, source: 'CUDA_VISIBLE_DEVICES' });
  const named = { files: host, settings: { CUDA_VISIBLE_DEVICES: '0,1,2,3,4,5,6,7' } };
  t.match(await count(t, named), { count: 3 }, 'what is named beyond them is not there');
});

t.test('a variable is all that is known where no GPU is seen', async (t) => {
  for (const [settings, expected] of [
    [{ CUDA_VISIBLE_DEVICES: '4,5,6,7' }, { count: 4, source: 'CUDA_VISIBLE_DEVICES', notes: [] }],
    [{ CUDA_VISIBLE_DEVICES: '' }, { count: 0, source: 'CUDA_VISIBLE_DEVICES', notes: [] }],
    [{ CUDA_VISIBLE_DEVICES: 'GPU-a,x' }, { count: 1, notes: ['CUDA_VISIBLE_DEVICES ends at "x"'] }],
    [{ HIP_VISIBLE_DEVICES: '0,2' }, { count: 2, source: 'HIP_VISIBLE_DEVICES' }],
    [
      { ROCR_VISIBLE_DEVICES: '1', HIP_VISIBLE_DEVICES: '0,2' },
      { count: 1, source: 'ROCR_VISIBLE_DEVICES' },
    ],
    [{ HIP_VISIBLE_DEVICES: '' }, { count: null }],
  ] as const) {
    t.match(await count(t, { settings }), expected, JSON.stringify(settings));
  }
  const many = Array.from({ length: 5000 }, (_, index) => index).join();
  t.equal((await count(t, { settings: { CUDA_VISIBLE_DEVICES: many } })).count, 1024, 'within reason');
});

const AMD_LIST = JSON.stringify([
  { gpu: 0, bdf: '0000:c1:00.0', uuid: '4aff74a1-0000-1000-80bd-1a2b3c4d5e6f', kfd_id: 42905, node_id: 1 },
  { gpu: 1, bdf: '0000:c5:00.0', uuid: '9bff74a1-0000-1000-80cb-1a2b3c4d5e6f', kfd_id: 8042, node_id: 2 },
  { gpu: 2, bdf: '0000:c9:00.0', uuid: '1cff74a1-0000-1000-80fa-1a2b3c4d5e6f', kfd_id: 1122, node_id: 3 },
]);
const ROCM_IDS = JSON.stringify({
  card0: { 'GPU ID': '0x74a1' },
  card1: {},
  system: { 'Driver version': '6' },
});
const KFD = {
  'sys/class/kfd/kfd/topology/nodes/0/gpu_id': '0\n',
  'sys/class/kfd/kfd/topology/nodes/1/gpu_id': '42905\n',
  'sys/class/kfd/kfd/topology/nodes/2/gpu_id': '8042\n',
};

t.test('counts AMD GPUs by the first of its tools that answers, else by the driver', async (t) => {
  const amd = { 'amd-smi': `[ "$*" = 'list --json' ] && ${print([AMD_LIST])}` };
  const rocm = {
    'rocm-smi': `[ "$*" = '--showid --json' ] && ${print(['WARNING: [old] {kernel}', ROCM_IDS])}`,
  };
  for (const [tools, files, expected] of [
    [{ ...amd, ...rocm }, KFD, { count: 3, source: 'amd-smi' }],
    [rocm, KFD, { count: 2, source: 'rocm-smi' }],
    [{}, KFD, { count: 2, source: '/sys/class/kfd' }],
    [{ 'amd-smi': print([`{"gpu_data":${AMD_LIST}}`]) }, {}, { count: 3, source: 'amd-smi' }],
    [{ 'amd-smi': 'echo no driver >&2; exit 255', ...rocm }, {}, { count: 2, notes: [/^amd-smi: /] }],
    [{ 'amd-smi': 'echo hello', 'rocm-smi': 'echo 42' }, {}, { count: null, notes: [/amd-smi/, /rocm-smi/] }],
    [{ ...amd, 'nvidia-smi': NO_DRIVER }, {}, { count: 3, source: 'amd-smi' }],
    [{ ...amd, ...FOUR_GPUS }, {}, { count: 4, source: 'nvidia-smi' }],
  ] as const) {
    t.match(await count(t, { tools, files }), expected, `${Object.keys(tools)} ${Object.keys(files)}`);
  }
});

t.test('the variables for AMD work on what the one before has left', async (t) => {
  for (const [settings, left] of [
    [{ ROCR_VISIBLE_DEVICES: '0,2' }, 2],
    [{ ROCR_VISIBLE_DEVICES: '' }, 0],
    [{ ROCR_VISIBLE_DEVICES: '0,7,1' }, 1],
    [{ ROCR_VISIBLE_DEVICES: 'GPU-00babe,gpu-00BABE,2' }, 2],
    [{ HIP_VISIBLE_DEVICES: '1' }, 1],
    [{ HIP_VISIBLE_DEVICES: '', CUDA_VISIBLE_DEVICES: '0,1' }, 2],
    [{ HIP_VISIBLE_DEVICES: '0', CUDA_VISIBLE_DEVICES: '0,1' }, 1],
    [{ CUDA_VISIBLE_DEVICES: '' }, 3],
    [{ HIP_VISIBLE_DEVICES: '-1' }, 0],
    [{ GPU_DEVICE_ORDINAL: '0,1' }, 2],
    [{ ROCR_VISIBLE_DEVICES: '1,2', HIP_VISIBLE_DEVICES: '0,2' }, 1],
  ] as const) {
    const answer = await count(t, { tools: { 'amd-smi': print([AMD_LIST]) }, settings });
    t.equal(answer.count, left, JSON.stringify(settings));
  }
});

t.test(
  'a tool that fails, talks nonsense or does not stop talking is none, and a note says so',
  async (t) => {
    const files = { 'dev/nvidia0': '' };
    for (const [what, script, note] of [
      ['fails', NO_DRIVER, /^nvidia-smi -L: /],
      ['dies', 'kill -9 $$', /^nvidia-smi -L: /],
      ['talks nonsense', 'echo "0, 1, 2"; echo "<html>"', /names no GPU/],
      ['says nothing', 'exit 0', /names no GPU/],
      ['does not stop', 'while :; do echo "GPU GPU GPU GPU GPU GPU GPU GPU GPU GPU GPU"; done', /maxBuffer/],
    ] as const) {
      const answer = await count(t, { tools: { 'nvidia-smi': script }, files });
      t.match(answer, { count: 1, source: '/dev/nvidia*', notes: [note] }, what);
    }
  },
);

t.test('a tool that may not be run is none', { skip: process.platform === 'win32' }, async (t) => {
  const options = optionsFor(t, { files: { 'bin/nvidia-smi': 'not a program' } });
  t.match(await countGpus(options), { count: null, notes: [/EACCES/] });
});

t.test('a tool that hangs is killed, and nobody waits for it', async (t) => {
  // Its own child, which no kill of the tool reaches, keeps its output open.
  const hanging = 'echo $$ > "$0.pid"; /bin/sleep 60 & echo $! > "$0.child"; exec /bin/sleep 60';
  const clock = new ManualClock();
  const tools = { 'nvidia-smi': hanging, 'amd-smi': hanging, 'rocm-smi': hanging };
  const options = { ...optionsFor(t, { tools, files: KFD }), clock };
  const counting = countGpus(options);
  for (const tool of ['nvidia-smi', 'amd-smi']) {
    const path = (suffix: string) => join(options.root, 'bin', `${tool}.${suffix}`);
    await until(
      `${tool} hangs`,
      () => existsSync(path('child')) && readFileSync(path('child'), 'utf8') !== '',
    );
    const grandchild = Number(readFileSync(path('child'), 'utf8'));
    t.teardown(() => process.kill(grandchild, 'SIGKILL'));
    await clock.advance(5_000);
    const pid = Number(readFileSync(path('pid'), 'utf8'));
    await until(`${tool} is dead`, () => !isAlive(pid));
  }
  t.match(await counting, {
    count: 2,
    source: '/sys/class/kfd',
    notes: [/^nvidia-smi: no answer within/, /^amd-smi: no answer within/],
  });
  t.notOk(existsSync(join(options.root, 'bin/rocm-smi.pid')), 'the same driver is not asked again');
  t.equal(clock.sleepers, 0);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

t.test('of a list with one wrong entry, what stands before it counts', async () => {
  const gpus: Gpu[] = UUIDS.map((uuid) => ({ uuid, instances: null }));
  const device = fc.integer({ min: 0, max: UUIDS.length - 1 });
  const devices = fc.uniqueArray(device, { maxLength: UUIDS.length });
  const byIndex = (index: number) => String(index);
  const byPrefix = (index: number) => UUIDS[index]?.slice(0, 8) ?? '';
  const wrong = fc.constantFrom('', '-1', '4', '99', 'GPU-', 'GPU-1', 'GPU-ff', 'MIG-10aa', 'all', 'x0', '٣');
  const space = fc.constantFrom('', ' ', '\t');
  fc.assert(
    fc.property(devices, wrong, devices, space, (before, bad, after, padding) => {
      for (const write of [byIndex, byPrefix]) {
        const entries = [...before.map(write), bad, ...after.map(write)];
        const list = entries.map((entry) => `${padding}${entry}${padding}`).join();
        assert.deepEqual(cudaVisible(list, amongListed(gpus)), { count: before.length, endedAt: bad });
        const whole = cudaVisible(before.map(write).join(), amongListed(gpus));
        assert.equal(whole.count, before.length);
      }
    }),
  );
});

t.test('whatever a list says, it leaves no more than there are', async () => {
  const pieces = fc.constantFrom(
    '0',
    '1',
    ',',
    ' ',
    '-',
    'GPU-',
    'MIG-',
    '10',
    'aa',
    '+',
    'x',
    '/',
    ':',
    'é',
  );
  const gpus: Gpu[] = UUIDS.map((uuid, index) => ({ uuid, instances: index === 0 ? MIG : null }));
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 16 }), fc.nat({ max: 12 }), (parts, known) => {
      const list = parts.join('');
      assert.ok(cudaVisible(list, amongListed(gpus)).count <= MIG.length + UUIDS.length - 1);
      const numbered = list.replaceAll(/[GM]/g, '');
      assert.ok(cudaVisible(numbered, amongCounted(known)).count <= known);
    }),
    { numRuns: 500 },
  );
});
