// How many devices the visibility variables leave, read as the drivers read them: a list of numbers and UUIDs that ends at
// its first entry that is none.
//
// CUDA: https://docs.nvidia.com/cuda/cuda-c-programming-guide/ (environment variables)
// AMD: https://rocm.docs.amd.com/en/latest/conceptual/gpu-isolation.html

import { type Gpu, usableDevices } from './gpu.ts';

export interface Visible {
  readonly count: number;
  /** The entry that ended the list; null: none did. */
  readonly endedAt: string | null;
}

/** The device that an entry names, under a name that is the same however it is written; null: there is none. */
type FindDevice = (entry: string) => string | null;

/** Entries are looked up among these. */
export function amongListed(gpus: readonly Gpu[]): FindDevice {
  return (entry) => {
    if (entry.startsWith('MIG-')) {
      return onlyMatch(
        entry,
        gpus.flatMap(({ instances }) => instances ?? []),
      );
    }
    if (!entry.startsWith('GPU-')) return nameOf(gpus[Number.parseInt(entry, 10)]);
    const uuid = onlyMatch(
      entry,
      gpus.map((gpu) => gpu.uuid),
    );
    return nameOf(gpus.find((gpu) => gpu.uuid === uuid));
  };
}

/** Only their number is known; UUIDs are believed. */
export function amongCounted(count: number): FindDevice {
  return (entry) => {
    if (/^(GPU|MIG)-./.test(entry)) return entry;
    const index = Number.parseInt(entry, 10);
    return index >= 0 && index < count ? String(index) : null;
  };
}

/** CUDA_VISIBLE_DEVICES: its first entry says what all are, numbers or UUIDs; a device named twice leaves none. */
export function cudaVisible(list: string, find: FindDevice): Visible {
  const entries = entriesOf(list);
  const form = formOf(entries[0] ?? '');
  const seen = new Set<string>();
  for (const entry of entries) {
    // Digits may be followed by anything, as for strtoul.
    const isWellFormed = formOf(entry) === form && (form !== 'number' || /^\+?\d/.test(entry));
    const device = isWellFormed ? find(entry) : null;
    if (device === null) return { count: seen.size, endedAt: entry };
    if (seen.has(device)) return { count: 0, endedAt: entry };
    seen.add(device);
  }
  return { count: seen.size, endedAt: null };
}

/** ROCR_VISIBLE_DEVICES, HIP_VISIBLE_DEVICES and GPU_DEVICE_ORDINAL; a device named twice counts once. */
export function amdVisible(list: string, find: FindDevice): Visible {
  const seen = new Set<string>();
  for (const entry of entriesOf(list)) {
    const device = /^(\d+|GPU-.+)$/i.test(entry) ? find(entry.toUpperCase()) : null;
    if (device === null) return { count: seen.size, endedAt: entry };
    seen.add(device);
  }
  return { count: seen.size, endedAt: null };
}

/**
 * NVIDIA_VISIBLE_DEVICES: what a container is given. In the container it is applied already, and what is left is
 * numbered anew; it still counts where the container sees more than that. `void`, nothing and `all` say nothing.
 */
export function containerGpus(list: string, gpus: readonly Gpu[]): readonly Gpu[] {
  if (/^(all|void)?$/.test(list.trim())) return gpus;
  if (list.trim() === 'none') return [];
  const entries = entriesOf(list);
  if (entries.length >= usableDevices(gpus)) return gpus;
  const given = gpus.flatMap((gpu, index) => partGiven(gpu, index, entries));
  return given.length > 0 ? given : gpus;
}

/** The whole GPU, or those of its MIG devices that are named, by UUID or as `0:1`. */
function partGiven(gpu: Gpu, index: number, entries: readonly string[]): Gpu[] {
  const isNamed = (uuid: string) => entries.some((entry) => isPrefix(entry, uuid));
  if (entries.includes(String(index)) || isNamed(gpu.uuid)) return [gpu];
  const instances = (gpu.instances ?? []).filter(
    (uuid, place) => isNamed(uuid) || entries.includes(`${index}:${place}`),
  );
  return instances.length > 0 ? [{ ...gpu, instances }] : [];
}

function entriesOf(list: string): string[] {
  return list.split(',').map((entry) => entry.trim());
}

function formOf(entry: string): 'GPU' | 'MIG' | 'number' {
  if (entry.startsWith('GPU-')) return 'GPU';
  return entry.startsWith('MIG-') ? 'MIG' : 'number';
}

/** A UUID may be cut short as long as it is clear which is meant. */
function onlyMatch(entry: string, uuids: readonly string[]): string | null {
  const [match = null, other] = uuids.filter((uuid) => isPrefix(entry, uuid));
  return other === undefined ? match : null;
}

function isPrefix(entry: string, uuid: string): boolean {
  return entry.length > 'GPU-'.length && uuid.toLowerCase().startsWith(entry.toLowerCase());
}

/** A process that asks for a GPU in MIG mode gets the first of its MIG devices. */
function nameOf(gpu: Gpu | undefined): string | null {
  if (gpu === undefined) return null;
  return gpu.instances === null ? gpu.uuid : (gpu.instances[0] ?? null);
}
