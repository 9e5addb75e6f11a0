//! Too much at once, and clients that do not read.

use std::fs;
use std::time::Instant;

use super::*;

#[test]
fn ten_thousand_pipelined_requests_are_answered_once_each() {
    let mut client = ready();
    let pending: Vec<_> = (0..10_000)
        .map(|_| client.begin("no/such/method", &json!({})))
        .collect();
    for request in pending {
        assert_eq!(client.finish(request).unwrap_err().code, -32601);
    }
}

#[test]
fn ids_may_be_numbers_or_texts_and_come_back_as_they_were() {
    let mut client = ready();
    for id in [
        json!(0),
        json!(-5),
        json!(i64::MAX),
        json!(""),
        json!("a\"b"),
        json!("0"),
    ] {
        let pending = client.begin_as(&id, "no/such/method", &json!({}));
        assert_eq!(client.finish(pending).unwrap_err().code, -32601, "{id}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_that_does_not_read_costs_little_memory_and_loses_nothing() {
    let mut client = ready();
    assert_alive(&mut client);
    let before = resident_kilobytes(&client);
    client.stop_reading();
    assert_eq!(
        client
            .begin_as(&json!("last read"), "no/such/method", &json!({}))
            .id(),
        "last read"
    );
    // Given more answers than the pipe and the queue of the server hold; each repeats the name of the method.
    let method = format!("no/{}", "x".repeat(2000));
    let pending: Vec<_> = (0..400).map(|_| client.begin(&method, &json!({}))).collect();
    // when nobody reads them for a while, the server holds what was sent and no more,
    let after = resident_kilobytes(&client);
    assert!(after < before + 20_000, "{before} kB grew to {after} kB");
    // and when they are read, all are there.
    client.read_on();
    for request in pending {
        assert_eq!(client.finish(request).unwrap_err().code, -32601);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_announced_length_is_not_allocated() {
    let mut client = ready();
    assert_alive(&mut client);
    let before = resident_kilobytes(&client);
    client.write("Content-Length: 67108864\r\n\r\n{");
    // The next header shows that the length was a lie; until then the server only waits.
    let after = resident_kilobytes(&client);
    assert!(after < before + 10_000, "{before} kB grew to {after} kB");
    client.write("}");
    assert_alive(&mut client);
    assert_eq!(client.expect_complaint().code, -32600);
}

#[test]
fn a_client_that_never_reads_again_cannot_keep_the_server_alive() {
    let mut client = ready();
    client.stop_reading();
    let method = format!("no/{}", "x".repeat(2000));
    for _ in 0..400 {
        let _never_read = client.begin(&method, &json!({}));
    }
    let asked = Instant::now();
    client.close_input();
    assert_eq!(client.exit_code(), Some(1));
    assert!(asked.elapsed().as_secs() < 10, "it took {:?}", asked.elapsed());
}

#[cfg(target_os = "linux")]
fn resident_kilobytes(client: &LspClient) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", client.process_id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
