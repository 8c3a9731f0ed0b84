// The globs of definitions: which paths one of them matches. Nothing else speaks to picomatch.
import picomatch from 'picomatch';

export type Matcher = (path: string) => boolean;

/**
 * Dot files match; a newline in a name is an ordinary character; a leading `!` is not a negation. The fast paths are
 * off because they take the second `$` of `$$` for an end.
 */
const OPTIONS = { dot: true, nonegate: true, flags: 's', fastpaths: false };

/** A path also matches the glob that is the same text. */
export function compileGlobs(globs: readonly string[]): Matcher {
  const compiled = globs.map((glob) => ({ glob, expression: expressionOf(glob) }));
  return (path) => compiled.some(({ glob, expression }) => path === glob || expression.test(path));
}

/** Whether a path of a definition names what it matches, and not the one file of that name: an escape is read, too. */
export function isGlob(path: string): boolean {
  return path.includes('\\') || picomatch.scan(hideLiterals(path).hidden, OPTIONS).isGlob;
}

/** The glob that matches this path and no other. */
export function escapeGlob(path: string): string {
  return path.replaceAll(/[\\*?[\]{}()!+@|]/g, String.raw`\$&`);
}

/** A class without an order, like `[z-a]`, matches nothing. */
function expressionOf(glob: string): RegExp {
  const { hidden, literals } = hideLiterals(glob);
  const { source } = picomatch.makeRe(hidden, OPTIONS);
  // picomatch escapes some of what it knows nothing of
  const shown = source.replaceAll(/\\?([^])/g, (whole, character: string) => {
    const literal = literals.get(character);
    return literal === undefined ? whole : String.raw`\u${literal.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return picomatch.toRegex(shown, OPTIONS);
}

/**
 * picomatch does not end on some runs of backslashes, takes others for fewer, and drops quotes. So what is escaped, and
 * each quote, goes by it as a character that it knows nothing of and the glob does not have.
 */
function hideLiterals(glob: string): { readonly hidden: string; readonly literals: ReadonlyMap<string, string> } {
  const literals = new Map<string, string>();
  const standIns = new Map<string, string>();
  let next = 0xe000;
  const hide = (literal: string): string => {
    const known = standIns.get(literal);
    if (known !== undefined) return known;
    while (glob.includes(String.fromCharCode(next))) next += 1;
    const standIn = String.fromCharCode(next);
    next += 1;
    standIns.set(literal, standIn);
    literals.set(standIn, literal);
    return standIn;
  };
  const hidden = glob.replaceAll(/\\([^/]?)|"/g, (whole, escaped: string | undefined, offset: number) => {
    if (whole === '"') return hide(whole);
    if (escaped !== '' && escaped !== undefined) return /[ -~]/.test(escaped) ? hide(escaped) : escaped;
    // A slash can't be part of a name, so it needs no escape
    return offset === glob.length - 1 ? hide('\\') : '';
  });
  return { hidden, literals };
}
