// The state of an endpoint as the log and the API tell it: its phase, unless it was taken out by hand.

import type { Endpoint } from './endpoint.ts';

export const ENDPOINT_STATES = ['absent', 'up', 'trial', 'down', 'draining', 'drained'] as const;

export type EndpointState = (typeof ENDPOINT_STATES)[number];

export function stateOf(endpoint: Endpoint): EndpointState {
  if (!endpoint.isDrained || endpoint.phase === 'absent') return endpoint.phase;
  return endpoint.inFlight > 0 ? 'draining' : 'drained';
}
