// GPUs as far as counting goes.

/** How many there are, and what told it, for people. */
export interface CountedGpus {
  readonly count: number;
  readonly source: string;
}

/** An NVIDIA GPU. */
export interface Gpu {
  readonly uuid: string;
  /**
   * The UUIDs of the MIG devices that it is cut into; null: it is whole. A GPU in MIG mode cannot be used as a whole,
   * and without MIG devices not at all.
   */
  readonly instances: readonly string[] | null;
}

/** How many model servers can have a device of their own. */
export function usableDevices(gpus: readonly Gpu[]): number {
  return gpus.reduce((sum, { instances }) => sum + (instances?.length ?? 1), 0);
}
