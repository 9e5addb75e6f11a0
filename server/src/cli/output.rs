//! What is printed, and where. A closed pipe ends the printing, never the work.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clode_core::Error;
use clode_core::config::Environment;
use serde::Serialize;
use serde_json::json;

use super::Exit;

/// Whether results are JSON or text for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For scripts.
    Json,
    /// For people.
    Text,
}

/// How text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// With terminal sequences.
    On,
    /// Plain.
    Off,
}

/// The two streams. Clones share what is known of them.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    form: Form,
    stdout_colour: Colour,
    stderr_colour: Colour,
    stdout_is_terminal: bool,
    broken: Arc<AtomicBool>,
    unheard: Arc<AtomicBool>,
}

impl Output {
    pub(crate) fn new(environment: &Environment, wants_json: bool) -> Self {
        let wanted = environment.get("NO_COLOR").is_none() && environment.get("TERM") != Some("dumb");
        let colour = |is_terminal: bool| {
            if wanted && is_terminal {
                Colour::On
            } else {
                Colour::Off
            }
        };
        Self {
            form: if wants_json { Form::Json } else { Form::Text },
            stdout_colour: colour(std::io::stdout().is_terminal()),
            stderr_colour: colour(std::io::stderr().is_terminal()),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            broken: Arc::default(),
            unheard: Arc::default(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// How to colour what [`Output::say`] prints.
    pub(crate) fn colour(&self) -> Colour {
        match self.form {
            Form::Json => self.stderr_colour,
            Form::Text => self.stdout_colour,
        }
    }

    /// How to colour what [`Output::note`] prints.
    pub(crate) fn note_colour(&self) -> Colour {
        self.stderr_colour
    }

    /// A result, as it is.
    pub(crate) fn print(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
            && error.kind() != std::io::ErrorKind::BrokenPipe
            && !self.broken.swap(true, Ordering::SeqCst)
        {
            self.note(&format!("error: stdout cannot be written: {error}"));
        }
    }

    /// A patch: for a person's eyes on a terminal, byte for byte for everything else.
    pub(crate) fn patch(&self, patch: &str) {
        if self.stdout_is_terminal {
            self.print(&super::render::patch(patch, self.stdout_colour));
        } else {
            self.print(patch);
        }
    }

    /// Lines for people: on stdout, but on stderr once results are JSON.
    pub(crate) fn say(&self, text: &str) {
        match self.form {
            Form::Json => self.note(text),
            Form::Text => self.print(&ended(text)),
        }
    }

    /// Lines for people that are no result.
    pub(crate) fn note(&self, text: &str) {
        // Where not even stderr can be written there is nobody to tell, now or later.
        if !self.unheard.load(Ordering::SeqCst) {
            let written = std::io::stderr().lock().write_all(ended(text).as_bytes());
            self.unheard.store(written.is_err(), Ordering::SeqCst);
        }
    }

    /// A result as one JSON document.
    pub(crate) fn document(&self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.print(&ended(&text)),
            Err(error) => self.note(&format!("error: a result cannot be written: {error}")),
        }
    }

    /// A result as a line of JSON.
    pub(crate) fn line(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.print(&ended(&text)),
            Err(error) => self.note(&format!("error: a result cannot be written: {error}")),
        }
    }

    /// What went wrong, and what to do.
    pub(crate) fn error(&self, error: &Error) {
        if self.is_json() {
            self.line(&json!({"type": "error", "error": {"code": error.code, "message": super::render::in_our_words(&error.message), "hint": error.first_hint().map(super::render::in_our_words)}}));
        }
        self.note(&super::render::error(error, self.stderr_colour));
    }

    /// The exit code of the process: a result that could not be written is a failure.
    pub(crate) fn end(&self, exit: Exit) -> Exit {
        if exit == Exit::Done && self.broken.load(Ordering::SeqCst) {
            Exit::Failed
        } else {
            exit
        }
    }
}

fn ended(text: &str) -> String {
    if text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    }
}
