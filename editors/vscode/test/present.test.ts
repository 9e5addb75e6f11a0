import assert from "node:assert/strict";
import { test } from "node:test";
import {
  actionsFor,
  byUrgency,
  contextValue,
  dayLine,
  hunkAt,
  money,
  parseMoney,
  pipelineOf,
  problemsOf,
  stateLine,
  suggestTitle,
  troubles,
} from "../src/present.js";
import type { Hunk, PipelineStatus, PipelineSummary, ServerStatus } from "../src/protocol.js";

function summary(status: PipelineStatus, more: Partial<PipelineSummary> = {}): PipelineSummary {
  return {
    pipelineId: `pipeline-${status}`,
    task: { id: "t", title: "Add a flag" },
    status,
    progress: 0,
    metrics: { totalCost: 0.0421 },
    updatedAt: "2026-01-01T00:00:00Z",
    ...more,
  };
}

const plan = { id: "a1", gate: "plan", title: "Approve plan" };

test("small amounts keep four places, others two", () => {
  assert.equal(money(0.0421), "$0.0421");
  assert.equal(money(5), "$5.00");
  assert.equal(money(null), "$0.0000");
});

test("a state line names state, step, cost and the limit where there is one", () => {
  assert.equal(
    stateLine(summary("running", { step: "developer", maxCost: 5 })),
    "running · developer · $0.0421 / $5.00",
  );
  assert.equal(stateLine(summary("queued", { step: null })), "queued · $0.0421");
});

test("what waits for a person comes before what works, and the newest first among equals", () => {
  const old = summary("running", { pipelineId: "old" });
  const recent = summary("running", { pipelineId: "new", updatedAt: "2026-01-02T00:00:00Z" });
  const sorted = [summary("completed"), old, recent, summary("awaitingApproval")].sort(byUrgency);
  assert.deepEqual(
    sorted.map((each) => each.pipelineId),
    ["pipeline-awaitingApproval", "new", "old", "pipeline-completed"],
  );
});

test("a waiting pipeline offers its answers and no pause", () => {
  const commands = actionsFor(summary("awaitingApproval", { pendingApprovals: [plan] })).map(
    (each) => each.command,
  );
  assert.ok(commands.includes("clodeAgents.approve"));
  assert.ok(commands.includes("clode.pipeline.editPlan"));
  assert.ok(!commands.includes("clode.pipeline.pause"));
});

test("an ended pipeline offers delete instead of cancel", () => {
  const commands = actionsFor(summary("failed")).map((each) => each.command);
  assert.ok(commands.includes("clode.pipeline.retry"));
  assert.ok(commands.includes("clode.pipeline.delete"));
  assert.ok(commands.includes("clodeAgents.revert"));
  assert.ok(!commands.includes("clodeAgents.cancel"));
});

test("the context value says what the menus of the manifest ask for", () => {
  assert.equal(
    contextValue(summary("awaitingApproval", { pendingApprovals: [plan] })),
    "pipeline alive waiting",
  );
  assert.equal(contextValue(summary("completed")), "pipeline");
});

test("a TODO line and a diagnostic suggest a title", () => {
  assert.equal(suggestTitle("  // TODO(ann): close the file", undefined), "close the file");
  assert.equal(suggestTitle("/* FIXME handle null */", undefined), "handle null");
  assert.equal(suggestTitle("let todos = 1;", undefined), "");
  assert.equal(suggestTitle("x", "unused variable\nmore"), "Fix: unused variable");
});

test("the pipeline of a virtual document is in its path", () => {
  assert.equal(pipelineOf("pipeline", "/pipeline-t-1/plan.md"), "pipeline-t-1");
  assert.equal(pipelineOf("other", "/pipeline-t-1/plan.md"), undefined);
});

test("a hunk is found on each of its lines, an insertion on the line it stands before", () => {
  const range = (from: number, to: number) => ({
    start: { line: from, character: 0 },
    end: { line: to, character: 0 },
  });
  const hunks: Hunk[] = [
    { id: "applied", state: "applied", range: range(0, 9) },
    { id: "two lines", state: "pending", range: range(3, 5) },
    { id: "insertion", state: "conflict", range: range(7, 7) },
  ];
  const at = (line: number) => hunkAt(hunks, { line, character: 2 })?.id;
  assert.deepEqual([2, 3, 4, 5, 7, 8].map(at), [
    undefined,
    "two lines",
    "two lines",
    undefined,
    "insertion",
    undefined,
  ]);
});

test("only a positive amount is money", () => {
  assert.equal(parseMoney(" $7.50 "), 7.5);
  for (const wrong of ["", "0", "-1", "1e3", "seven"]) {
    assert.equal(parseMoney(wrong), undefined, wrong);
  }
});

test("files that did not go well are named with their reason", () => {
  const files = [
    { uri: "file:///a/good.rs", result: "applied" as const },
    { uri: "file:///a/my%20file.rs", result: "failed" as const, code: "openElsewhere" },
  ];
  assert.equal(problemsOf(files), "my file.rs: failed (openElsewhere)");
});

test("a budget without limit says so, and an open circuit is a trouble", () => {
  const status: ServerStatus = {
    version: "0.1.0",
    sandbox: "landlock",
    pipelines: [],
    budget: { daily: { limit: null, spent: 1.25, reserved: 0 } },
    providers: [{ id: "anthropic", kind: "anthropic", health: "down", circuit: "open" }],
    alerts: [{ message: "80% of today's budget" }],
  };
  assert.equal(dayLine(status), "today $1.25 of no limit");
  assert.deepEqual(troubles(status), ["anthropic is not answering", "80% of today's budget"]);
});
