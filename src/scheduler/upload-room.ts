// Room for uploads: the store's own limit, and a reserve of the disk that belongs to the results of running work.

import { RagmillError } from '../errors.ts';

export interface UploadRoomSettings {
  /** 0: no limit. */
  readonly maxStoredBytes: number;
  /** 0: no reserve. */
  readonly minFreeDiskBytes: number;
  readonly storedBytes: () => Promise<number>;
  /** Of the file system that holds the data folder. */
  readonly freeDiskBytes: () => Promise<number>;
}

/** Throws `storage_limit` or `storage_full` when an upload may not take more. */
export async function checkUploadRoom(settings: UploadRoomSettings): Promise<void> {
  const { maxStoredBytes, minFreeDiskBytes } = settings;
  if (maxStoredBytes > 0 && (await settings.storedBytes()) >= maxStoredBytes) {
    throw new RagmillError(
      'storage_limit',
      `The store holds ${maxStoredBytes} bytes (MAX_STORED_BYTES). Delete batches, or raise the limit.`,
    );
  }
  if (minFreeDiskBytes > 0 && (await settings.freeDiskBytes()) < minFreeDiskBytes) {
    throw new RagmillError(
      'storage_full',
      `Less than ${minFreeDiskBytes} bytes of the disk that holds DATA_DIR are free (MIN_FREE_DISK_BYTES). Free some space, then send it again.`,
    );
  }
}
