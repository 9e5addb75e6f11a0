/** The machine, as `locate` wants to see it. */
import { execFile } from "node:child_process";
import { statSync } from "node:fs";
import { homedir } from "node:os";
import { workspace } from "vscode";
import { type Probe, readVersion, type Surroundings } from "./locate.js";

const PROBE_TIMEOUT_MS = 5_000;

export function surroundings(extensionPath: string): Surroundings {
  return {
    setting: workspace.getConfiguration("clodeAgents").get<string>("server.path", ""),
    env: process.env,
    extensionPath,
    home: homedir(),
    windows: process.platform === "win32",
    isFile: (file) => statSync(file, { throwIfNoEntry: false })?.isFile() ?? false,
    probe,
  };
}

function probe(file: string): Promise<Probe> {
  return new Promise((resolve) => {
    execFile(file, ["--version"], { timeout: PROBE_TIMEOUT_MS }, (error, stdout) => {
      if (!error) {
        resolve(readVersion(stdout));
      } else if (error.killed) {
        resolve({ problem: `no answer to --version within ${PROBE_TIMEOUT_MS / 1000} seconds` });
      } else {
        resolve({ problem: error.code === undefined ? error.message : `--version failed (${error.code})` });
      }
    });
  });
}
