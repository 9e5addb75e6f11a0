import assert from "node:assert/strict";
import { test } from "node:test";
import { locate, readVersion, type Surroundings } from "../src/locate.js";

/** A machine on which exactly these files exist; those that do not work have a problem instead of a version. */
function machine(files: Record<string, string>, more: Partial<Surroundings> = {}): Surroundings {
  return {
    setting: "",
    env: { PATH: "relative:/usr/bin:/opt/bin" },
    extensionPath: "/ext",
    home: "/home/ann",
    windows: false,
    isFile: (file) => file in files,
    probe: async (file) => readVersion(files[file] ?? ""),
    ...more,
  };
}

test("the setting wins over everything, and may start with ~", async () => {
  const files = { "/home/ann/clode-ls": "clode-ls 1.0.0", "/ext/server/clode-ls": "clode-ls 2.0.0" };
  const found = await locate(machine(files, { setting: "~/clode-ls", env: { CLODE_LS_PATH: "/nowhere" } }));
  assert.equal(found.path, "/home/ann/clode-ls");
  assert.equal(found.version, "1.0.0");
});

test("the environment variable wins over the bundled server", async () => {
  const files = { "/env/clode-ls": "clode-ls 1.0.0", "/ext/server/clode-ls": "clode-ls 2.0.0" };
  const found = await locate(machine(files, { env: { CLODE_LS_PATH: "/env/clode-ls" } }));
  assert.equal(found.path, "/env/clode-ls");
});

test("a named server that is missing, relative or something else is an error, never passed over", async () => {
  const files = { "/ext/server/clode-ls": "clode-ls 2.0.0", "/bin/cat": "cat (GNU coreutils) 9.1" };
  await assert.rejects(locate(machine(files, { setting: "/nowhere/clode-ls" })), /setting.*does not exist/);
  await assert.rejects(locate(machine(files, { setting: "clode-ls" })), /not an absolute path/);
  await assert.rejects(locate(machine(files, { setting: "/bin/cat" })), /does not work: it does not answer/);
});

test("a bundled server that does not run here is passed over for PATH", async () => {
  const files = { "/ext/server/clode-ls": "", "/opt/bin/clode-ls": "clode-ls 1.2.3" };
  assert.deepEqual(await locate(machine(files)), {
    path: "/opt/bin/clode-ls",
    origin: "PATH",
    version: "1.2.3",
  });
});

test("a relative entry of PATH is not looked at", async () => {
  await assert.rejects(locate(machine({ "relative/clode-ls": "clode-ls 1.0.0" })), /was not found/);
});

test("nothing found says what was tried and what to do", async () => {
  const around = machine({ "/ext/server/clode-ls": "" });
  await assert.rejects(
    locate(around),
    /Tried \/ext\/server\/clode-ls \(bundled\).*clodeAgents\.server\.path/,
  );
});
