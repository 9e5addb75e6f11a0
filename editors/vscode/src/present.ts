/** Words and icons. Pure: values from the server in, text out. */
import type {
  AppliedFile,
  Hunk,
  PendingApproval,
  PipelineStatus,
  PipelineSummary,
  Position,
  ServerStatus,
} from "./protocol.js";

const ICONS: Record<PipelineStatus, string> = {
  queued: "clock",
  running: "sync~spin",
  awaitingApproval: "bell-dot",
  paused: "debug-pause",
  completed: "pass",
  failed: "error",
  cancelled: "circle-slash",
};

const STATES: Record<PipelineStatus, string> = {
  queued: "queued",
  running: "running",
  awaitingApproval: "waiting for approval",
  paused: "paused",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
};

/** What deserves the only place on the status bar, most urgent first. */
const URGENCY: readonly PipelineStatus[] = ["awaitingApproval", "paused", "running", "queued"];

export function icon(status: PipelineStatus): string {
  return ICONS[status] ?? "question";
}

export function isEnded(status: PipelineStatus): boolean {
  return !URGENCY.includes(status);
}

export function money(amount: number | null | undefined): string {
  const value = amount ?? 0;
  return `$${value.toFixed(value < 1 ? 4 : 2)}`;
}

/** For example `running · developer · $0.0421 / $5.00`. */
export function stateLine(summary: PipelineSummary): string {
  const limit = summary.maxCost == null ? "" : ` / ${money(summary.maxCost)}`;
  const cost = `${money(summary.metrics?.totalCost)}${limit}`;
  return [STATES[summary.status] ?? summary.status, summary.step, cost].filter(Boolean).join(" · ");
}

/** Most urgent first, then the one that changed last. */
export function byUrgency(first: PipelineSummary, second: PipelineSummary): number {
  const difference = urgency(first) - urgency(second);
  return difference !== 0 ? difference : (second.updatedAt ?? "").localeCompare(first.updatedAt ?? "");
}

function urgency(summary: PipelineSummary): number {
  const place = URGENCY.indexOf(summary.status);
  return place < 0 ? URGENCY.length : place;
}

export function approvals(summary: PipelineSummary): readonly PendingApproval[] {
  return summary.pendingApprovals ?? [];
}

export function approvalLine(approval: PendingApproval): string {
  const estimate = approval.estimate;
  const cost = estimate ? ` (${money(estimate.minUSD)} to ${money(estimate.maxUSD)})` : "";
  return `${approval.title || approval.gate}${cost}`;
}

/** The server's own words for a choice, else ours. */
export function choiceTitle(approval: PendingApproval, id: string, fallback: string): string {
  return approval.choices?.find((choice) => choice.id === id)?.title ?? fallback;
}

export function requestLine(approval: PendingApproval): string {
  const command = approval.request?.command ?? approval.request?.tool ?? approval.title;
  return typeof command === "string" ? command : command.join(" ");
}

export function budgetLine(approval: PendingApproval): string {
  const budget = approval.budget;
  if (!budget) {
    return approval.title;
  }
  const limit = budget.limit === null ? "no limit" : money(budget.limit);
  return `limit ${limit}, spent ${money(budget.spent)}, needed ${money(budget.needed)}`;
}

/** USD typed by a person; undefined when it is not a positive amount. */
export function parseMoney(text: string): number | undefined {
  const match = /^\s*\$?\s*(\d+(?:\.\d+)?)\s*$/.exec(text);
  const value = match ? Number(match[1]) : Number.NaN;
  return value > 0 ? value : undefined;
}

export interface Action {
  readonly label: string;
  readonly command: string;
  /** Sent to the server as it is, rather than run here. */
  readonly remote?: boolean;
}

