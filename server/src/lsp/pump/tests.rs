use std::thread;

use super::*;

fn report(percentage: u32) -> Value {
    json!({ "kind": "report", "percentage": percentage })
}

fn drain_now(drain: &Drain) -> Vec<Value> {
    std::iter::from_fn(|| drain.next_now())
        .map(|text| serde_json::from_str(&text).unwrap())
        .collect()
}

fn kinds(messages: &[Value]) -> Vec<String> {
    messages
        .iter()
        .map(|message| {
            let value = &message["params"]["value"];
            match (value["kind"].as_str(), value["percentage"].as_u64()) {
                (Some(kind), Some(percentage)) => format!("{kind} {percentage}"),
                (Some(kind), None) => kind.to_owned(),
                (None, _) => message["id"].to_string(),
            }
        })
        .collect()
}

#[tokio::test]
async fn everything_leaves_in_the_order_in_which_it_was_put_in() {
    let (outbox, drain) = outbox();
    let token = json!("t");
    outbox
        .progress(&token, &json!({ "kind": "begin" }))
        .await
        .unwrap();
    outbox.progress(&token, &report(10)).await.unwrap();
    outbox
        .progress(&token, &json!({ "kind": "clode", "seq": 1 }))
        .await
        .unwrap();
    outbox.progress(&token, &report(20)).await.unwrap();
    outbox.progress(&token, &json!({ "kind": "end" })).await.unwrap();
    outbox.send(&json!({ "id": 1, "result": null })).await.unwrap();
    assert_eq!(
        kinds(&drain_now(&drain)),
        ["begin", "report 10", "clode", "report 20", "end", "1"]
    );
}

#[tokio::test]
async fn of_many_reports_only_the_latest_of_each_token_leaves() {
    let (outbox, drain) = outbox();
    for percentage in 0..100 {
        outbox.progress(&json!("a"), &report(percentage)).await.unwrap();
        outbox.progress(&json!("b"), &report(percentage)).await.unwrap();
    }
    assert_eq!(kinds(&drain_now(&drain)), ["report 99", "report 99"]);
}

#[tokio::test]
async fn a_number_and_a_text_that_look_alike_are_two_tokens() {
    let (outbox, drain) = outbox();
    outbox.progress(&json!(1), &report(1)).await.unwrap();
    outbox.progress(&json!("1"), &report(2)).await.unwrap();
    assert_eq!(kinds(&drain_now(&drain)), ["report 1", "report 2"]);
}

#[tokio::test]
async fn the_last_report_leaves_before_its_end_even_when_it_is_early() {
    let (outbox, drain) = outbox();
    outbox.progress(&json!("t"), &report(1)).await.unwrap();
    assert_eq!(kinds(&drain_now(&drain)), ["report 1"]);
    outbox.progress(&json!("t"), &report(2)).await.unwrap();
    assert_eq!(
        drain_now(&drain),
        Vec::<Value>::new(),
        "two reports within the interval"
    );
    outbox
        .progress(&json!("t"), &json!({ "kind": "end" }))
        .await
        .unwrap();
    assert_eq!(kinds(&drain_now(&drain)), ["report 2", "end"]);
}

#[test]
fn no_more_than_ten_reports_a_second_leave_for_one_token() {
    let mut queue = Queue::new(Duration::from_millis(REPORT_INTERVAL_MS));
    let start = Instant::now();
    let mut left = 0;
    for millisecond in 0..1000 {
        queue.push_report("t".into(), millisecond.to_string());
        if let Next::Message(_) = queue.pop(start + Duration::from_millis(millisecond)) {
            left += 1;
        }
    }
    assert_eq!(left, 10);
}

#[test]
fn a_report_that_had_to_wait_leaves_when_its_time_has_come() {
    let (outbox, drain) = outbox();
    let reports = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            outbox.progress(&json!("t"), &report(1)).await.unwrap();
            outbox.progress(&json!("t"), &report(2)).await.unwrap();
        });
        outbox
    });
    let _outbox = reports.join().unwrap();
    let mut last = Value::Null;
    while last["params"]["value"]["percentage"] != 2 {
        last = serde_json::from_str(&drain.next_blocking().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_reader_that_stands_still_bounds_the_memory_and_loses_no_event() {
    let (outbox, drain) = outbox();
    let writer = outbox.clone();
    let flood = tokio::spawn(async move {
        for seq in 0..2000 {
            writer
                .progress(&json!("events"), &json!({ "kind": "clode", "seq": seq }))
                .await
                .unwrap();
            writer.progress(&json!("work"), &report(seq)).await.unwrap();
        }
    });
    // Given nobody reads, the flood stops when the queue is full.
    let mut waiting = 0;
    while !drain.shared.lock().is_full() {
        tokio::task::yield_now().await;
        waiting += 1;
        assert!(waiting < 1_000_000, "the queue never fills");
    }
    assert!(!flood.is_finished());
    assert!(
        drain.shared.lock().items_len() <= 258,
        "more is queued than the limit allows"
    );
    // When somebody reads again, then every event arrives, in order.
    let mut seen = Vec::new();
    while seen.len() < 2000 {
        for message in drain_now(&drain) {
            if message["params"]["value"]["kind"] == "clode" {
                seen.push(message["params"]["value"]["seq"].as_u64().unwrap());
            }
        }
        tokio::task::yield_now().await;
    }
    flood.await.unwrap();
    assert!(seen.iter().copied().eq(0..2000));
}

#[tokio::test]
async fn a_large_message_fits_and_takes_the_room_of_many() {
    let (outbox, drain) = outbox();
    let large = "x".repeat(QUEUE_BYTES_MAX + 10);
    outbox.try_send(&large).unwrap();
    assert!(matches!(outbox.try_send(&1), Err(NotTaken::Full)));
    drop(drain.next_now().unwrap());
    outbox.try_send(&1).unwrap();
}

#[tokio::test]
async fn when_nobody_writes_any_more_senders_are_told() {
    let (outbox, drain) = outbox();
    let large = "x".repeat(QUEUE_BYTES_MAX);
    outbox.try_send(&large).unwrap();
    let waiting = tokio::spawn({
        let outbox = outbox.clone();
        async move { outbox.send(&1).await }
    });
    tokio::task::yield_now().await;
    drop(drain);
    assert_eq!(waiting.await.unwrap(), Ok(()), "the message was in line already");
    assert_eq!(outbox.send(&1).await, Err(Closed));
    assert!(matches!(outbox.try_send(&1), Err(NotTaken::Closed)));
    assert_eq!(outbox.progress(&json!("t"), &report(1)).await, Err(Closed));
}

#[tokio::test]
async fn what_was_in_line_at_the_close_still_leaves() {
    let (outbox, drain) = outbox();
    outbox.progress(&json!("t"), &report(1)).await.unwrap();
    assert_eq!(kinds(&drain_now(&drain)), ["report 1"]);
    outbox.progress(&json!("t"), &report(2)).await.unwrap();
    outbox.send(&json!({ "id": 1 })).await.unwrap();
    outbox.close();
    assert_eq!(kinds(&drain_now(&drain)), ["report 2", "1"]);
    assert!(drain.next_blocking().is_none());
}
