//! One work-done progress: created where the editor can show it, silent where it cannot.

use serde_json::{Value, json};

use super::client::{Client, Outcome};

/// Longest message or title; editors show it in a status bar.
const TEXT_CHARS_MAX: usize = 200;

/// The progress of one piece of work. Its percentage never falls, not even from one begin to the next, and every
/// report carries both message and percentage: clients drop one without the other. Dropped while it runs, it ends.
#[derive(Debug)]
pub(crate) struct WorkDone {
    client: Client,
    /// The token of a request; it knows one begin and one end, both before the answer.
    given: Option<Value>,
    /// Tokens of our own are this and a number, anew for each begin.
    stem: String,
    count: u32,
    title: String,
    percentage: u32,
    running: Option<Value>,
}

impl WorkDone {
    /// A progress under tokens of our own; `stem` is unique among the pieces of work.
    pub(crate) fn new(client: Client, stem: impl Into<String>, title: &str) -> Self {
        let (given, stem, title) = (None, stem.into(), short(title));
        Self {
            client,
            given,
            stem,
            count: 0,
            title,
            percentage: 0,
            running: None,
        }
    }

    /// Takes the `workDoneToken` of a request for the first begin; end it before the request is answered.
    pub(crate) fn under(mut self, token: Value) -> Self {
        self.given = Some(token);
        self
    }

    #[cfg(test)]
    /// The token that runs now; `window/workDoneProgress/cancel` names it.
    pub(crate) fn token(&self) -> Option<&Value> {
        self.running.as_ref()
    }

    /// Shows the progress; nothing happens while it runs already or where the editor cannot show one.
    pub(crate) async fn begin(&mut self, message: &str, percentage: u32) {
        if self.running.is_some() {
            return self.report(message, percentage).await;
        }
        let Some(token) = self.obtain_token().await else {
            return;
        };
        self.raise(percentage);
        let begin = json!({
            "kind": "begin", "title": self.title, "cancellable": true,
            "message": short(message), "percentage": self.percentage,
        });
        self.client.progress(&token, &begin).await;
        self.running = Some(token);
    }

    /// Says where the work stands.
    pub(crate) async fn report(&mut self, message: &str, percentage: u32) {
        self.raise(percentage);
        if let Some(token) = &self.running {
            let report = json!({
                "kind": "report", "cancellable": true, "message": short(message), "percentage": self.percentage,
            });
            self.client.progress(token, &report).await;
        }
    }

    /// Takes the progress away. Once this has returned, an answer that is sent arrives after it.
    pub(crate) async fn end(&mut self, message: &str) {
        if let Some(token) = self.running.take() {
            self.client
                .progress(&token, &json!({ "kind": "end", "message": short(message) }))
                .await;
        }
    }

    async fn obtain_token(&mut self) -> Option<Value> {
        if let Some(given) = self.given.take() {
            return Some(given);
        }
        self.count += 1;
        let token = format!("{}-{}", self.stem, self.count);
        (self.client.create_progress(&token).await == Outcome::Yes).then(|| token.into())
    }

    fn raise(&mut self, percentage: u32) {
        self.percentage = self.percentage.max(percentage.min(100));
    }
}

impl Drop for WorkDone {
    fn drop(&mut self) {
        if let Some(token) = self.running.take() {
            let _ = self
                .client
                .outbox()
                .progress_now(&token, &json!({ "kind": "end" }));
        }
    }
}

