// Numbers of a JSON text that JavaScript has no number for, or writes differently: integers beyond 2^53, 1.0, 1e-05. A body that
// is handed on keeps them to the digit.
//
// Values with such numbers are good for JSON.stringify and for nothing else, and they cannot be sent to a thread.

/** What the language has and the type library does not yet. */
const { parse, rawJSON } = JSON as unknown as {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): object;
};

/** What such a number looks like, or something in a string that looks like it. */
const SUSPECT = /[:,[\s](?:-?(?:\d[\d.]{15}|\d+\.\d*0(?!\d)|\d[\d.]*[eE]|0\.0{6})|-0(?![\d.]))/;

/** The value of a JSON text, whose numbers JSON.stringify writes as they stand in it. */
export function parseExactly(text: string): unknown {
  return parse(text, (_key, value, { source }) => {
    return typeof value === 'number' && source !== undefined && String(value) !== source
      ? rawJSON(source)
      : value;
  });
}

/** Whether to read this text in any other way would change its numbers. */
export function hasInexactNumbers(text: string): boolean {
  if (!SUSPECT.test(text)) return false;
  let hasSome = false;
  parse(text, (_key, value, { source }) => {
    hasSome ||= typeof value === 'number' && String(value) !== source;
    return value;
  });
  return hasSome;
}
