// The files of a corpus folder, always in the same order. Hidden entries and node_modules are passed over. Links are
// followed, because mounted volumes are often made of them, but no folder is entered twice, so that loops end.

import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CorpusReport } from './corpus-report.ts';

export interface CorpusFile {
  readonly path: string;
  /** Relative to the corpus folder, with forward slashes. */
  readonly name: string;
}

/** Sorted by name, folder by folder. Rejects when the folder itself cannot be listed; trouble below it is reported. */
export async function filesOf(folder: string, report: CorpusReport): Promise<AsyncIterable<CorpusFile>> {
  const entered = new Set([await realpath(folder)]);
  return walk({ path: folder, name: '' }, await list(folder), { entered, report });
}

interface Walk {
  /** Real paths of the folders entered. */
  readonly entered: Set<string>;
  readonly report: CorpusReport;
}

async function* walk(
  folder: CorpusFile,
  entries: readonly Dirent[],
  state: Walk,
): AsyncGenerator<CorpusFile> {
  for (const entry of entries) {
    const name = folder.name === '' ? entry.name : `${folder.name}/${entry.name}`;
    const file = { path: join(folder.path, entry.name), name };
    try {
      const status = await stat(file.path);
      if (status.isFile()) {
        yield file;
        continue;
      }
      const real = status.isDirectory() ? await realpath(file.path) : null;
      if (real === null || state.entered.has(real)) continue;
      state.entered.add(real);
      yield* walk(file, await list(file.path), state);
    } catch (error) {
      const message = `It cannot be opened: ${error instanceof Error ? error.message : error}`;
      state.report.addProblem({ file: name, line: null, reason: 'unreadable', message });
    }
  }
}

/** Sorted by UTF-16 code units: the same on every machine and in every language. */
async function list(folder: string): Promise<Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries
    .filter(({ name }) => !name.startsWith('.') && name !== 'node_modules')
    .sort((left, right) => (left.name < right.name ? -1 : 1));
}
