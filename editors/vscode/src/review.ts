/** Accepting and rejecting hunks: by the arguments that a lens or an action carries, else at the cursor. */
import { type Diagnostic, languages, type TextEditor, window } from "vscode";
import { hunkAt, problemsOf } from "./present.js";
import type { AppliedFile } from "./protocol.js";
import type { Session } from "./session.js";
import type { State } from "./state.js";

interface Named {
  readonly pipelineId?: string | undefined;
  readonly hunks: readonly string[];
}

type Command = "clode.pipeline.apply" | "clode.pipeline.rejectHunks" | "clode.pipeline.revert";

export async function decide(
  session: Session,
  state: State,
  command: Command,
  argument: object | undefined,
): Promise<void> {
  const editor = window.activeTextEditor;
  const options = argument ?? (editor && namedAt(editor, state));
  if (!options) {
    void window.showInformationMessage("Clode Agents: no hunk is under the cursor.");
    return;
  }
  await sendForFiles(session, command, options);
}

/** Sends a command that answers per file, and tells what did not simply go well. */
export async function sendForFiles(session: Session, command: Command, options: object): Promise<void> {
  const answer = await session.command<{ files?: readonly AppliedFile[] } | null>(command, options);
  const problems = problemsOf(answer?.files ?? []);
  if (problems) {
    void window.showWarningMessage(`Clode Agents: ${problems}`);
  }
}

function namedAt(editor: TextEditor, state: State): Named | undefined {
  const { document, selection } = editor;
  const diagnostics = languages.getDiagnostics(document.uri).flatMap(nameIn);
  const review = state.review(document.uri);
  const hunk = hunkAt(review?.hunks ?? [], selection.active);
  if (hunk) {
    const pipelineId =
      hunk.pipelineId ??
      review?.pipelineId ??
      diagnostics.find((each) => each.hunks.includes(hunk.id))?.pipelineId;
    return { hunks: [hunk.id], ...(pipelineId ? { pipelineId } : {}) };
  }
  return diagnostics.find((each) => each.line === selection.active.line);
}

/** The hunks that a diagnostic of the server is about. */
function nameIn(diagnostic: Diagnostic): (Named & { readonly line: number })[] {
  const data = (diagnostic as { readonly data?: unknown }).data as
    | { readonly pipelineId?: string; readonly hunkIds?: readonly string[] }
    | undefined;
  if (diagnostic.source !== "clode" || !data?.hunkIds?.length) {
    return [];
  }
  return [{ pipelineId: data.pipelineId, hunks: data.hunkIds, line: diagnostic.range.start.line }];
}
