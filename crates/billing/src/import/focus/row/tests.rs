//! Rows, good and bad, of a header with a strange order.

use super::*;

const HEADER: [&str; 14] = [
    "Tags",
    "SubAccountName",
    "SubAccountId",
    "SkuPriceId",
    "SkuId",
    "PricingUnit",
    "PricingQuantity",
    "ListUnitPrice",
    "Id",
    "ChargePeriodStart",
    "ChargeDescription",
    "BillingPeriodStart",
    "BillingCurrency",
    "BilledCost",
];
const GOOD: [&str; 14] = [
    "{}",
    "Zenith",
    "43883916739",
    "SKU.1",
    "SKU",
    "Hours",
    "0.00200749000",
    "0.008",
    "19384",
    "2024-09-30 22:00:00",
    "a load balancer",
    "2024-09-01 00:00:00",
    "USD",
    "0.00001605990",
];

fn parse(fields: &[&str]) -> Result<Row, BadRow> {
    let layout = Layout::of(&ByteRecord::from(HEADER.to_vec())).unwrap();
    Row::parse(&ByteRecord::from(fields.to_vec()), 17, &layout)
}

fn with(changes: &[(&str, &str)]) -> Result<Row, BadRow> {
    let mut fields = GOOD;
    for (name, text) in changes {
        let nth = HEADER.iter().position(|column| column == name).unwrap();
        fields[nth] = text;
    }
    parse(&fields)
}

fn problem(column: &str, text: &str) -> String {
    with(&[(column, text)]).unwrap_err().to_string()
}

fn dec(digits: &str) -> Decimal {
    digits.parse().unwrap()
}

#[test]
fn a_row_is_found_by_the_names_of_its_columns() {
    let row = parse(&GOOD).unwrap();

    assert_eq!((row.line, row.event_id.as_str()), (17, "19384"));
    assert_eq!(row.account.external_id, "43883916739");
    assert_eq!(row.account.name, "Zenith");
    assert_eq!(row.account.currency.code(), "USD");
    assert_eq!(row.price.key.code, "SKU.1");
    assert_eq!(row.price.unit, "Hours");
    assert_eq!(row.price.description, "a load balancer");
    assert_eq!(row.month.to_string(), "2024-09-01");
    assert_eq!(row.used_at.to_rfc3339(), "2024-09-30T22:00:00+00:00");
}

#[test]
fn a_cost_that_is_price_times_quantity_is_rated() {
    let row = parse(&GOOD).unwrap();

    assert_eq!(
        row.price.key.model,
        Model::PerUnit {
            unit_price: dec("0.008")
        }
    );
    assert_eq!(
        (row.quantity, row.amount),
        (dec("0.00200749"), Decimal::ZERO)
    );
}

#[test]
fn a_product_is_rated_within_a_billionth() {
    let model = |cost| {
        with(&[("BilledCost", cost)])
            .unwrap()
            .price
            .key
            .model
            .name()
    };

    // 0.008 × 0.00200749 = 0.00001605992
    assert_eq!(model("0.00001606092"), "per_unit");
    assert_eq!(model("0.000016060921"), "pass_through");
    assert_eq!(model("-0.00001605992"), "pass_through");
}

#[test]
fn another_cost_is_passed_through_exactly() {
    let row = with(&[("BilledCost", "-2.61"), ("ListUnitPrice", "NULL")]).unwrap();

    assert_eq!(row.price.key.model, Model::PassThrough);
    assert_eq!(
        (row.quantity, row.amount),
        (dec("0.00200749"), dec("-2.61"))
    );

    let row = with(&[("PricingQuantity", "")]).unwrap();
    assert_eq!(
        (row.quantity, row.amount),
        (Decimal::ZERO, dec("0.0000160599"))
    );
}

#[test]
fn a_row_without_a_price_id_is_priced_by_what_it_has() {
    let code = |changes: &[_]| with(changes).unwrap().price.key.code;

    assert_eq!(code(&[("SkuPriceId", "NULL")]), "SKU");
    assert_eq!(code(&[("SkuPriceId", ""), ("SkuId", "null")]), "other");
}

