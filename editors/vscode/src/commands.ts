/** The commands of the manifest. Each one forwards; a server's refusal is shown in its own words. */
import { commands, type Disposable, type LogOutputChannel, Uri, window, workspace } from "vscode";
import { approve, reject, type Which } from "./approval.js";
import { menu, pickPipeline, pipelineMenu, status } from "./menu.js";
import { isEnded, pipelineOf } from "./present.js";
import type { PipelineDetail, PipelineSummary } from "./protocol.js";
import { decide, sendForFiles } from "./review.js";
import { run } from "./run.js";
import type { Session } from "./session.js";
import type { State } from "./state.js";
import { showChanges } from "./surface.js";

/** What a menu, a link, a lens or the tree may hand over. */
type Argument = Uri | object | undefined;

export function registerCommands(session: Session, state: State, log: LogOutputChannel): Disposable[] {
  const handlers: Record<string, (argument: Argument) => unknown> = {
    run: () => run(session),
    approve: (argument) => approve(session, state, which(argument)),
    reject: (argument) => reject(session, state, which(argument)),
    cancel: (argument) =>
      withPipeline(
        state,
        argument,
        "Cancel which pipeline?",
        (each) => !isEnded(each.status),
        ({ pipelineId }) => session.command("clode.pipeline.cancel", { pipelineId }),
      ),
    showPlan: (argument) =>
      withPipeline(
        state,
        argument,
        "Show which plan?",
        () => true,
        ({ pipelineId }) => openDocument(`clode://pipeline/${pipelineId}/plan.md`),
      ),
    showDiff: (argument) =>
      withPipeline(
        state,
        argument,
        "Show which diff?",
        () => true,
        async ({ pipelineId, task }) => {
          const detail = await session.command<PipelineDetail>("clode.pipeline.get", { pipelineId });
          await showChanges(task.title, detail.files ?? []);
        },
      ),
    acceptHunk: (argument) => decide(session, state, "clode.pipeline.apply", lens(argument)),
    rejectHunk: (argument) => decide(session, state, "clode.pipeline.rejectHunks", lens(argument)),
    acceptAll: (argument) =>
      withPipeline(state, argument, "Accept all of which?", isWaiting, ({ pipelineId }) =>
        sendForFiles(session, "clode.pipeline.apply", { pipelineId }),
      ),
    revert: (argument) =>
      withPipeline(
        state,
        argument,
        "Take back which?",
        (each) => isEnded(each.status),
        ({ pipelineId }) => sendForFiles(session, "clode.pipeline.revert", { pipelineId }),
      ),
    status: () => status(session, state),
    menu: (argument) => {
      const summary = state.pipeline(which(argument).pipelineId ?? "");
      return summary ? pipelineMenu(session, state, summary) : menu(session, state);
    },
    refresh: () => session.refresh(),
    restart: () => session.restart(),
    showLog: () => log.show(),
  };
  return Object.entries(handlers).map(([name, handler]) =>
    commands.registerCommand(`clodeAgents.${name}`, async (argument: Argument) => {
      try {
        await handler(argument);
      } catch (error) {
        void window.showErrorMessage(`Clode Agents: ${explain(error)}`);
      }
    }),
  );
}

function isWaiting(summary: PipelineSummary): boolean {
  return summary.status === "awaitingApproval";
}

/** The message of the server, with its hint. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  const hint = (error as { readonly data?: { readonly hint?: string } | null }).data?.hint;
  return hint ? `${error.message} (${hint})` : error.message;
}

function which(argument: Argument): Which {
  if (argument instanceof Uri) {
    return { pipelineId: pipelineOf(argument.authority, argument.path) };
  }
  const { pipelineId, approvalId } = (argument ?? {}) as Which;
  return { pipelineId, approvalId };
}

/** The arguments of a lens, which are the server's own; a menu hands over the document instead. */
function lens(argument: Argument): object | undefined {
  return argument && "hunks" in argument ? argument : undefined;
}

async function withPipeline(
  state: State,
  argument: Argument,
  title: string,
  fits: (summary: PipelineSummary) => boolean,
  use: (summary: PipelineSummary) => unknown,
): Promise<void> {
  const { pipelineId } = which(argument);
  const found = state.list().filter((each) => (pipelineId ? each.pipelineId === pipelineId : fits(each)));
  const chosen = await pickPipeline(found, title);
  if (chosen) {
    await use(chosen);
  }
}

async function openDocument(uri: string): Promise<void> {
  const document = await workspace.openTextDocument(Uri.parse(uri));
  await window.showTextDocument(document, { preview: true });
}
