// In which order a prompt may show the passages found for its question. Prompts that begin alike share work at a
// model server, so any freedom is used to make more of them begin alike.

/**
 * `preserve`: as they were ranked. `pin_top`: the first-ranked one last, next to the question, the others in any
 * order. `full`: all in any order.
 */
export const CONTEXT_ORDERS = ['preserve', 'pin_top', 'full'] as const;

export type ContextOrder = (typeof CONTEXT_ORDERS)[number];
