// Keeps enough lines in hand, and no more: claims chunks from the active batches in turn.

import type { CallStage } from '../domain/call-stage.ts';
import type { ClaimedChunk } from '../domain/chunk.ts';
import type { ActiveBatch, Store } from '../store/store.ts';
import type { Hand } from './hand.ts';

export interface ClaimerOptions {
  readonly store: Store;
  /** Lines in hand before a stage beyond which only batches with nothing in hand are claimed from. */
  readonly horizonLines: (stage: CallStage) => number;
  readonly horizonBytes: number;
  /** Lines that wait for retrieval beyond which only batches with nothing in hand are claimed from. */
  readonly retrievingMax: number;
  readonly hand: Pick<Hand, 'lines' | 'digestLines' | 'retrievingLines' | 'bytes' | 'linesOf' | 'isLimited'>;
  /** false: the collection is not READY, and only batches whose lines end without running are claimed from. */
  readonly isOpen: () => boolean;
  /** Answers whether lines of it were taken in hand; else the batch has nothing to give now. */
  readonly onClaimed: (claimed: ClaimedChunk, batch: ActiveBatch) => boolean;
  readonly onError: (error: unknown) => void;
}

export class Claimer {
  readonly #options: ClaimerOptions;
  #running: Promise<void> | null = null;
  #isAgain = false;
  #isStopped = false;
  /** No batch had anything to give when it was last asked. */
  #isDry = false;
  #lastBatchId = '';

  constructor(options: ClaimerOptions) {
    this.#options = options;
  }

  /** There may be new work, or room for what there was. Room is made all the time, and costs nothing where all is in hand. */
  nudge(reason: 'work' | 'room' = 'work'): void {
    if (this.#isStopped || (reason === 'room' && this.#isDry)) return;
    this.#isDry = false;
    if (this.#running !== null) {
      this.#isAgain = true;
      return;
    }
    this.#running = this.#fill()
      .catch(this.#options.onError)
      .finally(() => {
        this.#running = null;
        if (!this.#isAgain) return;
        this.#isAgain = false;
        this.nudge();
      });
  }

  /** No claim starts afterwards, and none is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async #fill(): Promise<void> {
    const batches = this.#inTurn(await this.#options.store.activeBatches());
    const exhausted = new Set<ActiveBatch>();
    let isDry = true;
    while (exhausted.size < batches.length) {
      for (const batch of batches) {
        if (this.#isStopped) return;
        if (exhausted.has(batch)) continue;
        const mayClaim = this.#mayClaim(batch);
        if (!mayClaim) isDry = false;
        const claimed = mayClaim ? await this.#options.store.claimChunk(batch.id) : null;
        if (!claimed) {
          exhausted.add(batch);
          continue;
        }
        this.#lastBatchId = batch.id;
        if (this.#options.onClaimed(claimed, batch)) continue;
        exhausted.add(batch);
        isDry = false;
      }
    }
    this.#isDry = isDry;
  }

  #mayClaim(batch: ActiveBatch): boolean {
    const { hand, isOpen, horizonBytes } = this.#options;
    if (!isOpen() && batch.ending === null) return false;
    // What runs before the stop of pause_after has to end before more can be told to run.
    if (hand.isLimited(batch.id)) return false;
    // A batch with nothing in hand always gets its first chunk: a small one never waits for a huge one to end.
    if (hand.linesOf(batch.id) === 0) return true;
    return hand.bytes < horizonBytes && this.#isRetrievalFree(batch) && this.#isWithinHorizon(batch);
  }

  /** Lines of a small batch are not to wait for the retrieval of all that a huge one may have in hand. */
  #isRetrievalFree({ options }: ActiveBatch): boolean {
    return options.ragMode === 'off' || this.#options.hand.retrievingLines < this.#options.retrievingMax;
  }

  /** Each stage has a horizon of its own: lines that are stuck before the one leave room for lines of the other. */
  #isWithinHorizon({ options }: ActiveBatch): boolean {
    const { hand, horizonLines } = this.#options;
    const [ahead, both] = [horizonLines('generation'), horizonLines('generation') + horizonLines('rag')];
    if (options.ragMode === 'digest') return hand.digestLines < horizonLines('rag') && hand.lines < both;
    return hand.lines - hand.digestLines < ahead && hand.lines < both;
  }

  /** The batch after the one that was claimed from last comes first. */
  #inTurn(batches: ActiveBatch[]): ActiveBatch[] {
    const last = batches.findIndex((batch) => batch.id === this.#lastBatchId);
    return [...batches.slice(last + 1), ...batches.slice(0, last + 1)];
  }
}
