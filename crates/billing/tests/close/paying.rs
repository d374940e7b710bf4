//! Paying: what the consumers do with the gateway's answers, without a gateway.

use billing::credit::{self, NewCredit};
use billing::dunning;
use billing::gateway::{RefundVerdict, Verdict};
use billing::ids::{AccountId, CreditId, InvoiceId, PaymentId, RefundId};
use billing::money::{Currency, Money};
use billing::payment::{self, ByHand, Decision, Outcome};
use billing::payment_method::{self, NewPaymentMethod};
use billing::refund::{self, Departure, NewRefund};
use chrono::{DateTime, TimeDelta, Utc};

use crate::books::Books;

pub(crate) fn money(minor: i64, code: &str) -> Money {
    Money::new(minor, Currency::parse(code).unwrap())
}

pub(crate) fn captured(money: Money) -> Outcome {
    let gateway_ref = "ch_1".to_owned();
    Outcome::Verdict(Verdict::Captured { gateway_ref, money })
}

pub(crate) fn declined(is_soft: bool) -> Outcome {
    Outcome::Verdict(Verdict::Declined {
        gateway_ref: None,
        code: "do_not_honor".to_owned(),
        is_soft,
    })
}

fn now() -> DateTime<Utc> {
    outbox::clock::now()
}

impl Books {
    pub(crate) async fn card(&self, account: AccountId, token: &str) {
        let card = NewPaymentMethod {
            account,
            gateway: "sim".to_owned(),
            token: token.to_owned(),
            brand: "Visa".to_owned(),
            last_four: "4242".to_owned(),
        };
        let mut tx = self.begin().await;
        payment_method::add(&mut tx, card, now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The newest invoice of an account.
    pub(crate) async fn invoice(&self, account: AccountId) -> InvoiceId {
        let id = uuid::Uuid::from(account);
        let sql = format!(
            "select invoice_id from billing.invoice where account_id = '{id}'
            order by number desc limit 1"
        );
        let answer = self.ask(&sql).await;
        answer.parse::<uuid::Uuid>().unwrap().into()
    }

    pub(crate) async fn decide(&self, invoice: InvoiceId) -> Decision {
        let mut tx = self.begin().await;
        let wanted = [(invoice, outbox::ids::new())];
        let mut decisions = payment::decide_all(&mut tx, &wanted, now()).await.unwrap();
        tx.commit().await.unwrap();
        decisions.remove(0)
    }

    /// Whether it may be called.
    pub(crate) async fn depart(&self, payment: PaymentId) -> bool {
        let mut tx = self.begin().await;
        let leaving = [(payment, now() + TimeDelta::hours(20))];
        let gone = payment::depart_all(&mut tx, &leaving, now()).await.unwrap();
        tx.commit().await.unwrap();
        gone == [payment]
    }

    pub(crate) async fn told(&self, payment: PaymentId, outcome: Outcome) {
        let mut tx = self.begin().await;
        let outcomes = [(payment, outcome)];
        payment::settle_all(&mut tx, &outcomes, now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// A charge that is sent and has no answer yet.
    pub(crate) async fn sent(&self, invoice: InvoiceId) -> PaymentId {
        let Decision::Charge(attempt) = self.decide(invoice).await else {
            panic!("nothing is charged");
        };
        assert!(self.depart(attempt.payment).await);
        attempt.payment
    }

    /// A charge that was declined, and what follows.
    pub(crate) async fn refused(&self, account: AccountId, is_soft: bool) {
        let invoice = self.invoice(account).await;
        let payment = self.sent(invoice).await;
        self.told(payment, declined(is_soft)).await;
        let refused = dunning::Declined {
            payment,
            account,
            invoice,
            is_soft,
        };
        let mut tx = self.begin().await;
        let obsolete = dunning::escalate(&mut tx, refused, now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(obsolete, None);
    }

    pub(crate) async fn grant(&self, account: AccountId, money: Money) {
        let reason = "a good customer".to_owned();
        let mut tx = self.begin().await;
        let new = NewCredit {
            credit: CreditId::new(),
            account,
            money,
            reason,
        };
        credit::grant(&mut tx, new, now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn by_hand(&self, account: AccountId, money: Money) {
        let by_hand = ByHand {
            payment: PaymentId::new(),
            account,
            invoice: Some(self.invoice(account).await),
            money,
            note: "bank statement 7".to_owned(),
        };
        let mut tx = self.begin().await;
        payment::record(&mut tx, by_hand, now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Money that the gateway gave back.
    pub(crate) async fn refunded(&self, payment: PaymentId, money: Money) {
        let new = NewRefund {
            refund: RefundId::new(),
            payment,
            money,
            reason: "the machine was down".to_owned(),
        };
        let gateway_ref = "re_1".to_owned();
        let verdict = RefundVerdict::GivenBack { gateway_ref, money };
        let outcome = (new.refund, refund::Outcome::Verdict(verdict));
        let mut tx = self.begin().await;
        refund::request(&mut tx, new, now()).await.unwrap();
        let sent = refund::depart_all(&mut tx, &[outcome.0], now()).await;
        assert!(matches!(sent.unwrap()[..], [Departure::Send(_)]));
        refund::settle_all(&mut tx, &[outcome], now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// The amount of an account's book, in minor units.
    pub(crate) async fn balance(&self, account: AccountId, book: &str) -> i64 {
        let id = uuid::Uuid::from(account);
        let sql = format!(
            "select coalesce(sum(amount_minor), 0) from billing.balance
            where account_id = '{id}' and book = '{book}'"
        );
        self.ask(&sql).await.parse().unwrap()
    }
}
