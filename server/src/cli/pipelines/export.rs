//! A pipeline as a document to keep or to pass on, and the way to tell later that nobody changed it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use clode_core::engine::verify;
use clode_core::id::{PipelineId, StepId};
use clode_core::{Error, Result};
use serde_json::json;

use crate::app::Providers;
use crate::cli::Exit;
use crate::cli::desk::Caller;

/// Where a document goes that goes nowhere in particular.
const STDOUT: &str = "-";
/// The largest document that is read.
const DOCUMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Writes the document.
pub(super) async fn write(
    caller: &Caller,
    run: &PipelineId,
    step: Option<&StepId>,
    to: &Path,
) -> Result<Exit> {
    let app = caller.open(Providers::Configured).await?;
    let text = app.engine.export(run, step).await?;
    app.engine.shutdown().await;
    if to.as_os_str() == STDOUT {
        caller.output.print(&text);
        return Ok(Exit::Done);
    }
    let path = caller.folder.join(to);
    put(&path, &text)?;
    if caller.output.is_json() {
        let written = verify(&text)?;
        caller
            .output
            .document(&json!({"path": path, "checksum": written.checksum}));
    } else {
        caller.output.note(&format!("Written to {}.", path.display()));
    }
    Ok(Exit::Done)
}

/// Only a file that was not there before: an export overwrites nothing.
fn put(path: &Path, text: &str) -> Result<()> {
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!("{} is there already", path.display());
            return Err(Error::usage("fileExists", message).hint("name another file, or remove that one"));
        }
        opened => opened.map_err(|error| Error::io(path.display(), &error))?,
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| Error::io(path.display(), &error))
}

/// Says whether a document is whole.
pub(super) fn check(caller: &Caller, file: &Path) -> Result<Exit> {
    let path = caller.folder.join(file);
    let size = std::fs::metadata(&path).map_err(|error| Error::io(path.display(), &error))?;
    if size.len() > DOCUMENT_BYTES_MAX {
        let message = format!("{} is larger than any exported pipeline", path.display());
        return Err(Error::usage("fileTooLarge", message));
    }
    let bytes = std::fs::read(&path).map_err(|error| Error::io(path.display(), &error))?;
    let verified = verify(&String::from_utf8_lossy(&bytes))?;
    if caller.output.is_json() {
        caller.output.document(&verified);
    } else {
        let step = verified
            .step
            .as_ref()
            .map_or_else(String::new, |step| format!(", step {step}"));
        let line = format!(
            "Whole: {}{step}, as it was written (blake3 {}).",
            verified.pipeline_id, verified.checksum
        );
        caller.output.say(&line);
    }
    Ok(Exit::Done)
}
