//! The person's own editor, for a plan.

use std::path::{Path, PathBuf};

use clode_core::config::Environment;
use clode_core::id::PipelineId;
use clode_core::{Error, Kind, Result};

use crate::logging::holds_a_secret;

/// What is started where the person names none.
const EDITOR_DEFAULT: &str = "vi";

/// Lets the person edit the text in a private file; answers what it is then.
pub(super) async fn edit(
    environment: &Environment,
    state: &Path,
    run: &PipelineId,
    text: &str,
) -> Result<String> {
    let editor = environment
        .get("VISUAL")
        .or_else(|| environment.get("EDITOR"))
        .unwrap_or(EDITOR_DEFAULT)
        .to_owned();
    let file = prepare(state, run, text)?;
    let variables = environment
        .prefixed("")
        .into_iter()
        .filter(|(name, _)| !holds_a_secret(name))
        .collect::<Vec<_>>();
    let (command, path) = (editor.clone(), file.clone());
    #[expect(
        clippy::disallowed_methods,
        reason = "the person's own editor needs this very terminal; it gets no key"
    )]
    let start = move || {
        std::process::Command::new("/bin/sh")
            .args(["-c", &format!("{command} \"$1\""), "sh"])
            .arg(&path)
            .env_clear()
            .envs(variables)
            .status()
    };
    let ended = tokio::task::spawn_blocking(start)
        .await
        .map_err(|error| Error::internal(error.to_string()))?;
    let failed = |why: String| {
        Error::new(Kind::Io, "editorFailed", format!("the editor `{editor}` {why}"))
            .hint("set EDITOR to an editor that works here")
    };
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(failed(format!("ended with {status}"))),
        Err(error) => return Err(failed(format!("cannot be started: {error}"))),
    }
    let edited = std::fs::read_to_string(&file)
        .map_err(|error| Error::io(format!("reading {}", file.display()), &error))?;
    let _ = std::fs::remove_file(&file);
    Ok(edited)
}

fn prepare(state: &Path, run: &PipelineId, text: &str) -> Result<PathBuf> {
    let folder = state.join("edit");
    let failed = |error: &std::io::Error| Error::io(format!("writing below {}", folder.display()), error);
    std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
    let file = folder.join(format!("{run}.plan.md"));
    std::fs::write(&file, text).map_err(|error| failed(&error))?;
    Ok(file)
}