#[test]
fn an_account_without_a_name_is_named_by_its_id() {
    let row = with(&[("SubAccountName", "NULL")]).unwrap();

    assert_eq!(row.account.name, "43883916739");
}

#[test]
fn the_hash_is_of_what_is_billed_by_and_of_nothing_else() {
    let hash = |changes: &[_]| with(changes).unwrap().body_hash;
    let same = hash(&[]);

    assert_eq!(
        same,
        hash(&[
            ("ListUnitPrice", "8e-3"),
            ("Tags", "x"),
            ("SubAccountName", "x")
        ])
    );
    assert_eq!(
        same,
        hash(&[("ChargePeriodStart", "2024-10-01T00:00:00+02:00")])
    );
    for (column, text) in [
        ("SubAccountId", "4388391673"),
        ("BillingCurrency", "EUR"),
        ("BillingPeriodStart", "2024-08-01 00:00:00"),
        ("SkuPriceId", "SKU.2"),
        ("ChargePeriodStart", "2024-09-30 22:00:01"),
        ("ListUnitPrice", "0.0080001"),
        ("PricingQuantity", "0.002007491"),
        ("BilledCost", "0.0000160599000001"),
    ] {
        if let Ok(row) = with(&[(column, text)]) {
            assert_ne!(same, row.body_hash, "{column}");
        } else {
            assert_eq!(column, "BilledCost");
        }
    }
}

#[test]
fn a_bad_field_is_named_by_line_and_column() {
    assert_eq!(
        problem("BilledCost", "abc"),
        r#"line 17, column BilledCost: "abc" is not a number"#
    );
    assert_eq!(
        problem("BilledCost", "NULL"),
        "line 17, column BilledCost: is empty"
    );
    assert_eq!(
        problem("ListUnitPrice", "1e-13"),
        "line 17, column ListUnitPrice: \"1e-13\" has more than 12 decimals, or more than 16 \
         digits before the point",
    );
    assert_eq!(
        problem("BillingCurrency", "usd"),
        r#"line 17, column BillingCurrency: "usd" is not a currency of ISO 4217, such as USD"#,
    );
    assert_eq!(
        problem("BillingPeriodStart", "2024-09-02 00:00:00"),
        r#"line 17, column BillingPeriodStart: "2024-09-02 00:00:00" is not the start of a month"#,
    );
    assert_eq!(
        problem("ChargePeriodStart", "30.09.2024"),
        "line 17, column ChargePeriodStart: \"30.09.2024\" is no instant such as 2024-09-30 \
         22:00:00",
    );
    assert_eq!(
        problem("ChargePeriodStart", "0224-09-30 22:00:00"),
        "line 17, column ChargePeriodStart: \"0224-09-30 22:00:00\" is no instant such as \
         2024-09-30 22:00:00",
    );
    assert_eq!(problem("Id", " "), "line 17, column Id: is empty");
    assert_eq!(
        problem("SubAccountId", "a\0b"),
        r#"line 17, column SubAccountId: "a\0b" has a control character in it"#,
    );
}

#[test]
fn a_row_of_another_length_is_named_by_its_line() {
    let problem = parse(&GOOD[1..]).unwrap_err().to_string();

    assert_eq!(problem, "line 17: has 13 fields where the header has 14");
}

#[test]
fn bytes_that_are_no_text_are_named() {
    let layout = Layout::of(&ByteRecord::from(HEADER.to_vec())).unwrap();
    let mut record = ByteRecord::new();
    for (name, text) in HEADER.iter().zip(GOOD) {
        record.push_field(if *name == "Id" {
            b"\xff\xfe"
        } else {
            text.as_bytes()
        });
    }

    let problem = Row::parse(&record, 17, &layout).unwrap_err().to_string();

    assert_eq!(problem, "line 17, column Id: is not UTF-8");
}
