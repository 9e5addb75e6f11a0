//! Answers that a person gave inside a step, by the hash of the question: a step that runs again
//! does not ask again.

use rusqlite::params;

use super::checksum::{Seal, text};
use super::{Store, limit_payload, runs};
use crate::Result;
use crate::clock::Timestamp;
use crate::id::PipelineId;

const TABLE: &str = "answers";

impl Store {
    /// Keeps an answer for this run; a later answer to the same question replaces it.
    pub async fn save_answer(
        &self,
        run: &PipelineId,
        question: &str,
        answer: String,
        at: Timestamp,
    ) -> Result<()> {
        limit_payload("an answer", &answer)?;
        let (run, question) = (run.clone(), question.to_owned());
        self.keep(move |transaction| {
            runs::must_exist(transaction, &run)?;
            let sql = "INSERT INTO answers (run, question, answer, at, checksum) VALUES (?1, ?2, ?3, ?4, ?5) \
                       ON CONFLICT (run, question) DO UPDATE SET answer = excluded.answer, at = excluded.at, checksum = excluded.checksum";
            let checksum = seal(&run, &question, &answer, at).finish();
            transaction.prepare_cached(sql)?.execute(params![run.as_str(), question, answer, at.0, checksum])?;
            Ok(())
        })
        .await
    }

    /// The answer that was given to this question in this run.
    pub async fn answer(&self, run: &PipelineId, question: &str) -> Result<Option<String>> {
        let (run, question) = (run.clone(), question.to_owned());
        self.read(move |connection| {
            let sql = "SELECT answer, at, checksum FROM answers WHERE run = ?1 AND question = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([run.as_str(), &question])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let answer = text(row, 0)?;
            seal(&run, &question, &answer, Timestamp(row.get(1)?)).check(
                TABLE,
                &format!("{run} {question}"),
                &text(row, 2)?,
            )?;
            Ok(Some(answer))
        })
        .await
    }
}

fn seal(run: &PipelineId, question: &str, answer: &str, at: Timestamp) -> Seal {
    Seal::of(TABLE, run.as_str())
        .text(question)
        .text(answer)
        .number(at.0)
}
