//! Where customers are and what they pay with: zones, currencies, cards.

use chrono_tz::Tz;

use super::super::random::Random;

/// Of every hundred customers eighty pay in dollars, twelve in yen, eight in dinars.
const CURRENCIES: [(u64, usize); 3] = [(80, 0), (12, 1), (8, 2)];

/// Clocks that change and clocks that do not, on both halves of the earth; three that are off by
/// parts of an hour.
const WORLD: &[(u64, Tz)] = &[
    (16, Tz::America__New_York),
    (10, Tz::America__Los_Angeles),
    (7, Tz::America__Chicago),
    (6, Tz::America__Sao_Paulo),
    (1, Tz::America__St_Johns),
    (12, Tz::Europe__London),
    (14, Tz::Europe__Berlin),
    (3, Tz::Europe__Budapest),
    (14, Tz::Asia__Kolkata),
    (1, Tz::Asia__Kathmandu),
    (4, Tz::Asia__Singapore),
    (3, Tz::Africa__Lagos),
    (4, Tz::Australia__Sydney),
    (1, Tz::Australia__Adelaide),
    (1, Tz::Pacific__Auckland),
    (3, Tz::UTC),
];
const JAPAN: &[(u64, Tz)] = &[(97, Tz::Asia__Tokyo), (3, Tz::UTC)];
const KUWAIT: &[(u64, Tz)] = &[(95, Tz::Asia__Kuwait), (5, Tz::Asia__Dubai)];

/// What digits are written as.
const LETTERS: [char; 10] = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'];
/// Declined once, then captured: once for each token, so that each card needs one of its own.
const SOFT: &str = "tok_soft_then_ok";

/// What the simulated gateway does with a card is said by its token. Nineteen in twenty are plainly
/// captured; those that cost seconds are one in fifty thousand.
const TOKENS: &[(u64, Option<&str>)] = &[
    (95_400, Some("tok_approve")),
    (1_500, Some(SOFT)),
    (1_000, Some("tok_decline")),
    (1_000, None),
    (400, Some("tok_dup_webhook")),
    (400, Some("tok_early_webhook")),
    (150, Some("tok_lost")),
    (62, Some("tok_500_then_ok")),
    (62, Some("tok_busy_then_ok")),
    (20, Some("tok_wrong_amount")),
    (2, Some("tok_slow")),
    (2, Some("tok_late")),
    (2, Some("tok_timeout_charged")),
];
const BRANDS: &[(u64, &str)] = &[(5, "Visa"), (3, "Mastercard"), (1, "Amex"), (1, "JCB")];

/// A card, as the gateway knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sample) struct Card {
    pub(super) token: &'static str,
    pub(super) brand: &'static str,
    pub(super) last_four: String,
}

impl Card {
    /// What the gateway knows the card of this customer by. Without digits: a seed and a number in
    /// a row are as many as a card's number has, and no token may look like one.
    pub(super) fn token_of(&self, external_id: &str) -> String {
        let lettered = |c: char| c.to_digit(10).map_or(c, |digit| LETTERS[digit as usize]);
        match self.token {
            SOFT => format!(
                "{SOFT}_{}",
                external_id.chars().map(lettered).collect::<String>()
            ),
            shared => shared.to_owned(),
        }
    }
}

/// A currency, by its place in the catalogue, and a zone where it is paid in.
pub(super) fn place(random: &mut Random) -> (usize, Tz) {
    let nth = random.weighted(&CURRENCIES);
    let zones = [WORLD, JAPAN, KUWAIT][nth];
    (nth, random.weighted(zones))
}

/// A card, or none.
pub(super) fn card(random: &mut Random) -> Option<Card> {
    let token = random.weighted(TOKENS)?;
    Some(Card {
        token,
        brand: random.weighted(BRANDS),
        last_four: format!("{:04}", random.within(0..=9_999)),
    })
}
