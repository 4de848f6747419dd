// One request of a batch: its two accepted shapes, told apart per line, and what makes a line bad.

/** A chat message of an OpenAI batch line, passed through untouched. */
export interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
  readonly [key: string]: unknown;
}

export const CHAT_COMPLETIONS = '/v1/chat/completions';

/** What an OpenAI batch may ask for. Only chat completions have a RAG stage. */
export const OPENAI_ENDPOINTS = [CHAT_COMPLETIONS, '/v1/completions', '/v1/embeddings'] as const;

export type OpenaiEndpoint = (typeof OPENAI_ENDPOINTS)[number];

/**
 * What the line asks for. `native`: a question. `openai`: the body of a request that reaches the server as it is, but for
 * passages among the messages of a chat completion; `query` is its last user text, and empty where it has none.
 */
export type LineRequest =
  | { readonly shape: 'native'; readonly query: string }
  | {
      readonly shape: 'openai';
      readonly url: OpenaiEndpoint;
      readonly query: string;
      readonly body: {
        /** Of a chat completion. */
        readonly messages?: readonly ChatMessage[];
        readonly [key: string]: unknown;
      };
      /** The body as JSON, where reading it would change its numbers: integers of 64 bits, 1.0 */
      readonly exactBody?: string;
    };
