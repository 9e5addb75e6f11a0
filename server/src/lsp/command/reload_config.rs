//! `clode.reloadConfig`: reads the configuration again and says what is wrong with it.

use clode_core::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::Invocation;
use crate::lsp::session::Session;
use crate::lsp::sync::{ConfigProblem, check_configuration};

pub(super) fn run(session: &Session, _: Invocation) -> BoxFuture<'_, Result<Value>> {
    async move {
        session.engine().await?.services().configurations.forget();
        let problems = check_configuration(session).await;
        let (errors, warnings): (Vec<ConfigProblem>, Vec<ConfigProblem>) =
            problems.into_iter().partition(ConfigProblem::is_error);
        let wire = |problems: &[ConfigProblem]| problems.iter().map(wire).collect::<Vec<Value>>();
        Ok(json!({ "ok": errors.is_empty(), "errors": wire(&errors), "warnings": wire(&warnings) }))
    }
    .boxed()
}

fn wire(problem: &ConfigProblem) -> Value {
    json!({
        "uri": problem.uri, "range": problem.range, "key": problem.error.key, "message": problem.message(),
        "code": problem.error.code, "line": problem.error.line, "column": problem.error.column,
    })
}
