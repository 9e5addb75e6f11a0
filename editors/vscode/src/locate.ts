/** Which server to start: a place that was named must work; a place that was guessed may be passed over. */
import * as path from "node:path";

export type Probe = { readonly version: string } | { readonly problem: string };

/** Everything that the search looks at, so that it can be tested without a machine. */
export interface Surroundings {
  readonly setting: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly extensionPath: string;
  readonly home: string;
  readonly windows: boolean;
  isFile(file: string): boolean;
  probe(file: string): Promise<Probe>;
}

export interface Server {
  readonly path: string;
  readonly version: string;
  /** Where it was found, for the log. */
  readonly origin: string;
}

interface Place {
  readonly path: string;
  readonly origin: string;
}

const ENV_NAME = "CLODE_LS_PATH";

export class ServerNotFound extends Error {
  override readonly name = "ServerNotFound";
}

/** Finds the server, or says plainly what was tried and what to do. */
export async function locate(around: Surroundings): Promise<Server> {
  const named = namedPlace(around);
  if (named) {
    return await startable(named, around);
  }
  const tried: string[] = [];
  for (const place of guesses(around)) {
    const found = await around.probe(place.path);
    if ("version" in found) {
      return { ...place, version: found.version };
    }
    tried.push(`${place.path} (${place.origin}): ${found.problem}`);
  }
  const detail = tried.length > 0 ? ` Tried ${tried.join("; ")}.` : "";
  throw new ServerNotFound(
    `clode-ls was not found.${detail} Install it on PATH, or name it in the setting clodeAgents.server.path.`,
  );
}

function namedPlace(around: Surroundings): Place | undefined {
  const setting = around.setting.trim();
  if (setting) {
    return { path: expandHome(setting, around.home), origin: "the setting clodeAgents.server.path" };
  }
  const variable = around.env[ENV_NAME]?.trim();
  return variable ? { path: variable, origin: `the environment variable ${ENV_NAME}` } : undefined;
}

async function startable(place: Place, around: Surroundings): Promise<Server> {
  if (!path.isAbsolute(place.path)) {
    throw new ServerNotFound(`${place.path}, named by ${place.origin}, is not an absolute path.`);
  }
  if (!around.isFile(place.path)) {
    throw new ServerNotFound(`${place.path}, named by ${place.origin}, does not exist.`);
  }
  const found = await around.probe(place.path);
  if ("problem" in found) {
    throw new ServerNotFound(`${place.path}, named by ${place.origin}, does not work: ${found.problem}.`);
  }
  return { ...place, version: found.version };
}

function guesses(around: Surroundings): readonly Place[] {
  const name = around.windows ? "clode-ls.exe" : "clode-ls";
  const bundled = { path: path.join(around.extensionPath, "server", name), origin: "bundled" };
  const folders = (around.env["PATH"] ?? around.env["Path"] ?? "").split(path.delimiter);
  const onPath = folders
    // A relative entry would be taken from whatever folder is open.
    .filter((folder) => path.isAbsolute(folder))
    .map((folder) => ({ path: path.join(folder, name), origin: "PATH" }));
  return [bundled, ...onPath].filter((place) => around.isFile(place.path));
}

function expandHome(file: string, home: string): string {
  return file.startsWith("~/") ? path.join(home, file.slice(2)) : file;
}

/** Reads what `clode-ls --version` printed. */
export function readVersion(output: string): Probe {
  const version = /^clode-ls\s+(\S+)/.exec(output.trim())?.[1];
  return version ? { version } : { problem: "it does not answer --version as clode-ls does" };
}
