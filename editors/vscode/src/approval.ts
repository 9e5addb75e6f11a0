/** Answering a gate. The answer names the approval that was shown; the server decides what it means. */
import { window } from "vscode";
import { approvalLine, budgetLine, choiceTitle, parseMoney, requestLine } from "./present.js";
import type { Answer, PendingApproval, PipelineSummary } from "./protocol.js";
import type { Session } from "./session.js";
import type { Open, State } from "./state.js";

/** Which approvals a command is about: those of one pipeline, one of them, or all. */
export interface Which {
  readonly pipelineId?: string | undefined;
  readonly approvalId?: string | undefined;
}

export async function approve(session: Session, state: State, which: Which): Promise<void> {
  const open = await pick(state, which, "Approve");
  const answer = open && (await ask(open.approval));
  if (open && answer) {
    await send(session, state, open, answer);
  }
}

export async function reject(session: Session, state: State, which: Which): Promise<void> {
  const open = await pick(state, which, "Reject");
  if (!open) {
    return;
  }
  const comment = await window.showInputBox({
    title: `Reject: ${approvalLine(open.approval)}`,
    prompt: "What should be different? Leave it empty to say no for good.",
    ignoreFocusOut: true,
  });
  if (comment !== undefined) {
    await send(session, state, open, { approved: false, ...(comment ? { comment } : {}) });
  }
}

async function pick(state: State, which: Which, verb: string): Promise<Open | undefined> {
  const open = state
    .open()
    .filter(({ summary }) => !which.pipelineId || summary.pipelineId === which.pipelineId)
    .filter(({ approval }) => !which.approvalId || approval.id === which.approvalId);
  if (open.length === 0) {
    void window.showInformationMessage("Clode Agents: nothing waits for an answer.");
  }
  if (open.length <= 1) {
    return open[0];
  }
  const items = open.map((each) => ({
    label: approvalLine(each.approval),
    description: each.summary.task.title,
    detail: each.approval.summary ?? "",
    open: each,
  }));
  return (await window.showQuickPick(items, { title: `${verb} which?` }))?.open;
}

async function send(
  session: Session,
  state: State,
  { summary, approval }: Open,
  answer: Answer,
): Promise<void> {
  const options = { pipelineId: summary.pipelineId, approvalId: approval.id, ...answer };
  state.putPipeline(await session.command<PipelineSummary>("clode.pipeline.approve", options));
}

/** What a yes to this gate must say besides yes; undefined when the person turned away. */
async function ask(approval: PendingApproval): Promise<Answer | undefined> {
  switch (approval.gate) {
    case "budget":
      return await askBudget(approval);
    case "permission":
      return await askPermission(approval);
    case "question":
      return await askQuestion(approval);
    default:
      return { approved: true };
  }
}

async function askBudget(approval: PendingApproval): Promise<Answer | undefined> {
  const items = [
    { label: "Raise the limit of this run…", id: "maxCost" },
    { label: choiceTitle(approval, "today", "Raise today's limit"), id: "today" },
  ];
  const options = { title: approval.title, placeHolder: budgetLine(approval), ignoreFocusOut: true };
  const chosen = await window.showQuickPick(items, options);
  if (chosen?.id !== "maxCost") {
    return chosen && { approved: true, choice: chosen.id };
  }
  const typed = await window.showInputBox({
    title: "New limit of this run in USD",
    prompt: budgetLine(approval),
    ignoreFocusOut: true,
    validateInput: (text) => (parseMoney(text) === undefined ? "An amount in USD, such as 7.50" : undefined),
  });
  const maxCost = parseMoney(typed ?? "");
  return maxCost === undefined ? undefined : { approved: true, maxCost };
}

async function askPermission(approval: PendingApproval): Promise<Answer | undefined> {
  const items = [
    { label: choiceTitle(approval, "once", "Allow once"), id: "once" },
    { label: choiceTitle(approval, "task", "Allow for this task"), id: "task" },
  ];
  const options = { title: approval.title, placeHolder: requestLine(approval), ignoreFocusOut: true };
  const chosen = await window.showQuickPick(items, options);
  return chosen && { approved: true, choice: chosen.id };
}

async function askQuestion(approval: PendingApproval): Promise<Answer | undefined> {
  const comment = await window.showInputBox({
    title: approval.title,
    prompt: approval.summary ?? "",
    ignoreFocusOut: true,
  });
  return comment ? { approved: true, comment } : undefined;
}
