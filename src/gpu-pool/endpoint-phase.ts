// Where an endpoint stands, as its breaker has it.

/** `absent`: nobody has answered there so far, or nobody does any more; `trial`: it is back, and has to prove it. */
export type EndpointPhase = 'absent' | 'up' | 'trial' | 'down';

/** Asked for several times a request: made once. */
export const PHASE_OF_BREAKER = { closed: 'up', half_open: 'trial', open: 'down' } as const;
