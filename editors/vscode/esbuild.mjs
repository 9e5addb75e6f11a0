// Bundles the extension (`dist/`), or with `--tests` the unit tests (`out/`).
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const tests = process.argv.includes("--tests");
const outdir = tests ? "out" : "dist";
rmSync(outdir, { recursive: true, force: true });

await build({
  entryPoints: tests ? readdirSync("test").map((name) => `test/${name}`) : ["src/extension.ts"],
  outdir,
  bundle: true,
  platform: "node",
  format: "cjs",
  target: "node20",
  external: ["vscode"],
  minify: process.argv.includes("--minify"),
  sourcemap: tests ? "inline" : false,
  logLevel: "warning",
});
