/** Python tracebacks taken apart, so that one's own frames stand out from those of libraries. */

export interface Frame {
  file: string;
  line: number;
  name: string;
  code: string;
  /** Whether the file belongs to a library or to Python itself. */
  library: boolean;
}

export type TracePart = { frame: Frame } | { text: string };

const FRAME = /^\s*File "(.+)", line (\d+), in (.+)$/;
const MARKS = /^[\s^~]+$/;

/** The traceback's frames in their order, with every other line kept as text. Other languages' stacks stay text. */
export function parseStack(stack: string): TracePart[] {
  const parts: TracePart[] = [];
  const lines = stack.replace(/\s+$/, '').split('\n');
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    const match = FRAME.exec(line);
    if (!match) {
      if (!MARKS.test(line)) parts.push({ text: line });
      continue;
    }
    const file = match[1] ?? '';
    const next = lines[i + 1];
    const hasCode = next !== undefined && /^\s{4,}\S/.test(next) && !FRAME.test(next);
    if (hasCode) i++;
    parts.push({
      frame: {
        file,
        line: Number(match[2]),
        name: match[3] ?? '',
        code: hasCode ? next.trim() : '',
        library: /site-packages|dist-packages|[/\\]lib[/\\]python3|^<frozen/.test(file),
      },
    });
  }
  return parts;
}
