//! One task from its beginning to its end.

use serde_json::json;

use super::Desk;

#[tokio::test]
async fn an_editor_is_served_at_once() {
    let Some(mut desk) = Desk::set("served").await else { return };
    desk.nvim.command("Clode status").await;
    let messages = desk.nvim.messages().await;
    assert!(messages.contains("clode-ls"), "{messages} {:?}", desk.nvim.notices());
    let _ = json!(0);
    desk.leave().await;
}
