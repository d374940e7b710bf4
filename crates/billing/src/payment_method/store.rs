//! The statements of payment methods.

use chrono::{DateTime, Utc};
use outbox::UnitOfWork;
use outbox::copy::{Rows, Target};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{NewPaymentMethod, PaymentMethod};
use crate::ids::{AccountId, PaymentMethodId};

/// The same method in use.
pub(super) async fn standing(
    tx: &mut PgConnection,
    new: &NewPaymentMethod,
) -> Result<Option<PaymentMethod>, sqlx::Error> {
    sqlx::query_as!(
        PaymentMethod,
        "
        -- payment_method: the same one
        select payment_method_id, gateway, brand, last_four, added_at, removed_at
        from billing.payment_method
        where account_id = $1 and gateway = $2 and token = $3 and removed_at is null
        ",
        Uuid::from(new.account),
        new.gateway,
        new.token,
    )
    .fetch_optional(tx)
    .await
}

const METHODS: Target = Target {
    table: "billing.payment_method",
    columns: &[
        "payment_method_id",
        "account_id",
        "gateway",
        "token",
        "brand",
        "last_four",
        "added_at",
        "announced_by",
    ],
};

pub(super) async fn insert(
    tx: &mut UnitOfWork,
    methods: impl IntoIterator<Item = (PaymentMethodId, &NewPaymentMethod, Uuid)>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let mut rows = Rows::new(METHODS);
    for (id, new, event) in methods {
        rows.row()
            .put(Uuid::from(id))
            .put(Uuid::from(new.account))
            .put(&new.gateway)
            .put(&new.token)
            .put(&new.brand)
            .put(&new.last_four)
            .put(now)
            .put(event);
    }
    tx.copy(rows).await?;
    Ok(())
}

/// False when the account has no such method in use.
pub(super) async fn remove(
    tx: &mut PgConnection,
    (account, method): (AccountId, PaymentMethodId),
    (event, now): (Uuid, DateTime<Utc>),
) -> Result<bool, sqlx::Error> {
    let removed = sqlx::query!(
        "
        -- payment_method: remove
        update billing.payment_method
        set removed_at = $3, removed_event = $4, removed_xid = pg_current_xact_id()
        where account_id = $1 and payment_method_id = $2 and removed_at is null
        ",
        Uuid::from(account),
        Uuid::from(method),
        now,
        event,
    )
    .execute(tx)
    .await?;
    Ok(removed.rows_affected() == 1)
}

pub(super) async fn list(
    connection: &mut PgConnection,
    account: AccountId,
    after: Option<PaymentMethodId>,
    limit: u32,
) -> Result<Vec<PaymentMethod>, sqlx::Error> {
    sqlx::query_as!(
        PaymentMethod,
        "
        -- payment_method: list
        select payment_method_id, gateway, brand, last_four, added_at, removed_at
        from billing.payment_method
        where account_id = $1
            and ($2::uuid is null or (added_at, payment_method_id) < (
                select added_at, payment_method_id from billing.payment_method
                where payment_method_id = $2
            ))
        order by added_at desc, payment_method_id desc
        limit $3
        ",
        Uuid::from(account),
        after.map(Uuid::from),
        i64::from(limit),
    )
    .fetch_all(connection)
    .await
}
