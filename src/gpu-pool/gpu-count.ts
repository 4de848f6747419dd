// How many GPUs there are, and so how many model servers there should be. It is a hint: who answers is what is there.
//
// (C1) It never throws and never hangs; when nothing is known, that is the answer.
// (C2) What somebody says goes before what is found: GPU_COUNT, then the visibility variables, which can only leave
//      fewer of the devices that are found. They are those of this process, which servers need not share.

import type { Settings } from '../config.ts';
import { countAmdGpus } from './amd-gpus.ts';
import { type CountedGpus, type Gpu, usableDevices } from './gpu.ts';
import { countNvidiaFiles, listNvidiaGpus } from './nvidia-gpus.ts';
import type { ToolOptions } from './tool-answer.ts';
import {
  amdVisible,
  amongCounted,
  amongListed,
  containerGpus,
  cudaVisible,
  type Visible,
} from './visible-devices.ts';

export interface GpuCount {
  /** null: nothing is known. */
  readonly count: number | null;
  /** What decided it, for people. */
  readonly source: string;
  /** What people may want to know about it, each in one line. */
  readonly notes: readonly string[];
}

type CountSettings = Pick<
  Settings,
  | 'GPU_COUNT'
  | 'CUDA_VISIBLE_DEVICES'
  | 'NVIDIA_VISIBLE_DEVICES'
  | 'ROCR_VISIBLE_DEVICES'
  | 'HIP_VISIBLE_DEVICES'
  | 'GPU_DEVICE_ORDINAL'
>;

export interface CountOptions extends ToolOptions {
  readonly settings: CountSettings;
  /** Where /proc, /sys and /dev are. */
  readonly root: string;
}

/** As for the setting. */
const COUNT_MAX = 1024;

export async function countGpus(options: CountOptions): Promise<GpuCount> {
  const { GPU_COUNT } = options.settings;
  if (GPU_COUNT !== undefined) return { count: GPU_COUNT, source: 'GPU_COUNT', notes: [] };
  const notes: string[] = [];
  const note = (text: string) => void notes.push(text);
  const nvidia = await countNvidia(options, note);
  // No NVIDIA GPU is no answer yet: there may be others.
  const found = nvidia !== null && nvidia.count > 0 ? nvidia : ((await countAmd(options, note)) ?? nvidia);
  const { count, source } = found ?? countNamed(options.settings, note) ?? { count: null, source: 'nothing' };
  return { count: count === null ? null : Math.min(count, COUNT_MAX), source, notes };
}

async function countNvidia(options: CountOptions, note: (text: string) => void): Promise<CountedGpus | null> {
  const { CUDA_VISIBLE_DEVICES: cuda, NVIDIA_VISIBLE_DEVICES: container } = options.settings;
  const listed = await listNvidiaGpus(options, note);
  if (listed === null) {
    const files = await countNvidiaFiles(options.root);
    if (files === null || cuda === undefined) return files;
    return narrowed(files, 'CUDA_VISIBLE_DEVICES', cudaVisible(cuda, amongCounted(files.count)), note);
  }
  noteInstances(listed, note);
  let found: CountedGpus = { count: usableDevices(listed), source: 'nvidia-smi' };
  const given = container === undefined ? listed : containerGpus(container, listed);
  found = narrowed(found, 'NVIDIA_VISIBLE_DEVICES', { count: usableDevices(given), endedAt: null }, note);
  if (cuda === undefined) return found;
  return narrowed(found, 'CUDA_VISIBLE_DEVICES', cudaVisible(cuda, amongListed(given)), note);
}

async function countAmd(options: CountOptions, note: (text: string) => void): Promise<CountedGpus | null> {
  const { ROCR_VISIBLE_DEVICES: rocr } = options.settings;
  let found: CountedGpus | null = await countAmdGpus(options, note);
  if (found === null) return null;
  if (rocr !== undefined) {
    found = narrowed(found, 'ROCR_VISIBLE_DEVICES', amdVisible(rocr, amongCounted(found.count)), note);
  }
  // The first that is not empty counts, among the devices that the one before has left.
  for (const name of ['HIP_VISIBLE_DEVICES', 'CUDA_VISIBLE_DEVICES', 'GPU_DEVICE_ORDINAL'] as const) {
    const list = options.settings[name]?.trim() ?? '';
    if (list !== '') return narrowed(found, name, amdVisible(list, amongCounted(found.count)), note);
  }
  return found;
}

/** Without any list of devices, a variable that names some is all that is known. */
function countNamed(settings: CountSettings, note: (text: string) => void): CountedGpus | null {
  const any = amongCounted(Number.POSITIVE_INFINITY);
  const { CUDA_VISIBLE_DEVICES: cuda } = settings;
  if (cuda !== undefined) return named('CUDA_VISIBLE_DEVICES', cudaVisible(cuda, any), note);
  for (const name of ['ROCR_VISIBLE_DEVICES', 'HIP_VISIBLE_DEVICES', 'GPU_DEVICE_ORDINAL'] as const) {
    const list = settings[name]?.trim() ?? '';
    if (list !== '') return named(name, amdVisible(list, any), note);
  }
  return null;
}

function named(name: string, { count, endedAt }: Visible, note: (text: string) => void): CountedGpus {
  if (endedAt !== null && !isNone(endedAt)) note(`${name} ends at "${endedAt}"`);
  return { count, source: name };
}

/** Only fewer: what is named beyond the devices found is not there. */
function narrowed(
  found: CountedGpus,
  name: string,
  visible: Visible,
  note: (text: string) => void,
): CountedGpus {
  if (visible.count >= found.count) return found;
  note(`${found.source} shows ${found.count}, ${name} leaves ${visible.count}`);
  return named(name, visible, note);
}

/** The usual ways to say "none". */
function isNone(entry: string): boolean {
  return entry === '' || entry === '-1';
}

function noteInstances(gpus: readonly Gpu[], note: (text: string) => void): void {
  const cut = gpus.filter(({ instances }) => instances !== null);
  if (cut.length > 0)
    note(`${cut.length} of ${gpus.length} GPUs in MIG mode, with ${usableDevices(cut)} devices`);
}
