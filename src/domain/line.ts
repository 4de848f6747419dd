// One request of a batch: its two accepted shapes, told apart per line, and what makes a line bad.

/** A chat message of an OpenAI batch line, passed through untouched. */
export interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
  readonly [key: string]: unknown;
}

/** What the line asks for. `native`: a question. `openai`: a chat completion body that reaches the server as it is. */
export type LineRequest =
  | { readonly shape: 'native'; readonly query: string }
  | {
      readonly shape: 'openai';
      readonly query: string;
      readonly body: { readonly messages: readonly ChatMessage[]; readonly [key: string]: unknown };
    };
