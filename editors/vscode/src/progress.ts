/** Work-done progress of a pipeline as a notification whose Cancel reaches the server. */
import { type Progress, ProgressLocation, window, workspace } from "vscode";
import type { Middleware, ProgressToken } from "vscode-languageclient/node";

type Handler = NonNullable<Middleware["handleWorkDoneProgress"]>;
type Value = Parameters<Handler>[1];
type Report = { message?: string; increment?: number };

/** One progress on the screen. Reports may come before VS Code has drawn it. */
class Shown {
  private readonly early: Report[] = [];
  private drawn: Progress<Report> | undefined;
  private percentage = 0;
  private finish: () => void = () => {};
  private readonly ended = new Promise<void>((resolve) => {
    this.finish = resolve;
  });

  constructor(title: string, cancellable: boolean, cancel: () => void) {
    void window.withProgress(
      { location: ProgressLocation.Notification, title, cancellable },
      (progress, token) => {
        token.onCancellationRequested(cancel);
        this.drawn = progress;
        for (const report of this.early) {
          progress.report(report);
        }
        return this.ended;
      },
    );
  }

  report(value: { message?: string | undefined; percentage?: number | undefined }): void {
    const report: Report = {};
    if (value.message !== undefined) {
      report.message = value.message;
    }
    if (value.percentage !== undefined) {
      report.increment = Math.max(0, value.percentage - this.percentage);
      this.percentage = Math.max(this.percentage, value.percentage);
    }
    if (this.drawn) {
      this.drawn.report(report);
    } else {
      this.early.push(report);
    }
  }

  end(): void {
    this.finish();
  }
}

export class ProgressNotifications {
  private readonly shown = new Map<ProgressToken, Shown>();

  constructor(private readonly cancel: (token: ProgressToken) => void) {}

  readonly handle: Handler = (token, value, next) => {
    const style = workspace.getConfiguration("clodeAgents").get<string>("progress");
    if (style === "statusBar" && !this.shown.has(token)) {
      next(token, value);
      return;
    }
    this.show(token, value);
    if (value.kind === "end") {
      // Lets the client forget the token, too.
      next(token, value);
    }
  };

  private show(token: ProgressToken, value: Value): void {
    if (value.kind === "begin") {
      const shown = new Shown(value.title, value.cancellable ?? false, () => this.cancel(token));
      shown.report(value);
      this.shown.set(token, shown);
    } else if (value.kind === "report") {
      this.shown.get(token)?.report(value);
    } else {
      this.shown.get(token)?.end();
      this.shown.delete(token);
    }
  }

  /** Takes everything off the screen, for a server that is gone. */
  clear(): void {
    for (const shown of this.shown.values()) {
      shown.end();
    }
    this.shown.clear();
  }
}
