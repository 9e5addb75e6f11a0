/** What the server asks the editor to show. */
import { commands, Uri, window } from "vscode";
import type { Alert, ChangedFile, InputParams, ShowDiffParams } from "./protocol.js";

export async function askInput(params: InputParams): Promise<{ value: string | null }> {
  const value = await window.showInputBox({
    title: params.title,
    value: params.value ?? "",
    ignoreFocusOut: true,
  });
  return { value: value ?? null };
}

export async function showDiff(params: ShowDiffParams): Promise<null> {
  await commands.executeCommand("vscode.diff", Uri.parse(params.left), Uri.parse(params.right), params.title);
  return null;
}

/** All files of a pipeline, as the server has them before and after. */
export async function showChanges(title: string, files: readonly ChangedFile[]): Promise<void> {
  const [first] = files;
  if (!first) {
    void window.showInformationMessage("Clode Agents: there is no change to show yet.");
  } else if (files.length === 1 && first.change === "modified") {
    await showDiff({ left: first.baseUri, right: first.resultUri, title: `${first.path}: ${title}` });
  } else {
    const rows = files.map((file) => [
      Uri.parse(file.uri),
      file.change === "added" ? undefined : Uri.parse(file.baseUri),
      file.change === "deleted" ? undefined : Uri.parse(file.resultUri),
    ]);
    await commands.executeCommand("vscode.changes", title, rows);
  }
}

export async function showAlert(alert: Alert): Promise<void> {
  const choice = await window.showWarningMessage(
    `Clode Agents: ${alert.message ?? JSON.stringify(alert)}`,
    "Show Status",
  );
  if (choice) {
    await commands.executeCommand("clodeAgents.status");
  }
}
