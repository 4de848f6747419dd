// The user message of a batch or a line that brings a form of its own: a text with one `{context}` and, behind it, one
// `{question}`. So what all lines share stands before the passages, and what differs behind them.
//
// 1. Only these two are placeholders, and only in the template: whatever passages and questions say stays as it is.
// 2. Without context the paragraph of `{context}` goes, with whatever introduces it. Where the question is in the same
//    paragraph only the line goes, and where it is on the same line only the placeholder.

const CONTEXT = '{context}';
const QUESTION = '{question}';
const DOUBLE_BRACES = /\{\{\s*(?:context|question)\s*\}\}/;

/** What is wrong with a template and what to do; null: nothing. */
export function templateProblem(template: string): string | null {
  if (DOUBLE_BRACES.test(template)) {
    return `must have its placeholders in single braces: write ${CONTEXT} and ${QUESTION}`;
  }
  for (const placeholder of [CONTEXT, QUESTION]) {
    const count = template.split(placeholder).length - 1;
    if (count === 0)
      return `must have ${placeholder} in it: write it in the place of the ${nameOf(placeholder)}`;
    if (count > 1) return `has ${placeholder} ${count} times: write it once`;
  }
  if (template.indexOf(QUESTION) < template.indexOf(CONTEXT)) {
    return `must have ${CONTEXT} before ${QUESTION}, so that lines with the same passages begin alike`;
  }
  return null;
}

/** Fills in a template that has no problem; `context` null: there is none. */
export function fillTemplate(template: string, context: string | null, question: string): string {
  const start = template.indexOf(CONTEXT);
  const questionStart = template.indexOf(QUESTION);
  const after = template.slice(questionStart + QUESTION.length);
  if (context !== null) {
    const between = template.slice(start + CONTEXT.length, questionStart);
    return `${template.slice(0, start)}${context}${between}${question}${after}`;
  }
  const { from, to } = introduction(template, start, questionStart);
  return `${template.slice(0, from)}${template.slice(to, questionStart)}${question}${after}`;
}

function nameOf(placeholder: string): string {
  return placeholder === CONTEXT ? 'passages' : 'question';
}

/** From where to where a template without context is left out. */
function introduction(template: string, start: number, questionStart: number): { from: number; to: number } {
  const end = start + CONTEXT.length;
  const gap = /\n[^\S\n]*\n\s*/.exec(template.slice(end, questionStart));
  if (gap !== null) {
    const before = template.slice(0, start);
    const last = [...before.matchAll(/\n[^\S\n]*\n/g)].at(-1);
    return {
      from: last === undefined ? 0 : last.index + last[0].length,
      to: end + gap.index + gap[0].length,
    };
  }
  const lineEnd = template.slice(end, questionStart).indexOf('\n');
  if (lineEnd >= 0) return { from: template.lastIndexOf('\n', start) + 1, to: end + lineEnd + 1 };
  const space = /^[^\S\n]*/.exec(template.slice(end))?.[0].length ?? 0;
  return { from: start, to: end + space };
}
