// Evaluates what a test posts, with `vscode` in scope. It listens on the loopback only, for callers that know the
// secret, and tells where by a file that it writes last.
const { createServer } = require("node:http");
const { randomUUID } = require("node:crypto");
const { renameSync, writeFileSync } = require("node:fs");
const vscode = require("vscode");

const AsyncFunction = (async () => {}).constructor;
const BODY_BYTES_MAX = 1 << 20;

exports.activate = (context) => {
  const secret = randomUUID();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) {
      body += piece;
      if (body.length > BODY_BYTES_MAX) {
        break;
      }
    }
    let answer;
    try {
      if (request.headers.authorization !== secret) {
        throw new Error("wrong secret");
      }
      const { code, given } = JSON.parse(body);
      const value = await new AsyncFunction("vscode", "given", code)(vscode, given);
      answer = { value: value ?? null };
    } catch (error) {
      answer = { error: String(error?.stack ?? error) };
    }
    response.end(JSON.stringify(answer));
  });
  server.listen(0, "127.0.0.1", () => {
    const place = process.env.CLODE_TEST_BRIDGE;
    writeFileSync(`${place}.new`, JSON.stringify({ port: server.address().port, secret }));
    renameSync(`${place}.new`, place);
  });
  context.subscriptions.push({ dispose: () => server.close() });
};
