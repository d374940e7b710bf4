//! Plans and servers in a scene.

use billing::ids::{AccountId, PriceId, SubscriptionId};
use billing::money::Currency;
use billing::price::{self, Model, NewPrice, PriceKey};
use billing::subscription::{self, NewSubscription, SubscriptionError};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::books::Books;

pub(crate) fn at(instant: &str) -> DateTime<Utc> {
    instant.parse().unwrap()
}

pub(crate) fn flat(rate: &str) -> Model {
    Model::Flat {
        unit_price: rate.parse().unwrap(),
    }
}

/// So much an hour, at most so much a month, which 672 hours cost.
pub(crate) fn hourly(rate: &str, monthly: &str) -> Model {
    Model::HourlyCapped {
        unit_price: rate.parse().unwrap(),
        monthly_price: monthly.parse().unwrap(),
        cap_hours: 672,
    }
}

/// One of something, from `start` on.
pub(crate) fn new(
    (account, price): (AccountId, PriceId),
    name: &str,
    start: &str,
) -> NewSubscription {
    NewSubscription {
        account,
        external_id: name.to_owned(),
        price,
        quantity: Decimal::ONE,
        start_at: at(start),
        end_at: None,
    }
}

pub(crate) fn until(end: &str, new: NewSubscription) -> NewSubscription {
    NewSubscription {
        end_at: Some(at(end)),
        ..new
    }
}

impl Books {
    pub(crate) async fn model(&self, code: &str, currency: &str, model: Model) -> PriceId {
        let wanted = NewPrice {
            key: PriceKey {
                code: code.to_owned(),
                model,
                currency: Currency::parse(currency).unwrap(),
            },
            unit: "h".to_owned(),
            description: format!("A {code}"),
        };
        let mut tx = self.begin().await;
        let prices = price::create_all(&mut tx, &[wanted], outbox::clock::now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        prices[0].price_id
    }

    pub(crate) async fn start(&self, new: &[NewSubscription]) -> Result<usize, SubscriptionError> {
        let mut tx = self.begin().await;
        let started = subscription::start_all(&mut tx, new).await?;
        tx.commit().await.unwrap();
        Ok(started)
    }

    pub(crate) async fn end(
        &self,
        (account, name): (AccountId, &str),
        end: &str,
    ) -> Result<(), SubscriptionError> {
        let id = self.subscription(name).await;
        let mut tx = self.begin().await;
        subscription::end(&mut tx, account, id, at(end)).await?;
        tx.commit().await.unwrap();
        Ok(())
    }

    pub(crate) async fn subscription(&self, name: &str) -> SubscriptionId {
        let id = sqlx::query_scalar(
            "select subscription_id from billing.subscription where external_id = $1",
        );
        let id: uuid::Uuid = id.bind(name).fetch_one(self.pool()).await.unwrap();
        id.into()
    }
}
