use super::*;

fn answer() -> Reply {
    Reply::Stream(testing::events(&[
        json!({"type": "message_start", "message": {"model": "model-of-anthropic", "usage": {"input_tokens": 1_000, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "fine"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 200}}),
        json!({"type": "message_stop"}),
    ]))
}

fn over_http(server: &Server) -> Stage {
    let mut settings = testing::settings(ProviderKind::Anthropic, &server.url);
    settings.deadlines.headers = Duration::from_millis(300);
    settings.models = provider_settings("anthropic").models;
    let provider = provider::build(&settings, &Http::new().expect("client")).expect("provider");
    let retry = RetrySettings {
        initial_ms: 5,
        max_ms: 20,
        ..RetrySettings::default()
    };
    stage_with(
        RouterSettings {
            retry,
            ..RouterSettings::default()
        },
        vec![(settings, provider)],
    )
}

#[tokio::test]
async fn faults_of_a_real_server_are_overcome_and_paid_for_exactly() {
    let half = testing::events(&[
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 1_000, "output_tokens": 1}}}),
    ]);
    let busy = json!({"error": {"type": "rate_limit_error", "message": "slow down"}}).to_string();
    let worst_case = |entry: &limits::Entry| entry.hold.amount;
    for (fault, cost_of_fault) in [
        (Reply::Status(500, vec![], String::new()), Some(Money::ZERO)),
        (
            Reply::Status(429, vec![("retry-after-ms", "40".to_owned())], busy),
            Some(Money::ZERO),
        ),
        (
            Reply::Cut(half),
            Some(Money::from_pico(1_000 * 3_000_000 + 15_000_000)),
        ),
        (Reply::Stream(vec!["data: {nonsense\n\n".to_owned()]), None),
        (Reply::Never, None),
    ] {
        let server = Server::start(judge_messages, vec![fault.clone(), answer()]).await;
        let stage = over_http(&server);
        let answer = stage
            .call(1, Some(Money::from_dollars(5)))
            .await
            .unwrap_or_else(|failure| panic!("{fault:?}: {failure:?}"));
        assert_eq!(answer.response.text(), "fine");
        assert_eq!(server.requests().len(), 2, "{fault:?}");
        let first = stage.limits.entries()[0].clone();
        let cost = first.settled.expect("settled").cost;
        match (&fault, cost_of_fault) {
            (_, Some(expected)) => assert_eq!(cost, expected, "{fault:?}"),
            (Reply::Never, None) => assert_eq!(cost, worst_case(&first), "unknown: all that was held"),
            _ => assert!(
                cost >= Money::from_pico(1_000 * 3_750_000),
                "at least the input: {fault:?}"
            ),
        }
        assert_eq!(stage.limits.spent(), cost.plus(answer.cost));
    }
}

#[tokio::test]
async fn a_check_tells_a_rejected_key_plainly_and_spends_next_to_nothing() {
    let rejected =
        json!({"error": {"type": "authentication_error", "message": "invalid x-api-key"}}).to_string();
    let server = Server::start(
        judge_messages,
        vec![Reply::Status(401, vec![], rejected), answer()],
    )
    .await;
    let stage = over_http(&server);
    let (owner, repository, cancel) = ("owner".into(), "repository".into(), CancellationToken::new());
    let reports = stage.router.check(None, &owner, &repository, &cancel).await;
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (reports[0].ok, reports[0].code.as_deref()),
        (false, Some("keyRejected"))
    );
    assert_eq!(
        reports[0].hint.as_deref(),
        Some("key rejected: check ANTHROPIC_API_KEY")
    );
    assert!(
        !serde_json::to_string(&reports)
            .expect("JSON")
            .contains(testing::KEY)
    );
    assert_eq!(stage.router.status()[0].health, Health::Blocked);
    assert!(
        stage
            .router
            .check(Some("anthropic"), &owner, &repository, &cancel)
            .await[0]
            .ok
    );
    assert_eq!(
        (stage.router.status()[0].health, stage.limits.reserved()),
        (Health::Ok, Money::ZERO)
    );
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request["max_tokens"] == 16)
    );
}
