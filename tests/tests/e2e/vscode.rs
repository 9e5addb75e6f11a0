//! A person at VS Code.


use clode_tests::editors::vscode::VsCode;
use clode_tests::fixture::{Home, Repo};
use clode_tests::processes;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn the_window_opens() {
    let repo = Repo::with_a_bug();
    let home = Home::new();
    let Some(mut code) = VsCode::start("open", &home, &repo.path()).await else { return };
    let value = code.host("return vscode.extensions.all.map(e => e.id).filter(e => /clode/.test(e))", json!({})).await;
    println!("{value}");
    let bar = code.status_bar("Clode").await;
    println!("{bar}");
    code.picture("open").await;
    println!("{:#?}", code.console_errors());
    code.quit().await;
    processes::assert_none_left(home.mark(), Duration::from_secs(2)).await;
}
