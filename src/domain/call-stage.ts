// The stages that call a model server. What an endpoint may be called for are its roles.

/** `rag`: passages are read and a digest of them is written; `generation`: the line is answered. */
export const CALL_STAGES = ['rag', 'generation'] as const;

export type CallStage = (typeof CALL_STAGES)[number];

export const ALL_ROLES: ReadonlySet<CallStage> = new Set(CALL_STAGES);
