//! Creating, finding, taking over and deleting runs.

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::checksum::{Seal, maybe_text, text};
use super::failure::Outcome;
use super::run::{Created, FIRST_FENCE, NewRun, RUNS_MAX, RunFilter, RunRow, UnfinishedRun};
use super::{Store, blob, event, limit_payload};
use crate::clock::Timestamp;
use crate::id::{OwnerId, PipelineId, RepositoryId, TaskId};
use crate::{Error, Result};

const TABLE: &str = "runs";
const COLUMNS: &str = "id, repository, top_level, folder, task_id, explicit, force, identity_hash, title, owner, fence, \
                       status, finished, reuse, state, created_at, updated_at, checksum";

impl Store {
    /// Creates a run. For a task that the caller named and does not force, a run that is alive is
    /// the answer if it is the same, and the error `taskIdInUse` if it is not.
    pub async fn create_run(&self, run: NewRun) -> Result<Created> {
        limit_payload("the state of a run", &run.state)?;
        event::limit_events(&run.events)?;
        let blobs = self.prepare_blobs(run.blobs.clone()).await?;
        self.write(move |transaction| {
            if run.explicit
                && !run.force
                && let Some(alive) = alive_with(
                    transaction,
                    &run.repository,
                    &run.task_id,
                    Some(&run.identity_hash),
                    None,
                )?
            {
                return Ok(Created::Existing(Box::new(alive)));
            }
            if find(transaction, &run.id)?.is_some() {
                return Err(
                    Error::state("runExists", format!("a pipeline `{}` exists already", run.id)).into(),
                );
            }
            blob::insert(transaction, &blobs)?;
            let (created_at, events) = (run.created_at, run.events.clone());
            let row = first_row(run);
            insert(transaction, &row)?;
            let seqs = event::append(transaction, &row.id, created_at, &events)?;
            Ok(Created::New {
                row: Box::new(row),
                seqs,
            })
        })
        .await
    }

    /// A run by name.
    pub async fn run(&self, id: &PipelineId) -> Result<Option<RunRow>> {
        let id = id.clone();
        self.read(move |connection| find(connection, &id)).await
    }

    /// Under which fence a run is owned now.
    pub async fn fence(&self, id: &PipelineId) -> Result<Option<i64>> {
        let id = id.clone();
        self.read(move |connection| fence(connection, &id)).await
    }

