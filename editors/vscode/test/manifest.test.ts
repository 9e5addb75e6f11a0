import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

interface Manifest {
  readonly contributes: {
    readonly commands: readonly { readonly command: string }[];
    readonly menus: Readonly<Record<string, readonly { readonly command: string }[]>>;
    readonly views: Readonly<Record<string, readonly { readonly id: string }[]>>;
  };
}

const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Manifest;
const declared = manifest.contributes.commands.map((each) => each.command);

test("no command id can collide with one of the server, which the client registers globally", () => {
  for (const command of declared) {
    assert.match(command, /^clodeAgents\./);
  }
});

test("every menu names a command that is declared", () => {
  for (const [menu, items] of Object.entries(manifest.contributes.menus)) {
    for (const item of items) {
      assert.ok(declared.includes(item.command), `${item.command} in ${menu}`);
    }
  }
});

test("every declared command has a handler, and every handler is declared", () => {
  const source = readFileSync("src/commands.ts", "utf8");
  const table = source.slice(source.indexOf("const handlers"), source.indexOf("return Object.entries"));
  const handled = [...table.matchAll(/^ {4}(\w+):/gm)].map((match) => `clodeAgents.${match[1]}`);
  assert.deepEqual(handled.sort(), [...declared].sort());
});

test("the view id is the one that the code draws", () => {
  const ids = Object.values(manifest.contributes.views).flatMap((views) => views.map((view) => view.id));
  assert.match(readFileSync("src/tree.ts", "utf8"), new RegExp(`VIEW_ID = "${ids[0]}"`));
});
