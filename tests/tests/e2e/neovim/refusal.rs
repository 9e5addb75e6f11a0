//! What happens when the person says no.

use clode_tests::editors::subject::{BEFORE, ENDLESS_TEST, TEST};
use serde_json::json;

use super::{Desk, LEAVE_LIMIT};

#[tokio::test]
async fn a_rejected_plan_ends_the_task_and_no_file_changes() {
    let Some(mut desk) = Desk::new("reject-plan", TEST).await else {
        return;
    };
    desk.nvim.command("6Clode run Finish the multiplication").await;
    desk.nvim.pipeline("awaitingApproval", Some("plan")).await;

    desk.nvim.command("Clode reject").await;

    desk.nvim.pipeline("cancelled", None).await;
    assert_eq!(desk.text().await, BEFORE);
    desk.leave().await;
}

#[tokio::test]
async fn a_discarded_hunk_leaves_the_buffer_alone_and_ends_the_review() {
    let Some(mut desk) = Desk::new("discard", TEST).await else {
        return;
    };
    desk.work_on_the_todo().await;
    desk.nvim.pipeline("awaitingApproval", Some("patch")).await;
    desk.mark().await;

    desk.nvim.command("Clode next").await;
    desk.nvim.command("Clode discard").await;

    desk.nvim.notice("discarded").await;
    desk.nvim.pipeline("completed", None).await;
    desk.no_mark().await;
    assert_eq!(desk.text().await, BEFORE);
    assert_eq!(desk.nvim.lua("return vim.bo.modified", &json!([])).await, false);
    desk.leave().await;
}

#[tokio::test]
async fn a_cancelled_task_takes_its_running_command_with_it() {
    // Given a task whose test runs and runs
    let Some(mut desk) = Desk::new("cancel", ENDLESS_TEST).await else {
        return;
    };
    desk.work_on_the_todo().await;
    let command = desk.nvim.child("test_calc.py").await;

    // When it is cancelled
    desk.nvim.command("Clode cancel").await;

    // Then it ends, the command with it, and the editor goes on
    desk.nvim.pipeline("cancelled", None).await;
    command.gone_within(LEAVE_LIMIT).await;
    assert_eq!(desk.text().await, BEFORE);
    desk.nvim.press("Go# still here<Esc>").await;
    assert_eq!(desk.text().await, format!("{BEFORE}# still here\n"));
    desk.leave().await;
}