    /// When the newest runs last changed, without reading them.
    pub async fn last_changes(&self, limit: u32) -> Result<Vec<(PipelineId, Timestamp)>> {
        self.read(move |connection| {
            let sql = "SELECT id, updated_at FROM runs ORDER BY ordinal DESC LIMIT ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let changes = statement.query_map([limit], |row| {
                Ok((PipelineId::new(row.get::<_, String>(0)?), Timestamp(row.get(1)?)))
            })?;
            Ok(changes.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// The runs of a repository that have not ended, newest first, without reading their states.
    pub async fn unfinished(&self, repository: &RepositoryId) -> Result<Vec<UnfinishedRun>> {
        let repository = repository.clone();
        self.read(move |connection| {
            let sql = "SELECT id, owner, status FROM runs WHERE finished = 0 AND repository = ?1 ORDER BY ordinal DESC";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([repository.as_str()])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(UnfinishedRun {
                    id: PipelineId::new(text(row, 0)?),
                    owner: maybe_text(row, 1)?.map(OwnerId::new),
                    status: text(row, 2)?,
                });
            }
            Ok(found)
        })
        .await
    }

    /// Runs, newest first.
    pub async fn runs(&self, filter: RunFilter) -> Result<Vec<RunRow>> {
        self.read(move |connection| list(connection, &filter)).await
    }

    /// Takes a run over: only the first of several that saw the same fence gets it. The answer is the run as it is
    /// now: whoever owned it before may have written until this moment.
    pub async fn adopt(
        &self,
        run: &PipelineId,
        expected_fence: i64,
        owner: &OwnerId,
    ) -> Result<Option<RunRow>> {
        let (id, owner) = (run.clone(), owner.clone());
        self.write(move |transaction| {
            let Some(mut row) = find(transaction, &id)? else {
                return Err(unknown(&id).into());
            };
            if row.fence != expected_fence {
                return Ok(None);
            }
            row.fence += 1;
            row.owner = Some(owner);
            update(transaction, &row)?;
            Ok(Some(row))
        })
        .await
    }

    /// Gives a run up: nobody owns it until somebody adopts it.
    pub async fn release(&self, run: &PipelineId, fence: i64) -> Result<()> {
        let id = run.clone();
        self.write(move |transaction| {
            let mut row = fenced(transaction, &id, fence)?;
            row.owner = None;
            update(transaction, &row)
        })
        .await
    }

    /// Deletes an ended run with all that belongs to it. What it cost stays in the ledger, who did
    /// what stays in the audit. A run whose row is damaged can be deleted in any state.
    pub async fn delete_run(&self, id: &PipelineId) -> Result<()> {
        let id = id.clone();
        self.write(move |transaction| {
            match find(transaction, &id) {
                Ok(None) => return Err(unknown(&id).into()),
                Ok(Some(row)) if !row.finished => {
                    return Err(
                        Error::state("runNotEnded", format!("pipeline `{id}` has not ended"))
                            .hint("cancel it first")
                            .into(),
                    );
                }
                Ok(Some(_)) => {}
                Err(damaged) => tracing::warn!(run = %id, ?damaged, "a damaged pipeline is deleted"),
            }
            transaction
                .prepare_cached("DELETE FROM runs WHERE id = ?1")?
                .execute([id.as_str()])?;
            Ok(())
        })
        .await
    }
}

/// No run has this name.
pub(super) fn unknown(id: &PipelineId) -> Error {
    Error::usage("unknownPipeline", format!("there is no pipeline `{id}`"))
}

/// The run, if the fence is the present one.
pub(super) fn fenced(connection: &Connection, id: &PipelineId, fence: i64) -> Outcome<RunRow> {
    let row = find(connection, id)?.ok_or_else(|| unknown(id))?;
    compare(id, row.fence, fence)?;
    Ok(row)
}

/// Fails unless the fence is the present one.
pub(super) fn must_be_fenced(connection: &Connection, id: &PipelineId, ours: i64) -> Outcome<()> {
    must_be_present(id, fence(connection, id)?, ours)
}

/// Fails unless the run exists and our fence is the one that was found.
pub(super) fn must_be_present(id: &PipelineId, found: Option<i64>, ours: i64) -> Outcome<()> {
    compare(id, found.ok_or_else(|| unknown(id))?, ours)
}

fn compare(id: &PipelineId, present: i64, ours: i64) -> Outcome<()> {
    #[cfg(test)]
    if super::simulated::forgets_fences() {
        return Ok(());
    }
    if present == ours {
        return Ok(());
    }
    Err(taken_over(id, present, ours).into())
}

fn fence(connection: &Connection, id: &PipelineId) -> Outcome<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT fence FROM runs WHERE id = ?1")?;
    Ok(statement.query_row([id.as_str()], |row| row.get(0)).optional()?)
}

/// Somebody else owns the run now under `present`, not the process that owned it under `ours`.
fn taken_over(run: &PipelineId, present: i64, ours: i64) -> Error {
    let message =
        format!("pipeline `{run}` was taken over by another process (fence {present}, ours is {ours})");
    Error::state("fenced", message).hint("it goes on there")
}

/// Fails unless the run exists.
pub(super) fn must_exist(connection: &Connection, id: &PipelineId) -> Outcome<()> {
    let exists = connection
        .prepare_cached("SELECT 1 FROM runs WHERE id = ?1")?
        .exists([id.as_str()])?;
    if exists { Ok(()) } else { Err(unknown(id).into()) }
}

/// The run that is alive under this task id, other than `except`; an error when only others than
/// the one with this identity are.
pub(super) fn alive_with(
    connection: &Connection,
    repository: &RepositoryId,
    task: &TaskId,
    identity: Option<&str>,
    except: Option<&PipelineId>,
) -> Outcome<Option<RunRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM runs WHERE repository = ?1 AND task_id = ?2 AND finished = 0 AND explicit = 1 ORDER BY ordinal DESC"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([repository.as_str(), task.as_str()])?;
    let mut other = None;
    while let Some(row) = rows.next()? {
        let run = read(row)?;
        if except == Some(&run.id) {
            continue;
        }
        if identity == Some(run.identity_hash.as_str()) {
            return Ok(Some(run));
        }
        other.get_or_insert(run);
    }
    let Some(other) = other else { return Ok(None) };
    let message = format!(
        "task id `{task}` belongs to pipeline `{}`, which is alive and has other content",
        other.id
    );
    Err(Error::state("taskIdInUse", message)
        .hint("use another id, cancel that pipeline, or force a new one")
        .into())
}

pub(super) fn find(connection: &Connection, id: &PipelineId) -> Outcome<Option<RunRow>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE id = ?1"))?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(read).transpose()
}

