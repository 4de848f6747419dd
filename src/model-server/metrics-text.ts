// Prometheus' text format, as far as it takes to read a few gauges out of it: one sample a line,
// `name{label="value",…} 3.0`. What does not have that form is passed over. Linear in the input.
// Source: Prometheus documentation, "Exposition formats", text-based format.

export interface Sample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  /** May be NaN or infinite. */
  readonly value: number;
}

const NAME = /[a-zA-Z_:][a-zA-Z0-9_:]*/y;
const LABEL = /\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|(?=\}))/y;
const ESCAPE = /\\(.)/g;

/** The samples of the wanted names, in their order. */
export function samplesOf(text: string, wanted: ReadonlySet<string>): Sample[] {
  return text.split('\n').flatMap((line) => sampleIn(line, wanted) ?? []);
}

function sampleIn(line: string, wanted: ReadonlySet<string>): Sample | null {
  NAME.lastIndex = 0;
  const name = NAME.exec(line)?.[0];
  if (name === undefined || !wanted.has(name)) return null;
  const labels = new Map<string, string>();
  const end = readLabels(line, name.length, labels);
  const [value] = end === null ? [] : line.slice(end).trim().split(/\s+/);
  return value === undefined || value === '' ? null : { name, labels, value: Number(value) };
}

/** Where the labels that may begin at `start` end; null when they never do. */
function readLabels(line: string, start: number, labels: Map<string, string>): number | null {
  if (line[start] !== '{') return start;
  LABEL.lastIndex = start + 1;
  let end = start + 1;
  for (let match = LABEL.exec(line); match !== null; match = LABEL.exec(line)) {
    labels.set(String(match[1]), unescaped(String(match[2])));
    end = LABEL.lastIndex;
  }
  const rest = /\s*\}/y;
  rest.lastIndex = end;
  return rest.test(line) ? rest.lastIndex : null;
}

function unescaped(value: string): string {
  return value.replace(ESCAPE, (_, char) => (char === 'n' ? '\n' : char));
}
