//! One task from its beginning to an accepted change.

use clode_tests::editors::subject::{AFTER, FILE, NEW_LINE, TEST, TODO, TODO_LINE};
use serde_json::{Value, json};

use super::{Desk, cost_in};

#[tokio::test]
async fn a_todo_becomes_an_accepted_change_beside_what_was_typed_meanwhile() {
    // Given a file with a TODO and a line that was never saved
    let Some(mut desk) = Desk::new("task", TEST).await else {
        return;
    };
    desk.nvim.press("Go# typed before the task<Esc>").await;

    // When the agents are sent to the TODO
    desk.act_on_the_todo("Implement").await;

    // Then the plan waits, and can be read
    let waiting = desk.nvim.pipeline("awaitingApproval", Some("plan")).await;
    let title = waiting["task"]["title"].as_str().unwrap_or_default();
    assert!(
        title.starts_with("[demo]"),
        "without a key the answer is the demo, said plainly: {title}"
    );
    desk.nvim.command("Clode plan").await;
    let name = desk
        .nvim
        .until("return vim.api.nvim_buf_get_name(0)", &json!([]))
        .await;
    let expected = format!(
        "clode://pipeline/{}/plan.md",
        waiting["pipelineId"].as_str().unwrap_or_default()
    );
    assert_eq!(name, expected.as_str());
    let plan = desk
        .nvim
        .lua(
            "return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, true), '\\n')",
            &json!([]),
        )
        .await;
    let plan = plan.as_str().unwrap_or_default();
    for part in ["## Goal", "## Steps", FILE, "- agent: developer"] {
        assert!(plan.contains(part), "no {part:?} in the plan:\n{plan}");
    }
    assert_eq!(desk.nvim.lua("return vim.bo.modifiable", &json!([])).await, false);

    // When it is approved, and the person types on
    desk.nvim.command("buffer calc.py").await;
    desk.nvim.command("Clode approve").await;
    desk.nvim.notice("approved").await;
    desk.nvim.press("ggO# typed while they worked<Esc>").await;

    // Then the change comes as a hunk at the line where the TODO is now
    desk.nvim.pipeline("awaitingApproval", Some("patch")).await;
    let mark = desk.mark().await;
    let line = u32::try_from(mark["line"].as_u64().unwrap_or_default()).unwrap_or_default();
    assert!(
        (TODO_LINE..=TODO_LINE + 1).contains(&line),
        "the mark is not at the TODO: {mark}"
    );
    assert!(
        mark["text"].as_str().is_some_and(|text| text.contains(NEW_LINE)),
        "no new text at the mark: {mark}"
    );
    assert!(
        desk.text().await.contains(TODO),
        "nothing is applied before the yes"
    );

    // And the status says what it cost
    desk.nvim.command("Clode status").await;
    let status = desk.nvim.until(
        "local all = vim.fn.execute('messages'); return all:find('today') and all",
        &json!([]),
    );
    let status = status.await;
    let status = status.as_str().unwrap_or_default();
    assert_eq!(cost_in(status), Some("$0.0000"), "{status}");
    assert!(status.contains(title), "{status}");

    // When the hunk is accepted
    desk.nvim.command("normal! G").await;
    desk.nvim.command("Clode next").await;
    desk.nvim.command("Clode accept").await;

    // Then the buffer holds the change and both lines, unsaved, and the task is done
    desk.nvim.pipeline("completed", None).await;
    let expected = format!("# typed while they worked\n{AFTER}# typed before the task\n");
    assert_eq!(desk.text().await, expected);
    assert_eq!(desk.nvim.lua("return vim.bo.modified", &json!([])).await, true);
    desk.no_mark().await;
    desk.nvim.notice("accepted").await;
    // The last progress may still be on its way.
    desk.nvim.end_of_progress().await;
    told_its_progress(&desk.nvim.progress());
    desk.leave().await;
}

#[tokio::test]
async fn a_plan_can_be_approved_where_it_is_read() {
    let Some(mut desk) = Desk::new("read-plan", TEST).await else {
        return;
    };
    desk.act_on_the_todo("Implement").await;
    desk.nvim.pipeline("awaitingApproval", Some("plan")).await;
    desk.nvim.command("Clode plan").await;
    desk.nvim
        .until("return rig.offers(...)", &json!(["Approve plan"]))
        .await;

    desk.nvim.will_choose("Approve plan").await;
    desk.nvim.lua("vim.lsp.buf.code_action()", &json!([])).await;

    desk.nvim.pipeline("awaitingApproval", Some("patch")).await;
    desk.leave().await;
}

#[tokio::test]
async fn a_plan_can_be_edited_before_it_is_approved() {
    // Given a plan that waits
    let Some(mut desk) = Desk::new("edit-plan", TEST).await else {
        return;
    };
    desk.act_on_the_todo("Implement").await;
    desk.nvim.pipeline("awaitingApproval", Some("plan")).await;

    // When it is opened for editing, changed and saved
    desk.nvim.command("Clode edit").await;
    let look = "return vim.bo.buftype == '' and vim.fn.search('Nothing else changes') > 0";
    desk.nvim.until(look, &json!([])).await;
    desk.nvim
        .command("substitute/Nothing else changes/Keep the docstring/")
        .await;
    let clients = desk
        .nvim
        .until(
            "return #vim.lsp.get_clients({ bufnr = 0 }) > 0 and #vim.lsp.get_clients()",
            &json!([]),
        )
        .await;
    assert_eq!(clients, 1, "the server that asked is the one that reads it");
    desk.nvim.command("write").await;
    desk.nvim.command("Clode plan").await;
    // Reading it again until the server has taken the saved text over.
    let look =
        "vim.cmd.edit() return vim.bo.buftype == 'nofile' and vim.fn.search('Keep the docstring', 'w') > 0";
    desk.nvim.until(look, &json!([])).await;
    desk.nvim.command("Clode approve").await;

    // Then that is the plan which is carried out
    desk.nvim.pipeline("awaitingApproval", Some("patch")).await;
    let look = "vim.cmd.edit() return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, true), '\\n')";
    let plan = desk.nvim.lua(look, &json!([])).await;
    let plan = plan.as_str().unwrap_or_default();
    assert!(plan.contains("Keep the docstring"), "{plan}");
    desk.leave().await;
}

/// Each progress began, never fell, always had a message with its percentage, and ended.
fn told_its_progress(values: &[Value]) {
    let begun = values.iter().filter(|value| value["kind"] == "begin").count();
    let ended = values.iter().filter(|value| value["kind"] == "end").count();
    assert!(
        begun > 0 && begun == ended,
        "{begun} progresses began, {ended} ended: {values:#?}"
    );
    let mut last = 0;
    for value in values.iter().filter(|value| value["kind"] != "end") {
        let percentage = value["percentage"].as_u64();
        assert!(
            percentage.is_some() && value["message"].is_string(),
            "one without the other: {value}"
        );
        assert!(percentage >= Some(last), "it fell from {last}: {value}");
        last = percentage.unwrap_or_default();
        let titled = value["kind"] != "begin"
            || value["title"]
                .as_str()
                .is_some_and(|title| title.starts_with("Clode:"));
        assert!(titled, "{value}");
    }
}