fn short(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(TEXT_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsp::client::peer::Peer;

    /// Does the work, answers each request of the server, and gives back all that it sent.
    async fn sent(answer: Value, work: impl AsyncFnOnce(Client)) -> Vec<Value> {
        let (client, mut peer) = Peer::connect(&json!({ "window": { "workDoneProgress": true } }));
        let done = client.clone();
        let work = async {
            work(client).await;
            done.notify("done", &Value::Null).await;
        };
        let far_end = async {
            let mut messages = Vec::new();
            loop {
                let message = peer.next().await;
                if message["method"] == "done" {
                    return messages;
                }
                if message.get("id").is_some() {
                    match answer.get("refuse") {
                        Some(_) => peer.refuse(&message, -32601, "no"),
                        None => peer.answer(&message, answer.clone()),
                    };
                }
                messages.push(message);
            }
        };
        tokio::join!(work, far_end).1
    }

    fn values(messages: &[Value]) -> Vec<String> {
        messages
            .iter()
            .filter(|message| message["method"] == "$/progress")
            .map(|message| {
                let value = &message["params"]["value"];
                format!(
                    "{} {} {}",
                    value["kind"].as_str().unwrap(),
                    value["message"],
                    value["percentage"]
                )
            })
            .collect()
    }

    #[tokio::test]
    async fn the_percentage_never_falls_not_even_when_the_progress_begins_again() {
        let messages = sent(Value::Null, async |client| {
            let mut progress = WorkDone::new(client, "pipeline-1", "Clode: tests");
            progress.begin("start", 10).await;
            progress.report("back", 5).await;
            progress.end("Waiting: approve plan").await;
            progress.report("nobody sees this", 60).await;
            progress.begin("again", 40).await;
            progress.end("done").await;
        })
        .await;
        assert_eq!(
            values(&messages),
            [
                r#"begin "start" 10"#,
                r#"report "back" 10"#,
                r#"end "Waiting: approve plan" null"#,
                r#"begin "again" 60"#,
                r#"end "done" null"#
            ]
        );
        let tokens: Vec<&Value> = messages
            .iter()
            .filter(|message| message["method"] == "window/workDoneProgress/create")
            .map(|message| &message["params"]["token"])
            .collect();
        assert_eq!(tokens, ["pipeline-1-1", "pipeline-1-2"]);
        assert_eq!(messages[1]["params"]["token"], "pipeline-1-1");
        assert_eq!(messages[1]["params"]["value"]["cancellable"], true);
    }

    #[tokio::test]
    async fn an_editor_that_refuses_the_token_sees_nothing() {
        let messages = sent(json!({ "refuse": true }), async |client| {
            let mut progress = WorkDone::new(client, "pipeline-1", "Clode: tests");
            progress.begin("start", 0).await;
            progress.report("on", 50).await;
            assert_eq!(progress.token(), None);
            progress.end("done").await;
        })
        .await;
        assert_eq!(values(&messages), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_given_token_is_used_without_asking_and_only_once() {
        let messages = sent(Value::Null, async |client| {
            let mut progress = WorkDone::new(client, "pipeline-1", "Clode: tests").under(json!(7));
            progress.begin("start", 20).await;
            assert_eq!(progress.token(), Some(&json!(7)));
            progress.end("Waiting: approve plan").await;
            progress.begin("again", 0).await;
            assert_eq!(progress.token(), Some(&json!("pipeline-1-1")));
        })
        .await;
        assert_eq!(
            values(&messages),
            [
                r#"begin "start" 20"#,
                r#"end "Waiting: approve plan" null"#,
                r#"begin "again" 20"#,
                "end null null"
            ]
        );
        assert_eq!(messages[0]["params"]["token"], 7);
        assert_eq!(messages[2]["method"], "window/workDoneProgress/create");
    }

    #[tokio::test]
    async fn messages_are_short_and_without_control_characters() {
        let messages = sent(Value::Null, async |client| {
            let mut progress = WorkDone::new(client, "pipeline-1", "a\nb").under(json!("t"));
            progress.begin(&"x".repeat(1000), 250).await;
        })
        .await;
        let begin = &messages[0]["params"]["value"];
        assert_eq!(begin["title"], "ab");
        assert_eq!(begin["message"].as_str().unwrap().len(), TEXT_CHARS_MAX);
        assert_eq!(begin["percentage"], 100);
    }
}
