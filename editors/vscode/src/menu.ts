/** Quick picks: what can be done, and how things stand. */
import { commands, type QuickPickItem, QuickPickItemKind, window } from "vscode";
import { actionsFor, dayLine, icon, stateLine, troubles } from "./present.js";
import type { PipelineSummary, ServerStatus } from "./protocol.js";
import type { Session } from "./session.js";
import type { State } from "./state.js";

type Item = QuickPickItem & { readonly act?: () => unknown };

function separator(label: string): Item {
  return { label, kind: QuickPickItemKind.Separator };
}

async function choose(items: Item[], title: string): Promise<void> {
  const chosen = await window.showQuickPick(items, { title, matchOnDescription: true });
  await chosen?.act?.();
}

function pipelineItem(summary: PipelineSummary, act: () => unknown): Item {
  return { label: `$(${icon(summary.status)}) ${summary.task.title}`, description: stateLine(summary), act };
}

/** Chooses among pipelines, asking only when there are several. */
export async function pickPipeline(
  found: readonly PipelineSummary[],
  title: string,
): Promise<PipelineSummary | undefined> {
  if (found.length === 0) {
    void window.showInformationMessage("Clode Agents: there is no pipeline for that.");
  }
  if (found.length <= 1) {
    return found[0];
  }
  const items = found.map((summary) => ({
    label: `$(${icon(summary.status)}) ${summary.task.title}`,
    description: stateLine(summary),
    summary,
  }));
  return (await window.showQuickPick(items, { title }))?.summary;
}

/** What can be done with one pipeline. */
export async function pipelineMenu(session: Session, state: State, summary: PipelineSummary): Promise<void> {
  const { pipelineId } = summary;
  const items = actionsFor(summary).map(({ label, command, remote }) => ({
    label,
    act: async () => {
      if (!remote) {
        await commands.executeCommand(command, { pipelineId });
        return;
      }
      await session.command(command, { pipelineId });
      if (command === "clode.pipeline.delete") {
        await session.refresh();
      }
    },
  }));
  await choose(items, `${summary.task.title} · ${stateLine(state.pipeline(pipelineId) ?? summary)}`);
}

/** What can be done at all. */
export async function menu(session: Session, state: State): Promise<void> {
  const run = (command: string) => () => commands.executeCommand(`clodeAgents.${command}`);
  const items: Item[] = [
    ...state.list().map((summary) => pipelineItem(summary, () => pipelineMenu(session, state, summary))),
    separator(""),
    { label: "$(rocket) Run agents here…", act: run("run") },
    { label: "$(info) Show status", act: run("status") },
    { label: "$(debug-restart) Restart server", act: run("restart") },
    { label: "$(output) Show log", act: run("showLog") },
  ];
  await choose(items, "Clode Agents");
}

/** How things stand: the server's own status, one line each. */
export async function status(session: Session, state: State): Promise<void> {
  const now = await session.command<ServerStatus>("clode.status");
  state.putStatus(now);
  const items: Item[] = [
    { label: `clode-ls ${now.version}`, description: `sandbox: ${now.sandbox}` },
    { label: "$(credit-card) Budget", description: dayLine(now) },
    ...troubles(now).map((trouble) => ({ label: `$(warning) ${trouble}` })),
    separator("Providers"),
    ...now.providers.map((each) => ({
      label: each.id,
      description: `${each.kind} · ${each.health}${each.circuit === "closed" ? "" : ` · circuit ${each.circuit}`}`,
    })),
    separator("Pipelines"),
    ...now.pipelines.map((summary) => pipelineItem(summary, () => pipelineMenu(session, state, summary))),
  ];
  await choose(items, "Clode Agents: Status");
}
