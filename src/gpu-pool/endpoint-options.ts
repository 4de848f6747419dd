// What an endpoint needs of the pool that it stands in.

import type { Clock } from '../time.ts';
import type { Endpoint } from './endpoint.ts';

export interface EndpointOptions {
  /** Requests in flight; null: as many as turn out best. */
  readonly fixedWindow: number | null;
  readonly clock: Clock;
  /** Looks at the endpoint now; resolves when it has been told what was seen. */
  readonly lookNow: (endpoint: Endpoint) => Promise<void>;
  /** Whether other endpoints could do its work. */
  readonly hasSiblings: (endpoint: Endpoint) => boolean;
  /** Called whenever the endpoint may have room again or has changed its state. */
  readonly onChange: (endpoint: Endpoint) => void;
}