fn list(connection: &Connection, filter: &RunFilter) -> Outcome<Vec<RunRow>> {
    if filter.ids.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let mut conditions = vec!["1 = 1".to_owned()];
    let mut values = Vec::new();
    if filter.unfinished_only {
        conditions.push("finished = 0".to_owned());
    }
    if let Some(repository) = &filter.repository {
        conditions.push("repository = ?".to_owned());
        values.push(repository.as_str());
    }
    if let Some(task) = &filter.task_id {
        conditions.push("task_id = ?".to_owned());
        values.push(task.as_str());
    }
    if let Some(ids) = &filter.ids {
        let ids = ids.iter().take(RUNS_MAX).map(PipelineId::as_str);
        conditions.push(format!("id IN ({})", vec!["?"; ids.len()].join(", ")));
        values.extend(ids);
    }
    let limit = if filter.limit == 0 {
        RUNS_MAX
    } else {
        filter.limit.min(RUNS_MAX)
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM runs WHERE {} ORDER BY ordinal DESC LIMIT {limit}",
        conditions.join(" AND ")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

pub(super) fn first_row(run: NewRun) -> RunRow {
    RunRow {
        id: run.id,
        repository: run.repository,
        top_level: run.top_level,
        folder: run.folder,
        task_id: run.task_id,
        explicit: run.explicit,
        force: run.force,
        identity_hash: run.identity_hash,
        title: run.title,
        owner: Some(run.owner),
        fence: FIRST_FENCE,
        status: run.status,
        finished: false,
        reuse: String::new(),
        state: run.state,
        created_at: run.created_at,
        updated_at: run.created_at,
    }
}

fn seal(run: &RunRow) -> Seal {
    Seal::of(TABLE, run.id.as_str())
        .text(run.repository.as_str())
        .text(&run.top_level)
        .text(&run.folder)
        .text(run.task_id.as_str())
        .number(i64::from(run.explicit))
        .number(i64::from(run.force))
        .text(&run.identity_hash)
        .text(&run.title)
        .maybe(run.owner.as_ref().map(OwnerId::as_str))
        .number(run.fence)
        .text(&run.status)
        .number(i64::from(run.finished))
        .text(&run.reuse)
        .text(&run.state)
        .number(run.created_at.0)
        .number(run.updated_at.0)
}

fn read(row: &Row<'_>) -> Outcome<RunRow> {
    let run = RunRow {
        id: PipelineId::new(text(row, 0)?),
        repository: RepositoryId::new(text(row, 1)?),
        top_level: text(row, 2)?,
        folder: text(row, 3)?,
        task_id: TaskId::new(text(row, 4)?),
        explicit: row.get(5)?,
        force: row.get(6)?,
        identity_hash: text(row, 7)?,
        title: text(row, 8)?,
        owner: maybe_text(row, 9)?.map(OwnerId::new),
        fence: row.get(10)?,
        status: text(row, 11)?,
        finished: row.get(12)?,
        reuse: text(row, 13)?,
        state: text(row, 14)?,
        created_at: Timestamp(row.get(15)?),
        updated_at: Timestamp(row.get(16)?),
    };
    seal(&run).check(TABLE, run.id.as_str(), &text(row, 17)?)?;
    Ok(run)
}

pub(super) fn insert(connection: &Connection, run: &RunRow) -> Outcome<()> {
    let sql = format!(
        "INSERT INTO runs ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
    );
    connection.prepare_cached(&sql)?.execute(params![
        run.id.as_str(),
        run.repository.as_str(),
        run.top_level,
        run.folder,
        run.task_id.as_str(),
        run.explicit,
        run.force,
        run.identity_hash,
        run.title,
        run.owner.as_ref().map(OwnerId::as_str),
        run.fence,
        run.status,
        run.finished,
        run.reuse,
        run.state,
        run.created_at.0,
        run.updated_at.0,
        seal(run).finish(),
    ])?;
    Ok(())
}

/// Stores what may change in a run; the caller has read the row in the same transaction.
pub(super) fn update(connection: &Connection, run: &RunRow) -> Outcome<()> {
    let sql = "UPDATE runs SET owner = ?2, fence = ?3, status = ?4, finished = ?5, reuse = ?6, state = ?7, updated_at = ?8, \
               checksum = ?9 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        run.id.as_str(),
        run.owner.as_ref().map(OwnerId::as_str),
        run.fence,
        run.status,
        run.finished,
        run.reuse,
        run.state,
        run.updated_at.0,
        seal(run).finish(),
    ])?;
    Ok(())
}

/// Whether nothing is there (for lookups that expect one row at most).
pub(super) fn optional<T>(result: rusqlite::Result<T>) -> Outcome<Option<T>> {
    Ok(result.optional()?)
}
