/** `clode:` documents for a server that offers them by command only; otherwise the client reads them itself. */
import { type Disposable, workspace } from "vscode";
import type { LanguageClient } from "vscode-languageclient/node";
import { VIRTUAL_SCHEME } from "./protocol.js";

type ReadDocument = (uri: string) => Promise<{ readonly text: string }>;

export function provideDocuments(client: LanguageClient, read: ReadDocument): Disposable | undefined {
  if (client.initializeResult?.capabilities.workspace?.textDocumentContent) {
    return undefined;
  }
  return workspace.registerTextDocumentContentProvider(VIRTUAL_SCHEME, {
    provideTextDocumentContent: async (uri) => (await read(client.code2ProtocolConverter.asUri(uri))).text,
  });
}
