// What a batch gets of the endpoints while others want them too.

export const PRIORITIES = ['high', 'normal', 'low'] as const;

export type Priority = (typeof PRIORITIES)[number];

/** Shares of batches that all have something to run: never all for one, and never none. */
export const PRIORITY_WEIGHTS: Readonly<Record<Priority, number>> = { high: 16, normal: 4, low: 1 };
