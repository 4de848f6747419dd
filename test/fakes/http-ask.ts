// One request with everything about its answer, down to whether it came whole: fetch hides too much.

import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** false: the connection broke, or we cut it, before the answer had ended. */
  readonly isWhole: boolean;
}

interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The connection is cut when so many bytes of the body are there; what came beyond them is lost. */
  readonly cutAfter?: number;
}

export function ask(url: string, { method = 'GET', headers = {}, cutAfter }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, headers, agent: false });
    asked.on('error', reject);
    asked.on('response', (incoming) => collect(incoming, cutAfter ?? Number.POSITIVE_INFINITY).then(resolve));
    asked.end();
  });
}

function collect(incoming: IncomingMessage, cutAfter: number): Promise<Answer> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    let length = 0;
    incoming.on('error', () => {});
    incoming.on('data', (piece: Buffer) => {
      pieces.push(piece);
      length += piece.length;
      if (length >= cutAfter) incoming.destroy();
    });
    incoming.on('close', () => {
      const { statusCode = 0, headers, complete } = incoming;
      const body = Buffer.concat(pieces).subarray(0, cutAfter);
      resolve({ status: statusCode, headers, body, isWhole: complete && length <= cutAfter });
    });
  });
}

/** Has the head of the answer, and reads the body only when asked for the rest. */
export async function pausedReader(url: string, headers: Readonly<Record<string, string>> = {}) {
  const asked = request(url, { headers, agent: false });
  asked.end();
  const [incoming] = (await once(asked, 'response')) as [IncomingMessage];
  const answer = collect(incoming, Number.POSITIVE_INFINITY);
  incoming.pause();
  return {
    rest(): Promise<Answer> {
      incoming.resume();
      return answer;
    },
  };
}
