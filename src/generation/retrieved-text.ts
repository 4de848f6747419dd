// Retrieved text is data, whatever it says. Here it loses what could make it more than that, and nothing else:
//
// 1. Control characters but \n and \t go, and so do marks that reorder text or that nobody can see and a model can read.
// 2. What looks like a tag of the context's fence, in whatever spelling, is broken up by a visible dot: `<·/passage>`.
// 3. So are the special tokens of chat templates (`<|im_start|>`, `[INST]`, `</s>` …): the tokenizers of many servers turn
//    them into real turns of the conversation wherever they stand.
// 4. All other text stays as it is, markup and code included, and all of this takes linear time.

const BREAK = '·';

const NEWLINES = /\r\n?|[\v\f\x85]/g;
/**
 * Controls; marks of direction; and what only models read: invisible copies of ASCII ("tags"), annotations, and the
 * selectors of ideographic variants, which can spell any bytes.
 */
const UNPRINTABLE =
  /[[\p{Cc}--[\n\t]]\u061C\u200E\u200F\u202A-\u202E\u2066-\u206F\uFFF9-\uFFFB\u{E0000}-\u{E007F}\u{E0100}-\u{E01EF}]/gv;

/** What may open a tag or a token, written out, in full width, as an entity or as an escape. */
const OPENER = new RegExp(
  [
    '[<＜﹤\\[［﹇]',
    '\\](?=~)',
    '&(?:amp;)*(?:(?:lt|lsqb|lbrack);?|#0*(?:60|91)(?:;|(?!\\d))|#x0*(?:3c|5b)(?:;|(?![0-9a-f])))',
    '\\\\u\\{0*(?:3c|5b)\\}|\\\\(?:u00|x)(?:3c|5b)|%(?:3c|5b)',
  ].join('|'),
  'gi',
);

/** One spelled-out character, by its number (hexadecimal, decimal) or its name. */
const SPELLED =
  /&(?:amp;)*(?:#x0*([0-9a-f]{1,6})|#0*(\d{1,7})|(lt|gt|sol|bsol|lsqb|lbrack|rsqb|rbrack|vert|verbar|lowbar|nbsp|shy|zwj|zwnj));?|\\u\{0*([0-9a-f]{1,6})\}|(?:\\u(?=[0-9a-f]{4})|\\x(?=[0-9a-f]{2})|%(?=[0-9a-f]{2}))((?<=u)[0-9a-f]{4}|[0-9a-f]{2})/iy;

const NAMED: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  sol: '/',
  bsol: '/',
  lsqb: '[',
  lbrack: '[',
  rsqb: ']',
  rbrack: ']',
  vert: '|',
  verbar: '|',
  lowbar: '_',
  nbsp: ' ',
};

/** Letters of other scripts that pass for those of the fence, and slashes. */
const LOOKALIKES: Readonly<Record<string, string>> = {
  ...{ а: 'a', ɑ: 'a', α: 'a', с: 'c', ϲ: 'c', ᴄ: 'c', ԁ: 'd', е: 'e', ᴇ: 'e', ɡ: 'g', ց: 'g' },
  ...{ і: 'i', ı: 'i', ո: 'n', ɴ: 'n' },
  ...{ о: 'o', ο: 'o', օ: 'o', ᴏ: 'o', р: 'p', ρ: 'p', ᴘ: 'p', ѕ: 's', ꜱ: 's', т: 't', τ: 't', ᴛ: 't' },
  ...{ х: 'x', χ: 'x', '\u2044': '/', '\u2215': '/', '\u29f8': '/', '\\': '/' },
};

const UNSEEN = /[\p{M}\p{Cf}\p{Cc}\p{Default_Ignorable_Code_Point}]/gu;

/** No tag or token that matters is longer. */
const AHEAD_MAX = 80;

/** What follows the opener of a tag of the fence, or of a token, when its spelling is folded. */
const DANGEROUS = new RegExp(
  [
    `[ /]*(?:${['passage', 'context', 'digest'].map((word) => [...word].join(' ?')).join('|')})`,
    // ChatML and its kin, DeepSeek, Llama 3, Phi, GLM, Cohere; Gemma.
    String.raw`\|[^ |<>]{1,64}\|?>|[a-z_]{1,30}\|>|/?(?:start|end)_of_[a-z]+>`,
    // Llama 2, Mistral, and others that open or end a turn.
    '/?(?:s|sys|bos|eos|eot|eod|eoh|eop|sop|think|tool_calls?|tool_response|tool_result)>',
    String.raw`[a-z_]{2,30}_token>|(?:reserved|special|extra_id|tokens_unused)_\d+>|seed:[a-z_]+>`,
    String.raw`/?(?:inst|system_prompt|available_tools|tool_calls|tool_results|tool_content|model_settings|think|gmask)\]`,
    // MiniMax.
    String.raw`e~\[|~!?b[\[\]]`,
  ]
    .map((pattern) => `^(?:${pattern})`)
    .join('|'),
);

/** `text` as it may stand inside the fence. */
export function defused(text: string): string {
  const printable = text.toWellFormed().replace(NEWLINES, '\n').replace(UNPRINTABLE, '');
  return printable.replace(OPENER, (opener, offset: number) =>
    DANGEROUS.test(ahead(printable, offset + opener.length)) ? `${opener}${BREAK}` : opener,
  );
}

/** What comes next, in plain lower-case letters and signs, as far as the tag or token goes. */
function ahead(text: string, start: number): string {
  let folded = '';
  let at = start;
  while (at < text.length && folded.length < AHEAD_MAX) {
    const { char, length } = next(text, at);
    at += length;
    if (char === '<') break;
    if (char !== ' ' || !folded.endsWith(' ')) folded += char;
    if (char === '>' || char === ']' || char === '[') break;
  }
  return folded;
}

function next(text: string, at: number): { readonly char: string; readonly length: number } {
  const code = text.charCodeAt(at);
  const isSpelling = code === 0x26 || code === 0x25 || code === 0x5c;
  if (code > 0x20 && code < 0x7f && !isSpelling) return { char: text.charAt(at).toLowerCase(), length: 1 };
  SPELLED.lastIndex = at;
  const spelled = isSpelling ? SPELLED.exec(text) : null;
  if (spelled === null) {
    const char = String.fromCodePoint(text.codePointAt(at) ?? 0);
    return { char: fold(char), length: char.length };
  }
  const [whole, hex, decimal, name, braced, escaped] = spelled;
  const length = whole.length;
  if (name !== undefined) return { char: NAMED[name.toLowerCase()] ?? '', length };
  const number =
    decimal === undefined ? Number.parseInt(hex ?? braced ?? escaped ?? '', 16) : Number(decimal);
  return { char: number <= 0x10ffff ? fold(String.fromCodePoint(number)) : '?', length };
}

function fold(char: string): string {
  if (/\s/.test(char)) return ' ';
  const plain = char.normalize('NFKD').toLowerCase().replace(UNSEEN, '');
  return LOOKALIKES[plain] ?? plain;
}
