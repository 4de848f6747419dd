// What a batch may ask for, and a line may override. All values are resolved when the batch is created: a
// restart with other settings changes no running batch.

/** The options that apply to one request. */
export interface RequestOptions {
  /** `off`: the question goes to the model alone. */
  readonly ragMode: 'retrieve' | 'off';
  /** Passages asked for per question. */
  readonly topK: number;
  /** Passages farther than this are not used; null: any distance. */
  readonly maxDistance: number | null;
  /** What follows when no passage is found: answer without, or fail the line. */
  readonly onNoContext: 'answer' | 'fail';
  /** null: the endpoint's own chat model. */
  readonly model: string | null;
  readonly maxTokens: number;
  readonly temperature: number;
  /** null: the built-in one. */
  readonly systemPrompt: string | null;
}

export interface BatchOptions extends RequestOptions {
  /** `fail_line`: a bad line becomes a failed result; `reject`: one bad line refuses the upload. */
  readonly onInvalid: 'fail_line' | 'reject';
}
