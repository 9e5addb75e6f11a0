//! From `initialize` to the exit code.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use clode_tests::lsp_client::LIMIT;

use super::*;

#[test]
fn the_handshake_names_server_and_encoding() {
    for (preset, encoding) in [
        (presets::bare(), "utf-16"),
        (presets::vscode(), "utf-16"),
        (presets::neovim(), "utf-8"),
        (presets::eglot_1_9(), "utf-16"),
        (presets::vim_lsp(), "utf-16"),
        (presets::helix(), "utf-8"),
        (presets::clode_studio(), "utf-16"),
        (
            json!({ "general": { "positionEncodings": ["utf-16", "utf-32"] } }),
            "utf-32",
        ),
    ] {
        let mut client = LspClient::start();
        let result = client.initialize(&preset);
        assert_eq!(result["serverInfo"]["name"], "clode-ls");
        assert!(result["serverInfo"]["version"].is_string());
        assert_eq!(result["capabilities"]["positionEncoding"], encoding, "{preset}");
    }
}

#[test]
fn parameters_that_are_not_quite_right_still_initialize() {
    for params in [
        json!({ "processId": null, "capabilities": [], "rootUri": null }),
        json!({ "capabilities": { "window": null, "textDocument": [], "workspace": 5 }, "processId": "x" }),
        json!({}),
    ] {
        let mut client = LspClient::start();
        assert_eq!(
            client.initialize_with(&params)["serverInfo"]["name"],
            "clode-ls",
            "{params}"
        );
    }
}

#[test]
fn before_initialize_requests_are_refused_and_notifications_dropped() {
    let mut client = LspClient::start();
    for method in [
        "workspace/executeCommand",
        "no/such/method",
        "shutdown",
        "$/unknown",
    ] {
        assert_eq!(
            client.request(method, &json!({})).unwrap_err().code,
            -32002,
            "{method}"
        );
    }
    client.notify("textDocument/didOpen", &json!({ "nonsense": true }));
    client.notify("initialized", &json!({}));
    client.initialize(&presets::bare());
    assert_alive(&mut client);
}

#[test]
fn a_second_initialize_is_refused() {
    let mut client = ready();
    let again = client.request("initialize", &json!({ "capabilities": {} }));
    assert_eq!(again.unwrap_err().code, -32600);
    assert_alive(&mut client);
}

#[test]
fn dollar_requests_are_unknown_and_dollar_notifications_ignored() {
    let mut client = ready();
    for method in ["$/unknown", "$/cancelRequest", "$/setTrace"] {
        assert_eq!(
            client.request(method, &json!({})).unwrap_err().code,
            -32601,
            "{method}"
        );
        client.notify(method, &json!({ "id": 77 }));
    }
    client.notify("$/cancelRequest", &Value::Null);
    client.notify("no/such/notification", &json!({}));
    assert_alive(&mut client);
}

#[test]
fn after_shutdown_only_exit_is_left() {
    let mut client = ready();
    assert_eq!(client.request("shutdown", &Value::Null), Ok(Value::Null));
    for method in [
        "no/such/method",
        "shutdown",
        "initialize",
        "workspace/executeCommand",
    ] {
        assert_eq!(
            client.request(method, &json!({})).unwrap_err().code,
            -32600,
            "{method}"
        );
    }
    client.notify("textDocument/didOpen", &json!({}));
    client.notify("exit", &Value::Null);
    assert_eq!(client.exit_code(), Some(0));
}

#[test]
fn shutdown_takes_no_parameters_or_null() {
    let mut client = ready();
    client.write_body(r#"{"jsonrpc":"2.0","id":900,"method":"shutdown"}"#);
    assert_eq!(client.answer_to(&json!(900))["result"], Value::Null);
    client.write_body(r#"{"jsonrpc":"2.0","method":"exit"}"#);
    assert_eq!(client.exit_code(), Some(0));
}

#[test]
fn shutdown_and_exit_in_one_write_are_both_heard() {
    let mut client = ready();
    client.write(format!(
        "{}{}",
        framed(r#"{"jsonrpc":"2.0","id":900,"method":"shutdown","params":null}"#),
        framed(r#"{"jsonrpc":"2.0","method":"exit","params":null}"#)
    ));
    assert_eq!(client.answer_to(&json!(900))["result"], Value::Null);
    assert_eq!(client.exit_code(), Some(0));
}

#[test]
fn exit_without_shutdown_is_code_1() {
    let mut client = ready();
    client.notify("exit", &Value::Null);
    assert_eq!(client.exit_code(), Some(1));

    let mut client = LspClient::start();
    client.notify("exit", &Value::Null);
    assert_eq!(client.exit_code(), Some(1));
}

#[test]
fn an_input_that_ends_is_code_1_wherever_it_ends() {
    for last in [
        "",
        "\r\n",
        "Content-Le",
        "Content-Length: 10\r\n\r\n{",
        "Content-Length: 99999999999\r\n\r\n{",
    ] {
        let mut client = ready();
        client.write(last);
        client.close_input();
        assert_eq!(client.exit_code(), Some(1), "{last:?}");
    }
    let mut client = ready();
    client.request("shutdown", &Value::Null).unwrap();
    client.close_input();
    assert_eq!(client.exit_code(), Some(1), "exit was never sent");
}

#[test]
fn what_was_asked_before_the_end_of_the_input_is_still_answered() {
    let mut client = ready();
    for id in 900..950 {
        client.write_body(request(id));
    }
    client.close_input();
    for id in 900..950 {
        assert_eq!(code_of(&client.answer_to(&json!(id))), -32601);
    }
    assert_eq!(client.exit_code(), Some(1));
}

#[test]
fn an_output_that_nobody_holds_any_more_ends_the_server() {
    let mut client = ready();
    client.close_output();
    // The first answer is still read; one of the next finds nobody, and then the input is closed too.
    let asked = Instant::now();
    while client.try_write(framed(&request(900))).is_ok() {
        assert!(asked.elapsed() < LIMIT, "the server does not notice");
    }
    assert_eq!(client.exit_code(), Some(1));
}

#[expect(clippy::disallowed_methods, reason = "an editor that can die is needed")]
fn editor() -> Child {
    Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn the_server_ends_with_its_editor_although_the_input_stays_open() {
    let mut editor = editor();
    let mut client = LspClient::start();
    client.initialize_with(&json!({ "processId": editor.id(), "capabilities": {} }));
    assert_alive(&mut client);
    editor.kill().unwrap();
    editor.wait().unwrap();
    assert_eq!(client.exit_code(), Some(1));
}

#[test]
fn an_editor_that_is_dead_already_is_noticed_at_once() {
    let mut editor = editor();
    editor.kill().unwrap();
    editor.wait().unwrap();
    let mut client = LspClient::start();
    let params = json!({ "processId": editor.id(), "capabilities": {} });
    let _initialize = client.begin("initialize", &params);
    assert_eq!(client.exit_code(), Some(1));
}
