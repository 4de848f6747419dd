// Cuts prose into sentences: the Unicode rules of Intl.Segmenter know the world's full stops, and the rules here
// put back together what it cuts at abbreviations, initials and quoted speech.

const segmenter = new Intl.Segmenter('en', { granularity: 'sentence' });

/** A single initial ("J.") or letters with stops ("U.S.") at the end. */
const ENDS_IN_INITIALS = /(?:^|[\s("'“‘[])(?:\p{Lu}\.)+$/u;
/** Words that begin a new sentence even after letters with stops: "in the U.S. The army …". */
const USUAL_OPENING =
  /^(?:A|After|Although|An|And|As|At|But|By|For|From|He|Her|His|However|I|If|In|It|Its|On|Our|She|Since|That|The|Their|There|These|They|This|Those|To|We|When|While|With|You)\b/;
/** Abbreviations that stand before a name or go on with the sentence. */
const ENDS_IN_ABBREVIATION =
  /(?:^|[\s("'“‘[])(?:Mr|Mrs|Ms|Dr|Prof|Rev|Hon|Gen|Col|Capt|Lt|Sgt|Maj|Gov|Sen|Rep|Pres|St|Mt|Ft|vs|e\.g|i\.e|cf|ca|approx|incl|viz|al|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\.$/i;
/** Abbreviations only before a number: "No. 5", "pp. 3". */
const ENDS_BEFORE_NUMBER = /(?:^|[\s("'“‘[])(?:No|Nos|Nr|p|pp|vol|ch|sec|fig|eq|art|c)\.$/i;
const STARTS_LOWER = /^["'”’)\]]*\p{Ll}/u;
const STARTS_WITH_NUMBER = /^\p{N}/u;
/** A "sentence" longer than this is no longer joined with the next: hostile text stays cheap. */
const JOINED_MAX_CHARACTERS = 1000;

function belongsTogether(sentence: string, after: string): boolean {
  if (sentence.length > JOINED_MAX_CHARACTERS) return false;
  const before = sentence.slice(-16);
  if (STARTS_LOWER.test(after)) return true;
  if (ENDS_IN_ABBREVIATION.test(before)) return true;
  if (ENDS_BEFORE_NUMBER.test(before)) return STARTS_WITH_NUMBER.test(after);
  return ENDS_IN_INITIALS.test(before) && !USUAL_OPENING.test(after);
}

/** The sentences of a text without line breaks, trimmed, in their order. */
export function splitSentences(text: string): string[] {
  const sentences: string[] = [];
  for (const { segment } of segmenter.segment(text)) {
    const part = segment.trim();
    if (part === '') continue;
    const last = sentences.at(-1);
    if (last !== undefined && belongsTogether(last, part))
      sentences[sentences.length - 1] = `${last} ${part}`;
    else sentences.push(part);
  }
  return sentences;
}
