//! Frames that are wrong in every way.

use super::*;

#[test]
fn header_names_in_any_case_and_other_headers_are_accepted() {
    let mut client = ready();
    let body = request(900);
    let length = body.len();
    for (n, header) in [
        format!("content-length: {length}\r\n"),
        format!("CONTENT-LENGTH:{length}\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n"),
        format!("X-Unknown: 1\r\nContent-Length:   {length}  \r\nno colon at all\r\n"),
        format!("\r\n\r\n\nContent-Length: {length}\n"),
    ]
    .into_iter()
    .enumerate()
    {
        client.write(format!("{header}\r\n{body}"));
        assert_eq!(code_of(&client.answer_to(&json!(900))), -32601, "header {n}");
    }
}

#[test]
fn a_message_may_come_byte_by_byte() {
    let mut client = ready();
    for byte in framed(&request(900)).bytes() {
        client.write([byte]);
    }
    assert_eq!(code_of(&client.answer_to(&json!(900))), -32601);
}

#[test]
fn bodies_that_are_not_json_are_complained_about_and_the_server_lives() {
    let mut client = ready();
    let too_deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{}{}}}"#,
        "[".repeat(128),
        "]".repeat(128)
    );
    for body in [
        &b""[..],
        b"{",
        b"{nope}",
        b"{} {}",
        b"\xff\xfe{}",
        b"{\"jsonrpc\":\"2.0\xc3\"}",
        too_deep.as_bytes(),
    ] {
        client.write_body(body);
        assert_eq!(
            client.expect_complaint().code,
            -32700,
            "{}",
            String::from_utf8_lossy(body)
        );
        assert_alive(&mut client);
    }
    client.write_body("[".repeat(1 << 20));
    assert_eq!(client.expect_complaint().code, -32700);
    assert_alive(&mut client);
}

#[test]
fn nesting_to_the_limit_is_accepted() {
    let mut client = ready();
    let nested = format!("{}{}", "[".repeat(127), "]".repeat(127));
    client.write_body(format!(
        r#"{{"jsonrpc":"2.0","id":900,"method":"no/such/method","params":{nested}}}"#
    ));
    assert_eq!(code_of(&client.answer_to(&json!(900))), -32601);
}

#[test]
fn json_that_is_no_message_is_an_invalid_request() {
    let mut client = ready();
    let message = request(900);
    for body in [
        "[]".to_owned(),
        format!("[{message}]"),
        format!("[{message},{message}]"),
        "null".to_owned(),
        "42".to_owned(),
        "{}".to_owned(),
        r#"{"id":1,"method":"shutdown"}"#.to_owned(),
        r#"{"jsonrpc":"1.0","id":1,"method":"shutdown"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":null}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1.5,"method":"shutdown"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":{},"method":"shutdown"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":null,"method":"shutdown"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"shutdown"}"#.to_owned(),
    ] {
        client.write_body(&body);
        assert_eq!(client.expect_complaint().code, -32600, "{body}");
    }
    assert_alive(&mut client);
}

#[test]
fn answers_that_nobody_waits_for_are_ignored() {
    let mut client = ready();
    for body in [
        r#"{"jsonrpc":"2.0","id":77,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"no"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}"#,
    ] {
        client.write_body(body);
    }
    assert_alive(&mut client);
}

#[test]
fn after_a_bad_header_the_next_message_is_found() {
    let mut client = ready();
    let many_headers = format!("{}\r\n", "X-Padding: yes\r\n".repeat(2000));
    let endless_header = "x".repeat(100_000);
    for (bad, complaints) in [
        ("Content-Type: x\r\n\r\n{\"a\":1}", 1),
        ("Content-Length: many\r\n\r\n{}", 1),
        ("Content-Length: -3\r\n\r\n{}", 1),
        ("Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 1),
        ("Hello, is anybody there?\r\n\r\n", 1),
        (many_headers.as_str(), 1),
        (endless_header.as_str(), 1),
        // Too short: what is left of the body stands in front of the next header.
        ("Content-Length: 3\r\n\r\n{\"a\":1}", 2),
    ] {
        client.write(format!("{bad}{}", framed(&request(900))));
        assert_eq!(code_of(&client.answer_to(&json!(900))), -32601, "{bad:.60}");
        for _ in 0..complaints {
            assert_eq!(client.expect_complaint().code, -32700, "{bad:.60}");
        }
    }
    assert_alive(&mut client);
}

#[test]
fn a_length_that_is_too_large_costs_nothing_once_the_next_message_comes() {
    let mut client = ready();
    let (first, second) = (request(901), request(902));
    client.write(format!(
        "Content-Length: {}\r\n\r\n{first}{}",
        first.len() + 40,
        framed(&second)
    ));
    assert_eq!(code_of(&client.answer_to(&json!(901))), -32601);
    assert_eq!(code_of(&client.answer_to(&json!(902))), -32601);
}

#[test]
fn a_huge_length_that_is_a_lie_is_an_invalid_request() {
    let mut client = ready();
    for announced in [
        "67108865",
        "900000000",
        "18446744073709551615",
        "99999999999999999999999999",
    ] {
        client.write(format!("Content-Length: {announced}\r\n\r\n"));
        assert_eq!(client.expect_complaint().code, -32600, "{announced}");
        assert_alive(&mut client);
    }
}

#[test]
fn a_body_at_the_limit_is_taken_and_one_over_it_read_away() {
    const BODY_BYTES_MAX: usize = 64 << 20;
    let mut client = ready();
    let body_of = |bytes: usize| {
        let frame = r#"{"jsonrpc":"2.0","id":900,"method":"no/such/method","params":[""]}"#;
        frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len())))
    };
    client.write_body(body_of(BODY_BYTES_MAX));
    assert_eq!(code_of(&client.answer_to(&json!(900))), -32601);
    client.write_body(body_of(BODY_BYTES_MAX + 1));
    assert_eq!(client.expect_complaint().code, -32600);
    assert_alive(&mut client);
}

#[test]
fn a_stream_that_makes_no_sense_any_more_ends_with_code_1_and_a_reason() {
    let mut client = ready();
    // The server may leave before it has read all of it.
    let _ = client.try_write(vec![b'x'; 3 << 20]);
    assert_eq!(client.exit_code(), Some(1));
    assert!(client.log().contains("the stream is lost"), "{}", client.log());
}

#[test]
fn the_log_holds_nothing_of_what_was_in_a_bad_body() {
    let mut client = ready();
    client.write_body("{ my secret token");
    client.expect_complaint();
    assert_alive(&mut client);
    assert!(!client.log().contains("secret"), "{}", client.log());
}
