//! Input that nobody who means well sends.

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use outbox::Origin;
use serde_json::{Value, json};
use testkit::until;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{exchange, post};
use crate::scene::{PATIENCE, Scene, wanted};

/// Words that only our inside knows.
const INSIDE: &[&str] = &[
    "select ",
    "insert ",
    "sqlx",
    "postgres",
    ".rs",
    "panicked",
    "/src",
    "NewAccountBody",
];

#[tokio::test]
async fn a_value_that_cannot_be_stored_is_refused_with_its_field_named() {
    let scene = Scene::new().await;
    let long = "x".repeat(501);
    for (field, value) in [
        ("external_id", "a\0b"),
        ("external_id", ""),
        ("external_id", "two\nlines"),
        ("name", "\u{7f}"),
        ("name", &long),
        ("currency", "eur"),
        ("currency", "XXX"),
        ("currency", "\0"),
        ("zone", "Mars/Olympus"),
        ("zone", "../../etc/passwd"),
    ] {
        let mut body: Value = serde_json::from_str(&wanted("acme")).unwrap();
        body[field] = json!(value);

        let answer = scene.post("", &body.to_string()).await;

        assert_eq!(
            (answer.status, answer.field("field")),
            (422, field.to_owned()),
            "{value:?}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    assert_eq!(scene.count("billing.account").await, 0);
}

#[tokio::test]
async fn a_body_of_another_shape_is_refused() {
    let scene = Scene::new().await;
    let good = wanted("acme");
    let with = |more: &str| good.replacen('{', &format!("{{{more},"), 1);
    for (body, status, field) in [
        (good.replace("Acme", r"\ud800"), 422, "name"),
        (
            with(r#""account_id":"0192f3a1-0000-7000-8000-000000000001""#),
            422,
            "account_id",
        ),
        (with(r#""status":"closed""#), 422, "status"),
        (with(r#""name":"twice""#), 422, "name"),
        (r#"{"external_id":"acme"}"#.to_owned(), 422, "name"),
        (r#"{"external_id":1e400}"#.to_owned(), 422, "external_id"),
        (
            r#"{"external_id":{"$ne":null}}"#.to_owned(),
            422,
            "external_id",
        ),
        (r#"["acme","Acme","EUR","UTC"]"#.to_owned(), 422, ""),
        ("null".to_owned(), 422, ""),
        (format!("{good}{good}"), 400, ""),
        (good.replace("Acme", "raw \0 NUL"), 400, ""),
        ("[".repeat(200_000), 422, ""),
        (format!(r#"{{"x":{}"#, "[".repeat(200_000)), 422, "x"),
        (String::new(), 400, ""),
    ] {
        let answer = scene.post("", &body).await;

        let shown = &body[..body.len().min(120)];
        assert_eq!(
            (answer.status, answer.field("field").as_str()),
            (status, field),
            "{shown}"
        );
    }
    assert_eq!(scene.count("billing.account").await, 0);
}

#[tokio::test]
async fn no_answer_tells_of_our_inside() {
    let scene = Scene::new().await;
    scene.create("acme").await;
    let hostile = [
        "'\";--",
        "%00",
        "%ff",
        "1' or '1'='1",
        "..%2F..%2Fetc%2Fpasswd",
        "%F0%9F%92%A9",
        "-1",
        "99999999999999999999",
        "INV--1",
        "NaN",
        "{}",
        "acc_",
        "%E2%80%AE",
    ];
    for text in hostile {
        let text = text.replace(' ', "%20");
        for target in [
            format!("/v1/accounts/{text}"),
            format!("/v1/accounts/{text}/history"),
            format!("/v1/accounts?after={text}"),
            format!("/v1/accounts?limit={text}"),
            format!("/v1/accounts/acme/history?after={text}"),
            format!("/v1/accounts/{text}/credits"),
            format!("/v1/accounts/acme/credits?after={text}"),
            format!("/v1/accounts/{text}/payments"),
            format!("/v1/accounts/acme/payments?after={text}"),
            format!("/v1/accounts/{text}/payment-methods"),
            format!("/v1/accounts/acme/payment-methods?limit={text}"),
            format!("/v1/accounts/{text}/notices"),
            format!("/v1/accounts/acme/notices?after={text}"),
            format!("/v1/gateways/{text}/webhooks"),
            format!("/v1/invoices?month={text}"),
            format!("/v1/invoices?account={text}"),
            format!("/v1/invoices?after={text}"),
            format!("/v1/invoices/{text}"),
            format!("/v1/invoices/{text}/document"),
            format!("/v1/reports/{text}"),
            format!("/{text}"),
        ] {
            let answer = scene.get(&target).await;

            assert!((200..500).contains(&answer.status), "{target}: {answer:?}");
            let told = INSIDE.iter().find(|word| answer.body.contains(**word));
            assert_eq!(told, None, "{target}: {answer:?}");
        }
        let forged = format!("/v1/gateways/{text}/webhooks");
        assert_eq!(scene.send(&post(&forged, "", "{}")).await.status, 404);
    }
}

#[tokio::test]
async fn headers_that_could_not_be_kept_are_refused() {
    let scene = Scene::new().await;
    let long = "x".repeat(201);
    for (header, value) in [
        ("X-Request-Id", "nope"),
        ("X-Request-Id", "'; drop table"),
        ("X-Actor", ""),
        ("X-Actor", " \t "),
        ("X-Actor", &long),
    ] {
        let answer = scene
            .post(&format!("{header}: {value}\r\n"), &wanted("acme"))
            .await;

        assert_eq!(
            (answer.status, answer.field("field")),
            (422, header.to_owned()),
            "{value:?}"
        );
        assert!(answer.header("x-request-id").is_some());
    }
    assert_eq!(scene.count("billing.account").await, 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_without_being_read_to_its_end() {
    let scene = Scene::new().await;
    let name = "x".repeat(256 * 1024 + 1);
    let known = scene.post("", &name).await;
    assert_eq!(known.status, 413);

    // Without a length, in pieces, for ever.
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    let head = "POST /v1/accounts HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let mut sent = 0;
    while stream.write_all(piece.as_bytes()).await.is_ok() {
        sent += piece.len();
        assert!(sent < 64 << 20, "the server reads on");
    }
}

#[tokio::test]
async fn clients_that_never_finish_keep_nobody_out() {
    let scene = Scene::new().await;
    let half = post("/v1/accounts", "", &wanted("slow"));
    let mut open = Vec::new();
    for n in 0..400 {
        let mut stream = TcpStream::connect(scene.address).await.unwrap();
        // Half of them stop within their headers, half within their bodies.
        let cut = if n % 2 == 0 { 30 } else { half.len() - 5 };
        stream.write_all(&half[..cut]).await.unwrap();
        open.push(stream);
    }

    for n in 0..30 {
        assert_eq!(scene.create(&format!("customer-{n}")).await.status, 201);
    }

    // Each is turned away in the end, and nothing came of it.
    let last = open.pop().unwrap();
    until("the server to close", PATIENCE, async || {
        matches!(last.try_read(&mut [0; 1024]), Ok(0)).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(
        scene
            .count("billing.account where external_id = 'slow'")
            .await,
        0
    );
}

#[tokio::test]
async fn more_requests_than_places_are_turned_away_at_once() {
    let scene = Scene::new().await;
    // An account that is being created elsewhere: whoever wants it too has to wait.
    let mut elsewhere = scene.outbox.begin(Origin::of("tester")).await.unwrap();
    let new = billing::account::NewAccount {
        external_id: "acme".to_owned(),
        name: "Acme".to_owned(),
        currency: billing::money::Currency::parse("EUR").unwrap(),
        zone: billing::account::parse_zone("UTC").unwrap(),
    };
    billing::account::create(&mut elsewhere, new, outbox::clock::now())
        .await
        .unwrap();
    let (address, request) = (scene.address, post("/v1/accounts", "", &wanted("acme")));
    let one_too_many = (0..=64).map(|_| exchange(address, &request));
    let mut answers: FuturesUnordered<_> = one_too_many.collect();

    let first = answers.next().await.flatten().unwrap();
    elsewhere.rollback().await.unwrap();
    let others: Vec<_> = answers.collect().await;

    assert_eq!(
        (first.status, first.header("retry-after")),
        (503, Some("1"))
    );
    let created = others
        .iter()
        .flatten()
        .filter(|answer| answer.status == 201);
    assert_eq!((created.count(), others.len()), (1, 64));
    assert_eq!(scene.get("/v1/accounts/acme").await.status, 200);
}
