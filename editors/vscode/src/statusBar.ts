/** The status bar: the pipeline that most needs a look, and whether the server is well. */
import {
  type Disposable,
  LanguageStatusSeverity,
  languages,
  MarkdownString,
  StatusBarAlignment,
  ThemeColor,
  window,
} from "vscode";
import { approvalLine, approvals, dayLine, icon, isEnded, stateLine, troubles } from "./present.js";
import { VIRTUAL_SCHEME } from "./protocol.js";
import type { Open, State } from "./state.js";

const PRIORITY = 10;
const LINKS = ["approve", "reject", "showPlan", "showDiff", "cancel", "status", "restart", "showLog"];

export function statusBar(state: State): Disposable {
  const item = window.createStatusBarItem("clodeAgents.state", StatusBarAlignment.Left, PRIORITY);
  item.name = "Clode Agents";
  item.command = "clodeAgents.menu";
  const draw = () => {
    const first = state.list().find((summary) => !isEnded(summary.status));
    const [open] = state.open();
    item.text = first ? `$(${icon(first.status)}) Clode: ${stateLine(first)}` : idleText(state, open);
    item.backgroundColor = open
      ? new ThemeColor("statusBarItem.warningBackground")
      : state.health === "failed"
        ? new ThemeColor("statusBarItem.errorBackground")
        : undefined;
    item.tooltip = tooltip(state);
    item.show();
  };
  draw();
  return both(item, state.onDidChange(draw));
}

/** Nothing works or holds the work up; what was learned may still wait for a yes. */
function idleText(state: State, open: Open | undefined): string {
  if (open) {
    return `$(bell-dot) Clode: ${approvalLine(open.approval)}`;
  }
  switch (state.health) {
    case "failed":
      return "$(error) Clode";
    case "starting":
      return "$(sync~spin) Clode";
    case "stopped":
      return "$(circle-slash) Clode";
    case "running":
      return "$(organization) Clode";
  }
}

function tooltip(state: State): MarkdownString {
  const text = new MarkdownString("", true);
  text.isTrusted = { enabledCommands: LINKS.map((name) => `clodeAgents.${name}`) };
  if (state.problem) {
    text.appendText(state.problem).appendMarkdown("\n\n");
  }
  for (const summary of state.list().filter((each) => !isEnded(each.status))) {
    text
      .appendMarkdown(`$(${icon(summary.status)}) **`)
      .appendText(summary.task.title)
      .appendMarkdown("**  \n");
    text.appendText(stateLine(summary)).appendMarkdown("  \n");
    const names = approvals(summary).length > 0 ? ["approve", "reject"] : [];
    const links = [...names, "showPlan", "showDiff", "cancel"].map((name) => link(name, summary.pipelineId));
    text.appendMarkdown(`${links.join(" · ")}\n\n`);
  }
  if (state.status) {
    text.appendText(dayLine(state.status)).appendMarkdown("\n\n");
  }
  return text.appendMarkdown(["status", "restart", "showLog"].map((name) => link(name)).join(" · "));
}

const TITLES: Record<string, string> = {
  approve: "Approve",
  reject: "Reject",
  showPlan: "Plan",
  showDiff: "Diff",
  cancel: "Cancel",
  status: "Status",
  restart: "Restart",
  showLog: "Log",
};

function link(name: string, pipelineId?: string): string {
  const argument = pipelineId ? `?${encodeURIComponent(JSON.stringify([{ pipelineId }]))}` : "";
  return `[${TITLES[name]}](command:clodeAgents.${name}${argument})`;
}

/** The entry behind the braces: health, and the way to the log. */
export function languageStatus(state: State): Disposable {
  const selector = [{ scheme: "file" }, { scheme: "untitled" }, { scheme: VIRTUAL_SCHEME }];
  const item = languages.createLanguageStatusItem("clodeAgents.health", selector);
  item.name = "Clode Agents";
  const draw = () => {
    const found = troubles(state.status);
    item.busy = state.health === "starting";
    item.text = state.status ? `clode-ls ${state.status.version}` : `clode-ls: ${state.health}`;
    item.detail = state.problem ?? found.join(", ");
    item.severity =
      state.health === "failed"
        ? LanguageStatusSeverity.Error
        : found.length > 0
          ? LanguageStatusSeverity.Warning
          : LanguageStatusSeverity.Information;
    item.command =
      state.health === "running"
        ? { command: "clodeAgents.status", title: "Status" }
        : { command: "clodeAgents.restart", title: "Restart" };
  };
  draw();
  return both(item, state.onDidChange(draw));
}

function both(first: Disposable, second: Disposable): Disposable {
  return {
    dispose() {
      second.dispose();
      first.dispose();
    },
  };
}
