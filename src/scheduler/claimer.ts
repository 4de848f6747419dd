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
  /** Whether an endpoint that is there serves the model (null: any). */
  readonly isServed: (model: string | null) => boolean;
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
  #lastBatchId = '';
  #active: readonly ActiveBatch[] = [];
  /** Those of them that had nothing more to give when they were asked. */
  readonly #empty = new Set<ActiveBatch>();
  /** All of that has to be asked again. */
  #isNews = true;
  /** Lines in hand of models that nobody serves now, at the last look. */
  #stuckLines = 0;

  constructor(options: ClaimerOptions) {
    this.#options = options;
  }

  /** There may be work in any batch, or room for it. */
  nudge(): void {
    this.note();
    this.goOn();
  }

  /** There may be work in any batch when there is room next. */
  note(): void {
    this.#isNews = true;
  }

  /** There may be room. Batches that had nothing more to give are not asked again: of thousands, most have all in hand. */
  goOn(): void {
    if (this.#isStopped) return;
    if (this.#running !== null) {
      this.#isAgain = true;
      return;
    }
    this.#running = this.#fill()
      .catch((error: unknown) => {
        this.note();
        this.#options.onError(error);
      })
      .finally(() => {
        this.#running = null;
        if (!this.#isAgain) return;
        this.#isAgain = false;
        this.goOn();
      });
  }

  /** No claim starts afterwards, and none is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async #fill(): Promise<void> {
    if (this.#isNews) {
      this.#isNews = false;
      this.#active = await this.#options.store.activeBatches();
      this.#empty.clear();
    }
    this.#stuckLines = this.#countStuck();
    const batches = this.#inTurn(this.#active).filter((batch) => !this.#empty.has(batch));
    const exhausted = new Set<ActiveBatch>();
    while (exhausted.size < batches.length) {
      for (const batch of batches) {
        if (this.#isStopped) return;
        if (exhausted.has(batch)) continue;
        const mayClaim = this.#mayClaim(batch);
        const claimed = mayClaim ? await this.#options.store.claimChunk(batch.id) : null;
        if (!claimed) {
          exhausted.add(batch);
          if (mayClaim) this.#empty.add(batch);
          continue;
        }
        this.#lastBatchId = batch.id;
        if (!this.#options.onClaimed(claimed, batch)) exhausted.add(batch);
      }
    }
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

  /**
   * Each stage has a horizon of its own: lines that are stuck before the one leave room for lines of the other. Lines of a
   * model that nobody serves now count only for batches of such models.
   */
  #isWithinHorizon(batch: ActiveBatch): boolean {
    const { hand, horizonLines } = this.#options;
    const [ahead, both] = [horizonLines('generation'), horizonLines('generation') + horizonLines('rag')];
    const lines = hand.lines - (this.#isStuck(batch) ? 0 : this.#stuckLines);
    if (batch.options.ragMode === 'digest') return hand.digestLines < horizonLines('rag') && lines < both;
    return lines - hand.digestLines < ahead && lines < both;
  }

  /** Where digests come first, the lines that wait for an answer are not counted apart. */
  #isStuck({ options }: ActiveBatch): boolean {
    return options.ragMode !== 'digest' && !this.#options.isServed(options.model);
  }

  #countStuck(): number {
    const stuck = this.#active.filter((batch) => this.#isStuck(batch));
    return stuck.reduce((sum, { id }) => sum + this.#options.hand.linesOf(id), 0);
  }

  /** The batch after the one that was claimed from last comes first. */
  #inTurn(batches: readonly ActiveBatch[]): ActiveBatch[] {
    const last = batches.findIndex((batch) => batch.id === this.#lastBatchId);
    return [...batches.slice(last + 1), ...batches.slice(0, last + 1)];
  }
}
