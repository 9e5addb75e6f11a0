/** Puts the parts together when the window opens. */
import { type ExtensionContext, window, workspace } from "vscode";
import { registerCommands } from "./commands.js";
import { Session } from "./session.js";
import { State } from "./state.js";
import { languageStatus, statusBar } from "./statusBar.js";
import { pipelinesView } from "./tree.js";

let session: Session | undefined;

export async function activate(context: ExtensionContext): Promise<void> {
  const log = window.createOutputChannel("Clode Agents", { log: true });
  const state = new State();
  session = new Session(context.extensionPath, state, log);
  const current = session;
  context.subscriptions.push(
    log,
    state,
    statusBar(state),
    languageStatus(state),
    ...pipelinesView(state),
    ...registerCommands(current, state, log),
    workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("clodeAgents.server.path")) {
        void current.restart();
      }
    }),
  );
  await current.start();
}

export async function deactivate(): Promise<void> {
  await session?.stop();
  session = undefined;
}