/** What can be done with a pipeline in its state. The server has the last word. */
export function actionsFor(summary: PipelineSummary): readonly Action[] {
  const actions: Action[] = [];
  const waiting = approvals(summary).length > 0;
  if (waiting) {
    actions.push({ label: "$(check) Approve…", command: "clodeAgents.approve" });
    actions.push({ label: "$(close) Reject…", command: "clodeAgents.reject" });
  }
  if (approvals(summary).some((approval) => approval.gate === "plan")) {
    actions.push({ label: "$(edit) Edit plan", command: "clode.pipeline.editPlan", remote: true });
  }
  actions.push({ label: "$(checklist) Show plan", command: "clodeAgents.showPlan" });
  actions.push({ label: "$(diff-multiple) Show diff", command: "clodeAgents.showDiff" });
  if (summary.status === "running") {
    actions.push({ label: "$(debug-pause) Pause", command: "clode.pipeline.pause", remote: true });
  }
  if (summary.status === "paused") {
    actions.push({ label: "$(debug-continue) Resume", command: "clode.pipeline.resume", remote: true });
  }
  if (summary.status === "failed" || summary.status === "cancelled") {
    actions.push({ label: "$(debug-restart) Retry", command: "clode.pipeline.retry", remote: true });
  }
  if (isEnded(summary.status)) {
    actions.push({ label: "$(discard) Take back what was applied", command: "clodeAgents.revert" });
    actions.push({ label: "$(trash) Delete", command: "clode.pipeline.delete", remote: true });
  } else {
    actions.push({ label: "$(debug-stop) Cancel", command: "clodeAgents.cancel" });
  }
  return actions;
}

/** `viewItem` of a pipeline, for the `when` clauses of the manifest. */
export function contextValue(summary: PipelineSummary): string {
  const parts = ["pipeline"];
  if (!isEnded(summary.status)) {
    parts.push("alive");
  }
  if (approvals(summary).length > 0) {
    parts.push("waiting");
  }
  return parts.join(" ");
}

/** A first title for a task: what the line or a diagnostic already says. */
export function suggestTitle(line: string, diagnostic: string | undefined): string {
  if (diagnostic) {
    return `Fix: ${diagnostic.split("\n")[0] ?? ""}`;
  }
  return /\b(?:TODO|FIXME)\b(?:\([^)]*\))?:?\s*(.+?)\s*(?:\*\/|-->)?\s*$/.exec(line)?.[1] ?? "";
}

/** The id in `clode://pipeline/<id>/...`. */
export function pipelineOf(authority: string, path: string): string | undefined {
  return authority === "pipeline" ? /^\/([^/]+)\//.exec(path)?.[1] : undefined;
}

/** The open hunk at a place of a document; an insertion has the line that it stands before. */
export function hunkAt(hunks: readonly Hunk[], position: Position): Hunk | undefined {
  return hunks.find((hunk) => {
    if (!hunk.range || !["pending", "conflict", "failed"].includes(hunk.state)) {
      return false;
    }
    const { start, end } = hunk.range;
    const past = end.character > 0 ? end.line + 1 : end.line;
    return position.line >= start.line && position.line < Math.max(past, start.line + 1);
  });
}

/** What to say about files that did not simply go well; empty when all did. */
export function problemsOf(files: readonly AppliedFile[]): string {
  return files
    .filter((file) => ["failed", "conflict", "unconfirmed"].includes(file.result))
    .map((file) => {
      const name = decodeURIComponent(file.uri.slice(file.uri.lastIndexOf("/") + 1));
      return `${name}: ${file.result}${file.code ? ` (${file.code})` : ""}`;
    })
    .join(", ");
}

/** What keeps the server from working well; empty when nothing does. */
export function troubles(status: ServerStatus | undefined): readonly string[] {
  const open = (status?.providers ?? []).filter((provider) => provider.circuit === "open");
  const alerts = (status?.alerts ?? []).flatMap((alert) => (alert.message ? [alert.message] : []));
  return [...open.map((provider) => `${provider.id} is not answering`), ...alerts];
}

/** For example `today $1.25 of $50.00`. */
export function dayLine(status: ServerStatus): string {
  const daily = status.budget?.daily;
  const limit = daily?.limit == null ? "no limit" : money(daily.limit);
  return `today ${money(daily?.spent)} of ${limit}`;
}
