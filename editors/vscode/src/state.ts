/** What the server last told us. Nothing is computed here. */
import { EventEmitter, type Uri } from "vscode";
import { approvals, byUrgency } from "./present.js";
import type { PendingApproval, PipelineSummary, Review, ServerStatus } from "./protocol.js";

/** An approval that is open, with the pipeline that waits for it. */
export interface Open {
  readonly summary: PipelineSummary;
  readonly approval: PendingApproval;
}

export type Health = "stopped" | "starting" | "running" | "failed";

export class State {
  private readonly pipelines = new Map<string, PipelineSummary>();
  private readonly reviews = new Map<string, Review>();
  private readonly changed = new EventEmitter<void>();
  private lastStatus: ServerStatus | undefined;
  private lastHealth: Health = "stopped";
  private lastProblem: string | undefined;

  readonly onDidChange = this.changed.event;

  get status(): ServerStatus | undefined {
    return this.lastStatus;
  }

  get health(): Health {
    return this.lastHealth;
  }

  /** Why the server is not running, when it failed. */
  get problem(): string | undefined {
    return this.lastProblem;
  }

  /** All pipelines, most urgent first. */
  list(): readonly PipelineSummary[] {
    return [...this.pipelines.values()].sort(byUrgency);
  }

  pipeline(id: string): PipelineSummary | undefined {
    return this.pipelines.get(id);
  }

  /** Every approval that is open. */
  open(): readonly Open[] {
    return this.list().flatMap((summary) => approvals(summary).map((approval) => ({ summary, approval })));
  }

  review(uri: Uri): Review | undefined {
    return this.reviews.get(uri.toString());
  }

  putPipeline(summary: PipelineSummary): void {
    this.pipelines.set(summary.pipelineId, summary);
    this.changed.fire();
  }

  putList(list: readonly PipelineSummary[]): void {
    this.pipelines.clear();
    for (const summary of list) {
      this.pipelines.set(summary.pipelineId, summary);
    }
    this.changed.fire();
  }

  putStatus(status: ServerStatus): void {
    this.lastStatus = status;
    this.changed.fire();
  }

  putReview(uri: Uri, review: Review): void {
    if (review.hunks.length > 0) {
      this.reviews.set(uri.toString(), review);
    } else {
      this.reviews.delete(uri.toString());
    }
  }

  putHealth(health: Health, problem?: string): void {
    this.lastHealth = health;
    this.lastProblem = problem;
    if (health !== "running") {
      this.pipelines.clear();
      this.reviews.clear();
      this.lastStatus = undefined;
    }
    this.changed.fire();
  }

  dispose(): void {
    this.changed.dispose();
  }
}
