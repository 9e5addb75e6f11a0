//! `demo`: the whole pipeline without a key, on a sample repository or on one's own.

mod sample;

use std::path::PathBuf;

use clap::Args;
use clode_core::Result;
use clode_core::engine::{Buffers, StartRequest};
use clode_core::id::TaskId;
use clode_core::pipeline::Status;
use clode_core::task::{ApplyMode, RunOptions, Task};

use super::desk::{Caller, Desk};
use super::drive::{self, Drive, Settled, Since};
use super::gate::Approvals;
use super::{Exit, render, run};
use crate::app::Providers;

/// See the whole pipeline at work, without a key: nothing leaves this machine
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// A repository to work on; a sample is made in a new directory without it
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Approve plan and patch beforehand
    #[arg(long)]
    yes: bool,
    /// Lines of JSON on stdout: events, and a last line `{"type":"result",…}`
    #[arg(long)]
    pub(crate) json: bool,
}

const HONEST: &str = "\
This is the demo. Its provider is built in: it is no model, it follows fixed rules, and nothing leaves
this machine. Everything else is real: the working directory, the plan, the gates, the patch, the tests.
";

impl Demo {
    pub(super) async fn run(self, caller: &Caller) -> Result<Exit> {
        let output = &caller.output;
        output.say(HONEST);
        let app = caller.open(Providers::Demo).await?;
        let (folder, is_sample) = match &self.dir {
            Some(dir) if sample::may_be_made_in(&caller.folder.join(dir)) => (caller.folder.join(dir), true),
            Some(dir) => (caller.folder.join(dir), false),
            None => (sample::new_place(&app)?, true),
        };
        if is_sample {
            sample::make(&app, &folder).await?;
            output.say(&format!("A sample repository was made: {}\n", folder.display()));
        }
        let desk = caller.desk(app, &folder).await?;
        let approvals = if self.yes { Approvals::Yes } else { Approvals::Ask };
        let request = request(&desk, is_sample, self.yes);
        let engine = desk.engine();
        super::disk::Disk::take_over(engine);
        let started = engine.start(request).await?;
        let drive = Drive::new(caller, engine, &started.pipeline, approvals, Since::Beginning).await?;
        let settled = drive.follow_through().await?;
        let detail = engine.detail(&started.pipeline).await?;
        if settled == Settled::Ended && !output.is_json() {
            output.patch(detail.patch.as_deref().unwrap_or_default());
            output.print("\n");
        }
        let exit = drive::conclude(caller, engine, &started.pipeline, settled).await?;
        if detail.summary.status == Status::Completed {
            output.say(&next_steps(&folder));
        }
        Ok(exit)
    }
}

fn request(desk: &Desk, is_sample: bool, yes: bool) -> StartRequest {
    let (title, tests) = if is_sample {
        (sample::TITLE, vec![run::typed(sample::TEST.to_owned())])
    } else {
        ("Settle what is open in this repository", Vec::new())
    };
    let task = Task {
        id: TaskId::new("demo"),
        explicit_id: false,
        title: title.to_owned(),
        description: String::new(),
        priority: clode_core::task::Priority::Medium,
        tests,
        constraints: Vec::new(),
        target_files: if is_sample {
            vec![sample::FILE.to_owned()]
        } else {
            Vec::new()
        },
        origin: None,
        diagnostics: Vec::new(),
    };
    let apply = if yes { ApplyMode::Direct } else { ApplyMode::Review };
    let options = RunOptions {
        skip_approvals: yes,
        apply,
        ..RunOptions::default()
    };
    StartRequest {
        repository: desk.repository.clone(),
        task,
        options,
        buffers: Buffers::default(),
        single: None,
    }
}

fn next_steps(folder: &std::path::Path) -> String {
    format!(
        "\nLook at it: git -C {} diff\nWhat to do next:\n\
         \x20 1. Set a key: export ANTHROPIC_API_KEY=... (or OPENAI_API_KEY, or install Claude Code)\n\
         \x20 2. In a repository of your own: clode-ls run \"what is to be done\"\n\
         \x20 3. In your editor: start `clode-ls --stdio` as the language server for all file types\n",
        render::shell_word(&folder.display().to_string())
    )
}
