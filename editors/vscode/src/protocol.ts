/** The part of the server's contract that is drawn here. Fields that nothing reads are left out. */

export type PipelineStatus =
  | "queued"
  | "running"
  | "awaitingApproval"
  | "paused"
  | "completed"
  | "failed"
  | "cancelled";

export interface Choice {
  readonly id: string;
  readonly title: string;
}

export interface PendingApproval {
  readonly id: string;
  readonly gate: string;
  readonly title: string;
  readonly summary?: string | null;
  readonly choices?: readonly Choice[] | null;
  readonly documentUri?: string | null;
  readonly estimate?: { readonly minUSD: number; readonly maxUSD: number } | null;
  readonly budget?: { readonly limit: number | null; readonly spent: number; readonly needed: number } | null;
  readonly request?: { readonly tool?: string; readonly command?: string | readonly string[] } | null;
}

export interface PipelineSummary {
  readonly pipelineId: string;
  readonly task: { readonly id: string; readonly title: string };
  readonly status: PipelineStatus;
  readonly statusReason?: string | null;
  readonly step?: string | null;
  readonly progress: number;
  readonly metrics: { readonly totalCost: number };
  /** The limit of this run in USD, where the server names it. */
  readonly maxCost?: number | null;
  readonly pendingApprovals?: readonly PendingApproval[] | null;
  readonly error?: { readonly message: string; readonly hint?: string } | null;
  readonly updatedAt: string;
}

export interface ChangedFile {
  readonly uri: string;
  readonly path: string;
  readonly change: "added" | "modified" | "deleted" | "renamed";
  readonly baseUri: string;
  readonly resultUri: string;
}

export interface PipelineDetail extends PipelineSummary {
  readonly files?: readonly ChangedFile[] | null;
}

export interface ProviderStatus {
  readonly id: string;
  readonly kind: string;
  readonly health: string;
  readonly circuit: "closed" | "open" | "halfOpen";
}

export interface ServerStatus {
  readonly version: string;
  readonly sandbox: string;
  readonly pipelines: readonly PipelineSummary[];
  readonly budget: {
    readonly daily: { readonly limit: number | null; readonly spent: number; readonly reserved: number };
  };
  readonly providers: readonly ProviderStatus[];
  readonly alerts: readonly Alert[];
}

export interface Alert {
  readonly message?: string;
}

export interface Position {
  readonly line: number;
  readonly character: number;
}

export interface Hunk {
  readonly id: string;
  readonly state: string;
  readonly range?: { readonly start: Position; readonly end: Position } | null;
  readonly pipelineId?: string | null;
}

export interface Review {
  readonly uri: string;
  readonly pipelineId?: string | null;
  readonly hunks: readonly Hunk[];
}

export interface AppliedFile {
  readonly uri: string;
  readonly result: "applied" | "reverted" | "unconfirmed" | "failed" | "conflict";
  readonly code?: string | null;
}

export interface Started {
  readonly pipelineId: string;
  readonly reused: boolean;
}

export interface InputParams {
  readonly title: string;
  readonly value?: string | null;
}

export interface ShowDiffParams {
  readonly left: string;
  readonly right: string;
  readonly title: string;
}

/** The answer to a gate; the rest of the arguments of `clode.pipeline.approve`. */
export interface Answer {
  readonly approved: boolean;
  readonly comment?: string;
  readonly choice?: string;
  readonly maxCost?: number;
}

export const VIRTUAL_SCHEME = "clode";

/** What this client can do beyond the LSP. */
export const EXPERIMENTAL = { version: 1, input: true, documents: true, showDiff: true } as const;
