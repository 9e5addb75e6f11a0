/** Starting a task where the person is: document, range, and what other tools say there. */
import { type Diagnostic, languages, type Range, type TextEditor, window } from "vscode";
import type { LanguageClient } from "vscode-languageclient/node";
import { suggestTitle } from "./present.js";
import { type Started, VIRTUAL_SCHEME } from "./protocol.js";
import type { Session } from "./session.js";

/** The longest title that is sent: a person types a sentence, not a file. */
const TITLE_CHARACTERS_MAX = 2_000;

export async function run(session: Session): Promise<void> {
  const editor = window.activeTextEditor;
  const found = editor ? foreignDiagnostics(editor) : [];
  const line = editor?.document.lineAt(editor.selection.active.line).text ?? "";
  const title = await window.showInputBox({
    title: "Run Agents",
    prompt: "What should the agents do?",
    value: editor?.selection.isEmpty ? suggestTitle(line, found[0]?.message) : "",
    ignoreFocusOut: true,
    validateInput: (text) => (text.length > TITLE_CHARACTERS_MAX ? "Shorter, please" : undefined),
  });
  if (!title?.trim()) {
    return;
  }
  const client = session.running;
  const context = editor && client ? contextOf(editor, found, client) : undefined;
  const started = await session.command<Started>("clode.run", {
    task: { title: title.trim() },
    ...(context ? { context } : {}),
  });
  if (started.reused) {
    void window.showInformationMessage("Clode Agents: this task is already under way.");
  }
}

function contextOf(
  editor: TextEditor,
  diagnostics: Diagnostic[],
  client: LanguageClient,
): object | undefined {
  const { document, selection } = editor;
  if (!["file", "untitled"].includes(document.uri.scheme)) {
    return undefined;
  }
  const convert = client.code2ProtocolConverter;
  return {
    textDocument: { uri: convert.asUri(document.uri), version: document.version },
    range: convert.asRange(selection),
    diagnostics: convert.asDiagnosticsSync(diagnostics),
  };
}

function foreignDiagnostics(editor: TextEditor): Diagnostic[] {
  const lines: Range = editor.document.validateRange(
    editor.selection.with(
      editor.selection.start.with(undefined, 0),
      editor.selection.end.with(undefined, Number.MAX_SAFE_INTEGER),
    ),
  );
  return languages
    .getDiagnostics(editor.document.uri)
    .filter((each) => each.source !== VIRTUAL_SCHEME && each.range.intersection(lines) !== undefined);
}
