/** The view “Pipelines”: one row for each pipeline, below it what waits for an answer. */
import {
  type Disposable,
  MarkdownString,
  ThemeColor,
  ThemeIcon,
  type TreeDataProvider,
  TreeItem,
  TreeItemCollapsibleState,
  Uri,
  window,
} from "vscode";
import { approvalLine, approvals, contextValue, icon, stateLine } from "./present.js";
import type { PendingApproval, PipelineSummary } from "./protocol.js";
import type { State } from "./state.js";

export const VIEW_ID = "clodeAgentsPipelines";

/** A row. Its ids are what a command of the row's menu reads. */
interface Row {
  readonly pipelineId: string;
  readonly approvalId?: string;
}

class Pipelines implements TreeDataProvider<Row> {
  readonly onDidChangeTreeData;

  constructor(private readonly state: State) {
    this.onDidChangeTreeData = state.onDidChange;
  }

  getChildren(row?: Row): Row[] {
    if (!row) {
      return this.state.list().map(({ pipelineId }) => ({ pipelineId }));
    }
    const summary = row.approvalId ? undefined : this.state.pipeline(row.pipelineId);
    return summary
      ? approvals(summary).map(({ id }) => ({ pipelineId: row.pipelineId, approvalId: id }))
      : [];
  }

  getTreeItem(row: Row): TreeItem {
    const summary = this.state.pipeline(row.pipelineId);
    const approval = summary && approvals(summary).find(({ id }) => id === row.approvalId);
    if (summary && approval) {
      return approvalItem(approval);
    }
    return summary ? pipelineItem(summary) : new TreeItem(row.pipelineId);
  }
}

function pipelineItem(summary: PipelineSummary): TreeItem {
  const waiting = approvals(summary).length > 0;
  const state = waiting ? TreeItemCollapsibleState.Expanded : TreeItemCollapsibleState.None;
  const item = new TreeItem(summary.task.title, state);
  item.id = summary.pipelineId;
  item.description = stateLine(summary);
  item.contextValue = contextValue(summary);
  item.iconPath = new ThemeIcon(icon(summary.status), color(summary));
  item.tooltip = new MarkdownString()
    .appendText(summary.task.title)
    .appendMarkdown("\n\n")
    .appendText([stateLine(summary), summary.error?.message, summary.error?.hint].filter(Boolean).join("\n"));
  item.command = { command: "clodeAgents.menu", title: "", arguments: [{ pipelineId: summary.pipelineId }] };
  return item;
}

function color(summary: PipelineSummary): ThemeColor | undefined {
  switch (summary.status) {
    case "awaitingApproval":
      return new ThemeColor("list.warningForeground");
    case "failed":
      return new ThemeColor("list.errorForeground");
    case "completed":
      return new ThemeColor("testing.iconPassed");
    default:
      return undefined;
  }
}

function approvalItem(approval: PendingApproval): TreeItem {
  const item = new TreeItem(approvalLine(approval));
  item.id = approval.id;
  item.description = approval.gate;
  item.contextValue = "approval waiting";
  item.iconPath = new ThemeIcon("question");
  item.tooltip = approval.summary ?? approval.title;
  if (approval.documentUri) {
    item.command = { command: "vscode.open", title: "", arguments: [Uri.parse(approval.documentUri)] };
  }
  return item;
}

export function pipelinesView(state: State): Disposable[] {
  const view = window.createTreeView(VIEW_ID, { treeDataProvider: new Pipelines(state) });
  const draw = () => {
    const value = state.open().length;
    view.badge = value > 0 ? { value, tooltip: `${value} waiting for an answer` } : undefined;
    view.message = state.problem ?? "";
  };
  draw();
  return [view, state.onDidChange(draw)];
}
