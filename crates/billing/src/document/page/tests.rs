//! What a customer reads.

use insta::assert_snapshot;

use super::*;
use crate::ids::InvoiceId;
use uuid::Uuid;

fn dec(digits: &str) -> Decimal {
    digits.parse().unwrap()
}

fn day_of(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn line(code: &str, quantity: &str, price: Option<&str>, amount: Money) -> FrozenLine {
    let unit_price = price.map(dec);
    let minor = Decimal::from_i128_with_scale(amount.minor().into(), amount.currency().exponent());
    FrozenLine {
        description: format!("What {code} is"),
        price_code: code.to_owned(),
        unit: "hours".to_owned(),
        unit_price,
        usage_month: day_of("2024-09-01"),
        quantity: dec(quantity),
        exact: unit_price.map_or(minor, |price| dec(quantity) * price),
        amount,
    }
}

fn invoice(lines: Vec<FrozenLine>) -> FrozenInvoice {
    let currency = lines.first().map_or_else(
        || Currency::parse("EUR").unwrap(),
        |line| line.amount.currency(),
    );
    let total = lines.iter().map(|line| line.amount.minor()).sum();
    FrozenInvoice {
        invoice_id: InvoiceId::from(Uuid::nil()),
        series: "INV".to_owned(),
        number: 1,
        external_id: "acct-17".to_owned(),
        customer_name: "Müller & Söhne".to_owned(),
        zone: chrono_tz::Europe::Helsinki,
        month: day_of("2024-09-01"),
        start_at: "2024-08-31T21:00:00Z".parse().unwrap(),
        end_at: "2024-09-30T21:00:00Z".parse().unwrap(),
        as_of: "2024-10-01T00:00:00Z".parse().unwrap(),
        currency,
        subtotal: Money::new(total, currency),
        tax: Money::zero(currency),
        total: Money::new(total, currency),
        credit: Money::zero(currency),
        lines,
    }
}

fn money(minor: i64, code: &str) -> Money {
    Money::new(minor, Currency::parse(code).unwrap())
}

/// The page below its head, which holds nothing but the style.
fn body(invoice: &FrozenInvoice) -> String {
    let page = render(invoice);
    page.split_once("<body>").unwrap().1.to_owned()
}

/// The text of the cells, a row a line.
fn cells(invoice: &FrozenInvoice) -> String {
    let body = body(invoice);
    let rows = body.split("<tr>").skip(2).map(|row| {
        let figures = row.split("class=\"figure\">").skip(1);
        figures
            .map(|cell| cell.split('<').next().unwrap())
            .collect::<Vec<_>>()
            .join(" | ")
    });
    rows.filter(|row| !row.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Late usage, a passed-through amount, and an address without charge.
fn mixed() -> FrozenInvoice {
    let late = FrozenLine {
        usage_month: day_of("2024-08-01"),
        ..line("disk", "0.5", Some("0.01"), money(1, "EUR"))
    };
    invoice(vec![
        line("server", "100672", Some("0.00744"), money(74_900, "EUR")),
        line("address", "3", Some("0"), money(0, "EUR")),
        line("licence", "0", None, money(1_250, "EUR")),
        late,
    ])
}

#[test]
fn the_head_names_the_customer_the_period_and_the_instant() {
    let page = body(&mixed());
    let head = page.split_once("<main>").unwrap().0;

    assert_snapshot!(head, @r#"
    <header>
    <h1>Invoice</h1>
    <p>
    <span class="number">INV-000001</span><br>
    <span class="muted">As of 2024-10-01 03:00:00 EEST</span>
    </p>
    </header>
    <section class="facts">
    <dl>
    <dt>Billed to</dt>
    <dd class="customer"><bdi>Müller &#38; Söhne</bdi></dd>
    <dt>Account</dt>
    <dd><bdi>acct-17</bdi></dd>
    </dl>
    <dl>
    <dt>Period</dt>
    <dd>
    1 September 2024 to 30 September 2024<br>
    <span class="muted">Days of the time zone Europe/Helsinki</span>
    </dd>
    <dt>Currency</dt>
    <dd>EUR</dd>
    </dl>
    </section>
    "#);
}

#[test]
fn the_lines_show_what_was_used_and_how_the_amounts_came_about() {
    let page = body(&mixed());
    let lines = page.split_once("<tbody>").unwrap().1;
    let lines = lines.split_once("</main>").unwrap().0;

    assert_snapshot!(lines, @r#"
    <tr>
    <td><bdi>What server is</bdi><span class="code"><bdi>server</bdi></span></td>
    <td class="figure">100,672<span class="code"><bdi>hours</bdi></span></td>
    <td class="figure">0.00744</td>
    <td class="figure">748.99968</td>
    <td class="figure">749.00</td>
    </tr>
    <tr>
    <td><bdi>What licence is</bdi><span class="code"><bdi>licence</bdi></span></td>
    <td class="figure"><span class="code"><bdi></bdi></span></td>
    <td class="figure"></td>
    <td class="figure">12.50</td>
    <td class="figure">12.50</td>
    </tr>
    <tr>
    <td><bdi>What disk is</bdi><span class="code"><bdi>disk</bdi> · used in August 2024</span></td>
    <td class="figure">0.5<span class="code"><bdi>hours</bdi></span></td>
    <td class="figure">0.01</td>
    <td class="figure">0.005</td>
    <td class="figure">0.01</td>
    </tr>
    </tbody>
    <tfoot>
    <tr><td colspan="5">1 line without charge is not listed.</td></tr>
    </tfoot>
    </table>
    <table class="sums">
    <tbody>
    <tr><td>Subtotal</td><td class="figure">761.51</td></tr>
    <tr><td>Tax</td><td class="figure">0.00</td></tr>
    <tr class="total"><td>Total</td><td class="figure">EUR 761.51</td></tr>
    </tbody>
    </table>
    <p class="outcome">Due: EUR 761.51</p>
    "#);
}

#[test]
fn the_same_invoice_gives_the_same_bytes() {
    let invoice = invoice(vec![line(
        "server",
        "672",
        Some("0.00744"),
        money(500, "EUR"),
    )]);

    assert_eq!(render(&invoice), render(&invoice.clone()));
}

#[test]
fn a_name_cannot_become_markup() {
    let script = "<script>alert('1')</script>\"&";
    let mut hostile = invoice(vec![line("server", "1", Some("1"), money(100, "EUR"))]);
    hostile.customer_name = script.to_owned();
    hostile.external_id = script.to_owned();
    hostile.series = script.to_owned();
    hostile.lines[0].description = script.to_owned();
    hostile.lines[0].price_code = script.to_owned();
    hostile.lines[0].unit = script.to_owned();

    let page = render(&hostile);

    assert!(!page.contains("<script"));
    assert!(!page.contains("alert('"));
    assert_eq!(page.matches("&#60;script&#62;alert(").count(), 7);
}

#[test]
fn a_page_loads_nothing() {
    let page = render(&invoice(vec![line(
        "server",
        "1",
        Some("1"),
        money(100, "EUR"),
    )]));

    for source in ["src=", "href=", "url(", "@import", "http:", "https:"] {
        assert!(!page.contains(source), "{source}");
    }
}

#[test]
fn figures_have_the_decimals_of_their_currency() {
    let of =
        |quantity, price, amount| cells(&invoice(vec![line("x", quantity, Some(price), amount)]));

    assert_snapshot!(of("1", "0.005", money(1, "USD")), @r"
    1 | 0.005 | 0.005 | 0.01
    0.01
    0.00 | USD 0.01
    ");
    assert_snapshot!(of("1", "2564.5", money(2565, "JPY")), @r"
    1 | 2,564.5 | 2,564.5 | 2,565
    2,565
    0 | JPY 2,565
    ");
    assert_snapshot!(of("1", "1.2345", money(1235, "KWD")), @r"
    1 | 1.2345 | 1.2345 | 1.235
    1.235
    0.000 | KWD 1.235
    ");
}

#[test]
fn the_outcome_follows_from_the_total() {
    let outcomes = [1_234_567, 0, -5].map(|minor| outcome(money(minor, "USD"), money(0, "USD")));

    assert_snapshot!(outcomes.join("\n"), @r"
    Due: USD 12,345.67
    Paid: nothing is due.
    Nothing is due: USD 0.05 goes to your account's credit.
    ");
}

#[test]
fn an_invoice_without_charges_says_so() {
    let free = vec![line("address", "3", Some("0"), money(0, "EUR"))];
    let page = render(&invoice(free));

    assert!(page.contains("Nothing was charged in this period."));
    assert!(page.contains("1 line without charge is not listed."));
    assert!(page.contains("Paid: nothing is due."));
}

#[test]
fn a_period_shows_its_days_in_the_accounts_zone() {
    let page = render(&invoice(Vec::new()));

    assert!(page.contains("1 September 2024 to 30 September 2024"));
    assert!(page.contains("As of 2024-10-01 03:00:00 EEST"));
}

#[test]
fn credit_that_was_used_is_shown_and_lowers_what_is_due() {
    let mut invoice = invoice(vec![line("vm", "10", Some("1.00"), money(1000, "EUR"))]);
    invoice.credit = money(250, "EUR");

    let page = render(&invoice);

    assert!(page.contains("<td>Paid from your credit</td><td class=\"figure\">-2.50</td>"));
    assert!(page.contains("Due: EUR 7.50"));
    invoice.credit = invoice.total;
    assert!(render(&invoice).contains("nothing is due"));
}
