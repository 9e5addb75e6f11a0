/** One server for the window: finding it, starting it, hearing it, and sending it commands. */
import { homedir } from "node:os";
import { commands, type Disposable, type LogOutputChannel, Uri, window, workspace } from "vscode";
import {
  State as ClientState,
  LanguageClient,
  type LanguageClientOptions,
  type ServerOptions,
  type StaticFeature,
} from "vscode-languageclient/node";
import { provideDocuments } from "./documents.js";
import { locate, type Server } from "./locate.js";
import { surroundings } from "./probe.js";
import { ProgressNotifications } from "./progress.js";
import {
  type Alert,
  EXPERIMENTAL,
  type InputParams,
  type PipelineSummary,
  type Review,
  type ServerStatus,
  type ShowDiffParams,
  VIRTUAL_SCHEME,
} from "./protocol.js";
import type { State } from "./state.js";
import { askInput, showAlert, showDiff } from "./surface.js";

/** Says in `initialize` what we can do beyond the LSP. */
const announcement: StaticFeature = {
  fillClientCapabilities(capabilities) {
    capabilities.experimental = { ...capabilities.experimental, clode: EXPERIMENTAL };
  },
  initialize() {},
  getState: () => ({ kind: "static" }),
  clear() {},
};

export class Session {
  private client: LanguageClient | undefined;
  private documents: Disposable | undefined;
  private readonly progress = new ProgressNotifications((token) => {
    void this.client?.sendNotification("window/workDoneProgress/cancel", { token });
  });

  constructor(
    private readonly extensionPath: string,
    private readonly state: State,
    private readonly log: LogOutputChannel,
  ) {}

  /** Starts the server. A failure is shown and kept in the state, never thrown. */
  async start(): Promise<void> {
    this.state.putHealth("starting");
    try {
      const server = await locate(surroundings(this.extensionPath));
      this.log.info(`clode-ls ${server.version} from ${server.path} (${server.origin})`);
      this.client = this.newClient(server);
      await this.client.start();
    } catch (error) {
      await this.fail(error instanceof Error ? error.message : String(error));
    }
  }

  async stop(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    this.documents?.dispose();
    this.documents = undefined;
    this.progress.clear();
    // A client that failed to start has nothing to stop and says so by throwing.
    await client?.dispose().catch((error: unknown) => this.log.debug(String(error)));
    this.state.putHealth("stopped");
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Asks for all pipelines: some are older than this window. */
  async refresh(): Promise<void> {
    this.state.putList(await this.command<PipelineSummary[]>("clode.pipeline.list"));
  }

  /** The running client, for converting positions. */
  get running(): LanguageClient | undefined {
    return this.client?.state === ClientState.Running ? this.client : undefined;
  }

  /** Sends one server command; throws the server's message. */
  async command<Result>(command: string, options: object = {}): Promise<Result> {
    if (!this.client) {
      throw new Error(this.state.problem ?? "clode-ls is not running; run “Clode Agents: Restart Server”");
    }
    return await this.client.sendRequest<Result>("workspace/executeCommand", {
      command,
      arguments: [options],
    });
  }

  private async fail(problem: string): Promise<void> {
    this.log.error(problem);
    await this.stop();
    this.state.putHealth("failed", problem);
    void this.offerHelp(problem);
  }

  /** Not awaited by anyone: a message may stay on the screen for ever. */
  private async offerHelp(problem: string): Promise<void> {
    const choice = await window.showErrorMessage(`Clode Agents: ${problem}`, "Show Log", "Open Settings");
    if (choice === "Show Log") {
      this.log.show();
    } else if (choice === "Open Settings") {
      await commands.executeCommand("workbench.action.openSettings", "clodeAgents.server.path");
    }
  }

  private newClient(server: Server): LanguageClient {
    const folder = workspace.workspaceFolders?.find((each) => each.uri.scheme === "file");
    const serverOptions: ServerOptions = {
      command: server.path,
      args: ["--stdio"],
      options: { cwd: folder?.uri.fsPath ?? homedir() },
    };
    const clientOptions: LanguageClientOptions = {
      documentSelector: [{ scheme: "file" }, { scheme: "untitled" }, { scheme: VIRTUAL_SCHEME }],
      synchronize: { configurationSection: "clode" },
      outputChannel: this.log,
      middleware: { handleWorkDoneProgress: this.progress.handle },
    };
    const client = new LanguageClient("clodeAgents", "Clode Agents", serverOptions, clientOptions);
    client.registerFeature(announcement);
    this.listen(client);
    return client;
  }

  /** Also after a crash, when the client has started the server again. */
  private started(client: LanguageClient): void {
    this.documents?.dispose();
    this.documents = provideDocuments(client, (uri) => this.command("clode.document", { uri }));
    this.refresh().catch((error: unknown) => this.log.warn(String(error)));
  }

  private listen(client: LanguageClient): void {
    const state = this.state;
    client.onDidChangeState(({ newState }) => {
      if (client !== this.client) {
        return;
      }
      if (newState === ClientState.Running) {
        state.putHealth("running");
        this.started(client);
      } else if (newState === ClientState.Stopped) {
        this.progress.clear();
        state.putHealth("stopped");
      }
    });
    client.onNotification("clode/didChangePipeline", (summary: PipelineSummary) =>
      state.putPipeline(summary),
    );
    client.onNotification("clode/didChangeStatus", (status: ServerStatus) => state.putStatus(status));
    client.onNotification("clode/didChangeReview", (review: Review) => {
      state.putReview(Uri.parse(review.uri), review);
    });
    client.onNotification("clode/alert", (alert: Alert) => void showAlert(alert));
    client.onRequest("clode/input", (params: InputParams) => askInput(params));
    client.onRequest("clode/showDiff", (params: ShowDiffParams) => showDiff(params));
  }
}
