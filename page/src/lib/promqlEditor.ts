/** An editor for PromQL: highlighting, completion of what this server knows, and its own judgement of errors. */

import {
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { linter, type Diagnostic } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { drawSelection, EditorView, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { ApiError } from '../api/client';
import { API, parseQuery } from '../api/prometheus';
import { errorPlace } from './promql';

export interface EditorActions {
  change(text: string): void;
  run(): void;
  focus(): void;
}

export interface Editor {
  setText(text: string): void;
  focus(): void;
  destroy(): void;
}

/** How long typing rests before the query is judged. */
const LINT_DELAY_MS = 350;
/** Metrics seen this long ago are completed still. */
const COMPLETED_MS = 12 * 3_600_000;

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: 'oklch(var(--series-l) var(--series-c) 305)' },
  { tag: tags.function(tags.variableName), color: 'var(--accent)' },
  { tag: tags.labelName, color: 'var(--muted)' },
  { tag: tags.string, color: 'oklch(var(--series-l) var(--series-c) 150)' },
  { tag: tags.number, color: 'oklch(var(--series-l) var(--series-c) 80)' },
  { tag: [tags.operator, tags.modifier], color: 'oklch(var(--series-l) var(--series-c) 235)' },
  { tag: [tags.paren, tags.squareBracket, tags.brace], color: 'var(--faint)' },
  { tag: tags.comment, color: 'var(--faint)', fontStyle: 'italic' },
]);

/** The server's judgement, at the place it names. Silent while nothing can be asked. */
async function judge(view: EditorView): Promise<Diagnostic[]> {
  const query = view.state.doc.toString();
  if (query.trim() === '') return [];
  try {
    await parseQuery(query, new AbortController().signal);
  } catch (error) {
    const place = error instanceof ApiError ? errorPlace(query, error.message) : null;
    if (place) return [{ from: place.from, to: place.to, message: place.message, severity: 'error' }];
  }
  return [];
}

/** Puts an editor into an element. */
export function createEditor(
  parent: HTMLElement,
  text: string,
  label: string,
  hint: string,
  actions: EditorActions,
): Editor {
  const run = (): boolean => {
    actions.run();
    return true;
  };
  const promql = new PromQLExtension()
    .activateLinter(false)
    .setComplete({ remote: { url: '', apiPrefix: API, httpMethod: 'GET', lookbackInterval: COMPLETED_MS } });
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: text,
      extensions: [
        history(),
        drawSelection(),
        bracketMatching(),
        closeBrackets(),
        autocompletion({ icons: false, maxRenderedOptions: 60 }),
        promql.asExtension(),
        syntaxHighlighting(colours),
        linter(judge, { delay: LINT_DELAY_MS }),
        placeholder(hint),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: 'false' }),
        // A list of completions comes first: Enter takes the chosen one.
        keymap.of(completionKeymap),
        Prec.high(
          keymap.of([
            { key: 'Enter', run },
            { key: 'Mod-Enter', run },
            { key: 'Shift-Enter', run: insertNewlineAndIndent },
          ]),
        ),
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap]),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) actions.change(update.state.doc.toString());
          if (update.focusChanged && update.view.hasFocus) actions.focus();
        }),
      ],
    }),
  });
  return {
    setText: (changed) => {
      const present = view.state.doc.toString();
      if (changed !== present) view.dispatch({ changes: { from: 0, to: present.length, insert: changed } });
    },
    focus: () => view.focus(),
    destroy: () => {
      view.destroy();
      promql.destroy();
    },
  };
}
