// What intake needs of the settings and of the rest of the program: of uploads, and of files that batches are made of.

import { statfs } from 'node:fs/promises';
import type { Settings } from './config.ts';
import { DEFAULT_SYSTEM_PROMPT } from './generation/prompt.ts';
import type { GpuPool } from './gpu-pool/gpu-pool.ts';
import type { Services } from './routes/services.ts';
import { UploadAdmission } from './routes/upload-admission.ts';
import { FileCheck, type FileCheckOptions } from './scheduler/file-check.ts';
import type { UploadLimits } from './scheduler/line-intake.ts';
import type { Scheduler } from './scheduler/scheduler.ts';
import { checkUploadRoom } from './scheduler/upload-room.ts';
import type { Store } from './store/store.ts';

type IntakeServices = Pick<
  Services,
  'uploadLimits' | 'uploadAdmission' | 'checkUploadRoom' | 'estimateBasis' | 'fileLifeSeconds'
>;

const HOUR_SECONDS = 3600;

export function intakeServices(settings: Settings, store: Store, scheduler: Scheduler): IntakeServices {
  const { RETENTION_HOURS: retentionHours } = settings;
  return {
    uploadLimits: uploadLimits(settings),
    uploadAdmission: new UploadAdmission(settings.MAX_CONCURRENT_UPLOADS),
    checkUploadRoom: roomCheck(settings, store),
    fileLifeSeconds: retentionHours > 0 ? retentionHours * HOUR_SECONDS : null,
    estimateBasis: () => ({
      defaultSystemPrompt: DEFAULT_SYSTEM_PROMPT,
      passageCharacters: settings.CORPUS_CHUNK_CHARACTERS,
      // 0: nothing was finished of late.
      linesPerSecond: scheduler.totalLinesPerSecond || null,
    }),
  };
}

export function openFileCheck(
  settings: Settings,
  parts: Pick<FileCheckOptions, 'store' | 'metrics' | 'clock' | 'log'> & {
    readonly scheduler: Scheduler;
    readonly pool: GpuPool;
  },
): FileCheck {
  const { scheduler, pool, ...rest } = parts;
  return new FileCheck({
    ...rest,
    limits: uploadLimits(settings),
    checkRoom: roomCheck(settings, parts.store),
    isUnknownModel: (model) => pool.servesNowhere('generation', model),
    onPassed: () => scheduler.nudge(),
  });
}

function uploadLimits(settings: Settings): UploadLimits {
  return {
    maxBatchLines: settings.MAX_BATCH_LINES,
    maxBatchBytes: settings.MAX_BATCH_BYTES,
    maxLineBytes: settings.MAX_LINE_BYTES,
  };
}

function roomCheck(settings: Settings, store: Store): () => Promise<void> {
  const room = {
    maxStoredBytes: settings.MAX_STORED_BYTES,
    minFreeDiskBytes: settings.MIN_FREE_DISK_BYTES,
    storedBytes: () => store.storedBytes(),
    freeDiskBytes: () => freeDiskBytes(settings.DATA_DIR),
  };
  return () => checkUploadRoom(room);
}

/** What an unprivileged process may still write. */
export async function freeDiskBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}
