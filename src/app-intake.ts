// What intake needs of the settings and of the rest of the program.

import { statfs } from 'node:fs/promises';
import type { Settings } from './config.ts';
import { DEFAULT_SYSTEM_PROMPT } from './generation/prompt.ts';
import type { Services } from './routes/services.ts';
import { UploadAdmission } from './routes/upload-admission.ts';
import type { Scheduler } from './scheduler/scheduler.ts';
import { checkUploadRoom } from './scheduler/upload-room.ts';
import type { Store } from './store/store.ts';

type IntakeServices = Pick<
  Services,
  'uploadLimits' | 'uploadAdmission' | 'checkUploadRoom' | 'estimateBasis'
>;

export function intakeServices(settings: Settings, store: Store, scheduler: Scheduler): IntakeServices {
  const room = {
    maxStoredBytes: settings.MAX_STORED_BYTES,
    minFreeDiskBytes: settings.MIN_FREE_DISK_BYTES,
    storedBytes: () => store.storedBytes(),
    freeDiskBytes: () => freeDiskBytes(settings.DATA_DIR),
  };
  return {
    uploadLimits: {
      maxBatchLines: settings.MAX_BATCH_LINES,
      maxBatchBytes: settings.MAX_BATCH_BYTES,
      maxLineBytes: settings.MAX_LINE_BYTES,
    },
    uploadAdmission: new UploadAdmission(settings.MAX_CONCURRENT_UPLOADS),
    checkUploadRoom: () => checkUploadRoom(room),
    estimateBasis: () => ({
      defaultSystemPrompt: DEFAULT_SYSTEM_PROMPT,
      passageCharacters: settings.CORPUS_CHUNK_CHARACTERS,
      // 0: nothing was finished of late.
      linesPerSecond: scheduler.totalLinesPerSecond || null,
    }),
  };
}

/** What an unprivileged process may still write. */
export async function freeDiskBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}
